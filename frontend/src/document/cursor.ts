/** Another user's cursor in the text, with their name. Name and colour come from that user, so both are validated. */
import { isColour, tidyName } from "../app/identity";
import { t } from "../strings";

export interface CursorUser {
  id?: string;
  name: string;
  color: string;
}

/** The last cursor drawn for each client: the editor creates it once and reuses it when the client returns. */
const drawn = new Map<string, WeakRef<HTMLElement>>();

function styleCursor(caret: HTMLElement, label: HTMLElement, user: CursorUser): void {
  const color = isColour(user.color) ? user.color : "#6b7280";
  caret.style.setProperty("--person", color);
  label.textContent = tidyName(user.name) || t.profile.guest(0);
}

export function createCursor(user: CursorUser): HTMLElement {
  const base = document.createElement("span");
  base.className = "bn-collaboration-cursor__base peer-cursor";
  base.dataset["client"] = user.id ?? "";
  const caret = document.createElement("span");
  caret.className = "bn-collaboration-cursor__caret";
  caret.contentEditable = "false";
  const label = document.createElement("span");
  label.className = "bn-collaboration-cursor__label";
  styleCursor(caret, label, user);
  caret.append(label);
  base.append("\u2060", caret, "\u2060");
  if (user.id) drawn.set(user.id, new WeakRef(base));
  return base;
}

/** Update a user's name and colour, whether or not their cursor is currently in the text. */
export function updateCursor(user: CursorUser): void {
  const base = user.id ? drawn.get(user.id)?.deref() : undefined;
  const caret = base?.querySelector<HTMLElement>(".bn-collaboration-cursor__caret");
  const label = base?.querySelector<HTMLElement>(".bn-collaboration-cursor__label");
  if (caret && label) styleCursor(caret, label, user);
}
