/**
 * Shows remote changes in the scene.
 *
 * Rules (tests quote these ids):
 *   UB5  If others change an element while it is being edited or held by the pointer here, the change is shown afterwards.
 *       Shown earlier, it would become part of the user's undo step.
 *   UB9  Showing remote changes leaves time for local input: if it took `d`, including painting, the next waits 3 `d`.
 */
import { boundByContainer, referencedIds, withMissingBindings, type LinkedElement } from "./arrows";
import type { Committer } from "./commit";
import { placedLabels } from "./labels";
import { applyLive } from "./live";
import { changedFields, withFields } from "./merge";
import type { RemoteChanges } from "./remote";
import { sanitize } from "./sanitize";
import { canonicalGroups, canonicalJson, deepCopy, GROUPS, join, split } from "./shape";
import type { BoardElement, CanonicalGroups, Json } from "./shape";
import { matches, type BindingState } from "./state";

const APPLY_MS = 16;
const RETRY_MS = 300;
const REST_FACTOR = 3;
/** Caps the measured cost: a page that was suspended in between was not painting all that time. */
const MAX_COST_MS = 200;

const byIndex = (one: BoardElement, other: BoardElement): number => {
  const [a, b] = [one.index ?? "", other.index ?? ""];
  return a < b ? -1 : a > b ? 1 : one.id < other.id ? -1 : 1;
};

export class Applier {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private restUntil = 0;

  constructor(
    private readonly state: BindingState,
    private readonly committer: Committer,
    private readonly remote: RemoteChanges,
    private readonly onElements: (elements: Iterable<BoardElement>) => void,
    private readonly afterPaint: (done: () => void) => void,
  ) {}

