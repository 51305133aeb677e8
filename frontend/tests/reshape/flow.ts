/**
 * Prototype (c): a document is one `Y.Text`, in which each block begins with a marker, an embedded `Y.Map`.
 *
 * Rules:
 *   FLW1  Enter inserts a marker, and joining deletes it. Turning, indenting, moving, deleting and merging cells set fields
 *        of markers. No operation copies text, so letters keep their Yjs ids.
 *   FLW2  A deleted block is flagged, and the text on the deleter's screen is deleted. It is shown while it contains text.
 *   FLW3  A moved block names the block that it follows. Of several that follow the same one, the last moved comes first;
 *        equal numbers are ordered by id.
 *   FLW4  A block that is joined to one which does not precede it in the text names it (`into`); its text is shown there, the last joined at the
 *        end.
 *   FLW5  The reading is the same for all: a marker whose target is missing, or that is the smallest id of a cycle, is shown
 *        where it is in the text. A depth is at most one more than that of the block above.
 *   FLW6  A cell is a marker that names its table, row and column. All texts of a cell are shown, in the order of the text.
 */
/* eslint-disable @typescript-eslint/no-base-to-string -- fields are strings */
import * as Y from "yjs";
import type { Block, Cell, Model, Page } from "./model";

type Fields = Record<string, unknown>;

interface Segment {
  id: string;
  fields: Fields;
  marker: Y.Map<unknown> | null;
  /** Place of the first letter in the flow. */
  start: number;
  text: string;
}

/** A marker's reading: what is shown of it, from which segments. */
export interface Shown {
  id: string;
  segments: Segment[];
  depth: number;
  text: string;
  cells?: Shown[];
}

const TOP = "top";

/** The flow, cut at its markers. */
function segmentsOf(flow: Y.Text): Segment[] {
  const segments: Segment[] = [];
  let current: Segment = { id: TOP, fields: { type: "paragraph" }, marker: null, start: 0, text: "" };
  let place = 0;
  const parts: string[] = [];
  const close = (): void => {
    current.text = parts.join("");
    parts.length = 0;
    if (current.marker || current.text) segments.push(current);
  };
  for (let item = flow._start; item; item = item.right) {
    if (item.deleted || !item.countable) continue;
    if (item.content instanceof Y.ContentString) parts.push(item.content.str);
    else if (item.content instanceof Y.ContentType && item.content.type instanceof Y.Map) {
      close();
      const marker: Y.Map<unknown> = item.content.type;
      const fields = marker.toJSON();
      const id = typeof fields["id"] === "string" ? fields["id"] : `${item.id.client}:${item.id.clock}`;
      current = { id, fields, marker, start: place + 1, text: "" };
    }
    place += item.length;
  }
  close();
  return segments;
}

