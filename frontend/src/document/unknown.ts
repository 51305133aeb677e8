/**
 * Detects content that the editor's schema does not know: blocks, marks and attributes from a newer version of Raffia or
 * from another program.
 *
 * Merely by showing a document, an editor deletes unknown content from it, for everyone. So the document is checked before
 * an editor is bound to it, and every later update is checked before the editor receives it.
 *
 * Rules (tests quote these ids):
 *   UW1  Unknown content is: elements and marks missing from the schema, attributes that the schema does not define for
 *       their element, and anything in a text that is not text.
 *   UW2  The editor is stopped within the transaction that adds unknown content: it writes neither that transaction's
 *       effects nor anything typed afterwards.
 *   UW3  Once the last unknown content is gone, the document can be edited again.
 */
import * as Y from "yjs";

/** The parts of a ProseMirror schema that are used here. */
export interface Schema {
  nodes: Record<string, { spec: { attrs?: Record<string, unknown> } }>;
  marks: Record<string, unknown>;
}

// The event type does not matter: only the content is read.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Type = Y.AbstractType<any>;

/** The name of a mark, without the hash of its value that y-prosemirror appends to overlapping marks. */
const markName = (key: string): string => key.replace(/--[a-zA-Z0-9+/=]{8}$/, "");

const hasMark = (text: Y.Text, key: string): boolean =>
  (text.toDelta() as { attributes?: Record<string, unknown> }[]).some(({ attributes }) => attributes !== undefined && key in attributes);

/** Attributes that earlier versions of BlockNote set on the container; BlockNote migrates them. */
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
    // A mark whose text was deleted may be left over; it no longer affects anything.
    return !(markName(content.key) in schema.marks) && parent instanceof Y.Text && hasMark(parent, content.key);
  }
  if (content instanceof Y.ContentType) return !(content.type instanceof Y.XmlText) || parent instanceof Y.Text;
  return !(content instanceof Y.ContentString);
}

/** Whether a part of a document currently has unknown content (UW1). */
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

/** Whether a transaction has added unknown content to a part of a document. */
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

/** Watches a document's text for unknown content. */
export class UnknownWatcher {
  private readonly listeners = new Set<() => void>();
  private readonly stops = new Set<() => void>();
  private frame = 0;
  private finding: Finding = "unseen";

  constructor(
    private readonly root: Y.XmlFragment,
    private readonly schema: Schema,
  ) {}

  /** Register a function that stops an editor; it is called within the transaction (UW2). Returns its removal. */
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
        check(); // UW3
      });
    };
    check();
    // This event precedes all type observers, and so the editor.
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

/** Remove unknown marks, so that the marked text can be shown. */
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
 * A one-way copy of a document: it follows the original, but changes to the copy, such as an editor's deletions, stay in
 * the copy. Text with unknown marks is included without these marks.
 */
export class Copy {
  readonly doc = new Y.Doc();

  constructor(private readonly original: Y.Doc, private readonly root: string, private readonly schema: Schema) {
    this.apply(Y.encodeStateAsUpdate(original));
  }

  start(): () => void {
    const follow = (update: Uint8Array): void => { this.apply(update); };
    // Updates since the copy was created.
    follow(Y.encodeStateAsUpdate(this.original, Y.encodeStateVector(this.doc)));
    this.original.on("update", follow);
    return () => { this.original.off("update", follow); };
  }

  /** In one transaction, so that an editor never sees the unknown marks. */
  private apply(update: Uint8Array): void {
    this.doc.transact(() => {
      Y.applyUpdate(this.doc, update);
      removeUnknownMarks(this.doc.getXmlFragment(this.root), this.schema);
    });
  }
}
