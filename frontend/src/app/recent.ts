/** Documents opened on this device, for servers that do not list documents to everyone. */
import type { Kind } from "./api";
import { ROOT } from "./root";

export interface Recent {
  id: string;
  title: string;
  kind: Kind;
  opened_ms: number;
}

const KEY = `raffia${ROOT}.recent`;
const MAX_ITEMS = 40;

export function recents(): Recent[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    if (!Array.isArray(kept)) return [];
    return (kept as Partial<Recent>[]).filter((item): item is Recent =>
      typeof item.id === "string" && typeof item.title === "string" && typeof item.opened_ms === "number" &&
      (item.kind === "document" || item.kind === "board"));
  } catch {
    return [];
  }
}

function store(list: Recent[]): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(list.slice(0, MAX_ITEMS)));
  } catch {
    // The list is a convenience; nothing depends on it.
  }
}

export function addRecent(item: Omit<Recent, "opened_ms">): void {
  store([{ ...item, opened_ms: Date.now() }, ...recents().filter(({ id }) => id !== item.id)]);
}

export function removeRecent(id: string): void {
  store(recents().filter((item) => item.id !== id));
}
