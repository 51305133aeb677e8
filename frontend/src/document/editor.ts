/** BlockNote as Raffia uses it: its own schema (version 1 of ours), our people, our files. */
import { BlockNoteEditor } from "@blocknote/core";
import { withCollaboration } from "@blocknote/core/yjs";
import { en } from "@blocknote/core/locales";
import { ySyncPluginKey, type ProsemirrorBinding } from "y-prosemirror";
import type * as Y from "yjs";
import { currentPerson } from "../app/identity";
import type { DocumentSession } from "../connection/session";
import { t } from "../strings";
import { createCursor } from "./cursor";
import { blockSchema } from "./foreign";
import { fileUrlResolver, upload } from "./images";
import { Copy, type Schema } from "./unknown";

const FRAGMENT = "document-store";

export const fragmentOf = (doc: Y.Doc): Y.XmlFragment => doc.getXmlFragment(FRAGMENT);

/** The document of a session, to be shown by an editor that does not know all of it. */
export const copyOf = (session: DocumentSession): Copy => new Copy(session.doc, FRAGMENT, schema());

/**
 * An editor for a session.
 *
 * Args:
 *   copy: show this instead of the session's own document, without others' cursors.
 */
export function createEditor(session: DocumentSession, copy?: Y.Doc) {
  return BlockNoteEditor.create(withCollaboration({
    schema: blockSchema,
    collaboration: {
      fragment: fragmentOf(copy ?? session.doc),
      ...(copy ? {} : { provider: { awareness: session.awareness } }),
      user: { ...session.user(currentPerson()) },
      renderCursor: createCursor,
      showCursorLabels: "activity",
    },
    dictionary: { ...en, placeholders: { ...en.placeholders, default: t.document.placeholder, emptyDocument: t.document.placeholder } },
    domAttributes: { editor: { "aria-label": t.document.editor, "aria-multiline": "true", role: "textbox" } },
    uploadFile: (file: File) => upload(session, file),
    resolveFileUrl: fileUrlResolver(session),
    tables: { headers: true, splitCells: true, cellBackgroundColor: true, cellTextColor: true },
  }));
}

export type DocumentEditor = ReturnType<typeof createEditor>;

let cachedSchema: Schema | undefined;

/** What these editors know. */
export function schema(): Schema {
  cachedSchema ??= BlockNoteEditor.create({ schema: blockSchema }).pmSchema;
  return cachedSchema;
}

/** From now on nothing of the document reaches the editor, and nothing of the editor the document. */
export function unbind(editor: DocumentEditor): void {
  const state = ySyncPluginKey.getState(editor.prosemirrorState) as { binding: ProsemirrorBinding } | undefined;
  if (!state) throw new Error("the editor is not bound to a document");
  state.binding.destroy();
  // It would go on to write what is typed until the editor has left the page.
  state.binding._prosemirrorChanged = () => undefined;
}
