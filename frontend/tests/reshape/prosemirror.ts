/**
 * Prototype (a): BlockNote's schema, written by y-prosemirror. Without a view: an edit is a new ProseMirror document, which
 * y-prosemirror writes as the difference from the shared one, as its binding does.
 *
 * Rules:
 *   PM1  While a document does not fit the schema, it is read-only for everyone, and shown as readable.ts reads it.
 *   PM2  With repairs, the server puts such a document in order, once.
 *   PM3  With repairs, the server copies letters that were deleted only because their parent was, and which the deleter
 *        had not received, into the block with the same id, or else into a new one at the end. It needs deleted content
 *        for that, so it must not collect it.
 */
import { BlockNoteEditor } from "@blocknote/core";
import { updateYFragment } from "y-prosemirror";
import * as Y from "yjs";
import { findProblem, type Rules } from "../../src/document/fit";
import { readable } from "../../src/document/readable";
import { repair } from "../../src/document/repair";
import { canUndo } from "../../src/document/undo";
import type { Block, Cell, Model, Page } from "./model";

interface Node {
  id: string;
  type: string;
  text: string;
  cells?: (Cell & { colspan: number })[][];
  children: Node[];
}

interface Json { type: string; attrs?: Record<string, unknown>; content?: Json[]; text?: string }

const { pmSchema: schema } = BlockNoteEditor.create();
const rules: Rules = { schema, values: () => undefined };
const rootOf = (doc: Y.Doc): Y.XmlFragment => doc.getXmlFragment("document-store");

const textIn = (json: Json): string => json.text ?? (json.content ?? []).map(textIn).join("");
const asText = (text: string): { content?: Json[] } => (text ? { content: [{ type: "text", text }] } : {});

function nodeOf({ attrs, content = [] }: Json): Node {
  const [block, group] = content as [Json, Json | undefined];
  const id = String(attrs?.["id"]);
  const node: Node = { id, type: block.type, text: "", children: (group?.content ?? []).map(nodeOf) };
  if (block.type !== "table") return { ...node, text: textIn(block) };
  node.cells = (block.content ?? []).map((row, r) => (row.content ?? []).map((cell, c) =>
    ({ id: `${id}#${r},${c}`, text: textIn(cell), colspan: Number(cell.attrs?.["colspan"] ?? 1) })));
  return node;
}

function jsonOf({ id, type, text, cells, children }: Node): Json {
  const block: Json = cells
    ? { type, content: cells.map((row) => ({ type: "tableRow", content: row.map((cell) => ({ type: "tableCell", attrs: { colspan: cell.colspan }, content: [{ type: "tableParagraph", ...asText(cell.text) }] })) })) }
    : { type, ...asText(text) };
  return { type: "blockContainer", attrs: { id }, content: [block, ...(children.length ? [{ type: "blockGroup", content: children.map(jsonOf) }] : [])] };
}

const read = (doc: Y.Doc): Node[] => (readable(rootOf(doc), rules).toJSON() as { content: Json[] }).content.flatMap((group) => (group.content ?? []).map(nodeOf));

function write(doc: Y.Doc, nodes: Node[], origin: unknown): void {
  const wanted = schema.nodeFromJSON({ type: "doc", content: [{ type: "blockGroup", content: (nodes.length ? nodes : [{ id: newId(), type: "paragraph", text: "", children: [] }]).map(jsonOf) }] });
  doc.transact(() => { updateYFragment(doc, rootOf(doc), wanted, { mapping: new Map(), isOMark: new Map() }); }, origin);
}

const newId = (): string => Math.random().toString(36).slice(2, 12);

interface Place {
  node: Node;
  siblings: Node[];
  at: number;
  parent: Place | undefined;
}

class ProseMirrorPage implements Page {
  private readonly history: Y.UndoManager;

  constructor(private readonly doc: Y.Doc) {
    this.history = new Y.UndoManager(rootOf(doc), { trackedOrigins: new Set([this]), deleteFilter: canUndo });
  }

  read(): Block[] {
    const blocks: Block[] = [];
    const add = (nodes: Node[], depth: number): void => {
      for (const { id, type, text, cells, children } of nodes) {
        blocks.push({ id, type, depth, text, ...(cells ? { cells: cells.flat().map((cell) => ({ id: cell.id, text: cell.text })) } : {}) });
        add(children, depth + 1);
      }
    };
    add(read(this.doc), 0);
    return blocks;
  }

  private edit(id: string, work: (place: Place, all: Place[], top: Node[]) => void): void {
    if (findProblem(rootOf(this.doc), rules)) return; // PM1
    const top = read(this.doc);
    const all: Place[] = [];
    const list = (siblings: Node[], parent: Place | undefined): void => {
      for (const [at, node] of siblings.entries()) {
        const place = { node, siblings, at, parent };
        all.push(place);
        list(node.children, place);
      }
    };
    list(top, undefined);
    const place = all.find(({ node }) => node.id === id.split("#")[0]);
    if (!place) return;
    work(place, all, top);
    this.history.stopCapturing();
    write(this.doc, top, this);
  }

  private change(id: string, change: (text: string) => string): void {
    this.edit(id, ({ node }) => {
      const cell = node.cells?.flat().find((each) => each.id === id);
      const target = cell ?? node;
      target.text = change(target.text);
    });
  }

