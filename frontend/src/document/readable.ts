/**
 * A document as the editor can show it, whatever the document holds, for reading only.
 *
 * Rules (tests quote these ids):
 *   UY1  Every text is in it once, in the document's order: what fits keeps its form, text from anywhere else becomes a
 *       paragraph, or stays in the paragraph or cell around it.
 *   UY2  It always fits the schema. Attributes and marks that do not fit are left out.
 *   UY3  Nothing is written: the document is only read.
 *   UY4  Blocks without an id of their own get the same one each time, so that only what has changed is drawn again.
 */
import type { BlockNoteEditor } from "@blocknote/core";
import * as Y from "yjs";
import { findProblem, isMarkValue, isValue, itemsOf, markName, MAX_DEPTH, nodeTypeOf, type Rules, type Type } from "./fit";

type Node = BlockNoteEditor["prosemirrorState"]["doc"];
type NodeType = Node["type"];

/** Elements of a document and the nodes that show them unchanged. */
export type Unchanged = Map<Type, Node>;

/**
 * The document as a ProseMirror node of the rules' schema.
 *
 * @param unchanged gets each block that fits, with everything in it.
 */
export const readable = (root: Y.XmlFragment, rules: Rules, unchanged: Unchanged = new Map()): Node => new Reader(rules, unchanged).read(root);

/** Elements within a block, at most: content, row, cell, paragraph, line break. */
const MARGIN = 8;

/** `depth` is how many elements are around an item, in the document or in what is shown of it, whichever are more. */
class Reader {
  private readonly ids = new Set<string>();
  private readonly schema: Rules["schema"];

  constructor(private readonly rules: Rules, private readonly unchanged: Unchanged) {
    this.schema = rules.schema;
  }

  read(root: Y.XmlFragment): Node {
    const blocks = this.blocksIn(root, 0);
    const all = blocks.length > 0 ? blocks : [this.container(this.node("paragraph"), null, "empty")];
    return this.schema.node("doc", null, [this.schema.node("blockGroup", null, all)]);
  }

  /** Everything in a type, as blocks. */
  private blocksIn(type: Type, depth: number): Node[] {
    return [...itemsOf(type)].flatMap((item) => this.blocksOf(item, depth));
  }

  private blocksOf(item: Y.Item, depth: number): Node[] {
    const element = elementOf(item);
    if (!element || depth + MARGIN > MAX_DEPTH) return this.paragraph(item);
    if (element.nodeName === "blockContainer") return this.blocksOfContainer(element, item, depth);
    if (nodeTypeOf(element, this.schema)?.isInGroup("blockContent")) {
      const { content, rest } = this.content(element, depth + 1);
      return content ? [this.container(content, null, idOf(item), rest)] : rest;
    }
    return this.blocksIn(element, depth + 1); // a group, or a part of something else
  }

  /** A container's blocks: one, unless it holds several contents, or something that is no content. */
  private blocksOfContainer(element: Y.XmlElement, own: Y.Item, depth: number): Node[] {
    const before: Node[] = [];
    const blocks: { content: Node; children: Node[]; id: string }[] = [];
    for (const item of itemsOf(element)) {
      const part = elementOf(item);
      if (part && nodeTypeOf(part, this.schema)?.isInGroup("blockContent")) {
        const { content, rest } = this.content(part, depth + 1);
        if (content) {
          blocks.push({ content, children: rest, id: idOf(item) });
          continue;
        }
        (blocks.at(-1)?.children ?? before).push(...rest);
      } else {
        const parts = part?.nodeName === "blockGroup" ? this.blocksIn(part, depth + 2) : this.blocksOf(item, depth + 2);
        (blocks.at(-1)?.children ?? before).push(...parts);
      }
    }
    const id: unknown = element.getAttribute("id");
    const all = [...before, ...blocks.map(({ content, children, id: fallback }, at) =>
      this.container(content, at === 0 ? id : null, at === 0 ? idOf(own) : fallback, children))];
    const [only] = all;
    if (only && all.length === 1 && only.attrs["id"] === id && !findProblem(element, this.rules, depth + 1)) this.unchanged.set(element, only);
    return all;
  }

  private container(content: Node, wanted: unknown, fallback: string, children: Node[] = []): Node {
    const id = typeof wanted === "string" && !this.ids.has(wanted) ? wanted : fallback;
    this.ids.add(id);
    return this.schema.node("blockContainer", { id }, children.length > 0 ? [content, this.schema.node("blockGroup", null, children)] : [content]);
  }

  /** An element of the group `blockContent`, and what is in it but cannot be shown there, as blocks. */
  private content(element: Y.XmlElement, depth: number): { content: Node | null; rest: Node[] } {
    const type = nodeTypeOf(element, this.schema) as NodeType;
    if (type.name === "table") return this.table(element, depth);
    if (type.inlineContent) return { content: this.node(type.name, element, this.inline(element, type, depth)), rest: [] };
    return { content: this.node(type.name, element), rest: this.blocksIn(element, depth + 1) };
  }

