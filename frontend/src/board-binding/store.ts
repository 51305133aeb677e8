/**
 * The elements of a board in a Yjs document: `Map "elements"`, element id -> `Map { g, s, t, m }`.
 *
 * Rules (tests quote these ids):
 *   UE1  Only changed groups are written, all in one transaction.
 *   UE2  A deleted element is marked with the day of its deletion (`d`, days since 1970), so that any client can undo it.
 *       After a month it is removed; a client that still has it in its scene and undoes the deletion writes all of it.
 *   UE3  An element without a type, or whose groups are not objects, is not shown, and is left unchanged.
 */
import * as Y from "yjs";
import { GROUPS, isFields, type Fields, type Groups } from "./shape";

const DAY_MS = 86_400_000;
const RETENTION_DAYS = 30;
/** Limits a purge, so that the update does not exceed the server's size limit. */
const MAX_PURGED = 5000;

export class ElementStore {
  readonly map: Y.Map<unknown>;

  constructor(
    readonly doc: Y.Doc,
    key = "elements",
  ) {
    this.map = doc.getMap(key);
  }

  ids(): string[] {
    return [...this.map.keys()];
  }

  /** The groups of an element; undefined if it does not exist or cannot be shown (UE3). */
  read(id: string): Groups | undefined {
    const kept = this.map.get(id);
    if (!(kept instanceof Y.Map)) return undefined;
    const groups: Groups = {};
    for (const group of GROUPS) {
      const value: unknown = kept.get(group);
      if (isFields(value)) groups[group] = value;
    }
    return typeof groups.m?.["type"] === "string" ? groups : undefined;
  }

  /**
   * Write changed groups (UE1).
   *
   * @param purge whether to remove elements that were deleted more than a month ago, in the same transaction (UE2).
   */
  write(changes: Map<string, Groups>, origin: unknown, purge = false): void {
    const today = Math.floor(Date.now() / DAY_MS);
    this.doc.transact(() => {
      for (const [id, groups] of changes) {
        let kept = this.map.get(id);
        if (!(kept instanceof Y.Map)) {
          kept = new Y.Map();
          this.map.set(id, kept);
        }
        const element = kept as Y.Map<unknown>;
        for (const group of GROUPS) if (groups[group]) element.set(group, groups[group]);
        if (groups.m?.["isDeleted"] === true && element.get("d") !== today) element.set("d", today);
      }
      if (purge) for (const id of this.purgeable(today)) this.map.delete(id);
    }, origin);
  }

  private purgeable(today: number): string[] {
    const old: string[] = [];
    for (const [id, kept] of this.map) {
      if (!(kept instanceof Y.Map) || (kept.get("m") as Fields | undefined)?.["isDeleted"] !== true) continue;
      const day: unknown = kept.get("d");
      if (typeof day === "number" && today - day > RETENTION_DAYS && old.push(id) >= MAX_PURGED) break;
    }
    return old;
  }

  /** Subscribe to elements that others have changed. Returns the function that unsubscribes. */
  observe(ownOrigin: unknown, onChange: (ids: Set<string>) => void): () => void {
    const observer = (events: Y.YEvent<Y.AbstractType<unknown>>[], transaction: Y.Transaction): void => {
      if (transaction.origin === ownOrigin) return;
      const ids = new Set<string>();
      for (const event of events) {
        if (event.target === this.map) for (const id of event.changes.keys.keys()) ids.add(id);
        else if (typeof event.path[0] === "string") ids.add(event.path[0]);
      }
      onChange(ids);
    };
    this.map.observeDeep(observer as never);
    return () => { this.map.unobserveDeep(observer as never); };
  }
}
