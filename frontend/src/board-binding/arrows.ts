/**
 * References between elements: arrows bound to shapes, labels bound to their containers.
 *
 * If two users each bind an arrow to the same shape, both write that shape's list, and one list wins. The lost entry is
 * restored from the arrow, which stores what it is bound to.
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

/** The ids of all elements that an element refers to. */
export function referencedIds(element: LinkedElement): string[] {
  const ids = [element.startBinding?.elementId, element.endBinding?.elementId, element.containerId, element.frameId];
  for (const bound of element.boundElements ?? []) ids.push(bound.id);
  return ids.filter((id) => typeof id === "string");
}

/** The arrows bound to each shape, by the shape's id. */
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

/** The shapes whose lists lack bound arrows, with complete lists; all other shapes are omitted. */
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
