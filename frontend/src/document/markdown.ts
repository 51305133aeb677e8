/**
 * Text that people wrote, prepared for BlockNote's Markdown exporter, which writes text and URLs as they are.
 *
 * Rules (tests quote these ids):
 *   MK1  Text stays text: no character of it becomes markup, raw HTML or a link in the exported file. Inline code and code
 *        blocks need no escaping, but the language of a code block is a single word.
 *   MK2  A URL stays one URL: characters that end a link destination are percent-encoded.
 */
import { safeUrl } from "./urls";

/** Punctuation that is Markdown anywhere in a line. `_` inside a word is not. */
const ANYWHERE = /[\\`*[\]~<]|(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])|&(?=#?\w{1,40};|$)/gu;
/** What begins a heading, a quote, a list or a rule at the start of a line. */
const AT_START = /(^|\n)([ \t]{0,3})(#{1,6}(?=\s|$)|[+-](?=[\s-]|$)|>|\d{1,9}[.)](?=\s|$))/g;
const ENDS_DESTINATION = /[\s\p{C}<>()"'`\\{}|^]|&(?=#?\w{1,40};)/gu;
const ENTITIES: Record<string, string> = { "<": "&lt;", "&": "&amp;" };

/** Text as Markdown that shows it (MK1). */
export function escapeText(text: string, startsLine = false): string {
  const escaped = text.replace(ANYWHERE, (char) => ENTITIES[char] ?? `\\${char}`);
  return escaped.replace(AT_START, (all, before: string, indent: string, mark: string) =>
    before === "" && !startsLine ? all : `${before}${indent}${mark.slice(0, -1)}\\${mark.slice(-1)}`);
}

/** A URL as a Markdown link destination, which is also safe in an HTML attribute (MK2). */
export const escapeUrl = (url: string): string =>
  safeUrl(url).replace(ENDS_DESTINATION, (char) => [...new TextEncoder().encode(char)]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(""));

/** What `escapeText` writes as entities, which BlockNote's Markdown parser does not know. */
export const unescapeText = (text: string): string => text.replace(/&(lt|amp);/g, (_all, name: string) => name === "lt" ? "<" : "&");

interface Inline {
  type: string;
  text?: string;
  href?: string;
  styles?: Record<string, unknown>;
  content?: unknown;
}

/** Inline content, or a table's content, with its text and URLs changed; code is left alone. */
export function mapText(content: unknown, text: (text: string, isFirst: boolean) => string, href: (url: string) => string): unknown {
  if (typeof content === "string") return text(content, true);
  if (Array.isArray(content)) {
    return content.map((item: Inline, at) => {
      if (item.type === "text" && typeof item.text === "string") {
        return item.styles?.["code"] === true ? item : { ...item, text: text(item.text, at === 0) };
      }
      if (item.type === "link") {
        return { ...item, href: href(item.href ?? ""), content: mapText(item.content, (inner) => text(inner, false), href) };
      }
      return item;
    });
  }
  const table = content as { type?: string; rows?: { cells: unknown[] }[] } | undefined;
  if (table?.type !== "tableContent" || !table.rows) return content;
  const cell = (one: unknown): unknown => {
    const { content: inner } = one as { content?: unknown };
    return Array.isArray(one) || inner === undefined ? mapText(one, text, href) : { ...one as object, content: mapText(inner, text, href) };
  };
  return { ...table, rows: table.rows.map((row) => ({ ...row, cells: row.cells.map(cell) })) };
}

interface Block {
  type: string;
  props: Record<string, unknown>;
  content?: unknown;
  children: Block[];
}

const oneLine = (value: unknown): string => typeof value === "string" ? value.replace(/\s+/g, " ").trim() : "";

const isFigure = ({ type, props }: Block): boolean => type !== "file" && props["showPreview"] !== false && Boolean(oneLine(props["caption"]));

/** Blocks whose text and attributes BlockNote can write as they are (MK1, MK2). */
export function escapeBlocks<B>(blocks: B[]): B[] {
  return (blocks as unknown as Block[]).map((block) => {
    const props = { ...block.props };
    if ("language" in props && !/^[\w+#.-]{0,40}$/.test(String(props["language"]))) props["language"] = "";
    // A captioned preview becomes HTML, whose text and attributes BlockNote escapes itself.
    const own = isFigure(block) ? (text: string): string => text : (text: string): string => escapeText(text, true);
    for (const name of ["name", "caption"]) if (name in props) props[name] = own(oneLine(props[name]));
    const content = block.type === "codeBlock" ? block.content : mapText(block.content, escapeText, escapeUrl);
    return { ...block, props, content, children: escapeBlocks(block.children) };
  }) as unknown as B[];
}

/** Blocks that BlockNote has read from Markdown, without the escapes that it does not know. */
export function unescapeBlocks<B>(blocks: B[]): B[] {
  return (blocks as unknown as Block[]).map((block) => {
    const props = { ...block.props };
    const { name } = props;
    // BlockNote takes the name between brackets as it stands.
    if (typeof name === "string" && !isFigure(block)) props["name"] = unescapeText(name.replace(/\\([!-/:-@[-`{-~])/g, (_all, char: string) => char));
    const content = block.type === "codeBlock" ? block.content : mapText(block.content, unescapeText, (url) => url);
    return { ...block, props, content, children: unescapeBlocks(block.children) };
  }) as unknown as B[];
}
