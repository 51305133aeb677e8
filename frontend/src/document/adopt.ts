/**
 * Images that were pasted, dropped or imported become files of the document that shows them.
 *
 * Rules:
 *   UG4  An image of another document is copied into this one. Otherwise it would disappear with the other document, and
 *        users who may not read that one would not see it.
 *   UG5  An image inside pasted HTML (a `data:` URL) is uploaded. It never becomes part of the document, where it would
 *        exceed the limit for an update.
 *   UG6  Copying is no step of its own for undo, which would bring the old URL back.
 */
import { api, documentOfFile, ownFilePath } from "../app/api";
import type { DocumentSession } from "../connection/session";
import { t } from "../strings";
import { showToast } from "../ui/toast";
import type { DocumentEditor } from "./editor";
import { upload } from "./upload";

type Block = DocumentEditor["document"][number];

const PLACEHOLDER = "data:,raffia-paste-";

/** The path of a file that belongs to another document; null for everything else. */
export function foreignFile(url: string, id: string): string | null {
  const path = ownFilePath(url);
  return path !== null && documentOfFile(path) !== id ? path : null;
}

/** Copy a file of another document into the session's document; the new URL. */
export async function adopt(session: DocumentSession, path: string): Promise<string> {
  const bytes = await api.download(documentOfFile(path) ?? session.id, path);
  return upload(session, new File([bytes], path.slice(path.lastIndexOf("/") + 1), { type: bytes.type }));
}

/** An image in a `data:` URL as a file; null if it is not base64. */
export function fileOfDataUrl(url: string): File | null {
  const found = /^data:(image\/[\w.+-]+);base64,([a-z0-9+/\s]*={0,2})$/i.exec(url);
  if (!found) return null;
  const bytes = Uint8Array.from(atob((found[2] ?? "").replace(/\s/g, "")), (char) => char.charCodeAt(0));
  return new File([bytes], "image", { type: (found[1] ?? "").toLowerCase() });
}

export interface Pasted {
  html: string;
  /** The images taken out of the HTML, by the URLs that stand in their places. */
  images: Map<string, File>;
}

/** Take embedded images out of pasted HTML (UG5). */
export function withoutImages(html: string): Pasted {
  const images = new Map<string, File>();
  if (!/<img[^>]*\ssrc\s*=\s*["']?data:/i.test(html)) return { html, images };
  const { documentElement } = new DOMParser().parseFromString(html, "text/html");
  for (const image of documentElement.querySelectorAll("img")) {
    const src = image.getAttribute("src") ?? "";
    const file = src.startsWith("data:") ? fileOfDataUrl(src) : null;
    if (!file) continue;
    const url = `${PLACEHOLDER}${crypto.randomUUID()}`;
    images.set(url, file);
    image.setAttribute("src", url);
  }
  return { html: documentElement.outerHTML, images };
}

const urlOf = (block: Block): string => {
  const { url } = block.props as { url?: unknown };
  return typeof url === "string" ? url : "";
};

/** All blocks with an own or pasted image, by its URL. */
function withUrl(blocks: readonly Block[], wanted: (url: string) => boolean, found = new Map<string, Block[]>()): Map<string, Block[]> {
  for (const block of blocks) {
    const url = urlOf(block);
    if (url && wanted(url)) found.set(url, [...found.get(url) ?? [], block]);
    withUrl(block.children, wanted, found);
  }
  return found;
}

/** Copy and upload the images that have just been inserted (UG4, UG5). */
export async function adoptInserted(editor: DocumentEditor, session: DocumentSession, images: ReadonlyMap<string, File> = new Map()): Promise<void> {
  const found = withUrl(editor.document, (url) => images.has(url) || foreignFile(url, session.id) !== null);
  const replace = (old: string, url: string | null): void => {
    editor.transact((tr) => {
      tr.setMeta("addToHistory", false); // UG6
      for (const block of withUrl(editor.document, (one) => one === old).get(old) ?? []) {
        if (url === null) editor.removeBlocks([block.id]);
        else editor.updateBlock(block.id, { type: "image", props: { url } });
      }
    });
  };
  for (const url of found.keys()) {
    const file = images.get(url);
    try {
      replace(url, file ? await upload(session, file) : await adopt(session, foreignFile(url, session.id) ?? ""));
    } catch (error) {
      console.warn("An inserted image could not be copied:", error);
      if (file) replace(url, null); // `upload` has told the user
      else showToast(t.failed.copyImage, { isError: true });
    }
  }
}
