/**
 * Conversion of a board element between Excalidraw's form and the form stored in the shared document.
 *
 * Rules (tests quote these ids):
 *   UH1  An element is stored in groups, each one atomic JSON value: `g` geometry, `s` style, `t` text, `m` everything
 *       else. So a move and a recolour of the same element merge, and two lists of points are never mixed.
 *   UH2  Local state is not stored: versions, times, the loading status of an image.
 *   UH3  Unknown fields and groups survive; they stay in the group they were found in.
 *   UH4  Coordinates are stored in steps of 1/64 pixel: exact as 32-bit floats, which take 5 bytes instead of 9.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json | undefined };
export interface Fields { [key: string]: Json | undefined }

export const GROUPS = ["g", "s", "t", "m"] as const;
export type Group = (typeof GROUPS)[number];
export type Groups = Partial<Record<Group, Fields>>;

/** The fields of an Excalidraw element that the binding uses; all others are passed through. */
export interface BoardElement {
  readonly id: string;
  readonly version: number;
  readonly versionNonce: number;
  readonly isDeleted: boolean;
  readonly type: string;
  /** Fractional index: the element's position in the order, compared as text. */
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
/** Fields that are not stored (UH2). The id is not among the fields because it is the element's key in the document. */
const LOCAL_FIELDS = new Set(["id", "version", "versionNonce", "updated", "status", "lastCommittedPoint"]);
const GROUP_OF = new Map<string, Group>(GROUPS.flatMap((group) => FIELDS[group].map((field) => [field, group] as const)));

const STEPS_PER_PIXEL = 64;
const STEPS_PER_PRESSURE = 256;
const COORDINATES = new Set(["x", "y", "width", "height", "points"]);

/** Whether a value is a plain JSON object: not an array, and not a Yjs type in place of a value. */
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

/** The group a field belongs to, given what is stored already (UH3). */
function groupOf(field: string, kept: Groups): Group {
  const known = GROUP_OF.get(field);
  if (known) return known;
  return GROUPS.find((group) => kept[group] !== undefined && field in kept[group]) ?? "m";
}

/**
 * Split an element into groups.
 *
 * @param element as it is in the scene; not modified.
 * @param kept the element's groups in the document, for fields unknown to this module (UH3).
 * @returns groups ready to be written; empty groups are omitted.
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
    // Fields that this version's elements do not have, but those of another version may.
    for (const [field, value] of Object.entries(before)) {
      const target = groups[group];
      if (!GROUP_OF.has(field) && !LOCAL_FIELDS.has(field) && target && !(field in target)) target[field] = value;
    }
  }
  return groups;
}

/**
 * Assemble an element from its groups.
 *
 * @param id the element's id.
 * @param groups as stored in the document.
 * @param local the element in this client's scene, for its local state (UH2).
 * @returns shares its values with `groups`; copy it before modifying it.
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

/** Each group as canonical JSON: cheap to keep for thousands of elements, and unaffected when the objects are modified. */
export type CanonicalGroups = Partial<Record<Group, string>>;

/** JSON with sorted keys, so that equal values have equal text. */
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

/** Whether an element has no visible extent yet. One that was only started with a click is not shared. */
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
