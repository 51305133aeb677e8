/**
 * Import and export of documents as Markdown and HTML.
 *
 * Rules:
 *   UX1  A conversion contacts no other host and runs no scripts: image URLs are replaced by inert placeholders, and files
 *       are parsed in a document without a window.
 *   UX2  Exported HTML embeds its images; Markdown contains their absolute URLs. Importing either restores the images.
 *   UX3  Text that people wrote is never a pattern, a template or markup: HTML is made of DOM nodes, Markdown is escaped
 *        (markdown.ts), and a URL that could run a script is replaced. Exported HTML forbids scripts by its own policy.
 */
import { api, ownFilePath } from "../app/api";
import type { DocumentSession } from "../connection/session";
import { adopt, foreignFile } from "./adopt";
import type { DocumentEditor } from "./editor";
import { escapeBlocks, escapeUrl, unescapeBlocks } from "./markdown";
import { upload } from "./upload";
import { t } from "../strings";
import { showToast } from "../ui/toast";
import { safeUrl } from "./urls";

/** A file of text: what it becomes has to fit into one update. */
export const MAX_TEXT_BYTES = 8 * 1024 * 1024;

type Block = DocumentEditor["document"][number];

/** The blocks, including their children, with changed file URLs. */
function mapUrls(blocks: Block[], change: (url: string) => string): Block[] {
  return blocks.map((block) => {
    const url = (block.props as { url?: unknown }).url;
    const props = typeof url === "string" && url ? { ...block.props, url: change(url) } : block.props;
    return { ...block, props, children: mapUrls(block.children, change) } as Block;
  });
}

interface Placed {
  blocks: Block[];
  urls: string[];
  /** A text with the URLs' replacements in place of the placeholders. */
  fill: (text: string, replacements: string[]) => string;
}

/** The blocks with placeholders instead of URLs (UX1). */
function withPlaceholders(blocks: Block[]): Placed {
  const urls: string[] = [];
  // Unique, so it does not occur in the document, and a URL that is never fetched.
  const prefix = `data:,raffia-file-${crypto.randomUUID()}-`;
  const changed = mapUrls(blocks, (url) => `${prefix}${urls.push(url) - 1}.`);
  const fill = (text: string, replacements: string[]): string => {
    const [first = "", ...rest] = text.split(prefix);
    return first + rest.map((part) => {
      const end = part.indexOf(".");
      return `${replacements[Number(part.slice(0, end))] ?? ""}${part.slice(end + 1)}`;
    }).join("");
  };
  return { blocks: changed, urls, fill };
}

/** Remove empty blocks at the end, which exist only to be typed into. */
function trimTrailing(blocks: Block[]): Block[] {
  const end = blocks.findLastIndex((block) =>
    block.type !== "paragraph" || block.children.length > 0 || !Array.isArray(block.content) || block.content.length > 0);
  return blocks.slice(0, end + 1);
}

const fullUrl = (url: string): string => ownFilePath(url) === null ? url : new URL(url, location.href).href;

export function toMarkdown(editor: DocumentEditor): string {
  const { blocks, urls, fill } = withPlaceholders(trimTrailing(editor.document));
  return fill(editor.blocksToMarkdownLossy(escapeBlocks(blocks)), urls.map((url) => escapeUrl(fullUrl(url))));
}

/** No scripts, no frames, no plugins. Images, videos and audio of other hosts are shown, as their authors wanted. */
const POLICY = "default-src 'none'; img-src data: http: https:; media-src data: http: https:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const STYLE = "body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.6 system-ui, sans-serif } img { max-width: 100% } " +
  "table { border-collapse: collapse } td, th { border: 1px solid #bbb; padding: .3rem .6rem } pre { overflow: auto; padding: 1rem; background: #f3f1ed; color: #21201e }";

export async function toHtml(editor: DocumentEditor, session: DocumentSession, title: string): Promise<string> {
  const { blocks, urls, fill } = withPlaceholders(trimTrailing(editor.document));
  const shown = urls.map(fullUrl);
  const embedded = await Promise.all(urls.map(async (url, at) => {
    const path = ownFilePath(url);
    return path === null ? shown[at] ?? "" : dataUrl(await api.download(session.id, path)); // UX2
  }));
  // A document without a window: it loads nothing and runs nothing.
  const page = document.implementation.createHTMLDocument(title);
  page.body.innerHTML = editor.blocksToHTMLLossy(blocks);
  fillPage(page, (text) => fill(text, embedded), (text) => fill(text, shown));
  page.head.prepend(
    metaOf(page, { charset: "utf-8" }),
    // Before anything that it has to hold for.
    metaOf(page, { "http-equiv": "Content-Security-Policy", content: POLICY }),
    metaOf(page, { name: "viewport", content: "width=device-width" }),
  );
  const style = page.createElement("style");
  style.textContent = STYLE;
  page.head.append(style);
  return `<!doctype html>\n${page.documentElement.outerHTML}\n`;
}