  type(id: string, at: number, text: string): void { this.change(id, (old) => old.slice(0, at) + text + old.slice(at)); }
  erase(id: string, from: number, to: number): void { this.change(id, (old) => old.slice(0, from) + old.slice(to)); }
  turn(id: string, type: string): void { this.edit(id, ({ node }) => { node.type = type; }); }

  indent(id: string): void {
    this.edit(id, ({ node, siblings, at }) => {
      if (at === 0 || siblings[at - 1]?.cells) return;
      siblings.splice(at, 1);
      siblings[at - 1]?.children.push(node);
    });
  }

  outdent(id: string): void {
    this.edit(id, ({ node, siblings, at, parent }) => {
      if (!parent) return;
      node.children.push(...siblings.splice(at).slice(1));
      parent.siblings.splice(parent.at + 1, 0, node);
    });
  }

  split(id: string, at: number): void {
    this.edit(id, ({ node, siblings, at: index }) => {
      siblings.splice(index + 1, 0, { id: newId(), type: node.type, text: node.text.slice(at), children: node.children });
      node.text = node.text.slice(0, at);
      node.children = [];
    });
  }

  join(id: string): void {
    this.edit(id, (place, all) => {
      const above = all[all.indexOf(place) - 1];
      if (!above || above.node.cells || place.node.cells) return;
      place.siblings.splice(place.at, 1, ...(above === place.parent ? place.node.children : []));
      above.node.text += place.node.text;
      if (above !== place.parent) above.node.children.push(...place.node.children);
    });
  }

  move(id: string, behind: string | null): void {
    this.edit(id, ({ node, siblings, at }, all, top) => {
      const target = all.find((place) => place.node.id === behind);
      for (let up = target; up; up = up.parent) if (up.node === node) return;
      siblings.splice(at, 1);
      if (!target) top.unshift(node);
      else target.siblings.splice(target.siblings.indexOf(target.node) + 1, 0, node);
    });
  }

  remove(id: string): void {
    this.edit(id, ({ node, siblings, at }) => { siblings.splice(at, 1, ...node.children); });
  }

  mergeCells(into: string, cell: string): void {
    this.edit(cell, ({ node }) => {
      for (const row of node.cells ?? []) {
        const at = row.findIndex((each) => each.id === cell);
        const [target, source] = [row[at - 1], row[at]];
        if (!target || !source || target.id !== into) continue;
        row.splice(at, 1);
        target.text += source.text;
        target.colspan += source.colspan;
      }
    });
  }

  undo(): void { this.history.undo(); }
  close(): void { this.history.destroy(); }
}

function seed(doc: Y.Doc, blocks: Block[]): void {
  write(doc, blocks.map(({ id, type, text, cells }) => ({
    id, type, text, children: [],
    ...(cells ? { cells: [0, 3, 6].map((row) => cells.slice(row, row + 3).map((cell) => ({ ...cell, colspan: 1 }))) } : {}),
  })), null);
}

/** Ranges of ids that deleters named themselves, or that have been dealt with. */
const known = new WeakMap<Y.Doc, Set<string>>();

const keysOf = (item: Y.Item): string[] => Array.from({ length: item.length }, (_, i) => `${item.id.client}:${item.id.clock + i}`);

function* deletedTexts(doc: Y.Doc): Generator<Y.Item> {
  for (const structs of doc.store.clients.values()) {
    for (const item of structs) if (item instanceof Y.Item && item.deleted && item.content instanceof Y.ContentString) yield item;
  }
}

/** PM2, PM3. */
function mend(doc: Y.Doc, update: Uint8Array): void {
  const dealt = known.get(doc) ?? new Set<string>();
  known.set(doc, dealt);
  for (const [client, ranges] of Y.decodeUpdate(update).ds.clients) {
    for (const { clock, len } of ranges) for (let i = 0; i < len; i++) dealt.add(`${client}:${clock + i}`);
  }
  const lost: [string, string][] = [];
  for (const item of deletedTexts(doc)) {
    if (!(item.content instanceof Y.ContentString)) continue;
    const { str } = item.content;
    const letters = keysOf(item).map((key, i) => (dealt.has(key) ? "" : str.charAt(i))).join("");
    if (letters) lost.push([containerOf(item), letters]);
  }
  if (findProblem(rootOf(doc), rules)) repair(rootOf(doc), rules);
  if (lost.length > 0) {
    const top = read(doc);
    const find = (nodes: Node[], id: string): Node | undefined => {
      for (const node of nodes) {
        const found = node.id === id ? node : find(node.children, id);
        if (found) return found;
      }
      return undefined;
    };
    for (const [id, letters] of lost) {
      const node = find(top, id);
      if (node && !node.cells) node.text += letters;
      else top.push({ id: newId(), type: "paragraph", text: letters, children: [] });
    }
    write(doc, top, "mend");
  }
  for (const item of deletedTexts(doc)) for (const key of keysOf(item)) dealt.add(key);
}

function containerOf(item: Y.Item): string {
  for (let type = item.parent as Y.AbstractType<unknown> | null; type; type = type._item?.parent as Y.AbstractType<unknown> | null ?? null) {
    if (type instanceof Y.XmlElement && type.nodeName === "blockContainer") {
      const id = type._map.get("id")?.content.getContent()[0] as unknown;
      return typeof id === "string" ? id : "";
    }
  }
  return "";
}

export const todayModel: Model = { name: "a: as it is today", seed, open: (doc) => new ProseMirrorPage(doc) };
export const repairedModel: Model = { name: "a: with repairs", seed, open: (doc) => new ProseMirrorPage(doc), mend };
