/**
 * The position of labels: texts inside a container.
 *
 * Rules (tests quote these ids):
 *   LBL1  A label is placed by its container, whoever moved which of the two. Stored positions can disagree, for example
 *       if one user moves the container while another edits the label.
 *   LBL2  A label within a pixel of its place is left alone, so that rounding moves nothing.
 *   LBL3  Labels of arrows are left alone: the editor computes their places whenever it draws them.
 */
import type { LinkedElement } from "./arrows";
import type { Fields } from "./shape";

/** The editor's padding between a container and its label, in pixels. */
const PADDING = 5;

interface Rect { x: number; y: number; width: number; height: number }

/** The area of a container in which a label can be; null if the element cannot contain one that is placed here (LBL3). */
function innerRect(type: string, { x, y, width, height }: Rect): Rect | null {
  if (type === "rectangle") return { x: x + PADDING, y: y + PADDING, width: width - 2 * PADDING, height: height - 2 * PADDING };
  if (type === "ellipse") {
    const factor = 1 - Math.SQRT1_2;
    return {
      x: x + PADDING + (width / 2) * factor, y: y + PADDING + (height / 2) * factor,
      width: Math.round((width / 2) * Math.SQRT2) - 2 * PADDING, height: Math.round((height / 2) * Math.SQRT2) - 2 * PADDING,
    };
  }
  if (type === "diamond") {
    return {
      x: x + PADDING + width / 4, y: y + PADDING + height / 4,
      width: Math.round(width / 2) - 2 * PADDING, height: Math.round(height / 2) - 2 * PADDING,
    };
  }
  return null;
}

const isRect = (value: Fields): boolean => ["x", "y", "width", "height"].every((field) => Number.isFinite(value[field]));

/**
 * Where a label belongs.
 *
 * @param label its geometry and alignment: x, y, width, height, angle, textAlign, verticalAlign.
 * @returns the fields to change; null if it is in its place (LBL2), or not placed here (LBL3).
 */
export function placeLabel(label: Fields, containerType: string, container: Fields): { x: number; y: number; angle: number } | null {
  if (!isRect(label) || !isRect(container)) return null;
  const inner = innerRect(containerType, container as unknown as Rect);
  if (!inner) return null;
  const { width, height } = label as unknown as Rect;
  const { textAlign, verticalAlign } = label;
  const x = inner.x + (textAlign === "left" ? 0 : textAlign === "right" ? inner.width - width : (inner.width - width) / 2);
  const y = inner.y + (verticalAlign === "top" ? 0 : verticalAlign === "bottom" ? inner.height - height : (inner.height - height) / 2);
  const angle = typeof container["angle"] === "number" ? container["angle"] : 0;
  const isThere = Math.abs(x - Number(label["x"])) <= 1 && Math.abs(y - Number(label["y"])) <= 1 && (label["angle"] ?? 0) === angle;
  return isThere ? null : { x, y, angle };
}

/** Put labels in their places (LBL1): those of `moved`, or whose containers are; the result contains only changed labels. */
export function placedLabels(elements: Map<string, LinkedElement>, moved: (id: string) => boolean): LinkedElement[] {
  const result: LinkedElement[] = [];
  for (const label of elements.values()) {
    const { containerId } = label;
    if (label.type !== "text" || label.isDeleted || typeof containerId !== "string") continue;
    if (!moved(label.id) && !moved(containerId)) continue;
    const container = elements.get(containerId);
    if (!container || container.isDeleted) continue;
    const place = placeLabel(label as unknown as Fields, container.type, container as unknown as Fields);
    if (place) result.push({ ...label, ...place });
  }
  return result;
}
