import { initials } from "../app/identity";

/** A person as a circle with letters; the ring has the colour of their cursor. */
export function Avatar({ name, color, dim = false }: { name: string; color: string; dim?: boolean }) {
  return (
    <span className={dim ? "avatar dim" : "avatar"} style={{ "--person": color } as React.CSSProperties} aria-hidden="true">
      {initials(name)}
    </span>
  );
}
