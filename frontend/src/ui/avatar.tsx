import { initials } from "../app/identity";

/** A user as a circle with initials, in the colour of their cursor. */
export function Avatar({ name, color, dim = false }: { name: string; color: string; dim?: boolean }) {
  return (
    // The style sheet draws the initials, so that they are not text that an accessible name would have to repeat.
    <span className={dim ? "avatar dim" : "avatar"} data-letters={initials(name)} style={{ "--person": color } as React.CSSProperties} aria-hidden="true" />
  );
}
