/**
 * Binds a scene to a Yjs document. Independent of React and Excalidraw: a `Scene` is the interface to the editor.
 *
 * Rules (tests quote these ids):
 *   B1  While a pointer is down, changes are sent as presence, at most 30 times a second. They are committed when the
 *       pointer is released, and about once a second; the more bytes a commit has, the longer the delay to the next.
 *   B2  All other changes (keys, text, undo) are committed after a short pause, and after a second at most.
 *   B3  Changes from the document are never written back: an element counts as changed only relative to its baseline,
 *       what was last shown.
 *   B4  An uncommitted local change of a field survives when others change other fields (merge.ts).
 *   B5  If others change an element while it is being edited or held by the pointer here, the change is shown afterwards.
 *       Shown earlier, it would become part of the user's undo step.
 *   B6  Only elements marked as deleted are deleted. One that merely vanishes from the scene is restored.
 *   B7  Order repairs that the editor makes on its own are written only together with a local change of the order.
 *   B8  `pending` tells whether a change has yet to reach the document; `commit` writes all of them immediately.
 *   B9  Showing remote changes leaves time for local input: if it took `d`, including painting, the next waits 3 `d`.
 *   B10 A text that is edited while others delete it survives, together with its container.
 *   B11 Deleted elements are purged after a month, along with another change, so that the document does not grow forever.
 *   B12 While the user may not write, earlier changes stay pending. They are committed once the user may write again.
 */
import type { Awareness } from "y-protocols/awareness";
import type * as Y from "yjs";
import { arrowsByShape, withMissingArrows, referencedIds, type LinkedElement } from "./arrows";
import { sanitize } from "./sanitize";
import { limitSize, diffGeometry, extendStroke, applyLive, parseLive, type Live } from "./live";
import { changedFields, mergeGroup, withFields } from "./merge";
import { Presence } from "./presence";
import { deepCopy, GROUPS, isInvisible, join, canonicalJson, canonicalGroups, split } from "./shape";
import type { BoardElement, Groups, Json, CanonicalGroups } from "./shape";
import { ElementStore } from "./store";

/** The binding's interface to the editor. */
export interface Scene {
  /** All elements in order, including deleted ones. */
  elements(): readonly BoardElement[];
  /** Whether a pointer is down, and which elements must not be replaced right now. */
  busy(): { pointerDown: boolean; editing: ReadonlySet<string> };
  /** Restore elements for the editor. The argument includes the elements that they refer to. */
  restore(elements: BoardElement[]): BoardElement[];
  /** Show remote elements without creating an undo step; returns the resulting elements of the scene. */
  show(elements: BoardElement[]): readonly BoardElement[];
}

export interface BoardBindingOptions {
  doc: Y.Doc;
  scene: Scene;
  awareness?: Awareness | undefined;
  writable?: boolean;
  /** Called when `pending` changes. */
  onPending?: (pending: boolean) => void;
  /** Called with elements that were changed, locally or by others, so that their images can be synced. */
  onElements?: (elements: Iterable<BoardElement>) => void;
  /** Calls `done` when the browser has painted, so that the cost of showing changes is known (B9). */
  afterPaint?: (done: () => void) => void;
}

/** An element as it was last shown. */
interface Baseline {
  version: number;
  nonce: number;
  groups: CanonicalGroups;
}

/** Another client's live movement of an element. */
interface Overlay {
  /** Null once a commit has superseded it. */
  live: Live | null;
  /** The message it came from: the same object means that there is nothing new. */
  source: unknown;
  /** The points of a stroke received so far. */
  points: Json[] | null;
  /** When to stop showing it; null while its sender still sends it. In ms since the epoch. */
  expiresAt: number | null;
}

