/**
 * What of a document this editor does not know: blocks, marks and settings of a newer version, or of another program.
 *
 * An editor deletes what it does not know from the shared document, for everybody, just by showing it. So it is looked
 * for before an editor is bound to the document, and in everything that comes in later, before the editor hears of it.
 *
 * Rules (tests quote these ids):
 *   K1  Unknown are: elements and marks that the schema lacks, settings that an element of the schema lacks, and anything
 *       in a text that is not text.
 *   K2  The editor is stopped in the very transaction that brings something unknown: neither that nor anything that is
 *       typed afterwards is written by it.
 *   K3  When the last unknown thing is gone, the document can be edited again.
 */
import * as Y from "yjs";

/** What is needed of ProseMirror's schema. */
export interface Schema {
  nodes: Record<string, { spec: { attrs?: Record<string, unknown> } }>;
  marks: Record<string, unknown>;
}

// Of any events: only its content is looked at.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Type = Y.AbstractType<any>;

/** Marks that may overlap have a hash of their value behind their names. */
const markName = (key: string): string => key.replace(/--[a-zA-Z0-9+/=]{8}$/, "");

const hasMark = (text: Y.Text, key: string): boolean =>
  (text.toDelta() as { attributes?: Record<string, unknown> }[]).some(({ attributes }) => attributes !== undefined && key in attributes);

/** Settings that earlier versions of BlockNote gave to the container: it carries them over. */
const CARRIED_OVER = new Set(["textColor", "backgroundColor"]);

function isUnknown(item: Y.Item, schema: Schema): boolean {
  const { content, parent, parentSub } = item;
  if (content instanceof Y.ContentType && content.type instanceof Y.XmlElement) {
    return content.type instanceof Y.XmlHook || !(content.type.nodeName in schema.nodes);
  }
  if (parentSub !== null) {
    if (!(parent instanceof Y.XmlElement)) return false;
    const known = schema.nodes[parent.nodeName]?.spec.attrs ?? {};
    return !(parentSub in known) && !(parent.nodeName === "blockContainer" && CARRIED_OVER.has(parentSub)) && content.getContent().at(-1) !== null;
  }
  if (content instanceof Y.ContentFormat) {
    // Where all of its text was deleted a mark may be left over: it is nothing that could be lost.
    return !(markName(content.key) in schema.marks) && parent instanceof Y.Text && hasMark(parent, content.key);
  }
  if (content instanceof Y.ContentType) return !(content.type instanceof Y.XmlText) || parent instanceof Y.Text;
  return !(content instanceof Y.ContentString);
}

/** Whether a part of a document holds something unknown now (K1). */
export function hasUnknown(type: Type, schema: Schema): boolean {
  const isBad = (item: Y.Item): boolean => {
    if (item.deleted) return false;
    if (isUnknown(item, schema)) return true;
    return item.content instanceof Y.ContentType && hasUnknown(item.content.type as Type, schema);
  };
  for (const item of type._map.values()) if (isBad(item)) return true;
  for (let item = type._start; item !== null; item = item.right) if (isBad(item)) return true;
  return false;
}

/** Whether a transaction has put something unknown into a part of a document. */
export function addsUnknown(transaction: Y.Transaction, root: Type, schema: Schema): boolean {
  for (const [client, after] of transaction.afterState) {
    const before = transaction.beforeState.get(client) ?? 0;
    if (before === after) continue;
    const structs = transaction.doc.store.clients.get(client) ?? [];
    for (let at = Y.findIndexSS(structs, before); at < structs.length; at += 1) {
      const struct = structs[at];
      if (struct instanceof Y.Item && !struct.deleted && isUnknown(struct, schema) && isInside(struct, root)) return true;
    }
  }
  return false;
}

function isInside(item: Y.Item, root: Type): boolean {
  let parent = item.parent as Type | null;
  while (parent && parent !== root) parent = parent._item?.parent as Type | null;
  return parent === root;
}

export type Finding = "unseen" | "known" | "unknown";

/** Keeps watch over one document's text, for a page. */
export class UnknownWatcher {
  private readonly listeners = new Set<() => void>();
  private readonly stops = new Set<() => void>();
  private frame = 0;
  private finding: Finding = "unseen";

  constructor(
    private readonly root: Y.XmlFragment,
    private readonly schema: Schema,
  ) {}

  /** Have an editor stopped, in the middle of the transaction (K2). */
  onUnknown(stop: () => void): () => void {
    this.stops.add(stop);
    return () => { this.stops.delete(stop); };
  }

  start(): () => void {
    const doc = this.root.doc as Y.Doc;
    const check = (): void => { this.setFinding(hasUnknown(this.root, this.schema) ? "unknown" : "known"); };
    const before = (transaction: Y.Transaction): void => {
      if (this.finding === "unknown" || transaction.local || !addsUnknown(transaction, this.root, this.schema)) return;
      for (const stop of this.stops) stop();
      this.setFinding("unknown");
    };
    const after = (): void => {
      if (this.finding !== "unknown" || this.frame) return;
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        check(); // K3
      });
    };
    check();
    // Before anything that observes a type: before the editor.
    doc.on("beforeObserverCalls", before);
    doc.on("afterTransaction", after);
    return () => {
      doc.off("beforeObserverCalls", before);
      doc.off("afterTransaction", after);
      cancelAnimationFrame(this.frame);
      this.frame = 0;
    };
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => { this.listeners.delete(listener); };
  };

  snapshot = (): Finding => this.finding;

  private setFinding(finding: Finding): void {
    if (this.finding === finding) return;
    this.finding = finding;
    for (const listener of this.listeners) listener();
  }
}

/** Take all marks that the schema lacks from a text: without them its words can be shown. */
function removeUnknownMarks(type: Type, schema: Schema): void {
  const keys = new Set<string>();
  for (let item = type._start; item !== null; item = item.right) {
    if (item.deleted) continue;
    if (item.content instanceof Y.ContentType) removeUnknownMarks(item.content.type as Type, schema);
    else if (item.content instanceof Y.ContentFormat && !(markName(item.content.key) in schema.marks)) keys.add(item.content.key);
  }
  if (keys.size > 0 && type instanceof Y.Text) type.format(0, type.length, Object.fromEntries([...keys].map((key) => [key, null])));
}

/**
 * A copy of a document that follows it and gives nothing back: what an editor deletes from it is deleted nowhere else.
 * Words with unknown marks are in it without these marks.
 */
export class Copy {
  readonly doc = new Y.Doc();

  constructor(private readonly original: Y.Doc, private readonly root: string, private readonly schema: Schema) {
    this.apply(Y.encodeStateAsUpdate(original));
  }

  start(): () => void {
    const follow = (update: Uint8Array): void => { this.apply(update); };
    // What came between the copying and now.
    follow(Y.encodeStateAsUpdate(this.original, Y.encodeStateVector(this.doc)));
    this.original.on("update", follow);
    return () => { this.original.off("update", follow); };
  }

  /** In one transaction, so that no editor hears of the marks. */
  private apply(update: Uint8Array): void {
    this.doc.transact(() => {
      Y.applyUpdate(this.doc, update);
      removeUnknownMarks(this.doc.getXmlFragment(this.root), this.schema);
    });
  }
}
