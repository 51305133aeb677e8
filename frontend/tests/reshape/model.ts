/** What the judge (judge.ts) needs of an editor's model of a document. */
import type * as Y from "yjs";

export interface Cell {
  id: string;
  text: string;
}

export interface Block {
  id: string;
  type: string;
  depth: number;
  text: string;
  /** The cells of a table, in reading order. */
  cells?: Cell[];
}

/** One person's view of a document. Places are letters of the text that `read` returns. */
export interface Page {
  read(): Block[];
  type(id: string, at: number, text: string): void;
  erase(id: string, from: number, to: number): void;
  turn(id: string, type: string): void;
  indent(id: string): void;
  outdent(id: string): void;
  split(id: string, at: number): void;
  /** Join a block to the one above it. */
  join(id: string): void;
  /** Move a block, with its children, behind another one; null moves it to the top. */
  move(id: string, behind: string | null): void;
  remove(id: string): void;
  mergeCells(into: string, cell: string): void;
  undo(): void;
  close(): void;
}

export interface Model {
  name: string;
  seed(doc: Y.Doc, blocks: Block[]): void;
  open(doc: Y.Doc): Page;
  /** What the server writes after it has received an update. Its document then keeps deleted content. */
  mend?(doc: Y.Doc, update: Uint8Array): void;
}
