/**
 * Local changes: found in the scene, sent as presence while a pointer is down, and committed to the document.
 *
 * Rules (tests quote these ids):
 *   UB1  While a pointer is down, changes are sent as presence, at most 30 times a second. They are committed when the
 *       pointer is released, and about once a second; the more bytes a commit has, the longer the delay to the next.
 *   UB2  All other changes (keys, text, undo) are committed after a short pause, and after a second at most.
 *   UB6  Only elements marked as deleted are deleted. One that merely vanishes from the scene is restored.
 *   UB7  Order repairs that the editor makes on its own are written only together with a local change of the order.
 *   UB8  `pending` tells whether a change has yet to reach the document; `commit` writes all of them immediately.
 *   UB10 A text that is edited while others delete it survives, together with its container.
 *   UB11 Deleted elements are purged after a month, along with another change, so that the document does not grow forever.
 *   UB12 While the user may not write, earlier changes stay pending. They are committed once the user may write again.
 */
import type { LinkedElement } from "./arrows";
import { placeLabel } from "./labels";
import { diffGeometry, limitSize, type Live } from "./live";
import type { Presence } from "./presence";
import { isInvisible, join, split, type BoardElement, type Fields, type Groups } from "./shape";
import { matches, type BindingState } from "./state";

const COMMIT_MS = 1000;
const QUIET_MS = 80;
/** Slightly longer than the interval of presence messages, so that every computed movement is also sent. */
const LIVE_MS = 34;
const MAX_LIVE = 100;
/** A commit of this size delays the next by another second; otherwise long strokes would be rewritten constantly. */
const BYTES_PER_SECOND = 6000;

export class Committer {
  pending = false;

  /** The elements and versions that the last scan has seen. */
  private readonly lastScan: { list: BoardElement[]; versions: number[] } = { list: [], versions: [] };
  private commitTimer: ReturnType<typeof setTimeout> | undefined;
  private liveTimer: ReturnType<typeof setTimeout> | undefined;
  private commitAt = 0;
  private firstDirtyAt = 0;
  private notBefore = 0;
  private mayPurge = false;

  constructor(
    private readonly state: BindingState,
    private readonly presence: Presence | undefined,
    private writable: boolean,
    private readonly onPending: (pending: boolean) => void,
    private readonly onElements: (elements: Iterable<BoardElement>) => void,
  ) {}

  /** Allow or forbid writing. Returns whether it has just been allowed while the binding runs: then scan the scene again. */
  setWritable(writable: boolean): boolean {
    if (this.writable === writable) return false;
    this.writable = writable;
    if (!writable || !this.state.started) return false;
    // UB12: the last scan did not record changes while writing was not allowed, so scan everything again.
    this.lastScan.list.length = this.lastScan.versions.length = 0;
    return true;
  }

  /** The next commit may purge old deleted elements (UB11). */
  allowPurge(): void {
    this.mayPurge = true;
  }

  /** Find local changes, and schedule their commit. */
  collect(): void {
    this.scan();
    if (this.state.dirty.size > 0) this.scheduleCommit();
  }

  /** Commit without further delay, after the current event. */
  commitSoon(): void {
    if (this.state.dirty.size > 0) this.commitAfter(0);
  }

  /** Write all local changes to the document immediately (UB8). */
  commit(): void {
    if (this.state.started && !this.state.applying) this.scan();
    clearTimeout(this.commitTimer);
    this.commitTimer = undefined;
    if (!this.writable) return; // UB12
    const changes = new Map<string, Groups>();
    let orderChanged = false;
    let size = 0;
    const unfinished = new Map<string, BoardElement>();
    for (const [id, element] of this.state.dirty) {
      const kept = this.state.store.read(id);
      if (!kept && (isInvisible(element) || element.isDeleted)) {
        // Started with a click and perhaps abandoned: not shared.
        if (!element.isDeleted) unfinished.set(id, element);
        else this.state.baseline.set(id, { version: element.version, nonce: element.versionNonce, groups: {} });
        continue;
      }
      const now = split(element, kept);
      const changed = this.state.changedGroups(id, kept, now);
      if (changed.m && changed.m["index"] !== kept?.m?.["index"]) orderChanged = true;
      if (changed.t && kept?.m?.["isDeleted"] === true && changed.m?.["isDeleted"] === false) this.undeleteContainer(element, changes);
      if (element.type === "text") this.rewrap(element, kept, changed);
      if (Object.keys(changed).length > 0) changes.set(id, changed);
      this.state.setBaseline(element, kept);
      for (const group of Object.values(changed)) size += JSON.stringify(group).length;
    }
    if (orderChanged && this.state.reordered.size > 0) this.addReordered(changes);
    this.placeLabels(changes);
    this.state.dirty.clear();
    for (const [id, element] of unfinished) this.state.dirty.set(id, element);
    this.notBefore = Date.now() + COMMIT_MS + (1000 * size) / BYTES_PER_SECOND;
    this.firstDirtyAt = Date.now();
    if (changes.size > 0) {
      this.state.store.write(changes, this.state, this.mayPurge);
      this.mayPurge = false;
    }
    this.presence?.set({ live: undefined });
    if (changes.size > 0) this.presence?.flush();
    this.clearPending();
  }

