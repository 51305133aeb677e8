/**
 * Import and export of documents as Markdown and HTML.
 *
 * Rules:
 *   UX1  A conversion contacts no other host and runs no scripts: image URLs are replaced by inert placeholders, and files
 *       are parsed in a document without a window.
 *   UX2  Exported HTML embeds its images; Markdown contains their absolute URLs. Importing either restores the images.
 */
import { api, ownFilePath } from "../app/api";
import type { DocumentSession } from "../connection/session";
import type { DocumentEditor } from "./editor";
import { upload } from "./upload";

type Block = DocumentEditor["document"][number];

/** The blocks, including their children, with changed file URLs. */
function mapUrls(blocks: Block[], change: (url: string) => string): Block[] {
  return blocks.map((block) => {
    const url = (block.props as { url?: unknown }).url;
    const props = typeof url === "string" && url ? { ...block.props, url: change(url) } : block.props;
    return { ...block, props, children: mapUrls(block.children, change) } as Block;
  });
}

/** The blocks with placeholders instead of URLs, the URLs, and a function that replaces the placeholders (UX1). */
function withPlaceholders(blocks: Block[]): { blocks: Block[]; urls: string[]; restore: (text: string, urls: string[]) => string } {
  const urls: string[] = [];
  // Unique, so it does not occur in the document, and a URL that is never fetched.
  const name = (at: number): string => `data:,raffia-file-${at}-${nonce}.`;
  const nonce = crypto.randomUUID();
  const changed = mapUrls(blocks, (url) => name(urls.push(url) - 1));
  return {
    blocks: changed,
    urls,
    restore: (text, filled) => filled.reduce((done, url, at) => done.replaceAll(name(at), url), text),
  };
}

/** Remove empty blocks at the end, which exist only to be typed into. */
function trimTrailing(blocks: Block[]): Block[] {
  const end = blocks.findLastIndex((block) =>
    block.type !== "paragraph" || block.children.length > 0 || !Array.isArray(block.content) || block.content.length > 0);
  return blocks.slice(0, end + 1);
}

const fullUrl = (url: string): string => ownFilePath(url) === null ? url : new URL(url, location.href).href;

export function toMarkdown(editor: DocumentEditor): string {
  const { blocks, urls, restore } = withPlaceholders(trimTrailing(editor.document));
  return restore(editor.blocksToMarkdownLossy(blocks), urls.map(fullUrl));
}

const escape = (text: string): string =>
  text.replace(/[&<>"]/g, (char) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[char] ?? char);

const STYLE = "body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.6 system-ui, sans-serif } img { max-width: 100% } " +
  "table { border-collapse: collapse } td, th { border: 1px solid #bbb; padding: .3rem .6rem } pre { overflow: auto; padding: 1rem; background: #f3f1ed; color: #21201e }";

export async function toHtml(editor: DocumentEditor, session: DocumentSession, title: string): Promise<string> {
  const { blocks, urls, restore } = withPlaceholders(trimTrailing(editor.document));
  const body = editor.blocksToHTMLLossy(blocks);
  const filled = await Promise.all(urls.map(async (url) => {
    const path = ownFilePath(url);
    if (path === null) return escape(url);
    return dataUrl(await api.download(session.id, path)); // UX2
  }));
  return `<!doctype html>\n<html>\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n` +
    `<title>${escape(title)}</title>\n<style>${STYLE}</style>\n</head>\n<body>\n${restore(body, filled)}\n</body>\n</html>\n`;
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

async function parse(editor: DocumentEditor, file: File): Promise<Block[]> {
  const text = await textOf(file);
  if (/\.html?$/i.test(file.name)) {
    return editor.tryParseHTMLToBlocks(new DOMParser().parseFromString(text, "text/html").body.innerHTML);
  }
  if (/\.txt$/i.test(file.name)) {
    const lines = text.replace(/\s+$/, "").split(/\r?\n/);
    return text.trim() === "" ? [] : lines.map((line) => ({ type: "paragraph", content: line, children: [], props: {}, id: "" }) as unknown as Block);
  }
  return editor.tryParseMarkdownToBlocks(text);
}

/** Upload a file's embedded images. One that cannot be uploaded is omitted; `upload` has told the user why. */
async function uploadEmbedded(session: DocumentSession, blocks: Block[]): Promise<Block[]> {
  const done: Block[] = [];
  for (const block of blocks) {
    const children = await uploadEmbedded(session, block.children);
    const url = (block.props as { url?: string }).url ?? "";
    const own = ownFilePath(url);
    let change: { url: string } | Record<string, never> = own === null ? {} : { url: own };
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
  const { block } = editor.getTextCursorPosition();
  const isEmpty = block.type === "paragraph" && Array.isArray(block.content) && block.content.length === 0 && block.children.length === 0;
  const inserted = editor.insertBlocks(blocks, block, "after");
  if (isEmpty) editor.removeBlocks([block]);
  const last = inserted.at(-1);
  if (last) editor.setTextCursorPosition(last, "end");
  editor.focus();
  return true;
}
