/**
 * Sanitizes elements from the document for the editor: a field with an invalid value gets a valid one.
 *
 * The editor trusts its elements. A width that is not a number, an index that is not an order key, or a missing point
 * throws an exception for everyone who has the board open, for as long as the element exists.
 *
 * Rules (tests quote these ids):
 *   UV1  Only what is shown is sanitized. The document stays as it is until someone changes that element.
 *   UV2  A valid element is shown unchanged. Unknown fields are passed through (UH3).
 *   UV3  Elements of unknown types are not shown, and neither are `iframe` elements, which embed other people's pages.
 */
import { isFields, type BoardElement, type Fields, type Json } from "./shape";

type Sanitizer = (value: Json | undefined) => Json | undefined;

const MAX_COORDINATE = 1_000_000;
/** The largest width or height of an element. */
const MAX_LENGTH = 200_000;
const MAX_CHARS = 2000;
const MAX_LINES = 5000;
/** Distance between the editor's hatching lines, in stroke widths. */
const LINE_SPACING = 4;
const BASE_62 = /^[0-9A-Za-z]+$/;

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const isText = (value: unknown): value is string => typeof value === "string";

const number = (min: number, max: number, fallback: number): Sanitizer => (value) =>
  isNumber(value) ? Math.min(max, Math.max(min, value)) : fallback;
const bool = (fallback: boolean): Sanitizer => (value) => typeof value === "boolean" ? value : fallback;
const oneOf = (...all: Json[]): Sanitizer => (value) => all.includes(value as Json) ? value : all[0];
const text = (max = Infinity): Sanitizer => (value) => isText(value) ? value.slice(0, max) : "";
const textOrNull = (max: number): Sanitizer => (value) => isText(value) && value.length <= max ? value : null;
const colour = (fallback: string): Sanitizer => (value) => isText(value) && value.length <= 64 ? value : fallback;

const isPair = (value: unknown): value is [number, number] =>
  Array.isArray(value) && value.length >= 2 && value.every((one) => isNumber(one) && Math.abs(one) <= MAX_COORDINATE);

/** The valid items; the same array if all are valid, so that nothing is copied. */
function onlyValid(value: Json | undefined, isValid: (item: Json) => boolean): Json[] {
  if (!Array.isArray(value)) return [];
  return value.every(isValid) ? value : value.filter(isValid);
}

const points: Sanitizer = (value) => {
  const valid = onlyValid(value, isPair);
  return valid.length > 0 ? valid : [[0, 0]];
};

const isBound = (value: Json): boolean => isFields(value) && isText(value["id"]) && (value["type"] === "arrow" || value["type"] === "text");

const pointBinding: Sanitizer = (value) => {
  if (!isFields(value) || !isText(value["elementId"])) return null;
  const { focus, gap, fixedPoint } = value;
  const isValid = isNumber(focus) && isNumber(gap) && (fixedPoint == null || isPair(fixedPoint));
  return isValid ? value : { elementId: value["elementId"], focus: 0, gap: 1, fixedPoint: isPair(fixedPoint) ? fixedPoint : null };
};

const crop: Sanitizer = (value) => {
  const sizes = ["width", "height", "naturalWidth", "naturalHeight"];
  const isValid = isFields(value) && isNumber(value["x"]) && isNumber(value["y"]) &&
    sizes.every((field) => isNumber(value[field]) && value[field] > 0);
  return isValid ? value : null;
};

const isSegment = (value: Json): boolean => isFields(value) && isPair(value["start"]) && isPair(value["end"]) && isNumber(value["index"]);

const roundness: Sanitizer = (value) =>
  isFields(value) && isNumber(value["type"]) && value["type"] >= 1 && value["type"] <= 3 && (value["value"] === undefined || isNumber(value["value"])) ? value : null;

/** Whether a value is a fractional index: an integer part, whose length its first letter encodes, and a fraction. */
export function isOrderKey(value: unknown): boolean {
  if (!isText(value) || value.length > MAX_CHARS || !BASE_62.test(value) || value === `A${"0".repeat(26)}`) return false;
  const head = value.charCodeAt(0);
  const length = head >= 97 ? head - 97 + 2 : head >= 65 ? 90 - head + 2 : 0;
  return length > 0 && value.length >= length && !(value.length > length && value.endsWith("0"));
}

const arrowhead = oneOf(
  null, "arrow", "bar", "dot", "circle", "circle_outline", "triangle", "triangle_outline", "diamond", "diamond_outline",
  "crowfoot_one", "crowfoot_many", "crowfoot_one_or_many",
);

