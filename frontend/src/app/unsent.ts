/**
 * The documents whose copy on this device has changes that the server has not confirmed. The home page lists them and
 * sends them, so that work done offline does not wait until someone happens to open that document again.
 */
import type { Kind } from "./api";
import { recents } from "./recent";
import { ROOT } from "./root";

const KEY = `raffia${ROOT}.unsent`;

export interface Unsent {
  id: string;
  title: string;
  kind: Kind;
}

function read(): string[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(kept) ? kept.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}

/** Note whether a document has changes that are not sent. */
export function setUnsent(id: string, unsent: boolean): void {
  const before = read();
  if (before.includes(id) === unsent) return;
  try {
    localStorage.setItem(KEY, JSON.stringify(unsent ? [...before, id] : before.filter((one) => one !== id)));
  } catch {
    // Without storage the device has no copy either.
  }
}

/** The documents with unsent changes; titles and kinds are those that this device has seen last. */
export function unsent(): Unsent[] {
  const known = new Map(recents().map((item) => [item.id, item]));
  return read().map((id) => ({ id, title: known.get(id)?.title ?? "", kind: known.get(id)?.kind ?? "document" }));
}
