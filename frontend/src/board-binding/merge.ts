/**
 * Three-way merge of one group of an element that has changed both locally and in the document.
 *
 * Rules (tests quote these ids):
 *   UM1  A field that was changed locally wins; all other fields come from the document.
 *   UM2  Points are merged together with their position and size, and a text together with its original.
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

/** The group to store: the local changes on top of the document's current content (UM1). */
export function mergeGroup(group: Group, baseline: string | undefined, now: Fields, kept: Fields | undefined): Fields {
  if (!kept || !baseline || canonicalJson(kept) === baseline) return now;
  return withFields(kept, now, changedFields(group, baseline, now));
}
