/** Compares the models; `COMPARE=300` plays so many histories of each, measures, and prints the table of docs/reshaping.md. */
import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import * as Y from "yjs";
import { blocksModel } from "./blocks";
import { flowModel } from "./flow";
import { history, isClean, pair, PAIRS, type Verdict } from "./judge";
import type { Block, Model } from "./model";
import { repairedModel, todayModel } from "./prosemirror";

const MEASURES = process.env["COMPARE"] !== undefined;
const HISTORIES = Number(process.env["COMPARE"] ?? 2);
const MODELS = [todayModel, repairedModel, blocksModel, flowModel];

const words = (verdict: Verdict): string => isClean(verdict) ? "ok"
  : [["lost", verdict.lost], ["doubled", verdict.doubled], ["moved", verdict.broken], ["ids", verdict.changedIds], ["errors", verdict.failures.length]]
    .filter(([, count]) => count).map(([word, count]) => `${String(count)} ${String(word)}`).join(", ") + (verdict.unequal ? " unequal" : "");

function large(blocks: number, length: number): Block[] {
  return Array.from({ length: blocks }, (_, i) => ({ id: `b${i}`, type: "paragraph", depth: 0, text: "lorem ipsum dolor sit amet ".repeat(50).slice(0, length) }));
}

const middle = (times: number[]): string => ((times.sort((a, b) => a - b)[Math.floor(times.length / 2)] ?? 0)).toFixed(2);

function cost(model: Model, blocks: number, length: number): Record<string, string> {
  const doc = new Y.Doc();
  model.seed(doc, large(blocks, length));
  const bytes = Y.encodeStateAsUpdate(doc).length;
  const page = model.open(doc);
  const timed = (work: (i: number) => void): string => {
    const times: number[] = [];
    for (let i = 0; i < 7; i++) {
      const start = performance.now();
      work(i);
      times.push(performance.now() - start);
    }
    return middle(times);
  };
  const at = (i: number): string => `b${Math.floor(blocks / 2) + i}`;
  const result = {
    bytes: String(bytes),
    read: timed(() => { page.read(); }),
    type: timed((i) => { page.type(at(i), 3, "x"); }),
    turn: timed((i) => { page.turn(at(i), "heading"); }),
    split: timed((i) => { page.split(at(i), 4); }),
  };
  page.close();
  return result;
}

test("the models", { timeout: 1_200_000 }, () => {
  const lines: string[] = [];
  for (const model of MODELS) {
    for (const name of Object.keys(PAIRS)) lines.push(`${model.name} | ${name} | ${words(pair(model, name))} | undo: ${words(pair(model, name, true))}`);
    const sum = { histories: 0, lost: 0, doubled: 0, doubledByUndo: 0, clean: 0, words: 0, broken: 0, unequal: 0, letters: 0, changed: 0, edits: 0, bytes: 0, errors: 0 };
    for (let seed = 1; seed <= HISTORIES; seed++) {
      const verdict = history(model, seed);
      sum.histories++;
      if (verdict.lost) sum.lost++;
      if (verdict.doubled) sum.doubled++;
      if (verdict.lost || verdict.doubled) sum.words++;
      if (verdict.doubledByUndo) sum.doubledByUndo++;
      if (verdict.broken) sum.broken++;
      if (verdict.unequal) sum.unequal++;
      if (verdict.failures.length) sum.errors++;
      if (isClean(verdict)) sum.clean++;
      sum.letters += verdict.letters;
      sum.changed += verdict.changedIds;
      sum.edits += verdict.edits;
      sum.bytes += verdict.bytes;
    }
    lines.push(`${model.name} | ${JSON.stringify(sum)} | ids kept ${(100 - 100 * sum.changed / sum.letters).toFixed(2)} % | bytes per edit ${(sum.bytes / sum.edits).toFixed(0)}`);
    expect(sum.histories).toBe(HISTORIES);
    if (model === flowModel) expect([sum.lost, sum.doubled, sum.unequal, sum.changed]).toEqual([0, 0, 0, 0]);
    if (!MEASURES || model === repairedModel) continue; // which costs what today's does
    for (const [blocks, length] of [[1000, 300], [8000, 40]] as const) lines.push(`${model.name} | ${blocks} x ${length} | ${JSON.stringify(cost(model, blocks, length))}`);
    writeFileSync(process.env["COMPARE_TO"] ?? "/dev/stdout", `${lines.join("\n")}\n`);
  }
});
