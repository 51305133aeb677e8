import { initials } from "../app/identity";

/** A person as a circle with letters; the ring has the colour of their cursor. */
export function Avatar({ name, color, dim = false }: { name: string; color: string; dim?: boolean }) {
  return (
    // The letters are drawn by the style sheet: they are no text that a name would have to repeat.
    <span className={dim ? "avatar dim" : "avatar"} data-letters={initials(name)} style={{ "--person": color } as React.CSSProperties} aria-hidden="true" />
  );
}
