/**
 * Prototype (b): blocks by id, with fields and a `Y.Text` each.
 *
 * Rules:
 *   BM1  Turning, indenting and moving set the fields `type`, `parent` and `order` (a fractional index) of a block.
 *   BM2  A deleted or joined block is flagged, and the text on that person's screen is deleted. It is shown while it
 *        contains text.
 *   BM3  Enter and joining copy text from one block to another: it gets new ids.
 *   BM4  The reading is the same for all: equal orders are ordered by id; a block whose parent is missing, or that is the
 *        smallest id of a cycle, is at the top level; children of a hidden block take its place.
 */
/* eslint-disable @typescript-eslint/no-base-to-string -- fields are strings */
/* eslint-disable @typescript-eslint/prefer-optional-chain, @typescript-eslint/no-unnecessary-condition */
import { generateKeyBetween } from "fractional-indexing";
import * as Y from "yjs";
import { breakCycles } from "./flow";
import type { Block, Cell, Model, Page } from "./model";

type Fields = Y.Map<unknown>;

interface Node {
  id: string;
  fields: Fields;
  parent: string;
  order: string;
  children: Node[];
}

interface Shown extends Block {
  node: Node;
}

const newId = (): string => Math.random().toString(36).slice(2, 12);
const textOf = (fields: Fields): Y.Text => fields.get("text") as Y.Text;

/** The tree that all clients compute alike (BM4). Pure. */
export function tree(blocks: Y.Map<Fields>): Node[] {
  const nodes = new Map<string, Node>();
  const parents = new Map<string, string>();
  for (const [id, fields] of blocks) {
    const parent = String(fields.get("parent") ?? "");
    nodes.set(id, { id, fields, parent, order: String(fields.get("order") ?? ""), children: [] });
    if (parent && blocks.has(parent)) parents.set(id, parent);
  }
  breakCycles(parents);
  const top: Node[] = [];
  for (const node of nodes.values()) {
    node.parent = parents.get(node.id) ?? "";
    (nodes.get(node.parent)?.children ?? top).push(node);
  }
  const byOrder = (a: Node, b: Node): number => (a.order === b.order ? (a.id < b.id ? -1 : 1) : a.order < b.order ? -1 : 1);
  top.sort(byOrder);
  for (const node of nodes.values()) node.children.sort(byOrder);
  return top;
}

class BlocksPage implements Page {
  private readonly blocks: Y.Map<Fields>;
  private readonly history: Y.UndoManager;

  constructor(private readonly doc: Y.Doc) {
    this.blocks = doc.getMap("blocks");
    this.history = new Y.UndoManager(this.blocks, { trackedOrigins: new Set([this]) });
  }

  private shown(): Shown[] {
    const shown: Shown[] = [];
    const waiting = tree(this.blocks).toReversed().map((node) => ({ node, depth: 0 }));
    for (let next = waiting.pop(); next; next = waiting.pop()) {
      const { node, depth } = next;
      const { fields, id } = node;
      const text = textOf(fields).toString();
      const cells = this.cellsOf(node);
      const isHidden = fields.get("gone") === true && text === "" && !cells?.some((cell) => cell.text);
      if (!isHidden) shown.push({ id, depth, text, type: String(fields.get("type")), node, ...(cells ? { cells } : {}) });
      for (const child of node.children.toReversed()) waiting.push({ node: child, depth: isHidden ? depth : depth + 1 });
    }
    return shown;
  }

