/**
 * One element of a board, as Excalidraw has it and as the shared document keeps it.
 *
 * Rules (tests quote these ids):
 *   H1  An element is kept in groups, each one atomic JSON value: `g` geometry, `s` style, `t` text, `m` all the rest.
 *       So a recolour and a move of the same element merge, and points never get mixed with other points.
 *   H2  What only this browser knows is not kept: versions, times, the loading state of an image.
 *   H3  Fields and groups that this module does not know survive: they stay in the group in which they were found.
 *   H4  Coordinates are kept in steps of 1/64 pixel: exact as 32-bit floats, which takes 5 bytes instead of 9.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined };
export interface Fields { [key: string]: Json | undefined }

export const GROUPS = ["g", "s", "t", "m"] as const;
export type Group = (typeof GROUPS)[number];
export type Groups = Partial<Record<Group, Fields>>;

/** What the binding needs to know of an Excalidraw element; everything else is carried along. */
export interface BoardElement {
  readonly id: string;
  readonly version: number;
  readonly versionNonce: number;
  readonly isDeleted: boolean;
  readonly type: string;
  /** Its place in the order, as text that is compared. */
  readonly index?: string | null;
}

const FIELDS: Record<Group, readonly string[]> = {
  g: [
    "x", "y", "width", "height", "angle", "points", "pressures", "simulatePressure",
    "scale", "crop", "elbowed", "fixedSegments", "startIsSpecial", "endIsSpecial",
  ],
  s: [
    "strokeColor", "backgroundColor", "fillStyle", "strokeWidth", "strokeStyle", "roughness", "opacity", "roundness",
    "seed", "startArrowhead", "endArrowhead",
  ],
  t: [
    "text", "originalText", "fontSize", "fontFamily", "textAlign", "verticalAlign", "lineHeight", "autoResize",
  ],
  m: [
    "type", "index", "groupIds", "frameId", "boundElements", "startBinding", "endBinding", "containerId", "isDeleted",
    "locked", "link", "fileId", "customData", "name",
  ],
};
/** What stays in this browser (H2); the identifier is the key under which the element is kept. */
const LOCAL_FIELDS = new Set(["id", "version", "versionNonce", "updated", "status", "lastCommittedPoint"]);
const GROUP_OF = new Map<string, Group>(GROUPS.flatMap((group) => FIELDS[group].map((field) => [field, group] as const)));

const STEPS_PER_PIXEL = 64;
const STEPS_PER_PRESSURE = 256;
const COORDINATES = new Set(["x", "y", "width", "height", "points"]);

/** An object as JSON has it: neither a list, nor a shared type that stands where a value should. */
export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function round(value: Json | undefined, steps: number): Json | undefined {
  if (typeof value === "number") return Number.isFinite(value) ? Math.round(value * steps) / steps : 0;
  if (Array.isArray(value)) return value.map((item) => round(item, steps) ?? null);
  return value;
}

function roundField(field: string, value: Json | undefined): Json | undefined {
  if (COORDINATES.has(field)) return round(value, STEPS_PER_PIXEL);
  if (field === "pressures") return round(value, STEPS_PER_PRESSURE);
  return value;
}

/** In which group a field belongs, given what is kept already (H3). */
function groupOf(field: string, kept: Groups): Group {
  const known = GROUP_OF.get(field);
  if (known) return known;
  return GROUPS.find((group) => kept[group] !== undefined && field in kept[group]) ?? "m";
}

/**
 * Take an element apart.
 *
 * @param element as it is in the scene; not changed.
 * @param kept the groups that the document has of it, for fields that this module does not know (H3).
 * @returns groups to be written as they are; those without any field are left out.
 */
export function split(element: BoardElement, kept: Groups = {}): Groups {
  const groups: Groups = {};
  for (const [field, value] of Object.entries(element as unknown as Fields)) {
    if (LOCAL_FIELDS.has(field) || value === undefined) continue;
    (groups[groupOf(field, kept)] ??= {})[field] = roundField(field, value);
  }
  for (const group of GROUPS) {
    const before = kept[group];
    if (!before) continue;
    // What an element of this version cannot hold, but one of another version could.
    for (const [field, value] of Object.entries(before)) {
      const target = groups[group];
      if (!GROUP_OF.has(field) && !LOCAL_FIELDS.has(field) && target && !(field in target)) target[field] = value;
    }
  }
  return groups;
}

/**
 * Put an element together.
 *
 * @param id its identifier.
 * @param groups as the document keeps them.
 * @param local the element as it is in this browser, for what only this browser knows (H2).
 * @returns shares its values with `groups`: to be copied before anybody may change it.
 */
export function join(id: string, groups: Groups, local: BoardElement | undefined): BoardElement {
  const element: Fields = {};
  const localFields = local as unknown as Fields | undefined;
  for (const field of LOCAL_FIELDS) if (localFields?.[field] !== undefined) element[field] = localFields[field];
  for (const group of GROUPS) Object.assign(element, groups[group]);
  element["id"] = id;
  element["version"] = (local?.version ?? 0) + 1;
  element["versionNonce"] = Math.floor(Math.random() * 2 ** 31);
  element["isDeleted"] = element["isDeleted"] === true;
  return element as unknown as BoardElement;
}

export function deepCopy(value: Json): Json {
  if (Array.isArray(value)) return value.map(deepCopy);
  if (value === null || typeof value !== "object") return value;
  const result: { [key: string]: Json | undefined } = {};
  for (const [key, item] of Object.entries(value)) result[key] = item === undefined ? undefined : deepCopy(item);
  return result;
}

/** Which groups differ, as JSON: cheap to keep for thousands of elements, and independent of who holds the object. */
export type CanonicalGroups = Partial<Record<Group, string>>;

/** A canonical text for a value: the same for the same content, whatever the order of its keys. */
export function canonicalJson(value: Json | undefined): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join()}]`;
  if (value !== null && typeof value === "object") {
    const keys = Object.keys(value).filter((key) => value[key] !== undefined).sort();
    return `{${keys.map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`).join()}}`;
  }
  return value === undefined ? "null" : JSON.stringify(value);
}

export function canonicalGroups(groups: Groups): CanonicalGroups {
  const result: CanonicalGroups = {};
  for (const group of GROUPS) if (groups[group]) result[group] = canonicalJson(groups[group]);
  return result;
}

/** Whether there is nothing to be seen of an element yet: one that was begun with a click is not shared. */
export function isInvisible(element: BoardElement): boolean {
  const fields = element as unknown as Fields;
  if (element.type === "text") return fields["text"] === "" || fields["text"] === undefined;
  const points = fields["points"];
  if (Array.isArray(points)) {
    if (element.type === "freedraw") return points.length < 1;
    return points.length < 2 || (!fields["width"] && !fields["height"]);
  }
  return !fields["width"] && !fields["height"];
}
