/**
 * This client's presence on a board: pointer, selection, movements and view, combined in one message, at most 30 a second.
 *
 * Rules (tests quote these ids):
 *   UP1  The first change after a pause is sent immediately, the last one always, and those in between at most every 33 ms.
 *   UP2  Nothing is sent if nothing has changed.
 */
import type { Awareness } from "y-protocols/awareness";
import type { Live } from "./live";

export interface BoardState {
  /** The pointer's position in board coordinates, in whole pixels. */
  pointer?: { x: number; y: number; tool: "pointer" | "laser" } | undefined;
  button?: "up" | "down" | undefined;
  selected?: string[] | undefined;
  live?: Live[] | undefined;
  /** The viewport: the centre of the screen in board coordinates, and the zoom. */
  view?: { x: number; y: number; zoom: number } | undefined;
}

const INTERVAL_MS = 33;

export class Presence {
  private next: BoardState = {};
  private sentAt = -Infinity;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private destroyed = false;

  constructor(private readonly awareness: Awareness) {}

  /** Update some fields; undefined removes a field. */
  set(state: BoardState): void {
    if (this.destroyed) return;
    Object.assign(this.next, state);
    if (this.timer !== undefined) return;
    const wait = this.sentAt + INTERVAL_MS - Date.now();
    if (wait <= 0) this.flush();
    else this.timer = setTimeout(() => { this.flush(); }, wait);
  }

  /** Send pending changes immediately. */
  flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.destroyed) return;
    const before = this.awareness.getLocalState();
    if (before === null) return; // this client has left; moving its pointer must not bring it back
    const all: [string, unknown][] = Object.entries({ ...before, ...this.next });
    const after = Object.fromEntries(all.filter(([, value]) => value !== undefined));
    this.next = {};
    if (JSON.stringify(before) === JSON.stringify(after)) return; // UP2
    this.sentAt = Date.now();
    this.awareness.setLocalState(after);
  }

  destroy(): void {
    clearTimeout(this.timer);
    this.destroyed = true;
  }
}
