/** Images in a document: uploaded to the server, and fetched with the document's token. */
import { reportError } from "../shell/actions";
import { api, ApiError, ownFilePath, UnreachableError } from "../app/api";
import { tokenOf } from "../app/tokens";
import type { DocumentSession } from "../connection/session";
import { size, t } from "../strings";
import { showToast } from "../ui/toast";

export const IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"];

const UPLOAD_RETRY_MS = 10_000;

let cachedLimit: Promise<number> | undefined;

/** The server's size limit for files, in bytes; Infinity if unknown. */
export function maxFileBytes(): Promise<number> {
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