  /** Show remote changes after a delay, or after the one that is already running. */
  schedule(delayMs: number): void {
    if (!this.state.started || this.timer !== undefined) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      const rest = this.restUntil - Date.now();
      if (rest > 0) this.schedule(Math.min(rest, APPLY_MS));
      else this.apply();
    }, delayMs);
  }

  /** Retry what could not be shown yet (UB5). */
  retry(): void {
    if (this.state.unapplied.size > 0) this.schedule(RETRY_MS);
  }

  /** Show remote changes. */
  apply(): void {
    if (this.state.unapplied.size === 0 || !this.state.started) return;
    const startedAt = Date.now();
    // Local changes that the editor has not reported yet must not be lost (UB4).
    if (this.state.baseline.size > 0) this.committer.collect();
    // Recompute the order from the document: a repair based on an older state would differ from those of other clients.
    for (const id of this.state.reordered) this.state.unapplied.add(id);
    const before = new Map(this.state.scene.elements().map((element) => [element.id, element]));
    const wanted = this.buildElements(before);
    if (wanted.size === 0) {
      this.retry();
      return;
    }
    const sanitized = this.restoreWithNeighbours(wanted, before);
    this.state.applying = true;
    try {
      const after = this.state.scene.show(sanitized);
      this.recordShown(after, wanted);
      this.onElements(sanitized);
    } finally {
      this.state.applying = false;
    }
    this.restUntil = Infinity; // until it is painted
    this.afterPaint(() => {
      const now = Date.now();
      this.restUntil = now + REST_FACTOR * Math.min(MAX_COST_MS, now - startedAt);
    });
    this.retry();
  }

  /** Stop the timer. */
  destroy(): void {
    clearTimeout(this.timer);
  }

  /** Build the elements to show from the document, uncommitted local changes, and movements. */
  private buildElements(before: Map<string, BoardElement>): Map<string, BoardElement> {
    const { editing, pointerDown } = this.state.scene.busy();
    if (!pointerDown) this.state.held.clear();
    const wanted = new Map<string, BoardElement>();
    for (const id of [...this.state.unapplied]) {
      if (editing.has(id) || this.state.held.has(id)) continue; // UB5
      this.state.unapplied.delete(id);
      const local = before.get(id);
      const kept = this.state.store.read(id);
      if (!kept) {
        // Purged by another client (UB11).
        if (local && !local.isDeleted && this.state.baseline.has(id) && !this.state.dirty.has(id) && !this.state.store.map.has(id)) {
          wanted.set(id, { ...local, isDeleted: true, version: local.version + 1 });
        }
        continue;
      }
      if (kept.m?.["isDeleted"] === true && !local) continue;
      const groups = { ...kept };
      const mine = this.state.dirty.get(id);
      if (mine) Object.assign(groups, this.state.changedGroups(id, kept, split(mine, kept))); // UB4
      const moved = this.remote.overlays.get(id);
      if (moved?.live && groups.g && groups.g === kept.g) groups.g = applyLive(groups.g, moved.live, moved.points);
      const sanitized = sanitize(join(id, groups, local)); // UV1
      if (sanitized) wanted.set(id, sanitized);
    }
    return wanted;
  }

  /** Restore elements for the editor, together with those they refer to: it would remove references to missing ones. */
  private restoreWithNeighbours(wanted: Map<string, BoardElement>, before: Map<string, BoardElement>): BoardElement[] {
    const all = new Map<string, LinkedElement>([...before, ...wanted] as [string, LinkedElement][]);
    const around = new Map<string, LinkedElement>();
    const bound = boundByContainer(all.values());
    for (const element of wanted.values()) {
      for (const id of [...referencedIds(element), ...(bound.get(element.id)?.keys() ?? [])]) {
        const other = all.get(id);
        if (other) around.set(id, other);
      }
    }
    for (const id of wanted.keys()) around.set(id, all.get(id) as LinkedElement);
    const { editing } = this.state.scene.busy();
    const change = (element: LinkedElement): void => {
      const changed = { ...element, version: element.version + 1 };
      if (!editing.has(element.id)) wanted.set(element.id, changed); // UB5
      around.set(element.id, changed);
    };
    for (const container of withMissingBindings(around)) change(container);
    for (const label of placedLabels(around, (id) => wanted.has(id))) if (!editing.has(label.id)) change(label);
    // Copies, because the editor modifies elements in place and Yjs returns its own objects. Sorted, and with their
    // indices put back afterwards, because the editor reindexes a list that is out of order or incomplete (UB7).
    const inOrder = [...around.values()].sort(byIndex);
    const copies = inOrder.map((element) => deepCopy(element as unknown as Json) as unknown as BoardElement);
    const sanitized = this.state.scene.restore(copies).filter((element) => wanted.has(element.id));
    return sanitized.map((element) => {
      const { index } = around.get(element.id) as BoardElement;
      return typeof index === "string" && index !== element.index ? { ...element, index } : element;
    });
  }

  private recordShown(after: readonly BoardElement[], wanted: Map<string, BoardElement>): void {
    for (const element of after) {
      const { id } = element;
      const baseline = this.state.baseline.get(id);
      if (matches(baseline, element)) continue;
      const intended = wanted.get(id);
      const mine = this.state.dirty.get(id);
      if (!intended && mine) continue; // changed locally, and not part of this update
      if (!intended && !baseline) continue; // created locally, not scanned yet
      const kept = this.state.store.read(id);
      if (mine) {
        // Uncommitted changes stay uncommitted: their fields keep the previous baseline (UB4).
        const uncommitted = this.state.changedGroups(id, kept, split(mine, kept));
        const shown = split(element, kept);
        const base: CanonicalGroups = canonicalGroups(shown);
        for (const group of GROUPS) {
          if (!uncommitted[group]) continue;
          const before = baseline?.groups[group];
          const fields = changedFields(group, before, split(mine, kept)[group] ?? {});
          base[group] = before ? canonicalJson(withFields(shown[group] ?? {}, kept?.[group] ?? {}, fields)) : "";
        }
        this.state.baseline.set(id, { version: element.version, nonce: element.versionNonce, groups: base });
        this.state.dirty.set(id, element);
        continue;
      }
      this.state.setBaseline(element, kept);
      if (kept?.m && element.index !== kept.m["index"]) this.state.reordered.add(id); // UB7
      else this.state.reordered.delete(id);
    }
  }
}
