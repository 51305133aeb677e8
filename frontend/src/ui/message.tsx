/** A page in place of what cannot be shown. */
import type { ReactNode } from "react";
import { AlertIcon } from "./icons";

interface Props {
  title: string;
  hint?: string | undefined;
  children?: ReactNode;
  icon?: ReactNode;
  /** Of its heading: 2 within a page that has one. */
  level?: 1 | 2;
}

export function Message({ title, hint, children, icon, level = 1 }: Props) {
  const Heading = `h${level}` as const;
  return (
    <div className="message" role="alert">
      <span className="message-icon">{icon ?? <AlertIcon />}</span>
      <Heading>{title}</Heading>
      {hint && <p>{hint}</p>}
      {children && <div className="message-actions">{children}</div>}
    </div>
  );
}
