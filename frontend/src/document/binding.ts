/**
 * When the editor writes into the shared document: only when the user edits.
 *
 * Rules (tests quote these ids):
 *   UJ1  An editor that is only opened writes nothing: neither the ids that BlockNote gives to blocks without one, nor the
 *       cells that complete a table, nor attributes at their defaults. Moving the cursor is no edit.
 *   UJ2  Such changes are written together with the user's next edit.
 */
import type { BlockNoteEditor } from "@blocknote/core";
import { ySyncPluginKey, type ProsemirrorBinding } from "y-prosemirror";

// The blocks do not matter here.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type AnyEditor = BlockNoteEditor<any, any, any>;

type State = AnyEditor["prosemirrorState"];

/** An editor has its binding from the moment when it is put into the page. */
const bindingOf = (state: State): ProsemirrorBinding | undefined =>
  (ySyncPluginKey.getState(state) as { binding: ProsemirrorBinding } | undefined)?.binding;

/** Keep an editor from writing what its plugins change by themselves (UJ1). Call it before the editor is in the page. */
export function writeOnlyEdits(editor: AnyEditor): void {
  const guarded = new WeakSet<ProsemirrorBinding>();
  let isEdited = false;
  const guard = (binding: ProsemirrorBinding): void => {
    if (guarded.has(binding)) return;
    guarded.add(binding);
    const write = binding._prosemirrorChanged.bind(binding);
    binding._prosemirrorChanged = (doc) => {
      if (!isEdited) return;
      isEdited = false;
      write(doc); // UJ2
    };
  };
  // Called for the first transaction of each dispatch, before the state is applied; plugins append theirs to it. The
  // binding's own first transaction shows the document, so it is guarded before it can write.
  editor._tiptapEditor.on("beforeTransaction", ({ transaction, nextState }) => {
    const binding = bindingOf(nextState);
    if (binding) guard(binding);
    if (transaction.docChanged && transaction.getMeta(ySyncPluginKey) === undefined) isEdited = true;
  });
}

/** Disconnect an editor from its document, in both directions. */
export function unbind(editor: AnyEditor): void {
  const binding = bindingOf(editor.prosemirrorState);
  if (!binding) return; // not in the page yet
  binding.destroy();
  // Otherwise it would keep writing what is typed until the editor is unmounted.
  binding._prosemirrorChanged = () => undefined;
}