const SANITIZERS: Record<string, Sanitizer> = {
  x: number(-MAX_COORDINATE, MAX_COORDINATE, 0), y: number(-MAX_COORDINATE, MAX_COORDINATE, 0), width: number(-MAX_LENGTH, MAX_LENGTH, 0), height: number(-MAX_LENGTH, MAX_LENGTH, 0),
  angle: number(-1000, 1000, 0), points, pressures: (value) => onlyValid(value, isNumber), simulatePressure: bool(true),
  scale: (value) => isPair(value) && value[0] !== 0 && value[1] !== 0 ? value : [1, 1], crop,
  elbowed: bool(false), fixedSegments: (value) => Array.isArray(value) && value.every(isSegment) ? value : null,
  startIsSpecial: oneOf(null, true, false), endIsSpecial: oneOf(null, true, false),
  strokeColor: colour("#1e1e1e"), backgroundColor: colour("transparent"),
  fillStyle: oneOf("solid", "hachure", "cross-hatch", "zigzag"), strokeStyle: oneOf("solid", "dashed", "dotted"),
  strokeWidth: number(0.5, 100, 2), roughness: number(0, 10, 1), opacity: number(0, 100, 100), roundness,
  seed: number(1, 2 ** 31, 1), startArrowhead: arrowhead, endArrowhead: arrowhead,
  text: text(), originalText: text(), fontSize: number(1, 1000, 20), fontFamily: number(1, 1000, 5),
  textAlign: oneOf("left", "center", "right"), verticalAlign: oneOf("top", "middle", "bottom"),
  lineHeight: number(0.5, 10, 1.25), autoResize: bool(true),
  index: (value) => isOrderKey(value) ? value : null,
  groupIds: (value) => [...new Set(onlyValid(value, isText))], frameId: textOrNull(MAX_CHARS),
  boundElements: (value) => value == null ? value : onlyValid(value, isBound),
  startBinding: pointBinding, endBinding: pointBinding, containerId: textOrNull(MAX_CHARS),
  locked: bool(false), link: textOrNull(MAX_CHARS), fileId: textOrNull(MAX_CHARS), name: textOrNull(MAX_CHARS),
  customData: (value) => isFields(value) ? value : undefined,
};

/** The known types, and the fields that each requires and the editor does not fill in. */
const REQUIRED: Record<string, readonly string[]> = {
  rectangle: [], diamond: [], ellipse: [], embeddable: [], magicframe: ["name"], frame: ["name"],
  image: ["scale", "fileId"],
  line: ["points"], arrow: ["points", "startBinding", "endBinding"], freedraw: ["points", "pressures", "simulatePressure"],
  text: ["text", "originalText", "fontSize", "fontFamily", "textAlign", "verticalAlign", "lineHeight", "autoResize", "containerId"],
};

/** An elbow arrow needs two points, and its fixed segments must exist. */
function sanitizeElbow(element: Fields): void {
  if (element["elbowed"] !== true) return;
  const count = Array.isArray(element["points"]) ? element["points"].length : 0;
  if (count < 2) element["elbowed"] = false;
  const segments = element["fixedSegments"] as { index: number }[] | null | undefined;
  if (segments?.some(({ index }) => !Number.isInteger(index) || index < 1 || index >= count)) element["fixedSegments"] = null;
}

/** Use a solid fill for shapes that would need very many hatching lines, since each line is computed separately. */
function limitHatching(element: Fields): void {
  const [width, height, pen] = [element["width"], element["height"], element["strokeWidth"]];
  if (element["fillStyle"] === "solid" || !isNumber(width) || !isNumber(height) || !isNumber(pen)) return;
  if (Math.max(Math.abs(width), Math.abs(height)) > MAX_LINES * LINE_SPACING * pen) element["fillStyle"] = "solid";
}

/** A valid element for the editor; null if it cannot be shown (UV3). May share values with its argument. */
export function sanitize(element: BoardElement): BoardElement | null {
  if (!Object.hasOwn(REQUIRED, element.type)) return null;
  const result: Fields = { ...(element as unknown as Fields) };
  for (const field of Object.keys(result)) {
    if (Object.hasOwn(SANITIZERS, field)) result[field] = SANITIZERS[field]?.(result[field]);
  }
  for (const field of REQUIRED[element.type] ?? []) if (result[field] === undefined) result[field] = SANITIZERS[field]?.(undefined);
  // An element that refers to itself would send the editor into an infinite loop.
  for (const field of ["frameId", "containerId"]) if (result[field] === element.id) result[field] = null;
  if (element.type === "frame" || element.type === "magicframe") result["frameId"] = null;
  sanitizeElbow(result);
  limitHatching(result);
  if (Array.isArray(result["boundElements"])) result["boundElements"] = onlyValid(result["boundElements"], (bound) => (bound as Fields)["id"] !== element.id);
  return result as unknown as BoardElement;
}