const COMMIT_MS = 1000;
const QUIET_MS = 80;
const APPLY_MS = 16;
const RETRY_MS = 300;
const REST_FACTOR = 3;
/** Caps the measured cost: a page that was suspended in between was not painting all that time. */
const MAX_COST_MS = 200;
/** Slightly longer than the interval of presence messages, so that every computed movement is also sent. */
const LIVE_MS = 34;
const MAX_LIVE = 100;
/** How long a movement stays visible after its sender has stopped, unless the commit arrives first. */
const LINGER_MS = 400;
/** A commit of this size delays the next by another second; otherwise long strokes would be rewritten constantly. */
const BYTES_PER_SECOND = 6000;

const byIndex = (one: BoardElement, other: BoardElement): number => {
  const [a, b] = [one.index ?? "", other.index ?? ""];
  return a < b ? -1 : a > b ? 1 : one.id < other.id ? -1 : 1;
};

const matches = (baseline: Baseline | undefined, element: BoardElement): boolean =>
  baseline?.version === element.version && baseline.nonce === element.versionNonce;

export class BoardBinding {
  readonly store: ElementStore;
  readonly presence: Presence | undefined;
  pending = false;

  private readonly scene: Scene;
  private readonly awareness: Awareness | undefined;
  private readonly onPending: (pending: boolean) => void;
  private readonly onElements: (elements: Iterable<BoardElement>) => void;
  private readonly afterPaint: (done: () => void) => void;
  private writable: boolean;

  private readonly baseline = new Map<string, Baseline>();
  /** The elements and versions that the last scan has seen. */
  private readonly lastScan: { list: BoardElement[]; versions: number[] } = { list: [], versions: [] };
  /** Changed locally, not committed. */
  private readonly dirty = new Map<string, BoardElement>();
  /** Reindexed by the editor's own repair of the order (B7). */
  private readonly reordered = new Set<string>();
  /** Changed locally since the pointer went down (B5). */
  private readonly held = new Set<string>();
  /** Changed by others, not shown yet. */
  private readonly unapplied = new Set<string>();
  /** Other clients' visible movements, by element id. */
  private readonly overlays = new Map<string, Overlay>();

  private commitTimer: ReturnType<typeof setTimeout> | undefined;
  private applyTimer: ReturnType<typeof setTimeout> | undefined;
  private liveTimer: ReturnType<typeof setTimeout> | undefined;
  private commitAt = 0;
  private firstDirtyAt = 0;
  private notBefore = 0;
  private restUntil = 0;
  private applying = false;
  private started = false;
  private mayPurge = false;
  private readonly cleanups: (() => void)[] = [];

  constructor(options: BoardBindingOptions) {
    this.store = new ElementStore(options.doc);
    this.scene = options.scene;
    this.awareness = options.awareness;
    this.writable = options.writable ?? true;
    this.onPending = options.onPending ?? (() => undefined);
    this.onElements = options.onElements ?? (() => undefined);
    this.afterPaint = options.afterPaint ?? ((done) => { done(); });
    this.presence = options.awareness && new Presence(options.awareness);
  }

  /** Show the document's content and start following it. */
  start(): void {
    this.started = true;
    for (const id of this.store.ids()) this.unapplied.add(id);
    this.apply();
    this.cleanups.push(this.store.observe(this, (ids) => { this.onRemoteChange(ids); }));
    const { awareness } = this;
    if (awareness) {
      const listener = (): void => { this.onRemoteLive(); };
      awareness.on("change", listener);
      this.cleanups.push(() => { awareness.off("change", listener); });
      this.onRemoteLive();
    }
  }

  /** Commit pending changes and detach from the document. */
  destroy(): void {
    this.commit();
    this.started = false;
    clearTimeout(this.commitTimer);
    clearTimeout(this.applyTimer);
    clearTimeout(this.liveTimer);
    for (const cleanup of this.cleanups.splice(0)) cleanup();
    this.presence?.destroy();
  }

  setWritable(writable: boolean): void {
    if (this.writable === writable) return;
    this.writable = writable;
    if (!writable || !this.started) return;
    // B12: the last scan did not record changes while writing was not allowed, so scan everything again.
    this.lastScan.list.length = this.lastScan.versions.length = 0;
    this.changed();
  }