/** What follows what (FLW3 to FLW5). Pure. */
export function reading(segments: Segment[]): Shown[] {
  const byId = new Map<string, Segment>();
  const all = segments.map((segment) => {
    // An id that is there twice: the later one is known by its place.
    const unique = byId.has(segment.id) ? { ...segment, id: `${segment.id}~${segment.start}` } : segment;
    byId.set(unique.id, unique);
    return unique;
  });
  const targets = new Map<string, string>();
  for (const { id, fields } of all) {
    const target = fields["into"] ?? fields["behind"];
    if (typeof target === "string" && (byId.has(target) || target === "") && target !== id) targets.set(id, target);
  }
  breakCycles(targets);
  const followers = new Map<string, Segment[]>();
  const glued = new Map<string, Segment[]>();
  for (const segment of all) {
    const target = targets.get(segment.id);
    if (target === undefined) continue;
    const list = typeof segment.fields["into"] === "string" ? glued : followers;
    list.set(target, [...list.get(target) ?? [], segment]);
  }
  for (const list of followers.values()) {
    list.sort((a, b) => Number(b.fields["moved"] ?? 0) - Number(a.fields["moved"] ?? 0) || (a.id < b.id ? -1 : 1));
  }
  for (const list of glued.values()) list.sort((a, b) => Number(a.fields["moved"] ?? 0) - Number(b.fields["moved"] ?? 0));
  const order: Segment[][] = [];
  const cellsOf = new Map<string, Segment[][]>();
  const waiting: Segment[] = [];
  const visit = (first: Segment): void => {
    waiting.push(first);
    while (waiting.length > 0) {
      const segment = waiting.pop() as Segment;
      const parts = gather(segment, glued);
      const table = segment.fields["table"];
      if (typeof table === "string" && byId.has(table)) cellsOf.set(table, [...cellsOf.get(table) ?? [], parts]);
      else order.push(parts);
      for (const part of parts.toReversed()) waiting.push(...(followers.get(part.id) ?? []).toReversed());
    }
  };
  for (const segment of followers.get("") ?? []) visit(segment);
  for (const segment of all) if (!targets.has(segment.id)) visit(segment);
  const shown: Shown[] = [];
  let last = -1;
  for (const parts of order) {
    const [first] = parts as [Segment];
    const text = parts.map((part) => part.text).join("");
    const cells = cellsOf.get(first.id)?.map((cell) => show(cell, 0));
    const holdsText = text !== "" || cells?.some((cell) => cell.text !== "") === true;
    if (first.fields["gone"] === true && !holdsText) continue; // FLW2
    last = Math.max(0, Math.min(Number(first.fields["depth"] ?? 0), last + 1));
    shown.push({ ...show(parts, last), ...(cells ? { cells } : {}) });
  }
  return shown;
}

const show = (parts: Segment[], depth: number): Shown =>
  ({ id: (parts[0] as Segment).id, segments: parts, depth, text: parts.map((part) => part.text).join("") });

/** A segment and those joined to it. */
function gather(segment: Segment, glued: Map<string, Segment[]>): Segment[] {
  const parts = [segment];
  for (const other of glued.get(segment.id) ?? []) parts.push(...gather(other, glued));
  return parts;
}

/** The smallest id of each cycle is shown at its place in the text (FLW5). */
export function breakCycles(targets: Map<string, string>): void {
  const done = new Set<string>();
  for (const start of [...targets.keys()].sort()) {
    const path: string[] = [];
    const seen = new Set<string>();
    let id: string | undefined = start;
    while (id !== undefined && !done.has(id) && !seen.has(id)) {
      path.push(id);
      seen.add(id);
      id = targets.get(id);
    }
    if (id !== undefined && seen.has(id)) targets.delete(path.slice(path.indexOf(id)).sort()[0] as string);
    for (const each of path) done.add(each);
  }
}

/** Known by the history alone, so that a seed always gives the same one. */
const newId = (doc: Y.Doc): string => `${doc.clientID}-${Y.getState(doc.store, doc.clientID)}`;

class FlowPage implements Page {
  private readonly flow: Y.Text;
  private readonly history: Y.UndoManager;

  constructor(private readonly doc: Y.Doc) {
    this.flow = doc.getText("flow");
    this.history = new Y.UndoManager(this.flow, { trackedOrigins: new Set([this]) });
  }

  private shown = (): Shown[] => reading(segmentsOf(this.flow));

  read = (): Block[] => this.shown().map(({ id, segments, depth, text, cells }) => ({
    id, depth, text, type: String(segments[0]?.fields["type"] ?? "paragraph"),
    ...(cells ? { cells: cells.map((cell): Cell => ({ id: cell.id, text: cell.text })) } : {}),
  }));

  private find(id: string): { shown: Shown; at: number; all: Shown[] } | undefined {
    const all = this.shown();
    for (const [at, shown] of all.entries()) {
      if (shown.id === id) return { shown, at, all };
      const cell = shown.cells?.find((each) => each.id === id);
      if (cell) return { shown: cell, at: -1, all };
    }
    return undefined;
  }

  private edit(work: () => void): void {
    this.history.stopCapturing();
    this.doc.transact(work, this);
  }