  /** Stop the timers. */
  destroy(): void {
    clearTimeout(this.commitTimer);
    clearTimeout(this.liveTimer);
  }

  /** Find local changes. Runs every frame over thousands of elements, so unchanged ones must be skipped quickly. */
  private scan(): void {
    const elements = this.state.scene.elements();
    const { pointerDown } = this.state.scene.busy();
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
      if (matches(this.state.baseline.get(element.id), element)) continue;
      if (this.writable) this.state.dirty.set(element.id, element);
      if (pointerDown) this.state.held.add(element.id);
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
    const { pointerDown } = this.state.scene.busy();
    if (!pointerDown) {
      const latest = this.firstDirtyAt + COMMIT_MS;
      this.commitAfter(Math.max(0, Math.min(QUIET_MS, latest - now)), true);
      return;
    }
    // A new element is written immediately, so that its further growth can be sent as a difference.
    const isNew = [...this.state.dirty.values()].some((element) => !this.state.store.map.has(element.id) && !isInvisible(element));
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

  /** Undelete the container of a text that is being edited while others have deleted both (UB10). */
  private undeleteContainer(text: LinkedElement, changes: Map<string, Groups>): void {
    const id = text.containerId;
    const kept = typeof id === "string" ? this.state.store.read(id) : undefined;
    if (typeof id !== "string" || kept?.m?.["isDeleted"] !== true) return;
    changes.set(id, { ...changes.get(id), m: { ...kept.m, ...changes.get(id)?.m, isDeleted: false } });
    this.state.unapplied.add(id);
  }

  /** Measure a text whose words differ from those in the scene, because others edit it too (UM3). */
  private rewrap(element: LinkedElement, kept: Groups | undefined, changed: Groups): void {
    const stored = changed.t ?? kept?.t;
    const own = (element as unknown as Fields)["originalText"];
    if (!stored || !kept || typeof stored["originalText"] !== "string" || stored["originalText"] === own) return;
    this.state.unapplied.add(element.id); // shown when it is no longer edited here
    if (!changed.t && !changed.g) return;
    const container = this.state.scene.elements().find(({ id }) => id === element.containerId);
    const joined = join(element.id, { ...kept, ...changed }, element);
    const measured = this.state.scene.remeasure?.(joined, container) as unknown as Fields | undefined;
    if (!measured) return;
    const { text, x, y, width, height } = measured;
    changed.t = { ...stored, text };
    changed.g = { ...(changed.g ?? kept.g), ...split({ ...joined, x, y, width, height } as unknown as BoardElement, kept).g };
  }

  /** Store labels where their containers are, which others may have moved meanwhile (LBL1). */
  private placeLabels(changes: Map<string, Groups>): void {
    for (const [id, changed] of changes) {
      const kept = this.state.store.read(id);
      const container = (changed.m ?? kept?.m)?.["containerId"];
      if ((changed.m ?? kept?.m)?.["type"] !== "text" || !changed.g || typeof container !== "string") continue;
      const other = { ...this.state.store.read(container), ...changes.get(container) };
      if (!other.g || typeof other.m?.["type"] !== "string") continue;
      const place = placeLabel({ ...kept?.t, ...changed.t, ...changed.g }, other.m["type"], other.g);
      if (place) {
        changes.set(id, { ...changed, g: { ...changed.g, ...place } });
        this.state.unapplied.add(id);
      }
    }
  }

  private addReordered(changes: Map<string, Groups>): void {
    const elements = new Map(this.state.scene.elements().map((element) => [element.id, element]));
    for (const id of this.state.reordered) {
      const element = elements.get(id);
      const kept = this.state.store.read(id);
      if (!element || !kept?.m) continue;
      const m = { ...kept.m, ...changes.get(id)?.m, index: split(element, kept).m?.["index"] };
      changes.set(id, { ...changes.get(id), m });
    }
    this.state.reordered.clear();
  }

  private sendLive(): void {
    if (!this.presence || this.liveTimer !== undefined) return;
    this.liveTimer = setTimeout(() => { this.liveTimer = undefined; }, LIVE_MS);
    const all: Live[] = [];
    for (const [id, element] of this.state.dirty) {
      if (all.length >= MAX_LIVE) break;
      const kept = this.state.store.read(id);
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
    const real = [...this.state.dirty.values()].some((element) => this.state.store.map.has(element.id) || !isInvisible(element));
    if (!real) this.setPending(false);
  }

  /** Restore elements that have vanished from the scene without being marked as deleted (UB6). */
  private restoreVanished(elements: readonly BoardElement[]): void {
    let known = 0;
    for (const element of elements) if (this.state.baseline.has(element.id)) known += 1;
    if (known === this.state.baseline.size) return;
    const here = new Set(elements.map((element) => element.id));
    for (const id of this.state.baseline.keys()) {
      if (here.has(id)) continue;
      this.state.baseline.delete(id);
      this.state.dirty.delete(id);
      if (this.state.store.read(id)) this.state.unapplied.add(id);
    }
  }
}