  /** The document is in sync with the server, so the next commit may purge old deleted elements (B11). */
  markSynced(): void {
    this.mayPurge = true;
  }

  // -- local changes to the document ---------------------------------------------------------------------------------

  /** Call this when the editor may have changed something, after its `onChange`; once per frame is enough. */
  changed(): void {
    if (this.applying || !this.started) return;
    this.scan();
    if (this.dirty.size > 0) this.scheduleCommit();
    if (this.unapplied.size > 0) this.scheduleApply(RETRY_MS);
  }

  /** Call this when the pointer is released: what was drawn is finished (B1). */
  released(): void {
    this.changed();
    if (this.dirty.size > 0) this.commitAfter(0);
  }

  /** Find local changes. Runs every frame over thousands of elements, so unchanged ones must be skipped quickly. */
  private scan(): void {
    const elements = this.scene.elements();
    const { pointerDown } = this.scene.busy();
    const { list, versions } = this.lastScan;
    const found: BoardElement[] = [];
    let listChanged = elements.length !== list.length;
    for (let at = 0; at < elements.length; at += 1) {
      const element = elements[at] as BoardElement;
      if (element === list[at]) {
        if (element.version === versions[at]) continue;
      } else {
        listChanged = true;
        list[at] = element;
      }
      versions[at] = element.version;
      if (matches(this.baseline.get(element.id), element)) continue;
      if (this.writable) this.dirty.set(element.id, element);
      if (pointerDown) this.held.add(element.id);
      found.push(element);
    }
    list.length = versions.length = elements.length;
    if (listChanged) this.restoreVanished(elements);
    if (found.length > 0) this.onElements(found);
  }

  private scheduleCommit(): void {
    const now = Date.now();
    if (!this.pending) {
      this.firstDirtyAt = now;
      this.setPending(true);
    }
    const { pointerDown } = this.scene.busy();
    if (!pointerDown) {
      const latest = this.firstDirtyAt + COMMIT_MS;
      this.commitAfter(Math.max(0, Math.min(QUIET_MS, latest - now)), true);
      return;
    }
    // A new element is written immediately, so that its further growth can be sent as a difference.
    const isNew = [...this.dirty.values()].some((element) => !this.store.map.has(element.id) && !isInvisible(element));
    if (isNew) {
      this.commit();
      return;
    }
    this.commitAfter(Math.max(0, Math.max(this.firstDirtyAt + COMMIT_MS, this.notBefore) - now));
    this.sendLive();
  }

  private commitAfter(delayMs: number, postpone = false): void {
    const at = Date.now() + delayMs;
    if (this.commitTimer !== undefined && (postpone ? this.commitAt === at : this.commitAt <= at)) return;
    clearTimeout(this.commitTimer);
    this.commitAt = at;
    this.commitTimer = setTimeout(() => { this.commit(); }, delayMs);
  }

  /** Write all local changes to the document immediately (B8). */
  commit(): void {
    if (this.started && !this.applying) this.scan();
    clearTimeout(this.commitTimer);
    this.commitTimer = undefined;
    if (!this.writable) return; // B12
    const changes = new Map<string, Groups>();
    let orderChanged = false;
    let size = 0;
    const unfinished = new Map<string, BoardElement>();
    for (const [id, element] of this.dirty) {
      const kept = this.store.read(id);
      if (!kept && (isInvisible(element) || element.isDeleted)) {
        // Started with a click and perhaps abandoned: not shared.
        if (!element.isDeleted) unfinished.set(id, element);
        else this.baseline.set(id, { version: element.version, nonce: element.versionNonce, groups: {} });
        continue;
      }
      const now = split(element, kept);
      const changed = this.changedGroups(id, kept, now);
      if (changed.m && changed.m["index"] !== kept?.m?.["index"]) orderChanged = true;
      if (changed.t && kept?.m?.["isDeleted"] === true && changed.m?.["isDeleted"] === false) this.undeleteContainer(element, changes);
      if (Object.keys(changed).length > 0) changes.set(id, changed);
      this.setBaseline(element, kept);
      for (const group of Object.values(changed)) size += JSON.stringify(group).length;
    }
    if (orderChanged && this.reordered.size > 0) this.addReordered(changes);
    this.dirty.clear();
    for (const [id, element] of unfinished) this.dirty.set(id, element);
    this.notBefore = Date.now() + COMMIT_MS + (1000 * size) / BYTES_PER_SECOND;
    this.firstDirtyAt = Date.now();
    if (changes.size > 0) {
      this.store.write(changes, this, this.mayPurge);
      this.mayPurge = false;
    }
    this.presence?.set({ live: undefined });
    if (changes.size > 0) this.presence?.flush();
    this.clearPending();
  }