function metaOf(page: Document, attributes: Record<string, string>): HTMLMetaElement {
  const meta = page.createElement("meta");
  for (const [name, value] of Object.entries(attributes)) meta.setAttribute(name, value);
  return meta;
}

/** Replace the placeholders in a page's attributes and texts, and the URLs that could run a script (UX3). */
function fillPage(page: Document, attribute: (text: string) => string, text: (text: string) => string): void {
  for (const element of page.body.querySelectorAll("*")) {
    for (const { name, value } of [...element.attributes]) {
      const filled = attribute(value);
      element.setAttribute(name, name === "href" || name === "src" ? safeUrl(filled) : filled);
    }
  }
  const texts = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) node.nodeValue = text(node.nodeValue ?? "");
}

function dataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => { resolve(reader.result as string); };
    reader.onerror = () => { reject(reader.error ?? new Error("cannot be read")); };
    reader.readAsDataURL(blob);
  });
}

/** A file's text: UTF-8, or windows-1252 if it is not valid UTF-8. */
async function textOf(file: File): Promise<string> {
  const bytes = await file.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/** Refused before anything of it is in the document. */
export class TooLargeError extends Error {
  override name = "TooLargeError";
}

/** The blocks' size in an update, about: all texts, and what each block takes. */
function sizeOf(blocks: readonly Block[]): number {
  const encoder = new TextEncoder();
  return blocks.reduce((sum, { content, props, children }) =>
    sum + 200 + encoder.encode(JSON.stringify(content ?? "")).length + encoder.encode(JSON.stringify(props)).length + sizeOf(children), 0);
}

async function parse(editor: DocumentEditor, file: File): Promise<Block[]> {
  const text = await textOf(file);
  if (/\.html?$/i.test(file.name)) {
    return editor.tryParseHTMLToBlocks(new DOMParser().parseFromString(text, "text/html").body.innerHTML);
  }
  if (/\.txt$/i.test(file.name)) {
    const lines = text.trimEnd().split(/\r?\n/);
    return text.trim() === "" ? [] : lines.map((line) => ({ type: "paragraph", content: line, children: [], props: {}, id: "" }) as unknown as Block);
  }
  return unescapeBlocks(editor.tryParseMarkdownToBlocks(text));
}

/** Upload a file's embedded images. One that cannot be uploaded is omitted; `upload` has told the user why. */
async function uploadEmbedded(session: DocumentSession, blocks: Block[]): Promise<Block[]> {
  const done: Block[] = [];
  for (const block of blocks) {
    const children = await uploadEmbedded(session, block.children);
    const url = (block.props as { url?: string }).url ?? "";
    const own = ownFilePath(url);
    let change: { url: string } | Record<string, never> = own === null ? {} : { url: own };
    const foreign = foreignFile(url, session.id);
    if (foreign !== null) {
      try {
        change = { url: await adopt(session, foreign) };
      } catch {
        showToast(t.failed.copyImage, { isError: true });
      }
    }
    const embedded = /^data:(image\/[\w.+-]+);base64,(.*)$/s.exec(url);
    if (url.startsWith("data:")) {
      if (!embedded) continue;
      const bytes = Uint8Array.from(atob(embedded[2] ?? ""), (char) => char.charCodeAt(0));
      try {
        change = { url: await upload(session, new File([bytes], "image", { type: embedded[1] ?? "" })) };
      } catch {
        continue;
      }
    }
    done.push({ ...block, props: { ...block.props, ...change }, children } as Block);
  }
  return done;
}

/** Insert a file's content after the block with the cursor; false if the file is empty. */
export async function insert(editor: DocumentEditor, session: DocumentSession, file: File): Promise<boolean> {
  const blocks = trimTrailing(await uploadEmbedded(session, await parse(editor, file)));
  if (blocks.length === 0) return false;
  if (sizeOf(blocks) > MAX_TEXT_BYTES) throw new TooLargeError("the content is larger than one update may be");
  const { block } = editor.getTextCursorPosition();
  const isEmpty = block.type === "paragraph" && Array.isArray(block.content) && block.content.length === 0 && block.children.length === 0;
  const inserted = editor.insertBlocks(blocks, block, "after");
  if (isEmpty) editor.removeBlocks([block]);
  const last = inserted.at(-1);
  if (last) editor.setTextCursorPosition(last, "end");
  editor.focus();
  return true;
}