  /** The place in the flow of a place in a block. */
  private placeOf(shown: Shown, at: number): number {
    for (const [i, { start, text }] of shown.segments.entries()) {
      if (at <= text.length || i === shown.segments.length - 1) return start + Math.min(at, text.length);
      at -= text.length;
    }
    return 0;
  }

  private markerOf(shown: Shown): Y.Map<unknown> {
    const { marker, start } = shown.segments[0] as Segment;
    if (marker) return marker;
    const made = new Y.Map<unknown>();
    this.flow.insertEmbed(start, made);
    made.set("id", newId(this.doc));
    return made;
  }

  type(id: string, at: number, text: string): void {
    const found = this.find(id);
    if (found) this.edit(() => { this.flow.insert(this.placeOf(found.shown, at), text); });
  }

  private cut(shown: Shown, from: number, to: number): void {
    for (const { start, text } of shown.segments.toSorted((a, b) => b.start - a.start)) {
      const offset = this.offsetOf(shown, start);
      const first = Math.max(from - offset, 0);
      const last = Math.min(to - offset, text.length);
      if (last > first) this.flow.delete(start + first, last - first);
    }
  }

  private offsetOf(shown: Shown, start: number): number {
    let offset = 0;
    for (const segment of shown.segments) {
      if (segment.start === start) return offset;
      offset += segment.text.length;
    }
    return offset;
  }

  erase(id: string, from: number, to: number): void {
    const found = this.find(id);
    if (found) this.edit(() => { this.cut(found.shown, from, to); });
  }

  turn(id: string, type: string): void {
    const found = this.find(id);
    if (found) this.edit(() => { this.markerOf(found.shown).set("type", type); });
  }

  private subtree(all: Shown[], at: number): Shown[] {
    const depth = (all[at] as Shown).depth;
    let end = at + 1;
    while (end < all.length && (all[end] as Shown).depth > depth) end++;
    return all.slice(at, end);
  }

  private shift(id: string, by: number): void {
    const found = this.find(id);
    if (!found || found.at < 1 || found.shown.depth + by < 0) return;
    if (by > 0 && found.shown.depth > (found.all[found.at - 1] as Shown).depth) return;
    this.edit(() => {
      for (const shown of this.subtree(found.all, found.at)) this.markerOf(shown).set("depth", shown.depth + by);
    });
  }

  indent(id: string): void { this.shift(id, 1); }
  outdent(id: string): void { this.shift(id, -1); }

  split(id: string, at: number): void {
    const found = this.find(id);
    if (!found || found.at < 0 || found.shown.cells) return;
    const { shown, all } = found;
    const stamp = this.stamp();
    this.edit(() => {
      const place = this.placeOf(shown, at);
      const own = shown.segments.find(({ start, text }) => place >= start && place <= start + text.length) as Segment;
      const isLast = own === shown.segments.at(-1);
      const marker = new Y.Map<unknown>();
      this.flow.insertEmbed(place, marker);
      const made = newId(this.doc);
      const fields = (shown.segments[0] as Segment).fields;
      marker.set("id", made);
      marker.set("type", fields["type"] ?? "paragraph");
      if (shown.depth) marker.set("depth", shown.depth);
      const next = all[found.at + 1];
      const isFollowed = next?.segments[0]?.fields["behind"] !== undefined;
      if (fields["behind"] !== undefined || isFollowed || !isLast || shown.segments.length > 1) {
        marker.set("behind", id);
        marker.set("moved", stamp);
      }
      // What was joined behind the place now belongs to the new block.
      for (const [i, later] of shown.segments.slice(shown.segments.indexOf(own) + 1).entries()) {
        later.marker?.set("into", made);
        later.marker?.set("moved", stamp + i);
      }
    });
  }

  /** More than any that is there, hidden blocks included. */
  private stamp = (): number => 1 + Math.max(0, ...segmentsOf(this.flow).map(({ fields }) => Number(fields["moved"] ?? 0)));

