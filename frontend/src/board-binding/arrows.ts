/**
 * References between elements: arrows bound to shapes, labels bound to their containers.
 *
 * If two users each bind an arrow to the same shape, both write that shape's list, and one list wins. A label that is
 * still empty is not shared, but its container may be, and editors drop the container's reference to a missing element.
 * In both cases the lost entry is restored from the arrow or the label, which stores what it is bound to.
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

/** The elements bound to each container (arrows to shapes, labels to shapes and arrows): container id -> id -> type. */
export function boundByContainer(elements: Iterable<LinkedElement>): Map<string, Map<string, "arrow" | "text">> {
  const result = new Map<string, Map<string, "arrow" | "text">>();
  const add = (container: string, id: string, type: "arrow" | "text"): void => {
    const bound = result.get(container) ?? new Map<string, "arrow" | "text">();
    result.set(container, bound.set(id, type));
  };
  for (const element of elements) {
    if (element.isDeleted) continue;
    for (const binding of [element.startBinding, element.endBinding]) if (binding) add(binding.elementId, element.id, "arrow");
    if (element.type === "text" && typeof element.containerId === "string") add(element.containerId, element.id, "text");
  }
  return result;
}

/** The containers whose lists lack bound elements, with complete lists; all other elements are omitted. */
export function withMissingBindings(elements: Map<string, LinkedElement>): LinkedElement[] {
  const result: LinkedElement[] = [];
  for (const [id, found] of boundByContainer(elements.values())) {
    const container = elements.get(id);
    if (!container || container.isDeleted) continue;
    const listed = new Set((container.boundElements ?? []).map((bound) => bound.id));
    const missing = [...found].filter(([bound]) => !listed.has(bound)).sort(([one], [other]) => one < other ? -1 : 1);
    if (missing.length === 0) continue;
    const bound = [...(container.boundElements ?? []), ...missing.map(([other, type]) => ({ id: other, type }))];
    result.push({ ...container, boundElements: bound });
  }
  return result;
}