  private table(element: Y.XmlElement, depth: number): { content: Node | null; rest: Node[] } {
    const rest: Node[] = [];
    const rows: Node[] = [];
    for (const item of itemsOf(element)) {
      const row = elementOf(item);
      if (row?.nodeName !== "tableRow") {
        rest.push(...this.blocksOf(item, depth + 1));
        continue;
      }
      const cells: Node[] = [];
      for (const part of itemsOf(row)) {
        const cell = elementOf(part);
        if (cell?.nodeName === "tableCell" || cell?.nodeName === "tableHeader") cells.push(this.cell(cell, depth));
        else rest.push(...this.blocksOf(part, depth + 2));
      }
      if (cells.length > 0) rows.push(this.node("tableRow", row, cells));
    }
    return { content: rows.length > 0 ? this.node("table", element, rows) : null, rest };
  }

  private cell(element: Y.XmlElement, depth: number): Node {
    const type = this.schema.nodes["tableParagraph"] as NodeType;
    const paragraphs: Node[] = [];
    for (const item of itemsOf(element)) {
      const words = this.inlineOf(item, type, depth);
      if (words.length > 0 || elementOf(item)?.nodeName === "tableParagraph") paragraphs.push(this.node(type.name, null, words));
    }
    return this.node(element.nodeName, element, paragraphs.length > 0 ? paragraphs : [this.node(type.name)]);
  }

  private paragraph(item: Y.Item): Node[] {
    const type = this.schema.nodes["paragraph"] as NodeType;
    const words = this.inlineOf(item, type, 0);
    return words.length > 0 ? [this.container(this.node(type.name, null, words), null, idOf(item))] : [];
  }

  /** Everything in a type that can be in a line of text. Parts that are not text themselves are set off by a space. */
  private inline(part: Type, parent: NodeType, depth: number): Node[] {
    const nodes: Node[] = [];
    for (const item of itemsOf(part)) {
      const words = this.inlineOf(item, parent, depth);
      const isText = item.content instanceof Y.ContentType && item.content.type instanceof Y.XmlText;
      if (!isText && words.length > 0 && nodes.length > 0 && words[0]?.isText) nodes.push(this.schema.text(" "));
      nodes.push(...words);
    }
    return nodes;
  }

  private inlineOf({ content }: Y.Item, parent: NodeType, depth: number): Node[] {
    if (!(content instanceof Y.ContentType)) return this.text(stringsIn(content).join(" "));
    const type = content.type as Type;
    if (type instanceof Y.Text) return this.runs(type, parent, depth);
    if (type instanceof Y.XmlElement && type.nodeName === "hardBreak") {
      const kind = this.schema.nodes["hardBreak"] as NodeType;
      const mark = parent.contentMatch.matchType(kind) ? this.schema.node(kind) : this.schema.text("\n");
      return [mark, ...(depth > MAX_DEPTH ? this.text(wordsBelow(type)) : this.inline(type, parent, depth + 1))];
    }
    return depth > MAX_DEPTH ? this.text(wordsBelow(type)) : this.inline(type, parent, depth + 1);
  }

  /** A text with the marks that fit. */
  private runs(text: Y.Text, parent: NodeType, depth: number): Node[] {
    const nodes: Node[] = [];
    const marks = new Map<string, unknown>();
    for (const item of itemsOf(text)) {
      if (item.content instanceof Y.ContentFormat) {
        marks.set(item.content.key, item.content.value);
      } else if (item.content instanceof Y.ContentString) {
        const fitting = [...marks].flatMap(([key, value]) => {
          const type = this.schema.marks[markName(key)];
          return value !== null && type && isMarkValue(type, value) && parent.allowsMarkType(type) ? [type.create(value)] : [];
        });
        nodes.push(...this.text(item.content.str).map((node) => node.mark(fitting.reduce((set, mark) => mark.addToSet(set), node.marks))));
      } else nodes.push(...this.inlineOf(item, parent, depth + 1));
    }
    return nodes;
  }

  private text(words: string): Node[] {
    return words === "" ? [] : [this.schema.text(words)];
  }

  private node(name: string, element: Y.XmlElement | null = null, content: Node[] = []): Node {
    const type = this.schema.nodes[name] as NodeType;
    const attributes: [string, unknown][] = element ? Object.entries(element.getAttributes() as object) : [];
    return type.createChecked(Object.fromEntries(attributes.filter(([key, value]) => isValue(type, key, value, this.rules))), content);
  }
}

const elementOf = ({ content }: Y.Item): Y.XmlElement | null =>
  content instanceof Y.ContentType && content.type instanceof Y.XmlElement ? content.type : null;

const idOf = ({ id: { client, clock } }: Y.Item): string => `${client}-${clock}`;

/** Strings that are in a document without being in a text. */
function stringsIn(content: Y.Item["content"]): string[] {
  if (content instanceof Y.ContentString) return [content.str];
  if (content instanceof Y.ContentAny || content instanceof Y.ContentJSON) {
    return (content.getContent() as unknown[]).filter((value) => typeof value === "string");
  }
  return [];
}

/** All words in a type, however deep: without recursion. */
function wordsBelow(type: Type): string {
  const words: string[] = [];
  const waiting: Y.Item[] = [...itemsOf(type)].reverse();
  for (let item = waiting.pop(); item; item = waiting.pop()) {
    words.push(...stringsIn(item.content));
    if (item.content instanceof Y.ContentType) waiting.push(...[...itemsOf(item.content.type as Type)].reverse());
  }
  return words.join(" ");
}
