/** BlockNote configured for Raffia: the block schema (version 1 of ours), collaboration, and file uploads. */
import { BlockNoteEditor } from "@blocknote/core";
import { withCollaboration } from "@blocknote/core/yjs";
import { en } from "@blocknote/core/locales";
import type * as Y from "yjs";
import { currentPerson } from "../app/identity";
import type { DocumentSession } from "../connection/session";
import { t } from "../strings";
import { writeOnlyEdits } from "./binding";
import { createCursor } from "./cursor";
import { blockSchema } from "./external-media";
import type { Rules } from "./fit";
import { readable } from "./readable";
import { fileUrlResolver, upload } from "./upload";

const FRAGMENT = "document-store";

export const fragmentOf = (doc: Y.Doc): Y.XmlFragment => doc.getXmlFragment(FRAGMENT);

/** What all editors have in common. */
const optionsFor = (session: DocumentSession) => ({
  schema: blockSchema,
  dictionary: { ...en, placeholders: { ...en.placeholders, default: t.document.placeholder, emptyDocument: t.document.placeholder } },
  domAttributes: { editor: { "aria-label": t.document.editor, "aria-multiline": "true", role: "textbox" } },
  uploadFile: (file: File) => upload(session, file),
  resolveFileUrl: fileUrlResolver(session),
  tables: { headers: true, splitCells: true, cellBackgroundColor: true, cellTextColor: true },
});

/** Create an editor that is bound to a session's document. The document has to fit (fit.ts). */
export function createEditor(session: DocumentSession) {
  const editor = BlockNoteEditor.create(withCollaboration({
    ...optionsFor(session),
    collaboration: {
      fragment: fragmentOf(session.doc),
      provider: { awareness: session.awareness },
      user: { ...session.user(currentPerson()) },
      renderCursor: createCursor,
      showCursorLabels: "activity",
    },
  }));
  writeOnlyEdits(editor);
  return editor;
}

export type DocumentEditor = ReturnType<typeof createEditor>;

/** Create an editor that is not bound to anything: what it shows is given to it with `show`. */
export const createReader = (session: DocumentSession): DocumentEditor => BlockNoteEditor.create(optionsFor(session));

/** Show a session's document, as far as possible, in an editor that is not bound to it. */
export function show(editor: DocumentEditor, session: DocumentSession): void {
  const doc = readable(fragmentOf(session.doc), { ...rules(), schema: editor.pmSchema });
  editor.transact((tr) => tr.setMeta("addToHistory", false).replaceWith(0, tr.doc.content.size, doc.content));
}

let cachedRules: Rules | undefined;

/** What fits these editors. */
export function rules(): Rules {
  const specs = blockSchema.blockSchema as Record<string, { propSchema: Record<string, { values?: readonly unknown[] }> } | undefined>;
  cachedRules ??= {
    schema: BlockNoteEditor.create({ schema: blockSchema }).pmSchema,
    values: (node, attribute) => specs[node]?.propSchema[attribute]?.values,
  };
  return cachedRules;
}

