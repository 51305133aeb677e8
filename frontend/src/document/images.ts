/**
 * Images in a document: stored on the server, shown with the document's token, put in by pasting and dropping.
 *
 * Rules:
 *   G1  What cannot be stored is refused before there is a block for it; a block whose upload fails goes.
 *   G2  A file that misses the text does not replace the page.
 *   G3  A picture that is copied from another page is taken as a picture, not as an address on another host.
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

/** The most bytes that the server takes; infinite when it does not say. */
function maxFileBytes(): Promise<number> {
  cachedLimit ??= api.config().then(({ limits }) => limits.max_file_bytes, () => {
    cachedLimit = undefined;
    return Infinity;
  });
  return cachedLimit;
}

/** Store an image on the server; tells the person when that does not work. */
export async function upload(session: DocumentSession, file: File): Promise<string> {
  if (!IMAGES.includes(file.type)) {
    showToast(t.failed.uploadTypes, { isError: true });
    throw new Error(`${file.type || "this type"} is not taken`);
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

/** Tried until the server answers: what was pasted without a connection is uploaded once there is one. */
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

/** Whether the page may not ask for it: what is on another host. */
export const isExternal = (url: string): boolean => url !== "" && ownFilePath(url) === null && !/^(data:image\/|blob:)/i.test(url);

/** Images of this server that need a token are fetched with it: a token has no place in an address. */
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

/** The files that were meant: none when text was copied that comes with a picture of itself (office programs do that). */
export function filesIn(data: DataTransfer): File[] {
  const files = [...data.files];
  if (files.length === 0) return [];
  const html = data.getData("text/html");
  if (!html) return data.getData("text/plain") ? [] : files;
  const { body } = new DOMParser().parseFromString(html, "text/html");
  return body.textContent.trim() === "" && body.querySelector("img") ? files : []; // G3
}

/** Put files behind (or before) a block, one after another. */
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
      // The person was told by `upload`.
      if (!editor.getBlock(made.id)) continue;
      if (isEmpty) editor.updateBlock(made.id, { type: "paragraph", props: {} });
      else {
        editor.removeBlocks([made.id]);
        id = near.id;
      }
    }
  }
}