  /** Undelete the container of a text that is being edited while others have deleted both (B10). */
  private undeleteContainer(text: LinkedElement, changes: Map<string, Groups>): void {
    const id = text.containerId;
    const kept = typeof id === "string" ? this.store.read(id) : undefined;
    if (typeof id !== "string" || kept?.m?.["isDeleted"] !== true) return;
    changes.set(id, { ...changes.get(id), m: { ...kept.m, ...changes.get(id)?.m, isDeleted: false } });
    this.unapplied.add(id);
  }

  /** The groups that differ from the baseline (B3), merged with what others have changed (B4). */
  private changedGroups(id: string, kept: Groups | undefined, now: Groups): Groups {
    const before = this.baseline.get(id)?.groups ?? {};
    const after = canonicalGroups(now);
    const changed: Groups = {};
    for (const group of GROUPS) {
      const [mine, theirs] = [now[group], kept?.[group]];
      if (!mine || (theirs && after[group] === before[group])) continue;
      const result = mergeGroup(group, before[group], mine, theirs);
      if (!theirs || result === mine || canonicalJson(result) !== canonicalJson(theirs)) changed[group] = result;
    }
    if (changed.t && kept?.m?.["isDeleted"] === true && now.m?.["isDeleted"] === false) {
      changed.m = { ...kept.m, ...changed.m, isDeleted: false }; // B10
    }
    return changed;
  }

  private addReordered(changes: Map<string, Groups>): void {
    const elements = new Map(this.scene.elements().map((element) => [element.id, element]));
    for (const id of this.reordered) {
      const element = elements.get(id);
      const kept = this.store.read(id);
      if (!element || !kept?.m) continue;
      const m = { ...kept.m, ...changes.get(id)?.m, index: split(element, kept).m?.["index"] };
      changes.set(id, { ...changes.get(id), m });
    }
    this.reordered.clear();
  }

  private sendLive(): void {
    if (!this.presence || this.liveTimer !== undefined) return;
    this.liveTimer = setTimeout(() => { this.liveTimer = undefined; }, LIVE_MS);
    const all: Live[] = [];
    for (const [id, element] of this.dirty) {
      if (all.length >= MAX_LIVE) break;
      const kept = this.store.read(id);
      if (!kept?.g) continue;
      const live = diffGeometry(id, kept.g, split(element, kept).g ?? {});
      if (live) all.push(live);
    }
    this.presence.set({ live: all.length > 0 ? limitSize(all) : undefined });
  }

  private setPending(pending: boolean): void {
    if (this.pending === pending) return;
    this.pending = pending;
    this.onPending(pending);
  }

  private clearPending(): void {
    const real = [...this.dirty.values()].some((element) => this.store.map.has(element.id) || !isInvisible(element));
    if (!real) this.setPending(false);
  }

  // -- remote changes to the scene -----------------------------------------------------------------------------------

  private onRemoteChange(ids: Set<string>): void {
    for (const id of ids) {
      this.unapplied.add(id);
      // The stored element is newer than the movement that led to it; the next message continues from there.
      const overlay = this.overlays.get(id);
      if (overlay) overlay.live = null;
    }
    this.scheduleApply(APPLY_MS);
  }

