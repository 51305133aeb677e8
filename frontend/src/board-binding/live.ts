/**
 * What is being drawn or dragged right now: sent as presence, never kept.
 *
 * Rules (tests quote these ids):
 *   L1  Only what differs from the kept geometry is sent, and of a growing stroke only its end: the last points, more of
 *       them than come between two messages, so that one that gets lost leaves no hole.
 *   L2  A message is bounded: what does not fit is left out, and reaches others with the next commit.
 *   L3  What others send is checked before it is used: presence is not validated by the server.
 */
import { canonicalJson, type Fields, type Json } from "./shape";

/** One element on the move: changed fields of its geometry, and the end of its points. */
export interface Live {
  /** Element id. */
  i: string;
  /** Changed fields of the geometry, points and pressures apart. */
  f?: Fields;
  /** How many points come before those of `p`. */
  n?: number;
  /** Points in tenths of a pixel, x and y in turn: the first one as it is, the others as steps from the one before. */
  p?: number[];
}

const MAX_CHARS = 6000;
const MAX_ELEMENTS = 200;
const MAX_POINTS = 2000;
const TAIL_POINTS = 20;
const STEPS_PER_PIXEL = 10;

function startsWith(list: Json[], start: Json[]): boolean {
  // The last kept point of a stroke is the one that may still move; the others are compared from the end, where a
  // change is most likely to be.
  if (start.length > list.length) return false;
  for (let at = start.length - 1; at >= 0; at -= 1) {
    const [mine, kept] = [list[at], start[at]];
    if (!Array.isArray(mine) || !Array.isArray(kept) || mine[0] !== kept[0] || mine[1] !== kept[1]) return false;
  }
  return true;
}

/** What has to be said so that somebody with the kept geometry sees this one (L1); null when that is nothing. */
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
    // A line that is bent has few points, and any of them may have moved; a stroke only grows.
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

/** As many as fit into one message (L2). */
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

/** Read what somebody else has sent (L3). */
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
 * The points of a stroke as far as they are known: kept ones, those of earlier messages, and this one's.
 *
 * @returns null when there are none, or when some in between are missing; the next commit brings them.
 */
export function extendStroke(before: Json[] | null, kept: Json | undefined, live: Live): Json[] | null {
  if (!live.p || live.n === undefined) return null;
  const stroke = Array.isArray(kept) ? kept : [];
  const base = before && before.length > stroke.length ? before : stroke;
  if (base.length < live.n) return null;
  return [...base.slice(0, live.n), ...decodePoints(live.p)];
}

/** The geometry with somebody's movement on top; the kept one is not changed. */
export function applyLive(kept: Fields, live: Live, points: Json[] | null): Fields {
  const result: Fields = { ...kept, ...live.f };
  if (!points) return result;
  result["points"] = points;
  const pressures = kept["pressures"];
  if (Array.isArray(pressures) && pressures.length > 0) {
    // One for each point; the true ones come with the commit.
    const last = pressures.at(-1) ?? 0.5;
    result["pressures"] = points.map((_, at) => pressures[at] ?? last);
  }
  return result;
}
