/**
 * Three-way merge of one group of an element that has changed both locally and in the document.
 *
 * Rules (tests quote these ids):
 *   UM1  A field that was changed locally wins; all other fields come from the document.
 *   UM2  Points are merged together with their position and size, and a text together with its original.
 *   UM3  If a text was changed both locally and in the document, the words of both survive. Text inserted at the same
 *        place stands side by side, with a space in between: first the local one, because what is typed next belongs to it.
 */
import { canonicalJson, type Fields, type Group } from "./shape";

/** Fields that only make sense together: changing one of `triggers` counts as changing all of `all` (UM2). */
const UNITS: Partial<Record<Group, { triggers: readonly string[]; all: readonly string[] }>> = {
  g: { triggers: ["points"], all: ["x", "y", "width", "height", "points", "pressures", "simulatePressure", "fixedSegments"] },
  t: { triggers: ["text", "originalText"], all: ["text", "originalText", "autoResize"] },
};

/**
 * The fields that were changed locally.
 *
 * @param baseline canonical JSON of the group as it was last shown; undefined if it has not been shown.
 */
export function changedFields(group: Group, baseline: string | undefined, now: Fields): Set<string> {
  const before = baseline ? (JSON.parse(baseline) as Fields) : {};
  const changed = new Set<string>();
  for (const field of new Set([...Object.keys(before), ...Object.keys(now)])) {
    if (canonicalJson(before[field]) !== canonicalJson(now[field])) changed.add(field);
  }
  const unit = UNITS[group];
  if (unit?.triggers.some((field) => changed.has(field))) for (const field of unit.all) changed.add(field);
  return changed;
}

/** A copy of `base` with the given fields taken from `from`. */
export function withFields(base: Fields, from: Fields, fields: Iterable<string>): Fields {
  const result: Fields = { ...base };
  for (const field of fields) {
    if (from[field] === undefined) Reflect.deleteProperty(result, field);
    else result[field] = from[field];
  }
  return result;
}

interface Edit { start: number; end: number; inserted: string }

/** The smallest replacement that turns `before` into `after`. */
function editOf(before: string, after: string): Edit {
  const most = Math.min(before.length, after.length);
  let start = 0;
  while (start < most && before[start] === after[start]) start += 1;
  let common = 0;
  while (common < most - start && before[before.length - 1 - common] === after[after.length - 1 - common]) common += 1;
  // Do not split a surrogate pair.
  if (start > 0 && /[\ud800-\udbff]/.test(before[start - 1] ?? "")) start -= 1;
  if (common > 0 && /[\udc00-\udfff]/.test(before[before.length - common] ?? "")) common -= 1;
  return { start, end: before.length - common, inserted: after.slice(start, after.length - common) };
}

/** Both words, with a space in between if one is needed. */
const beside = (one: string, other: string): string =>
  one === "" || other === "" || /\s$/.test(one) || /^\s/.test(other) ? one + other : `${one} ${other}`;

/** A text with the changes of both sides (UM3). */
export function mergeText(before: string, mine: string, theirs: string): string {
  if (mine === theirs || theirs === before) return mine;
  if (mine === before) return theirs;
  const [one, other] = [editOf(before, mine), editOf(before, theirs)];
  if (one.end < other.start || (one.end === other.start && one.start < one.end)) {
    return before.slice(0, one.start) + one.inserted + before.slice(one.end, other.start) + other.inserted + before.slice(other.end);
  }
  if (other.end < one.start || (other.end === one.start && other.start < other.end)) {
    return before.slice(0, other.start) + other.inserted + before.slice(other.end, one.start) + one.inserted + before.slice(one.end);
  }
  const [start, end] = [Math.min(one.start, other.start), Math.max(one.end, other.end)];
  return before.slice(0, start) + beside(one.inserted, other.inserted) + before.slice(end);
}

/** The group to store: the local changes on top of the document's current content (UM1). */
export function mergeGroup(group: Group, baseline: string | undefined, now: Fields, kept: Fields | undefined): Fields {
  if (!kept || !baseline || canonicalJson(kept) === baseline) return now;
  const result = withFields(kept, now, changedFields(group, baseline, now));
  if (group !== "t") return result;
  const texts = [(JSON.parse(baseline) as Fields)["originalText"], now["originalText"], kept["originalText"]];
  const [before, mine, theirs] = texts;
  if (typeof before !== "string" || typeof mine !== "string" || typeof theirs !== "string") return result;
  if (mine === before || theirs === before || mine === theirs) return result;
  const merged = mergeText(before, mine, theirs);
  // The committer wraps it again, because that needs the editor's fonts.
  return { ...result, originalText: merged, text: merged };
}
