/**
 * Watches whether a document fits the editor (fit.ts).
 *
 * Rules (tests quote these ids):
 *   UW2  The editor is stopped within the transaction that brings content which does not fit: it writes neither that
 *       transaction's effects nor anything typed afterwards. What was typed before is in the document already, including
 *       the part of a word that an input method has composed so far.
 *   UW3  Once everything fits again, the document can be edited, without a reload.
 */
import { ySyncPluginKey } from "y-prosemirror";
import type * as Y from "yjs";
import { findNewProblem, findProblem, type Problem, type Rules } from "./fit";
import { repair } from "./repair";

export type Finding = "unseen" | "fits" | Problem;

export class FitWatcher {
  private readonly listeners = new Set<() => void>();
  private readonly stops = new Set<() => void>();
  private frame = 0;
  private finding: Finding = "unseen";

  constructor(
    private readonly root: Y.XmlFragment,
    private readonly rules: Rules,
  ) {}

  /** Register a function that stops an editor; it is called within the transaction (UW2). Returns its removal. */
  onProblem(stop: () => void): () => void {
    this.stops.add(stop);
    return () => { this.stops.delete(stop); };
  }

  start(): () => void {
    const doc = this.root.doc as Y.Doc;
    let isOwn = false;
    const check = (): void => { this.setFinding(findProblem(this.root, this.rules) ?? "fits"); };
    const before = (transaction: Y.Transaction): void => {
      // What the editor writes fits, and the editor does not read it. Undo is not the editor's: it changes the document.
      if (this.finding !== "fits" || transaction.origin === ySyncPluginKey) return;
      const problem = findNewProblem(transaction, this.root, this.rules);
      if (!problem) return;
      isOwn = transaction.local;
      for (const stop of this.stops) stop();
      this.setFinding(problem);
    };
    const after = (): void => {
      if (this.finding === "fits" || this.frame) return;
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        if (isOwn) repair(this.root, this.rules); // UZ3
        isOwn = false;
        check(); // UW3
      });
    };
    check();
    // This event precedes all type observers, and so the editor.
    doc.on("beforeObserverCalls", before);
    doc.on("afterTransaction", after);
    return () => {
      doc.off("beforeObserverCalls", before);
      doc.off("afterTransaction", after);
      cancelAnimationFrame(this.frame);
      this.frame = 0;
    };
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => { this.listeners.delete(listener); };
  };

  snapshot = (): Finding => this.finding;

  private setFinding(finding: Finding): void {
    if (this.finding === finding) return;
    this.finding = finding;
    for (const listener of this.listeners) listener();
  }
}
