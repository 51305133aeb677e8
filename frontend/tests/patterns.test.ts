/** Every regular expression of the app takes time that is linear in the text, and none is made of text. */
import { readFileSync, readdirSync } from "node:fs";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const SIZES = [16, 20, 25, 32, 40, 50, 64, 250, 1000, 4000, 16_000, 64_000];
/** Processor time in ms; less says nothing about growth. */
const FLOOR_MS = 3;
/** Linear is 4 for text that is 4 times as long, quadratic 16. */
const MOST = 8;
const ALONE = ["a", "0", "0.", "A-", "_", "-", ".", " ", "\t", "\n", '"', "\\", '"\\', "/", "=", "#", "1.", "&a", "\u200d", "\u0000", "é", "😀"];
const AFTER_WORDS = ["", "aaaaaaaa", "0", "-", " ", "="];
/** What stands before and after: a match can begin at the start, or has to fail at the end. */
const AROUND = [["", ""], ["", "!"], ["", '"'], ["", "\n!"], ["x", "!"]] as const;

interface Found {
  where: string;
  source: string;
  flags: string;
}

function scan(): { patterns: Found[]; made: string[] } {
  const patterns: Found[] = [];
  const made: string[] = [];
  for (const name of readdirSync("src", { recursive: true, encoding: "utf8" })) {
    if (!/\.(ts|tsx|js)$/.test(name)) continue;
    const file = ts.createSourceFile(name, readFileSync(`src/${name}`, "utf8"), ts.ScriptTarget.Latest, true, name.endsWith("x") ? ts.ScriptKind.TSX : undefined);
    const visit = (node: ts.Node): void => {
      const where = `${name}:${file.getLineAndCharacterOfPosition(node.getStart(file)).line + 1}`;
      if (ts.isRegularExpressionLiteral(node)) {
        const end = node.text.lastIndexOf("/");
        patterns.push({ where, source: node.text.slice(1, end), flags: node.text.slice(end + 1) });
      }
      if ((ts.isNewExpression(node) || ts.isCallExpression(node)) && node.expression.getText(file) === "RegExp") made.push(where);
      ts.forEachChild(node, visit);
    };
    visit(file);
  }
  return { patterns, made };
}

function timeMs(pattern: RegExp, text: string): number {
  let best = Infinity;
  for (let run = 0; run < 3; run += 1) {
    const before = process.cpuUsage();
    if (pattern.global) text.replace(pattern, () => "");
    else pattern.exec(text);
    const { user, system } = process.cpuUsage(before);
    best = Math.min(best, (user + system) / 1000);
    if (best < FLOOR_MS) break;
  }
  return best;
}

function isSuperlinear(pattern: RegExp, piece: string, head: string, tail: string): boolean {
  let [before, beforeMs] = [0, Infinity];
  for (const size of SIZES) {
    const text = head + piece.repeat(size / piece.length + 1) + tail;
    const tookMs = timeMs(pattern, text);
    const growth = (ms: number): number => ms / Math.max(beforeMs, FLOOR_MS / 4);
    const most = before === 0 ? Infinity : (MOST * size) / (4 * before);
    if (tookMs > FLOOR_MS && growth(tookMs) > most && growth(timeMs(pattern, text)) > most) return true;
    if (size === 16_000 && (tookMs < FLOOR_MS / 4 || growth(tookMs) < 5)) return false;
    [before, beforeMs] = [size, tookMs];
  }
  return false;
}

function fault(pattern: RegExp): string | null {
  const words = pattern.source.replace(/\\[a-zA-Z]/g, " ").match(/[A-Za-z]{2,}|[-"'=.&;?]/g) ?? [];
  for (const piece of [...ALONE, ...new Set(words.flatMap((word) => AFTER_WORDS.map((more) => word + more)))]) {
    for (const [head, tail] of AROUND) if (isSuperlinear(pattern, piece, head, tail)) return JSON.stringify({ head, piece, tail });
  }
  return null;
}

const { patterns, made } = scan();

describe("regular expressions", () => {
  it("are found", () => { expect(patterns.length).toBeGreaterThan(20); });
  it("are never made of text", () => { expect(made).toEqual([]); });
  it.each(patterns)("$where /$source/ is linear", ({ source, flags }) => { expect(fault(new RegExp(source, flags))).toBeNull(); }, 60_000);
  it.each([/\s+$/, /^[. ]+|[. ]+$/g, /(a+)+$/, /"(?:[^"\\]|\\.)*"/g])("%s is noticed", (pattern) => { expect(fault(pattern)).not.toBeNull(); }, 60_000);
});
