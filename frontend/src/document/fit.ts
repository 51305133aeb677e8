/**
 * Decides whether the editor can show a document without changing it.
 *
 * y-prosemirror deletes from the shared document, for everyone, whatever does not fit the editor's schema, merely by
 * showing it. So the document is checked before an editor is bound to it, and every later change is checked before the
 * editor receives it (watch.ts).
 *
 * Rules (tests quote these ids):
 *   UW1  Unknown content is: elements and marks missing from the schema, attributes that the schema does not define for
 *       their element or mark, attribute values that it does not allow, and anything in a text that is not text.
 *   UW4  Misplaced content is: known content where ProseMirror's content expressions or mark sets do not allow it, such as
 *       two paragraphs in one block, text outside of blocks, a second group, or nesting beyond `MAX_DEPTH`.
 *   UW5  Missing and repeated ids, missing attributes, tables with unequal rows and empty texts fit: the editor shows them
 *       whole and changes nothing until the user edits (binding.ts).
 */
import type { BlockNoteEditor } from "@blocknote/core";
import * as Y from "yjs";

export type Schema = BlockNoteEditor["pmSchema"];
type NodeType = Schema["topNodeType"];
type MarkType = Schema["marks"][string];

export interface Rules {
  schema: Schema;
  /** The values that an attribute may have, if they are listed. */
  values: (node: string, attribute: string) => readonly unknown[] | undefined;
}

export type Problem = "unknown" | "misplaced";

// The event type does not matter: only the content is read.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
export type Type = Y.AbstractType<any>;

/** Elements within each other: twice the levels of a list. Rendering and reading recurse. */
export const MAX_DEPTH = 200;
/** A table's map has an entry for each cell that a span covers. */
const MAX_SPAN = 1000;

/** Attributes that earlier versions of BlockNote set on the container; BlockNote migrates them. */
const CARRIED_OVER = new Set(["textColor", "backgroundColor"]);
/** Attributes that earlier versions of BlockNote set on links; all links have the same values today. */
const LINK_CARRIED_OVER = new Set(["target", "rel", "class", "title"]);

const isNumber = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value);
const isSpan = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_SPAN;

/** Attributes whose default does not show what kind of value they have, or not all of it. */
const KINDS: Record<string, (value: unknown) => boolean> = {
  id: (value) => value === null || typeof value === "string",
  start: (value) => value === null || isNumber(value),
  previewWidth: (value) => value === null || isNumber(value),
  colspan: isSpan,
  rowspan: isSpan,
  colwidth: (value) => value === null
    || (Array.isArray(value) && value.length <= MAX_SPAN && value.every((width) => width === null || isNumber(width))),
};

/** The items of a type that are not deleted. */
export function* itemsOf(type: Type): Generator<Y.Item> {
  for (let item = type._start; item !== null; item = item.right) if (!item.deleted) yield item;
}

/** The schema's type of an element; undefined if it has none. No element is a `text`: that is a Y.XmlText. */
export const nodeTypeOf = (element: Y.XmlElement, schema: Schema): NodeType | undefined =>
  element.nodeName === "text" ? undefined : schema.nodes[element.nodeName];

/** The name of a mark, without the hash of its value that y-prosemirror appends to overlapping marks. */
export const markName = (key: string): string => key.replace(/--[a-zA-Z0-9+/=]{8}$/, "");

/** Whether the schema allows this value of an attribute. */
export function isValue(type: NodeType, name: string, value: unknown, rules: Rules): boolean {
  const attrs: Record<string, { default?: unknown }> = type.spec.attrs ?? {};
  if (!Object.hasOwn(attrs, name)) return false;
  if (value === undefined) return true; // as if it were missing
  const kind = Object.hasOwn(KINDS, name) ? KINDS[name] : undefined;
  if (kind) return kind(value);
  const usual = attrs[name]?.default;
  if (usual !== null && usual !== undefined && typeof value !== typeof usual) return false;
  if (typeof value === "number" && !Number.isFinite(value)) return false;
  return rules.values(type.name, name)?.includes(value) ?? true;
}

/** Whether the schema allows this value of a mark. */
export function isMarkValue(type: MarkType, value: unknown): boolean {
  const known: object = type.spec.attrs ?? {};
  if (typeof value !== "object" || value === null) return Object.keys(known).length === 0;
  return !Array.isArray(value) && Object.entries(value).every(([name, part]) => {
    if (Object.hasOwn(known, name)) return part === null || typeof part === "string";
    return part === null || (type.name === "link" && LINK_CARRIED_OVER.has(name));
  });
}

