/**
 * What stands in a document, made fit for the editor: a field with a value that it cannot have gets one that it can have.
 *
 * The editor trusts its elements. A width that is no number, an index that is no order key, a point that is missing: each
 * of them ends in an exception, for everybody who has the board open, and for as long as the element is there.
 *
 * Rules (tests quote these ids):
 *   V1  Only what is shown is made fit. The document keeps what it has, until somebody changes that element.
 *   V2  A sound element is shown as it is. Fields that are not known are carried along (H3).
 *   V3  A type that is not known is not shown; neither is `iframe`, which holds a whole page of somebody else's.
 */
import { isFields, type BoardElement, type Fields, type Json } from "./shape";

type Fit = (value: Json | undefined) => Json | undefined;

/** As far as a board goes, and as long as one thing on it can be. */
const FAR = 1_000_000;
const LONG = 200_000;
const MOST_CHARS = 2000;
const MOST_LINES = 5000;
/** Of the editor's hatching, in widths of the pen. */
const LINE_SPACING = 4;
const BASE_62 = /^[0-9A-Za-z]+$/;

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const isText = (value: unknown): value is string => typeof value === "string";

const number = (least: number, most: number, otherwise: number): Fit => (value) =>
  isNumber(value) ? Math.min(most, Math.max(least, value)) : otherwise;
const bool = (otherwise: boolean): Fit => (value) => typeof value === "boolean" ? value : otherwise;
const oneOf = (...all: Json[]): Fit => (value) => all.includes(value as Json) ? value : all[0];
const text = (most = Infinity): Fit => (value) => isText(value) ? value.slice(0, most) : "";
const textOrNull = (most: number): Fit => (value) => isText(value) && value.length <= most ? value : null;
const colour = (otherwise: string): Fit => (value) => isText(value) && value.length <= 64 ? value : otherwise;

const isPair = (value: unknown): value is [number, number] =>
  Array.isArray(value) && value.length >= 2 && value.every((one) => isNumber(one) && Math.abs(one) <= FAR);

/** The same list when all of it is sound, so that nothing is copied. */
function those(value: Json | undefined, isSound: (item: Json) => boolean): Json[] {
  if (!Array.isArray(value)) return [];
  return value.every(isSound) ? value : value.filter(isSound);
}

const points: Fit = (value) => {
  const sound = those(value, isPair);
  return sound.length > 0 ? sound : [[0, 0]];
};

const isBound = (value: Json): boolean => isFields(value) && isText(value["id"]) && (value["type"] === "arrow" || value["type"] === "text");

const tie: Fit = (value) => {
  if (!isFields(value) || !isText(value["elementId"])) return null;
  const { focus, gap, fixedPoint } = value;
  const isSound = isNumber(focus) && isNumber(gap) && (fixedPoint == null || isPair(fixedPoint));
  return isSound ? value : { elementId: value["elementId"], focus: 0, gap: 1, fixedPoint: isPair(fixedPoint) ? fixedPoint : null };
};

const crop: Fit = (value) => {
  const sizes = ["width", "height", "naturalWidth", "naturalHeight"];
  const isSound = isFields(value) && isNumber(value["x"]) && isNumber(value["y"]) &&
    sizes.every((field) => isNumber(value[field]) && value[field] > 0);
  return isSound ? value : null;
};

const isSegment = (value: Json): boolean => isFields(value) && isPair(value["start"]) && isPair(value["end"]) && isNumber(value["index"]);

const roundness: Fit = (value) =>
  isFields(value) && isNumber(value["type"]) && value["type"] >= 1 && value["type"] <= 3 && (value["value"] === undefined || isNumber(value["value"])) ? value : null;

/** A place in the order: a number whose length its first letter tells, and a fraction. Null gets a new one. */
export function isOrderKey(value: unknown): boolean {
  if (!isText(value) || value.length > MOST_CHARS || !BASE_62.test(value) || value === `A${"0".repeat(26)}`) return false;
  const head = value.charCodeAt(0);
  const length = head >= 97 ? head - 97 + 2 : head >= 65 ? 90 - head + 2 : 0;
  return length > 0 && value.length >= length && !(value.length > length && value.endsWith("0"));
}

