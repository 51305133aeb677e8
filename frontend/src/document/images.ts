/**
 * Images in a document: uploaded to the server, fetched with the document's token, inserted by pasting and dropping.
 *
 * Rules:
 *   G1  A file that cannot be uploaded is refused before a block is created for it. A block whose upload fails is removed.
 *   G2  Dropping a file outside the text does not navigate away from the page.
 *   G3  An image copied from another page is inserted as an image, not as a URL on another host.
 */
import { reportError } from "../app/actions";
import { api, ApiError, ownFilePath, UnreachableError } from "../app/api";
import { tokenOf } from "../app/tokens";
import type { DocumentSession } from "../connection/session";
import { size, t } from "../strings";
import { showToast } from "../ui/toast";
import type { DocumentEditor } from "./editor";

export const IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"];

const UPLOAD_RETRY_MS = 10_000;

let cachedLimit: Promise<number> | undefined;

/** The server's size limit for files, in bytes; Infinity if unknown. */
function maxFileBytes(): Promise<number> {
  cachedLimit ??= api.config().then(({ limits }) => limits.max_file_bytes, () => {
    cachedLimit = undefined;
    return Infinity;
  });
  return cachedLimit;
}

/** Upload an image and return its URL. Shows the user why an upload fails, and rejects. */
export async function upload(session: DocumentSession, file: File): Promise<string> {
  if (!IMAGES.includes(file.type)) {
    showToast(t.failed.uploadTypes, { isError: true });
    throw new Error(`${file.type || "this type"} cannot be uploaded`);
  }
  const what = `upload ${Math.random()}`;
  session.setPending(what, true);
  try {
    const maxBytes = await maxFileBytes();
    if (file.size > maxBytes) throw new ApiError(413, "too-large", "");
    return await uploadWithRetry(session, file);
  } catch (error) {
    if (error instanceof ApiError && error.status === 413) {
      const maxBytes = await maxFileBytes();
      showToast(Number.isFinite(maxBytes) && file.size > maxBytes ? t.failed.uploadTooLarge(size(maxBytes)) : error.message, { isError: true });
    } else if (error instanceof ApiError && error.status === 415) showToast(t.failed.uploadTypes, { isError: true });
    else reportError(t.failed.upload, error);
    throw error;
  } finally {
    session.setPending(what, false);
  }
}

/** Upload, retrying until the server responds: an image pasted while offline is uploaded once there is a connection. */
async function uploadWithRetry(session: DocumentSession, file: File): Promise<string> {
  for (let times = 0; ; times += 1) {
    try {
      return (await api.upload(session.id, file)).url;
    } catch (error) {
      const isTemporary = error instanceof ApiError ? error.isTemporary : error instanceof UnreachableError;
      if (!isTemporary || session.isOver) throw error;
      if (times === 0) showToast(t.failed.uploadLater);
      await session.waitForConnection(UPLOAD_RETRY_MS);
    }
  }
}

/** Whether a URL is on another host, so that the page must not load it. */
export const isExternal = (url: string): boolean => url !== "" && ownFilePath(url) === null && !/^(data:image\/|blob:)/i.test(url);

/** Resolves image URLs. Images that need a token are fetched with it, because tokens do not belong in URLs. */
export function fileUrlResolver(session: DocumentSession): (url: string) => Promise<string> {
  const fetched = new Map<string, Promise<string>>();
  return (url) => {
    const path = ownFilePath(url);
    if (path === null || !tokenOf(session.id)) return Promise.resolve(path ?? url);
    let promise = fetched.get(path);
    if (!promise) {
      promise = api.download(session.id, path).then((bytes) => URL.createObjectURL(bytes));
      promise.catch(() => fetched.delete(path));
      fetched.set(path, promise);
    }
    return promise;
  };
}

/** The files to insert. None if text was copied that merely comes with an image of itself, as from office programs. */
export function filesIn(data: DataTransfer): File[] {
  const files = [...data.files];
  if (files.length === 0) return [];
  const html = data.getData("text/html");
  if (!html) return data.getData("text/plain") ? [] : files;
  const { body } = new DOMParser().parseFromString(html, "text/html");
  return body.textContent.trim() === "" && body.querySelector("img") ? files : []; // G3
}

/** Insert files after or before a block, in order. */
export async function insertFiles(editor: DocumentEditor, files: File[], at: { id: string; placement: "before" | "after" }): Promise<void> {
  const supported = files.filter((file) => IMAGES.includes(file.type));
  if (supported.length < files.length) showToast(t.failed.uploadTypes, { isError: true }); // G1
  const maxBytes = await maxFileBytes();
  const accepted = supported.filter((file) => file.size <= maxBytes);
  if (accepted.length < supported.length) showToast(t.failed.uploadTooLarge(size(maxBytes)), { isError: true });
  let { id, placement } = at;
  for (const file of accepted) {
    const near = editor.getBlock(id);
    if (!near) return;
    const block = { type: "image" as const, props: { name: file.name } };
    const isEmpty = near.type === "paragraph" && Array.isArray(near.content) && near.content.length === 0 && near.children.length === 0;
    const made = isEmpty ? editor.updateBlock(near, block) : editor.insertBlocks([block], near, placement)[0];
    if (!made) return;
    [id, placement] = [made.id, "after"];
    try {
      const url = await editor.uploadFile?.(file, made.id);
      if (typeof url === "string" && editor.getBlock(made.id)) editor.updateBlock(made.id, { type: "image", props: { url } });
    } catch {
      // `upload` has told the user.
      if (!editor.getBlock(made.id)) continue;
      if (isEmpty) editor.updateBlock(made.id, { type: "paragraph", props: {} });
      else {
        editor.removeBlocks([made.id]);
        id = near.id;
      }
    }
  }
}
