/**
 * Which elements hold on to which: arrows to shapes, labels to their containers.
 *
 * Two people who tie an arrow each to the same shape write the same list, and one list wins. What was lost is completed
 * from the arrows, which know what they are tied to.
 */
import type { BoardElement } from "./shape";

interface PointBinding { elementId: string }
interface BoundElement { id: string; type: string }

export interface LinkedElement extends BoardElement {
  readonly startBinding?: PointBinding | null;
  readonly endBinding?: PointBinding | null;
  readonly boundElements?: readonly BoundElement[] | null;
  readonly containerId?: string | null;
  readonly frameId?: string | null;
}

/** The ids that an element names. */
export function referencedIds(element: LinkedElement): string[] {
  const ids = [element.startBinding?.elementId, element.endBinding?.elementId, element.containerId, element.frameId];
  for (const bound of element.boundElements ?? []) ids.push(bound.id);
  return ids.filter((id) => typeof id === "string");
}

/** For every shape, the arrows that are tied to it. */
export function arrowsByShape(elements: Iterable<LinkedElement>): Map<string, Set<string>> {
  const result = new Map<string, Set<string>>();
  for (const element of elements) {
    if (element.isDeleted) continue;
    for (const binding of [element.startBinding, element.endBinding]) {
      if (!binding) continue;
      const arrows = result.get(binding.elementId) ?? new Set<string>();
      result.set(binding.elementId, arrows.add(element.id));
    }
  }
  return result;
}

/** Shapes with the arrows that their own list lacks; those that lack none are not in the result. */
export function withMissingArrows(elements: Map<string, LinkedElement>): LinkedElement[] {
  const result: LinkedElement[] = [];
  for (const [id, arrows] of arrowsByShape(elements.values())) {
    const shape = elements.get(id);
    if (!shape || shape.isDeleted) continue;
    const listed = new Set((shape.boundElements ?? []).map((bound) => bound.id));
    const missing = [...arrows].filter((arrow) => !listed.has(arrow)).sort();
    if (missing.length === 0) continue;
    const bound = [...(shape.boundElements ?? []), ...missing.map((arrow) => ({ id: arrow, type: "arrow" }))];
    result.push({ ...shape, boundElements: bound });
  }
  return result;
}
