import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { sanitize, isOrderKey } from "../../src/board-binding/sanitize";
import type { BoardElement } from "../../src/board-binding/shape";
import { ElementStore } from "../../src/board-binding/store";

const sound = {
  id: "é", version: 3, versionNonce: 5, isDeleted: false, type: "arrow", x: 1.5, y: -2, width: 30, height: 4, angle: 0,
  points: [[0, 0], [30, 4]], strokeColor: "#1e1e1e", backgroundColor: "transparent", fillStyle: "solid", strokeWidth: 2,
  strokeStyle: "dashed", roughness: 1, opacity: 100, roundness: { type: 2 }, seed: 7, startArrowhead: null, endArrowhead: "arrow",
  index: "a1", groupIds: ["g"], frameId: null, boundElements: [{ id: "label", type: "text" }], locked: false,
  startBinding: { elementId: "box", focus: 0.1, gap: 4, fixedPoint: null }, endBinding: null, link: null, elbowed: false,
  glow: { radius: 3 },
};

const fit = (fields: Record<string, unknown>): Record<string, unknown> | null =>
  sanitize({ ...sound, ...fields }) as Record<string, unknown> | null;

describe("what is shown of an element", () => {
  it("is the element as it is, when it is sound (UV2)", () => {
    expect(fit({})).toEqual(sound);
  });

  it("has a value that it can have in each field (UV2)", () => {
    const bad = { x: NaN, y: 1e300, width: "wide", height: -Infinity, angle: {}, opacity: -5, strokeWidth: 0, roughness: 1e9, seed: NaN,
      points: [[0, 0], [null, 5], 7, [NaN, 1]], strokeColor: 5, fillStyle: "lava", roundness: "round", endArrowhead: {}, index: "a90",
      groupIds: ["g", 5, "g"], frameId: "é", boundElements: [null, { id: "é", type: "arrow" }, { id: "label", type: "text" }],
      startBinding: { elementId: "box", focus: null }, link: { href: "x" } };
    expect(fit(bad)).toMatchObject({ x: 0, y: 1_000_000, width: 0, height: 0, angle: 0, opacity: 0, strokeWidth: 0.5, roughness: 10, seed: 1,
      points: [[0, 0]], strokeColor: "#1e1e1e", fillStyle: "solid", roundness: null, endArrowhead: null, index: null,
      groupIds: ["g"], frameId: null, boundElements: [{ id: "label", type: "text" }],
      startBinding: { elementId: "box", focus: 0, gap: 1 }, link: null });
  });

  it("has what its type needs", () => {
    expect(sanitize({ ...sound, type: "freedraw", points: undefined } as unknown as BoardElement)).toMatchObject({ points: [[0, 0]], pressures: [], simulatePressure: true });
    expect(sanitize({ id: "t", version: 1, versionNonce: 1, isDeleted: false, type: "text" })).toMatchObject({ text: "", fontSize: 20, lineHeight: 1.25 });
  });

  it("is nothing, when its type is not known or holds a page (UV3)", () => {
    for (const type of ["iframe", "selection", "évil", "__proto__", "constructor"]) expect(fit({ type })).toBeNull();
  });

  it("does not hold on to itself, or to what it does not have", () => {
    expect(fit({ type: "frame", frameId: "other", name: null })).toMatchObject({ frameId: null });
    expect(fit({ elbowed: true, points: [[0, 0]] })).toMatchObject({ elbowed: false });
    const segment = (index: number): unknown => ({ start: [0, 0], end: [5, 0], index });
    expect(fit({ elbowed: true, fixedSegments: [segment(99)] })).toMatchObject({ elbowed: true, fixedSegments: null });
    expect(fit({ elbowed: true, fixedSegments: [segment(1)] })).toMatchObject({ fixedSegments: [segment(1)] });
  });

  it("is not filled with more lines than can be drawn", () => {
    expect(fit({ type: "rectangle", width: 200_000, fillStyle: "hachure" })).toMatchObject({ fillStyle: "solid" });
    expect(fit({ type: "rectangle", width: 20_000, fillStyle: "hachure" })).toMatchObject({ fillStyle: "hachure" });
  });

  it("stands at a place that there is", () => {
    for (const key of ["a0", "a0V", "Zz", "b00", "zzzzzzzzzzzzzzzzzzzzzzzzzzz1V"]) expect(isOrderKey(key), key).toBe(true);
    for (const key of ["a90", "", "a", "x", "é0", "0", 5, null, "a 1", `A${"0".repeat(26)}`, "b0"]) expect(isOrderKey(key), String(key)).toBe(false);
  });

  it("is put together from values only, never from shared types that stand in their place (UE3)", () => {
    const doc = new Y.Doc();
    const element = new Y.Map<unknown>([["m", { type: "rectangle" }], ["g", new Y.Map([["x", 1]])], ["s", new Y.Text("red")], ["t", ["a"]]]);
    doc.getMap("elements").set("a", element);
    doc.getMap("elements").set("b", new Y.Map([["m", new Y.Map([["type", "rectangle"]])]]));
    const store = new ElementStore(doc);
    expect(store.read("a")).toEqual({ m: { type: "rectangle" } });
    expect(store.read("b")).toBeUndefined();
  });
});