  join(id: string): void {
    const found = this.find(id);
    const above = found?.all[found.at - 1];
    if (!found || found.at < 1 || !above || above.cells || found.shown.cells) return;
    const { shown } = found;
    const [first] = shown.segments as [Segment];
    const end = above.segments.at(-1) as Segment;
    const stamp = this.stamp();
    this.edit(() => {
      const all = segmentsOf(this.flow);
      const between = all.filter(({ start }) => start > end.start && start < first.start);
      const named = new Set(all.flatMap(({ fields }) => [fields["into"], fields["behind"]]));
      // Text of a deleted marker belongs to the segment in front of it. What follows a deleted marker would lose its place.
      const isNext = first.marker !== null && first.start > end.start && !named.has(first.id)
        && between.every(({ fields, text, id: other }) => fields["gone"] === true && text === "" && !named.has(other));
      const marker = this.markerOf(shown);
      if (!isNext) {
        marker.set("into", above.id); // FLW4
        marker.set("moved", stamp);
      } else for (const each of [first, ...between.toReversed()]) this.flow.delete(each.start - 1, 1);
    });
  }

  move(id: string, behind: string | null): void {
    const found = this.find(id);
    if (!found || found.at < 0) return;
    const moved = this.subtree(found.all, found.at);
    if (behind !== null && moved.some((shown) => shown.id === behind)) return;
    const target = behind === null ? undefined : found.all.find((shown) => shown.id === behind);
    if (behind !== null && !target) return;
    const stamp = this.stamp();
    const ids = new Set(moved.map((shown) => shown.id));
    const own = found.shown.segments[0]?.fields;
    this.edit(() => {
      // What follows a moved block, and is not its child, stays.
      for (const shown of found.all) {
        const follows = shown.segments[0]?.fields["behind"];
        if (ids.has(shown.id) || typeof follows !== "string" || !ids.has(follows)) continue;
        const marker = this.markerOf(shown);
        marker.set("behind", own?.["behind"] ?? found.all[found.at - 1]?.id ?? "");
        marker.set("moved", own?.["behind"] === undefined ? stamp : own["moved"]);
      }
      let last = target?.id ?? "";
      const by = (target?.depth ?? 0) - found.shown.depth;
      for (const shown of moved) {
        const marker = this.markerOf(shown);
        marker.set("behind", last);
        marker.set("moved", stamp);
        if (by !== 0) marker.set("depth", shown.depth + by);
        last = shown.id;
      }
    });
  }

  remove(id: string): void {
    const found = this.find(id);
    if (!found || found.at < 0) return;
    this.edit(() => {
      const { length } = this.flow;
      const marker = this.markerOf(found.shown);
      const shift = this.flow.length - length; // a marker made for the text in front of the first one
      for (const { start, text } of [found.shown, ...found.shown.cells ?? []].flatMap(({ segments }) => segments).sort((a, b) => b.start - a.start)) {
        if (text) this.flow.delete(start + shift, text.length);
      }
      marker.set("gone", true);
    });
  }

  mergeCells(into: string, cell: string): void {
    const found = this.find(cell);
    if (found) this.edit(() => { this.markerOf(found.shown).set("into", into); });
  }

  undo(): void { this.history.undo(); }
  close(): void { this.history.destroy(); }
}

export const flowModel: Model = {
  name: "c: one sequence",
  seed(doc, blocks) {
    const flow = doc.getText("flow");
    doc.transact(() => {
      let place = 0;
      const add = (fields: Fields, text: string): void => {
        const marker = new Y.Map<unknown>();
        flow.insertEmbed(place, marker);
        for (const [key, value] of Object.entries(fields)) marker.set(key, value);
        if (text) flow.insert(place + 1, text);
        place += 1 + text.length;
      };
      for (const { id, type, depth, text, cells } of blocks) {
        add({ id, type, ...(depth ? { depth } : {}) }, text);
        for (const [i, cell] of cells?.entries() ?? []) add({ id: cell.id, table: id, row: Math.floor(i / 3), column: i % 3 }, cell.text);
        if (cells) add({ id: `${id}-end`, type: "paragraph", gone: true }, "");
      }
    });
  },
  open: (doc) => new FlowPage(doc),
};
