/**
 * Binds a scene to a Yjs document. Independent of React and Excalidraw: a `Scene` is the interface to the editor.
 *
 * Local changes go to the document (commit.ts); remote ones are collected (remote.ts) and shown in the scene (apply.ts).
 */
import type { Awareness } from "y-protocols/awareness";
import type * as Y from "yjs";
import { Applier } from "./apply";
import { Committer } from "./commit";
import { Presence } from "./presence";
import { RemoteChanges } from "./remote";
import type { BoardElement } from "./shape";
import { BindingState, type Scene } from "./state";
import { ElementStore } from "./store";

export interface BoardBindingOptions {
  doc: Y.Doc;
  scene: Scene;
  awareness?: Awareness | undefined;
  writable?: boolean;
  /** Called when `pending` changes. */
  onPending?: (pending: boolean) => void;
  /** Called with elements that were changed, locally or by others, so that their images can be synced. */
  onElements?: (elements: Iterable<BoardElement>) => void;
  /** Calls `done` when the browser has painted, so that the cost of showing changes is known (UB9). */
  afterPaint?: (done: () => void) => void;
}

export class BoardBinding {
  readonly store: ElementStore;
  readonly presence: Presence | undefined;

  private readonly state: BindingState;
  private readonly committer: Committer;
  private readonly remote: RemoteChanges;
  private readonly applier: Applier;

  constructor(options: BoardBindingOptions) {
    const { doc, scene, awareness, writable = true } = options;
    const onPending = options.onPending ?? (() => undefined);
    const onElements = options.onElements ?? (() => undefined);
    const afterPaint = options.afterPaint ?? ((done: () => void) => { done(); });
    this.store = new ElementStore(doc);
    this.presence = awareness && new Presence(awareness);
    this.state = new BindingState(scene, this.store);
    this.committer = new Committer(this.state, this.presence, writable, onPending, onElements);
    this.remote = new RemoteChanges(this.state, awareness, (delayMs) => { this.applier.schedule(delayMs); });
    this.applier = new Applier(this.state, this.committer, this.remote, onElements, afterPaint);
  }

  /** Whether a change has yet to reach the document (UB8). */
  get pending(): boolean {
    return this.committer.pending;
  }

  /** Show the document's content and start following it. */
  start(): void {
    this.state.started = true;
    for (const id of this.store.ids()) this.state.unapplied.add(id);
    this.applier.apply();
    this.remote.start();
  }

  /** Commit pending changes and detach from the document. */
  destroy(): void {
    this.commit();
    this.state.started = false;
    this.committer.destroy();
    this.applier.destroy();
    this.remote.destroy();
    this.presence?.destroy();
  }

  setWritable(writable: boolean): void {
    if (this.committer.setWritable(writable)) this.changed();
  }

  /** The document is in sync with the server, so the next commit may purge old deleted elements (UB11). */
  markSynced(): void {
    this.committer.allowPurge();
  }

  /** Call this when the editor may have changed something, after its `onChange`; once per frame is enough. */
  changed(): void {
    if (this.state.applying || !this.state.started) return;
    this.committer.collect();
    this.applier.retry();
  }

  /** Call this when the pointer is released: what was drawn is finished (UB1). */
  released(): void {
    this.changed();
    this.committer.commitSoon();
  }

  /** Write all local changes to the document immediately (UB8). */
  commit(): void {
    this.committer.commit();
  }
}
