/**
 * Undo takes back what one has done oneself, and nobody else's words.
 *
 * Rules (tests quote these ids):
 *   U1  A block that one has made stays when others have written into it; one's own words in it go. (The default keeps
 *       paragraphs only, and BlockNote wraps each of them in blocks that would go with everything inside.)
 *   U2  What such a block was made with (its id, the level of a heading) stays with it: without its id every open editor
 *       would give it another one.
 */
import { yUndoPluginKey } from "y-prosemirror";
import * as Y from "yjs";
import type { DocumentEditor } from "./editor";

/** Whether undo may delete an item; it asks for children before their parents. */
export function canUndo(item: Y.Item): boolean {
  if (item.content instanceof Y.ContentType) return item.content.type._length === 0; // U1
  const { parent } = item;
  if (item.parentSub === null || !(parent instanceof Y.XmlElement)) return true;
  // The first value of an attribute, given by whoever made the element: it goes when the element goes (U2).
  const isFirst = item.left === null && parent._item?.id.client === item.id.client;
  return !(isFirst && parent._length > 0);
}

export function keepOthersWork(editor: DocumentEditor): void {
  const state = yUndoPluginKey.getState(editor.prosemirrorState) as { undoManager: Y.UndoManager } | undefined;
  if (!state) throw new Error("the editor has no undo of its own");
  state.undoManager.deleteFilter = canUndo;
}
