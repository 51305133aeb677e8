/**
 * Puts misplaced content of a document in order, so that it can be edited again.
 *
 * Rules (tests quote these ids):
 *   UZ1  Afterwards the document is what is shown of it (readable.ts): every text is kept, and everything fits.
 *   UZ2  Blocks that fit are not written, so that others' changes to them are kept.
 *   UZ3  A document is repaired when a user asks for it, or when the user's own undo has misplaced something; never by
 *       opening it. Two users who repair at the same time may get what was misplaced twice.
 *   UZ4  Unknown content is never touched.
 */
import { updateYFragment } from "y-prosemirror";
import type * as Y from "yjs";
import { findProblem, type Rules } from "./fit";
import { readable, type Unchanged } from "./readable";

/** Repair a document whose problem is misplaced content; otherwise do nothing (UZ4). */
export function repair(root: Y.XmlFragment, rules: Rules): void {
  if (findProblem(root, rules) !== "misplaced") return;
  const mapping: Unchanged = new Map();
  const wanted = readable(root, rules, mapping);
  const doc = root.doc as Y.Doc;
  doc.transact(() => { updateYFragment(doc, root, wanted, { mapping, isOMark: new Map() }); });
}
