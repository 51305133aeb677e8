/**
 * One group of an element that was changed here and elsewhere since it was last shown.
 *
 * Rules (tests quote these ids):
 *   M1  A field that was changed here wins; the others are as the document has them now.
 *   M2  Points come with the place and the size that belong to them, and a text with its original.
 */
import { canonicalJson, type Fields, type Group } from "./shape";

/** Fields of which none makes sense without the others: whoever changes the first ones brings all of them (M2). */
const UNITS: Partial<Record<Group, { triggers: readonly string[]; all: readonly string[] }>> = {
  g: { triggers: ["points"], all: ["x", "y", "width", "height", "points", "pressures", "simulatePressure", "fixedSegments"] },
  t: { triggers: ["text", "originalText"], all: ["text", "originalText", "autoResize"] },
};

/**
 * Which fields were changed here.
 *
 * @param baseline the print of the group as it was last shown; undefined when it was not.
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

/** `base`, with these fields as `from` has them. */
export function withFields(base: Fields, from: Fields, fields: Iterable<string>): Fields {
  const result: Fields = { ...base };
  for (const field of fields) {
    if (from[field] === undefined) Reflect.deleteProperty(result, field);
    else result[field] = from[field];
  }
  return result;
}

/** What is to be kept: this change on top of what the document has by now (M1). */
export function mergeGroup(group: Group, baseline: string | undefined, now: Fields, kept: Fields | undefined): Fields {
  if (!kept || !baseline || canonicalJson(kept) === baseline) return now;
  return withFields(kept, now, changedFields(group, baseline, now));
}
