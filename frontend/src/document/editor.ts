/** BlockNote as Weft uses it: its own schema (version 1 of ours), our people, our files. */
import { BlockNoteEditor } from "@blocknote/core";
import { withCollaboration } from "@blocknote/core/yjs";
import { en } from "@blocknote/core/locales";
import { failed } from "../app/actions";
import { api, ApiError } from "../app/api";
import { currentPerson } from "../app/identity";
import { ROOT } from "../app/root";
import { tokenOf } from "../app/tokens";
import type { DocumentSession } from "../connection/session";
import { size, t } from "../strings";
import { say } from "../ui/toast";
import { cursor } from "./cursor";

export const IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"];

/** Store an image on the server; tells the person when that does not work. */
async function upload(session: DocumentSession, file: File): Promise<string> {
  if (!IMAGES.includes(file.type)) {
    say(t.failed.uploadTypes, { isError: true });
    throw new Error(`${file.type || "this type"} is not taken`);
  }
  const what = `upload ${Math.random()}`;
  session.setPending(what, true);
  try {
    return (await api.upload(session.id, file)).url;
  } catch (error) {
    if (error instanceof ApiError && error.status === 413) {
      const most = await api.config().then(({ limits }) => size(limits.max_file_bytes), () => "");
      say(most ? t.failed.uploadTooLarge(most) : error.message, { isError: true });
    } else failed(t.failed.upload, error);
    throw error;
  } finally {
    session.setPending(what, false);
  }
}

/** Images of this server that need a token are fetched with it: a token has no place in an address. */
function resolver(session: DocumentSession): (url: string) => Promise<string> {
  const fetched = new Map<string, Promise<string>>();
  return (url) => {
    if (!url.startsWith(`${ROOT}/api/files/`) || !tokenOf(session.id)) return Promise.resolve(url);
    let promise = fetched.get(url);
    if (!promise) {
      promise = api.download(session.id, url).then((bytes) => URL.createObjectURL(bytes));
      promise.catch(() => fetched.delete(url));
      fetched.set(url, promise);
    }
    return promise;
  };
}

export function createEditor(session: DocumentSession) {
  return BlockNoteEditor.create(withCollaboration({
    collaboration: {
      fragment: session.doc.getXmlFragment("document-store"),
      provider: { awareness: session.awareness },
      user: { ...session.user(currentPerson()) },
      renderCursor: cursor,
      showCursorLabels: "activity",
    },
    dictionary: { ...en, placeholders: { ...en.placeholders, default: t.document.placeholder, emptyDocument: t.document.placeholder } },
    domAttributes: { editor: { "aria-label": t.document.editor, "aria-multiline": "true", role: "textbox" } },
    uploadFile: (file: File) => upload(session, file),
    resolveFileUrl: resolver(session),
    tables: { headers: true, splitCells: true, cellBackgroundColor: true, cellTextColor: true },
  }));
}

export type DocumentEditor = ReturnType<typeof createEditor>;