const arrowhead = oneOf(
  null, "arrow", "bar", "dot", "circle", "circle_outline", "triangle", "triangle_outline", "diamond", "diamond_outline",
  "crowfoot_one", "crowfoot_many", "crowfoot_one_or_many",
);

const FITS: Record<string, Fit> = {
  x: number(-FAR, FAR, 0), y: number(-FAR, FAR, 0), width: number(-LONG, LONG, 0), height: number(-LONG, LONG, 0),
  angle: number(-1000, 1000, 0), points, pressures: (value) => those(value, isNumber), simulatePressure: bool(true),
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
  groupIds: (value) => [...new Set(those(value, isText))], frameId: textOrNull(MOST_CHARS),
  boundElements: (value) => value == null ? value : those(value, isBound),
  startBinding: tie, endBinding: tie, containerId: textOrNull(MOST_CHARS),
  locked: bool(false), link: textOrNull(MOST_CHARS), fileId: textOrNull(MOST_CHARS), name: textOrNull(MOST_CHARS),
  customData: (value) => isFields(value) ? value : undefined,
};

/** The types that there are, and what an element of each must have that the editor does not give it. */
const NEEDED: Record<string, readonly string[]> = {
  rectangle: [], diamond: [], ellipse: [], embeddable: [], magicframe: ["name"], frame: ["name"],
  image: ["scale", "fileId"],
  line: ["points"], arrow: ["points", "startBinding", "endBinding"], freedraw: ["points", "pressures", "simulatePressure"],
  text: ["text", "originalText", "fontSize", "fontFamily", "textAlign", "verticalAlign", "lineHeight", "autoResize", "containerId"],
};

/** An arrow with corners needs two ends, and its fixed segments have to be some of its own. */
function straighten(element: Fields): void {
  if (element["elbowed"] !== true) return;
  const count = Array.isArray(element["points"]) ? element["points"].length : 0;
  if (count < 2) element["elbowed"] = false;
  const segments = element["fixedSegments"] as { index: number }[] | null | undefined;
  if (segments?.some(({ index }) => !Number.isInteger(index) || index < 1 || index >= count)) element["fixedSegments"] = null;
}

/** Lines that fill a shape are worked out one by one: where there would be very many, it is filled evenly. */
function thin(element: Fields): void {
  const [width, height, pen] = [element["width"], element["height"], element["strokeWidth"]];
  if (element["fillStyle"] === "solid" || !isNumber(width) || !isNumber(height) || !isNumber(pen)) return;
  if (Math.max(Math.abs(width), Math.abs(height)) > MOST_LINES * LINE_SPACING * pen) element["fillStyle"] = "solid";
}

/** The element as the editor can have it; null when it cannot be shown (V3). Values may be shared with what is given. */
export function fitted(element: BoardElement): BoardElement | null {
  if (!Object.hasOwn(NEEDED, element.type)) return null;
  const result: Fields = { ...(element as unknown as Fields) };
  for (const field of Object.keys(result)) {
    if (Object.hasOwn(FITS, field)) result[field] = FITS[field]?.(result[field]);
  }
  for (const field of NEEDED[element.type] ?? []) if (result[field] === undefined) result[field] = FITS[field]?.(undefined);
  // What holds on to itself is looked through without an end.
  for (const field of ["frameId", "containerId"]) if (result[field] === element.id) result[field] = null;
  if (element.type === "frame" || element.type === "magicframe") result["frameId"] = null;
  straighten(result);
  thin(result);
  if (Array.isArray(result["boundElements"])) result["boundElements"] = those(result["boundElements"], (bound) => (bound as Fields)["id"] !== element.id);
  return result as unknown as BoardElement;
}