/** The problem of one text with its marks. */
function problemOfText(text: Y.XmlText, parent: NodeType, { schema }: Rules): Problem | null {
  const marks = new Map<string, unknown>();
  let checked = true;
  let problem: Problem | null = null;
  for (const { content } of itemsOf(text)) {
    if (content instanceof Y.ContentFormat) {
      const { key, value } = content as { key: string; value: unknown };
      if (value === null) marks.delete(key);
      else marks.set(key, value);
      checked = false;
    } else if (!(content instanceof Y.ContentString)) return "unknown";
    else if (!checked) {
      checked = true;
      for (const [key, value] of marks) {
        const type = schema.marks[markName(key)];
        if (!type || !isMarkValue(type, value)) return "unknown";
        // BlockNote shows code without the marks that it does not allow there, and keeps them.
        if (!parent.allowsMarkType(type) && parent.spec.content !== "text*") problem = "misplaced";
      }
    }
  }
  return problem;
}

function hasUnknownAttribute(element: Y.XmlElement, type: NodeType, rules: Rules): boolean {
  for (const [name, item] of element._map) {
    if (item.deleted) continue;
    const value: unknown = item.content.getContent().at(-1);
    if (isValue(type, name, value, rules)) continue;
    if (type.name === "blockContainer" && CARRIED_OVER.has(name) && (value === null || typeof value === "string")) continue;
    // y-prosemirror ignores an attribute that the schema does not define; null would not be kept either.
    if (value !== null || Object.hasOwn(type.spec.attrs ?? {}, name)) return true;
  }
  return false;
}

/** The problem of one element or of the root: of its name, its attributes, its texts, and the order of its children. */
export function problemOf(part: Y.XmlFragment, rules: Rules): Problem | null {
  const { schema } = rules;
  const element = part instanceof Y.XmlElement ? (part as Y.XmlElement) : null;
  const type = element ? nodeTypeOf(element, schema) : schema.topNodeType;
  if (!type || (element && hasUnknownAttribute(element, type, rules))) return "unknown";
  let match: NodeType["contentMatch"] | null = type.contentMatch;
  let problem: Problem | null = null;
  for (const { content } of itemsOf(part)) {
    const child = content instanceof Y.ContentType ? (content.type as Type) : null;
    let kind: NodeType | undefined;
    if (child instanceof Y.XmlElement) {
      kind = nodeTypeOf(child as Y.XmlElement, schema);
      if (!kind) return "unknown";
    } else if (child instanceof Y.XmlText) {
      const found = problemOfText(child, type, rules);
      if (found === "unknown") return found;
      problem ??= found;
      if (child.length === 0) continue;
      kind = schema.nodes["text"];
    } else return "unknown";
    match = match && kind ? match.matchType(kind) : null;
  }
  // The editor shows an empty document as an empty paragraph, which it does not write.
  const isEmptyRoot = part._length === 0 && !element;
  if (!match || (!match.validEnd && !isEmptyRoot)) problem = "misplaced";
  return problem;
}

const isNever = (): boolean => false;

/** The worst problem of a part of a document and of all that is in it, except for those elements that are to be skipped. */
export function findProblem(part: Y.XmlFragment, rules: Rules, depth = 0, isSkipped: (item: Y.Item) => boolean = isNever): Problem | null {
  let problem: Problem | null = null;
  const waiting: [Y.XmlFragment, number][] = [[part, depth]];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [at, level] = next;
    const found = level > MAX_DEPTH ? "misplaced" : problemOf(at, rules);
    if (found === "unknown") return found;
    problem ??= found;
    for (const item of itemsOf(at)) {
      if (item.content instanceof Y.ContentType && item.content.type instanceof Y.XmlElement && !isSkipped(item)) {
        waiting.push([item.content.type, level + 1]);
      }
    }
  }
  return problem;
}

/** The worst problem that a transaction has brought into a document that had none. */
export function findNewProblem(transaction: Y.Transaction, root: Y.XmlFragment, rules: Rules): Problem | null {
  const isOld = (item: Y.Item): boolean => item.id.clock < (transaction.beforeState.get(item.id.client) ?? 0);
  const parts = new Set<Y.XmlFragment>();
  for (const type of transaction.changed.keys()) {
    const part = (type as Type) instanceof Y.XmlText ? type.parent : type;
    if (part instanceof Y.XmlFragment) parts.add(part);
  }
  let problem: Problem | null = null;
  for (const part of parts) {
    const depth = depthOf(part, root);
    if (depth === null) continue;
    const found = findProblem(part, rules, depth, isOld);
    if (found === "unknown") return found;
    problem ??= found;
  }
  return problem;
}

/** How many elements a part is in, below the root; null if it is elsewhere or deleted. */
function depthOf(part: Y.XmlFragment, root: Y.XmlFragment): number | null {
  let depth = 0;
  for (let at: Type | null = part; at; at = at.parent as Type | null) {
    if (at === root) return depth;
    if (at._item?.deleted) return null;
    depth += 1;
  }
  return null;
}