  private onRemoteLive(): void {
    const moving = new Set<string>();
    for (const [client, state] of this.awareness?.getStates() ?? []) {
      if (client === this.awareness?.clientID) continue;
      const source = (state as Record<string, unknown>)["live"];
      for (const live of parseLive(source)) {
        moving.add(live.i);
        const overlay = this.overlays.get(live.i);
        if (overlay?.source === source) continue;
        const points = extendStroke(overlay?.points ?? null, this.store.read(live.i)?.g?.["points"], live);
        this.overlays.set(live.i, { live, source, points, expiresAt: null });
        this.unapplied.add(live.i);
      }
    }
    for (const [id, overlay] of this.overlays) {
      if (moving.has(id) || overlay.expiresAt !== null) continue;
      overlay.expiresAt = Date.now() + LINGER_MS;
      setTimeout(() => { this.expireOverlay(id, overlay); }, LINGER_MS);
    }
    if (this.unapplied.size > 0) this.scheduleApply(APPLY_MS);
  }

  private expireOverlay(id: string, overlay: Overlay): void {
    if (this.overlays.get(id) !== overlay) return; // it is moving again
    this.overlays.delete(id);
    this.unapplied.add(id);
    this.scheduleApply(0);
  }

  private scheduleApply(delayMs: number): void {
    if (!this.started || this.applyTimer !== undefined) return;
    this.applyTimer = setTimeout(() => {
      this.applyTimer = undefined;
      const rest = this.restUntil - Date.now();
      if (rest > 0) this.scheduleApply(Math.min(rest, APPLY_MS));
      else this.apply();
    }, delayMs);
  }

  /** Show remote changes. */
  private apply(): void {
    if (this.unapplied.size === 0 || !this.started) return;
    const startedAt = Date.now();
    // Local changes that the editor has not reported yet must not be lost (B4).
    if (this.baseline.size > 0) {
      this.scan();
      if (this.dirty.size > 0) this.scheduleCommit();
    }
    // Recompute the order from the document: a repair based on an older state would differ from those of other clients.
    for (const id of this.reordered) this.unapplied.add(id);
    const before = new Map(this.scene.elements().map((element) => [element.id, element]));
    const wanted = this.buildElements(before);
    if (wanted.size === 0) {
      if (this.unapplied.size > 0) this.scheduleApply(RETRY_MS);
      return;
    }
    const sanitized = this.restoreWithNeighbours(wanted, before);
    this.applying = true;
    try {
      const after = this.scene.show(sanitized);
      this.recordShown(after, wanted);
      this.onElements(sanitized);
    } finally {
      this.applying = false;
    }
    this.restUntil = Infinity; // until it is painted
    this.afterPaint(() => {
      const now = Date.now();
      this.restUntil = now + REST_FACTOR * Math.min(MAX_COST_MS, now - startedAt);
    });
    if (this.unapplied.size > 0) this.scheduleApply(RETRY_MS);
  }

  /** Build the elements to show from the document, uncommitted local changes, and movements. */
  private buildElements(before: Map<string, BoardElement>): Map<string, BoardElement> {
    const { editing, pointerDown } = this.scene.busy();
    if (!pointerDown) this.held.clear();
    const wanted = new Map<string, BoardElement>();
    for (const id of [...this.unapplied]) {
      if (editing.has(id) || this.held.has(id)) continue; // B5
      this.unapplied.delete(id);
      const local = before.get(id);
      const kept = this.store.read(id);
      if (!kept) {
        // Purged by another client (B11).
        if (local && !local.isDeleted && this.baseline.has(id) && !this.dirty.has(id) && !this.store.map.has(id)) {
          wanted.set(id, { ...local, isDeleted: true, version: local.version + 1 });
        }
        continue;
      }
      if (kept.m?.["isDeleted"] === true && !local) continue;
      const groups = { ...kept };
      const mine = this.dirty.get(id);
      if (mine) Object.assign(groups, this.changedGroups(id, kept, split(mine, kept))); // B4
      const moved = this.overlays.get(id);
      if (moved?.live && groups.g && groups.g === kept.g) groups.g = applyLive(groups.g, moved.live, moved.points);
      const sanitized = sanitize(join(id, groups, local)); // V1
      if (sanitized) wanted.set(id, sanitized);
    }
    return wanted;
  }

