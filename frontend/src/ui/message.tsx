/** A full-page message in place of content that cannot be shown. */
import type { ReactNode } from "react";
import { AlertIcon } from "./icons";

interface Props {
  title: string;
  hint?: string | undefined;
  children?: ReactNode;
  icon?: ReactNode;
  /** Heading level: 2 on a page that already has a level-1 heading. */
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