  private cellsOf({ id, fields }: Node): Cell[] | undefined {
    const cells = fields.get("cells") as Y.Map<Y.Text> | undefined;
    if (!cells) return undefined;
    const merged = fields.get("merged") as Y.Map<string>;
    return [...cells].sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([place, text]) => ({ id: `${id}#${place}`, text: text.toString() }))
      .filter((cell) => cell.text || !merged.has(cell.id.slice(id.length + 1)));
  }

  read = (): Block[] => this.shown().map(({ id, type, depth, text, cells }) => ({ id, type, depth, text, ...(cells ? { cells } : {}) }));

  private find(id: string): { block: Shown; at: number; all: Shown[] } | undefined {
    const all = this.shown();
    const at = all.findIndex((shown) => shown.id === id);
    return at < 0 ? undefined : { block: all[at] as Shown, at, all };
  }

  private textAt(id: string): Y.Text | undefined {
    const [block, cell] = id.split("#") as [string, string | undefined];
    const fields = this.blocks.get(block);
    if (!fields) return undefined;
    return cell === undefined ? textOf(fields) : (fields.get("cells") as Y.Map<Y.Text> | undefined)?.get(cell);
  }

  private edit(work: () => void): void {
    this.history.stopCapturing();
    this.doc.transact(work, this);
  }

  type(id: string, at: number, text: string): void {
    const target = this.textAt(id);
    if (target) this.edit(() => { target.insert(Math.min(at, target.length), text); });
  }

  erase(id: string, from: number, to: number): void {
    const target = this.textAt(id);
    if (target) this.edit(() => { target.delete(from, Math.max(0, Math.min(to, target.length) - from)); });
  }

  turn(id: string, type: string): void {
    this.edit(() => { this.blocks.get(id)?.set("type", type); });
  }

  /** An order behind one sibling and before the next. */
  private orderBehind(siblings: Node[], behind: Node | undefined): string {
    const at = behind ? siblings.indexOf(behind) : -1;
    const low = siblings[at]?.order ?? null;
    const high = siblings.slice(at + 1).find(({ order }) => low === null || order > low)?.order ?? null;
    return generateKeyBetween(low, high);
  }

  private siblings(node: Node, all: Shown[]): Node[] {
    const parent = all.find((shown) => shown.id === node.parent);
    return parent ? parent.node.children : tree(this.blocks);
  }

  private put(id: string, parent: string, order: string): void {
    const fields = this.blocks.get(id);
    fields?.set("parent", parent);
    fields?.set("order", order);
  }

  indent(id: string): void {
    const found = this.find(id);
    if (!found) return;
    const above = found.all.slice(0, found.at).findLast((shown) => shown.depth <= found.block.depth);
    if (!above || above.depth !== found.block.depth) return;
    this.edit(() => { this.put(id, above.id, this.orderBehind(above.node.children, above.node.children.at(-1))); });
  }

  outdent(id: string): void {
    const found = this.find(id);
    const parent = found?.all.find((shown) => shown.id === found.block.node.parent);
    if (!parent || !found) return;
    const siblings = this.siblings(parent.node, found.all);
    const own = siblings.find((node) => node.id === parent.id);
    this.edit(() => { this.put(id, parent.node.parent, this.orderBehind(siblings, own)); });
  }

  private make(fields: Record<string, unknown>, text: string): string {
    const id = newId();
    const made = new Y.Map<unknown>();
    this.blocks.set(id, made);
    for (const [key, value] of Object.entries(fields)) made.set(key, value);
    made.set("text", new Y.Text(text));
    return id;
  }

  split(id: string, at: number): void {
    const found = this.find(id);
    if (!found || found.block.cells) return;
    const { block, all } = found;
    const siblings = this.siblings(block.node, all);
    const own = siblings.find((node) => node.id === id);
    this.edit(() => {
      const text = textOf(block.node.fields);
      const tail = block.text.slice(at);
      if (tail) text.delete(at, tail.length);
      const made = this.make({ type: block.type, parent: block.node.parent, order: this.orderBehind(siblings, own) }, tail);
      for (const child of block.node.children) child.fields.set("parent", made);
    });
  }

  join(id: string): void {
    const found = this.find(id);
    const above = found?.all[found.at - 1];
    if (!found || !above || above.cells || found.block.cells) return;
    const { block } = found;
    this.edit(() => {
      const text = textOf(block.node.fields);
      textOf(above.node.fields).insert(above.text.length, block.text);
      text.delete(0, text.length);
      block.node.fields.set("gone", true);
    });
  }

  move(id: string, behind: string | null): void {
    const found = this.find(id);
    if (!found) return;
    const target = found.all.find((shown) => shown.id === behind);
    for (let up = target; up; up = found.all.find((shown) => shown.id === up?.node.parent)) if (up.id === id) return;
    const top = tree(this.blocks);
    const siblings = target ? this.siblings(target.node, found.all) : top;
    const own = target ? siblings.find((node) => node.id === target.id) : undefined;
    this.edit(() => { this.put(id, target?.node.parent ?? "", this.orderBehind(siblings, own)); });
  }

  remove(id: string): void {
    const found = this.find(id);
    if (!found) return;
    const { fields } = found.block.node;
    this.edit(() => {
      const cells = fields.get("cells") as Y.Map<Y.Text> | undefined;
      for (const text of [textOf(fields), ...cells?.values() ?? []]) text.delete(0, text.length);
      fields.set("gone", true);
    });
  }

  mergeCells(into: string, cell: string): void {
    const [from, to] = [this.textAt(cell), this.textAt(into)];
    const [table, place] = cell.split("#") as [string, string];
    if (!from || !to) return;
    this.edit(() => {
      to.insert(to.length, from.toString());
      from.delete(0, from.length);
      (this.blocks.get(table)?.get("merged") as Y.Map<string>).set(place, into);
    });
  }

  undo(): void { this.history.undo(); }
  close(): void { this.history.destroy(); }
}

export const blocksModel: Model = {
  name: "b: blocks by id",
  seed(doc, seeds) {
    const blocks = doc.getMap<Fields>("blocks");
    doc.transact(() => {
      let order: string | null = null;
      for (const { id, type, text, cells } of seeds) {
        order = generateKeyBetween(order, null);
        const fields: Fields = new Y.Map();
        blocks.set(id, fields);
        for (const [key, value] of Object.entries({ type, parent: "", order })) fields.set(key, value);
        fields.set("text", new Y.Text(text));
        if (!cells) continue;
        const made = new Y.Map<Y.Text>();
        fields.set("cells", made);
        for (const cell of cells) made.set(cell.id.split("#")[1] as string, new Y.Text(cell.text));
        fields.set("merged", new Y.Map());
      }
    });
  },
  open: (doc) => new BlocksPage(doc),
};
