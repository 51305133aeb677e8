/** BlockNote as Weft uses it: its own schema (version 1 of ours), our people, our files. */
import { BlockNoteEditor } from "@blocknote/core";
import { withCollaboration } from "@blocknote/core/yjs";
import { en } from "@blocknote/core/locales";
import { ySyncPluginKey, type ProsemirrorBinding } from "y-prosemirror";
import type * as Y from "yjs";
import { failed } from "../app/actions";
import { api, ApiError, ownFile, UnreachableError } from "../app/api";
import { currentPerson } from "../app/identity";
import { tokenOf } from "../app/tokens";
import type { DocumentSession } from "../connection/session";
import { size, t } from "../strings";
import { say } from "../ui/toast";
import { cursor } from "./cursor";
import { Copy, type Schema } from "./unknown";

export const IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"];

const UPLOAD_AGAIN_MS = 10_000;

/** Store an image on the server; tells the person when that does not work. */
async function upload(session: DocumentSession, file: File): Promise<string> {
  if (!IMAGES.includes(file.type)) {
    say(t.failed.uploadTypes, { isError: true });
    throw new Error(`${file.type || "this type"} is not taken`);
  }
  const what = `upload ${Math.random()}`;
  session.setPending(what, true);
  try {
    return await uploaded(session, file);
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

/** Tried until the server answers: what was pasted without a connection is uploaded once there is one. */
async function uploaded(session: DocumentSession, file: File): Promise<string> {
  for (let times = 0; ; times += 1) {
    try {
      return (await api.upload(session.id, file)).url;
    } catch (error) {
      const isTemporary = error instanceof ApiError ? error.isTemporary : error instanceof UnreachableError;
      if (!isTemporary || session.isOver) throw error;
      if (times === 0) say(t.failed.uploadLater);
      await session.again(UPLOAD_AGAIN_MS);
    }
  }
}

/** Images of this server that need a token are fetched with it: a token has no place in an address. */
function resolver(session: DocumentSession): (url: string) => Promise<string> {
  const fetched = new Map<string, Promise<string>>();
  return (url) => {
    if (ownFile(url) === null || !tokenOf(session.id)) return Promise.resolve(url);
    let promise = fetched.get(url);
    if (!promise) {
      promise = api.download(session.id, url).then((bytes) => URL.createObjectURL(bytes));
      promise.catch(() => fetched.delete(url));
      fetched.set(url, promise);
    }
    return promise;
  };
}

const TEXT = "document-store";

export const textOf = (doc: Y.Doc): Y.XmlFragment => doc.getXmlFragment(TEXT);

/** The document of a session, to be shown by an editor that does not know all of it. */
export const copyOf = (session: DocumentSession): Copy => new Copy(session.doc, TEXT, schema());

/**
 * An editor for a session.
 *
 * Args:
 *   copy: show this instead of the session's own document, without others' cursors.
 */
export function createEditor(session: DocumentSession, copy?: Y.Doc) {
  return BlockNoteEditor.create(withCollaboration({
    collaboration: {
      fragment: textOf(copy ?? session.doc),
      ...(copy ? {} : { provider: { awareness: session.awareness } }),
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

let known: Schema | undefined;

/** What these editors know. */
export function schema(): Schema {
  known ??= BlockNoteEditor.create().pmSchema;
  return known;
}

/** From now on nothing of the document reaches the editor, and nothing of the editor the document. */
export function unbind(editor: DocumentEditor): void {
  const state = ySyncPluginKey.getState(editor.prosemirrorState) as { binding: ProsemirrorBinding } | undefined;
  if (!state) throw new Error("the editor is not bound to a document");
  state.binding.destroy();
  // It would go on to write what is typed until the editor has left the page.
  state.binding._prosemirrorChanged = () => undefined;
}
