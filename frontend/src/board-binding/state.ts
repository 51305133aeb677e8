/**
 * What the parts of the binding share: the scene, the document's elements, and how the two differ.
 *
 * Rules (tests quote these ids):
 *   UB3  Changes from the document are never written back: an element counts as changed only relative to its baseline,
 *       what was last shown.
 *   UB4  An uncommitted local change of a field survives when others change other fields (merge.ts).
 */
import { mergeGroup } from "./merge";
import { canonicalGroups, canonicalJson, GROUPS, split } from "./shape";
import type { BoardElement, CanonicalGroups, Groups } from "./shape";
import type { ElementStore } from "./store";

/** The binding's interface to the editor. */
export interface Scene {
  /** All elements in order, including deleted ones. */
  elements(): readonly BoardElement[];
  /** Whether a pointer is down, and which elements must not be replaced right now. */
  busy(): { pointerDown: boolean; editing: ReadonlySet<string> };
  /** Restore elements for the editor. The argument includes the elements that they refer to. */
  restore(elements: BoardElement[]): BoardElement[];
  /** A text with `originalText` wrapped and measured anew; `container` if it is a label. */
  remeasure?(text: BoardElement, container: BoardElement | undefined): BoardElement;
  /** Show remote elements without creating an undo step; returns the resulting elements of the scene. */
  show(elements: BoardElement[]): readonly BoardElement[];
}

/** An element as it was last shown. */
export interface Baseline {
  version: number;
  nonce: number;
  groups: CanonicalGroups;
}

/** Whether an element is unchanged since it was last shown. */
export const matches = (baseline: Baseline | undefined, element: BoardElement): boolean =>
  baseline?.version === element.version && baseline.nonce === element.versionNonce;

/** Which elements differ between the scene and the document, and why. */
export class BindingState {
  readonly baseline = new Map<string, Baseline>();
  /** Changed locally, not committed. */
  readonly dirty = new Map<string, BoardElement>();
  /** Reindexed by the editor's own repair of the order (UB7). */
  readonly reordered = new Set<string>();
  /** Changed locally since the pointer went down (UB5). */
  readonly held = new Set<string>();
  /** Changed by others, not shown yet. */
  readonly unapplied = new Set<string>();
  /** True between the binding's start and its end. */
  started = false;
  /** Remote changes are being shown, so the scene's own events must be ignored. */
  applying = false;

  constructor(
    readonly scene: Scene,
    readonly store: ElementStore,
  ) {}

  /** Make the element's current state its baseline. */
  setBaseline(element: BoardElement, kept: Groups | undefined): void {
    this.baseline.set(element.id, {
      version: element.version,
      nonce: element.versionNonce,
      groups: canonicalGroups(split(element, kept)),
    });
  }

  /** The groups that differ from the baseline (UB3), merged with what others have changed (UB4). */
  changedGroups(id: string, kept: Groups | undefined, now: Groups): Groups {
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
      changed.m = { ...kept.m, ...changed.m, isDeleted: false }; // UB10
    }
    return changed;
  }
}
