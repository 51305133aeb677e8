/**
 * The imports between the modules of src.
 *
 * Rules:
 *   LY1  No module imports itself, directly or through others. Type imports and dynamic imports count.
 *   LY2  A module imports from its own folder and from lower layers only; README.md lists the layers.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const ROOT = path.resolve(import.meta.dirname, "..");
const SRC = path.join(ROOT, "src");

type Graph = Map<string, string[]>;

/** The specifiers of all imports in a module: static, type-only, side-effect, re-exported, dynamic, and `typeof import()`. */
function specifiersIn(text: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    let specifier: ts.Node | undefined;
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) specifier = node.moduleSpecifier;
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) specifier = node.arguments[0];
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) specifier = node.argument.literal;
    if (specifier) {
      // An import whose target cannot be read here would escape both rules.
      if (!ts.isStringLiteralLike(specifier)) throw new Error(`not a literal: import(${specifier.getText()})`);
      found.push(specifier.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile("module.tsx", text, ts.ScriptTarget.Latest, true));
  return found;
}

function resolve(module: string, specifier: string): string {
  const base = path.join(path.dirname(module), specifier);
  const target = [base, `${base}.ts`, `${base}.tsx`, path.join(base, "index.ts")].find((file) => /\.\w+$/.test(file) && existsSync(path.join(SRC, file)));
  if (target === undefined) throw new Error(`${module} imports ${specifier}, which does not exist`);
  return target;
}

function graphOfSrc(): Graph {
  const modules = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => /\.(tsx?|js)$/.test(file)).sort();
  return new Map(modules.map((module) => {
    const relative = specifiersIn(readFileSync(path.join(SRC, module), "utf8")).filter((specifier) => specifier.startsWith("."));
    return [module, relative.map((specifier) => resolve(module, specifier))];
  }));
}

/** A circle of imports, its first module repeated at its end; null if there is none. */
function circleIn(graph: Graph): string[] | null {
  const done = new Set<string>();
  const trail: string[] = [];
  const walk = (module: string): string[] | null => {
    if (trail.includes(module)) return [...trail.slice(trail.indexOf(module)), module];
    if (done.has(module)) return null;
    trail.push(module);
    for (const target of graph.get(module) ?? []) {
      const circle = walk(target);
      if (circle) return circle;
    }
    trail.pop();
    done.add(module);
    return null;
  };
  for (const module of graph.keys()) {
    const circle = walk(module);
    if (circle) return circle;
  }
  return null;
}

/** The layer of each folder, or of a file directly in src: from the rows "| 3 | `shell` | … |" of the table. */
function layersIn(readme: string): Map<string, number> {
  return new Map([...readme.matchAll(/^\| (\d) \| `([\w.-]+)` \|/gm)].map(([, layer, name]) => [name ?? "", Number(layer)]));
}

/** The imports that do not go down (LY2). */
function upwardIn(graph: Graph, layers: Map<string, number>): string[] {
  const folderOf = (module: string): string => module.split("/")[0] ?? "";
  const layerOf = (module: string): number => {
    const layer = layers.get(folderOf(module));
    if (layer === undefined) throw new Error(`${folderOf(module)} has no layer in README.md`);
    return layer;
  };
  return [...graph].flatMap(([module, targets]) =>
    targets.filter((target) => folderOf(target) !== folderOf(module) && layerOf(target) >= layerOf(module)).map((target) => `${module} -> ${target}`));
}

const IMPORTS: [string, string][] = [
  ["static", 'import { b } from "./b";'],
  ["type-only", 'import type { B } from "./b";'],
  ["of a type among values", 'import { type B } from "./b";'],
  ["for its side effects", 'import "./b";'],
  ["re-exported", 'export { b } from "./b";'],
  ["re-exported as types", 'export type * from "./b";'],
  ["dynamic", 'const page = () => import("./b");'],
  ["of a module's type", 'let module: typeof import("./b");'],
];

describe("imports", () => {
  it.each(IMPORTS)("%s: are found, and make a circle (LY1)", (_kind, text) => {
    expect(specifiersIn(text)).toEqual(["./b"]);
    const graph: Graph = new Map([["main.ts", ["a.ts"]], ["a.ts", specifiersIn(text).map((specifier) => `${specifier.slice(2)}.ts`)], ["b.ts", ["c.ts"]], ["c.ts", []]]);
    expect(circleIn(graph)).toBeNull();
    graph.set("c.ts", ["a.ts"]);
    expect(circleIn(graph)).toEqual(["a.ts", "b.ts", "c.ts", "a.ts"]);
  });

  it("of a computed module are not allowed", () => {
    expect(() => specifiersIn("const page = (name: string) => import(`./${name}`);")).toThrow("not a literal");
  });

  it("that go up or sideways are found (LY2)", () => {
    const layers = layersIn("| 1 | `ui` | controls |\n| 1 | `offline` | worker |\n| 0 | `strings.ts` | texts |\n");
    const graph: Graph = new Map([
      ["ui/menu.tsx", ["ui/icons.tsx", "strings.ts"]], ["ui/icons.tsx", ["offline/worker.js"]], ["strings.ts", ["ui/menu.tsx"]],
    ]);
    expect(upwardIn(graph, layers)).toEqual(["ui/icons.tsx -> offline/worker.js", "strings.ts -> ui/menu.tsx"]);
    expect(() => upwardIn(new Map([["new/a.ts", ["strings.ts"]]]), layers)).toThrow("new has no layer");
  });

  const graph = graphOfSrc();

  it("of src have no circle (LY1)", () => {
    expect(graph.size).toBeGreaterThan(60);
    expect(circleIn(graph)).toBeNull();
  });

  it("of src go down, layer by layer (LY2)", () => {
    const layers = layersIn(readFileSync(path.join(ROOT, "README.md"), "utf8"));
    const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((file) => path.extname(file) !== "");
    expect(new Set(layers.keys())).toEqual(new Set(files.map((file) => file.split("/")[0])));
    expect(upwardIn(graph, layers)).toEqual([]);
  });
});
