/**
 * Live movement: what is being drawn or dragged right now, sent as presence and never stored.
 *
 * Rules (tests quote these ids):
 *   UL1  Only the difference to the stored geometry is sent, and for a growing stroke only its tail: more points than are
 *       added between two messages, so that a lost message leaves no gap.
 *   UL2  The size of a message is limited. What does not fit is left out and reaches others with the next commit.
 *   UL3  Incoming messages are validated before use, because the server does not validate presence.
 */
import { canonicalJson, type Fields, type Json } from "./shape";

/** One moving element: the changed fields of its geometry, and the tail of its points. */
export interface Live {
  /** Element id. */
  i: string;
  /** Changed fields of the geometry, except points and pressures. */
  f?: Fields;
  /** How many points come before those of `p`. */
  n?: number;
  /** Points in tenths of a pixel, alternating x and y: the first absolute, the others relative to the previous point. */
  p?: number[];
}

const MAX_CHARS = 6000;
const MAX_ELEMENTS = 200;
const MAX_POINTS = 2000;
const TAIL_POINTS = 20;
const STEPS_PER_PIXEL = 10;

function startsWith(list: Json[], start: Json[]): boolean {
  // Compare from the end, where a change is most likely.
  if (start.length > list.length) return false;
  for (let at = start.length - 1; at >= 0; at -= 1) {
    const [mine, kept] = [list[at], start[at]];
    if (!Array.isArray(mine) || !Array.isArray(kept) || mine[0] !== kept[0] || mine[1] !== kept[1]) return false;
  }
  return true;
}

/** The message that turns the stored geometry into the current one (UL1); null if they are equal. */
export function diffGeometry(id: string, kept: Fields, now: Fields): Live | null {
  const live: Live = { i: id };
  const fields: Fields = {};
  for (const [field, value] of Object.entries(now)) {
    if (field === "points" || field === "pressures") continue;
    if (canonicalJson(value) !== canonicalJson(kept[field])) fields[field] = value;
  }
  if (Object.keys(fields).length > 0) live.f = fields;
  const [before, after] = [kept["points"], now["points"]];
  if (Array.isArray(after) && canonicalJson(after) !== canonicalJson(before)) {
    const common = Array.isArray(before) && startsWith(after, before) ? before.length : 0;
    // A line that is being bent has few points, and any of them may have moved; a stroke only grows.
    const from = common > 0 ? Math.max(0, after.length - TAIL_POINTS) : 0;
    live.n = from;
    live.p = encodePoints(after.slice(from) as number[][]);
  }
  return live.f || live.p ? live : null;
}

function encodePoints(points: number[][]): number[] {
  const flat: number[] = [];
  let [x, y] = [0, 0];
  for (const point of points) {
    const [atX, atY] = [Math.round((point[0] ?? 0) * STEPS_PER_PIXEL), Math.round((point[1] ?? 0) * STEPS_PER_PIXEL)];
    flat.push(atX - x, atY - y);
    [x, y] = [atX, atY];
  }
  return flat;
}

function decodePoints(flat: number[]): number[][] {
  const result: number[][] = [];
  let [x, y] = [0, 0];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    x += flat[at] ?? 0;
    y += flat[at + 1] ?? 0;
    result.push([x / STEPS_PER_PIXEL, y / STEPS_PER_PIXEL]);
  }
  return result;
}

/** The first movements, as many as fit into one message (UL2). */
export function limitSize(all: Live[]): Live[] {
  const taken: Live[] = [];
  let chars = 0;
  for (const live of all) {
    chars += JSON.stringify(live).length;
    if (chars > MAX_CHARS || taken.length >= MAX_ELEMENTS) break;
    taken.push(live);
  }
  return taken;
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

const NUMBERS = new Set(["x", "y", "width", "height", "angle"]);

/** Validate what another client has sent (UL3). */
export function parseLive(value: unknown): Live[] {
  if (!Array.isArray(value)) return [];
  const result: Live[] = [];
  for (const item of value.slice(0, MAX_ELEMENTS) as unknown[]) {
    if (typeof item !== "object" || item === null) continue;
    const { i, f, n, p } = item as Record<string, unknown>;
    if (typeof i !== "string") continue;
    const live: Live = { i };
    if (typeof f === "object" && f !== null) {
      const fields: Fields = {};
      for (const [field, number] of Object.entries(f)) if (NUMBERS.has(field) && isNumber(number)) fields[field] = number;
      live.f = fields;
    }
    if (isNumber(n) && Array.isArray(p) && p.length <= 2 * MAX_POINTS && p.every(isNumber)) {
      live.n = Math.max(0, Math.floor(n));
      live.p = p;
    }
    result.push(live);
  }
  return result;
}

/**
 * The known points of a stroke: the stored ones, those of earlier messages, and those of this message.
 *
 * @returns null if there are none, or if points in between are missing; the next commit delivers them.
 */
export function extendStroke(before: Json[] | null, kept: Json | undefined, live: Live): Json[] | null {
  if (!live.p || live.n === undefined) return null;
  const stroke = Array.isArray(kept) ? kept : [];
  const base = before && before.length > stroke.length ? before : stroke;
  if (base.length < live.n) return null;
  return [...base.slice(0, live.n), ...decodePoints(live.p)];
}

/** The stored geometry with a movement applied; the input is not modified. */
export function applyLive(kept: Fields, live: Live, points: Json[] | null): Fields {
  const result: Fields = { ...kept, ...live.f };
  if (!points) return result;
  result["points"] = points;
  const pressures = kept["pressures"];
  if (Array.isArray(pressures) && pressures.length > 0) {
    // One per point; the real values arrive with the commit.
    const last = pressures.at(-1) ?? 0.5;
    result["pressures"] = points.map((_, at) => pressures[at] ?? last);
  }
  return result;
}
