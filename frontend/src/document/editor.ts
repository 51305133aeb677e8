/** BlockNote configured for Raffia: the block schema (version 1 of ours), collaboration, and file uploads. */
import { BlockNoteEditor } from "@blocknote/core";
import { withCollaboration } from "@blocknote/core/yjs";
import { en } from "@blocknote/core/locales";
import { ySyncPluginKey, type ProsemirrorBinding } from "y-prosemirror";
import type * as Y from "yjs";
import { currentPerson } from "../app/identity";
import type { DocumentSession } from "../connection/session";
import { t } from "../strings";
import { createCursor } from "./cursor";
import { blockSchema } from "./external-media";
import { fileUrlResolver, upload } from "./upload";
import { Copy, type Schema } from "./unknown";

const FRAGMENT = "document-store";

export const fragmentOf = (doc: Y.Doc): Y.XmlFragment => doc.getXmlFragment(FRAGMENT);

/** A copy of a session's document, for an editor that does not know all of its content. */
export const copyOf = (session: DocumentSession): Copy => new Copy(session.doc, FRAGMENT, schema());

/**
 * Create an editor for a session.
 *
 * @param copy show this instead of the session's own document, without other users' cursors.
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

/** The ProseMirror schema of these editors. */
export function schema(): Schema {
  cachedSchema ??= BlockNoteEditor.create({ schema: blockSchema }).pmSchema;
  return cachedSchema;
}

/** Disconnect an editor from its document, in both directions. */
export function unbind(editor: DocumentEditor): void {
  const state = ySyncPluginKey.getState(editor.prosemirrorState) as { binding: ProsemirrorBinding } | undefined;
  if (!state) throw new Error("the editor is not bound to a document");
  state.binding.destroy();
  // Otherwise it would keep writing what is typed until the editor is unmounted.
  state.binding._prosemirrorChanged = () => undefined;
}