  /** Restore elements for the editor, together with those they refer to: it would remove references to missing ones. */
  private restoreWithNeighbours(wanted: Map<string, BoardElement>, before: Map<string, BoardElement>): BoardElement[] {
    const all = new Map<string, LinkedElement>([...before, ...wanted] as [string, LinkedElement][]);
    const around = new Map<string, LinkedElement>();
    const arrows = arrowsByShape(all.values());
    for (const element of wanted.values()) {
      for (const id of [...referencedIds(element), ...(arrows.get(element.id) ?? [])]) {
        const other = all.get(id);
        if (other) around.set(id, other);
      }
    }
    for (const id of wanted.keys()) around.set(id, all.get(id) as LinkedElement);
    for (const shape of withMissingArrows(around)) {
      if (!wanted.has(shape.id)) wanted.set(shape.id, { ...shape, version: shape.version + 1 });
      around.set(shape.id, { ...shape, version: shape.version + 1 });
    }
    // Copies, because the editor modifies elements in place and Yjs returns its own objects. Sorted, and with their
    // indices put back afterwards, because the editor reindexes a list that is out of order or incomplete (B7).
    const inOrder = [...around.values()].sort(byIndex);
    const copies = inOrder.map((element) => deepCopy(element as unknown as Json) as unknown as BoardElement);
    const sanitized = this.scene.restore(copies).filter((element) => wanted.has(element.id));
    return sanitized.map((element) => {
      const { index } = around.get(element.id) as BoardElement;
      return typeof index === "string" && index !== element.index ? { ...element, index } : element;
    });
  }

  private recordShown(after: readonly BoardElement[], wanted: Map<string, BoardElement>): void {
    for (const element of after) {
      const { id } = element;
      const baseline = this.baseline.get(id);
      if (matches(baseline, element)) continue;
      const intended = wanted.get(id);
      const mine = this.dirty.get(id);
      if (!intended && mine) continue; // changed locally, and not part of this update
      if (!intended && !baseline) continue; // created locally, not scanned yet
      const kept = this.store.read(id);
      if (mine) {
        // Uncommitted changes stay uncommitted: their fields keep the previous baseline (B4).
        const uncommitted = this.changedGroups(id, kept, split(mine, kept));
        const shown = split(element, kept);
        const base: CanonicalGroups = canonicalGroups(shown);
        for (const group of GROUPS) {
          if (!uncommitted[group]) continue;
          const before = baseline?.groups[group];
          const fields = changedFields(group, before, split(mine, kept)[group] ?? {});
          base[group] = before ? canonicalJson(withFields(shown[group] ?? {}, kept?.[group] ?? {}, fields)) : "";
        }
        this.baseline.set(id, { version: element.version, nonce: element.versionNonce, groups: base });
        this.dirty.set(id, element);
        continue;
      }
      this.setBaseline(element, kept);
      if (kept?.m && element.index !== kept.m["index"]) this.reordered.add(id); // B7
      else this.reordered.delete(id);
    }
  }

  /** Make the element's current state its baseline. */
  private setBaseline(element: BoardElement, kept: Groups | undefined): void {
    this.baseline.set(element.id, {
      version: element.version,
      nonce: element.versionNonce,
      groups: canonicalGroups(split(element, kept)),
    });
  }

  /** Restore elements that have vanished from the scene without being marked as deleted (B6). */
  private restoreVanished(elements: readonly BoardElement[]): void {
    let known = 0;
    for (const element of elements) if (this.baseline.has(element.id)) known += 1;
    if (known === this.baseline.size) return;
    const here = new Set(elements.map((element) => element.id));
    for (const id of this.baseline.keys()) {
      if (here.has(id)) continue;
      this.baseline.delete(id);
      this.dirty.delete(id);
      if (this.store.read(id)) this.unapplied.add(id);
    }
  }
}
