/**
 * Undo reverts the user's own changes, and never deletes other users' text.
 *
 * Rules (tests quote these ids):
 *   UU1  Undoing the creation of a block that others have written in removes the user's own text but keeps the block. (The
 *       default filter protects paragraphs only, but BlockNote wraps each in blocks that would be deleted with it.)
 *   UU2  Such a block keeps its initial attributes, such as its id or heading level: without the id, every open editor
 *       would assign it a different one.
 */
import { yUndoPluginKey } from "y-prosemirror";
import * as Y from "yjs";
import type { DocumentEditor } from "./editor";

/** Whether undo may delete an item. Called for children before their parents. */
export function canUndo(item: Y.Item): boolean {
  if (item.content instanceof Y.ContentType) return item.content.type._length === 0; // UU1
  const { parent } = item;
  if (item.parentSub === null || !(parent instanceof Y.XmlElement)) return true;
  // The first value of an attribute, set by the element's creator, is deleted only together with the element (UU2).
  const isFirst = item.left === null && parent._item?.id.client === item.id.client;
  return !(isFirst && parent._length > 0);
}

export function keepOthersWork(editor: DocumentEditor): void {
  const state = yUndoPluginKey.getState(editor.prosemirrorState) as { undoManager: Y.UndoManager } | undefined;
  if (!state) throw new Error("the editor has no undo manager");
  state.undoManager.deleteFilter = canUndo;
}
