/**
 * The elements of a board in a Yjs document: `Map "elements"`, element id -> `Map { g, s, t, m }`.
 *
 * Rules (tests quote these ids):
 *   E1  Only groups that have changed are written, all of them in one transaction.
 *   E2  No key is ever removed: a deleted element is marked, so that undo, here or elsewhere, can bring it back.
 *   E3  An element without a type, or with values that are no objects, is not shown; it is left as it is.
 */
import * as Y from "yjs";
import { GROUPS, type Fields, type Groups } from "./shape";

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

  /** The groups of an element; undefined when there is none that can be shown (E3). */
  read(id: string): Groups | undefined {
    const kept = this.map.get(id);
    if (!(kept instanceof Y.Map)) return undefined;
    const groups: Groups = {};
    for (const group of GROUPS) {
      const value: unknown = kept.get(group);
      if (typeof value === "object" && value !== null && !Array.isArray(value)) groups[group] = value as Fields;
    }
    return typeof groups.m?.["type"] === "string" ? groups : undefined;
  }

  /** Write changed groups (E1). */
  write(changes: Map<string, Groups>, origin: unknown): void {
    this.doc.transact(() => {
      for (const [id, groups] of changes) {
        let kept = this.map.get(id);
        if (!(kept instanceof Y.Map)) {
          kept = new Y.Map();
          this.map.set(id, kept);
        }
        for (const group of GROUPS) if (groups[group]) (kept as Y.Map<unknown>).set(group, groups[group]);
      }
    }, origin);
  }

  /** Hear which elements others have changed. */
  observe(mine: unknown, heard: (ids: Set<string>) => void): () => void {
    const observer = (events: Y.YEvent<Y.AbstractType<unknown>>[], transaction: Y.Transaction): void => {
      if (transaction.origin === mine) return;
      const ids = new Set<string>();
      for (const event of events) {
        if (event.target === this.map) for (const id of event.changes.keys.keys()) ids.add(id);
        else if (typeof event.path[0] === "string") ids.add(event.path[0]);
      }
      heard(ids);
    };
    this.map.observeDeep(observer as never);
    return () => { this.map.unobserveDeep(observer as never); };
  }
}
