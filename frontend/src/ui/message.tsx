/** A page in place of what cannot be shown. */
import type { ReactNode } from "react";
import { AlertIcon } from "./icons";

export function Message({ title, hint, children, icon }: { title: string; hint?: string | undefined; children?: ReactNode; icon?: ReactNode }) {
  return (
    <div className="message" role="alert">
      <span className="message-icon">{icon ?? <AlertIcon />}</span>
      <h1>{title}</h1>
      {hint && <p>{hint}</p>}
      {children && <div className="message-actions">{children}</div>}
    </div>
  );
}
