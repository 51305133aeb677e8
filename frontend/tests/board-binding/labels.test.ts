import { describe, expect, it } from "vitest";
import { boundByContainer, withMissingBindings, type LinkedElement } from "../../src/board-binding/arrows";
import { placeLabel } from "../../src/board-binding/labels";
import { mergeText } from "../../src/board-binding/merge";

const label = { x: 0, y: 0, width: 20, height: 10, angle: 0, textAlign: "center", verticalAlign: "middle" };
const box = { x: 100, y: 200, width: 100, height: 60, angle: 0 };

describe("labels", () => {
  it.each([
    ["rectangle", "center", "middle", 140, 225], ["rectangle", "left", "top", 105, 205], ["rectangle", "right", "bottom", 175, 245],
    ["ellipse", "center", "middle", 140, 225], ["diamond", "center", "middle", 140, 225],
  ])("are placed in a %s, %s and %s (LBL1)", (type, textAlign, verticalAlign, x, y) => {
    const place = placeLabel({ ...label, textAlign, verticalAlign }, type, box);
    expect(Math.abs((place?.x ?? 0) - x)).toBeLessThan(1);
    expect(Math.abs((place?.y ?? 0) - y)).toBeLessThan(1);
  });

  it("turn with their container", () => {
    expect(placeLabel({ ...label, x: 140, y: 225 }, "rectangle", { ...box, angle: 1 })).toEqual({ x: 140, y: 225, angle: 1 });
  });

  it("within a pixel of their place are left alone (LBL2), and so are those of arrows (LBL3)", () => {
    expect(placeLabel({ ...label, x: 140.4, y: 224.5 }, "rectangle", box)).toBeNull();
    expect(placeLabel(label, "arrow", box)).toBeNull();
    expect(placeLabel({ ...label, width: Number.NaN }, "rectangle", box)).toBeNull();
  });
});

describe("bindings", () => {
  const element = (id: string, fields: object): LinkedElement => ({ id, version: 1, versionNonce: 1, isDeleted: false, type: "rectangle", ...fields });

  it("are completed from the label, for shapes and for arrows", () => {
    const all = [
      element("box", { boundElements: [] }), element("line", { type: "arrow", boundElements: null }),
      element("one", { type: "text", containerId: "box" }), element("two", { type: "text", containerId: "line" }),
      element("gone", { type: "text", containerId: "box", isDeleted: true }),
    ];
    expect(boundByContainer(all).get("box")).toEqual(new Map([["one", "text"]]));
    const found = withMissingBindings(new Map(all.map((one) => [one.id, one])));
    expect(found.map(({ id, boundElements }) => [id, boundElements])).toEqual([
      ["box", [{ id: "one", type: "text" }]], ["line", [{ id: "two", type: "text" }]],
    ]);
  });
});

describe("two texts", () => {
  it.each([
    ["Label", "Label two", "Label one", "Label two one"],
    ["Label", "Labels", "Label", "Labels"],
    ["", "one", "two", "one two"],
    ["a b c", "A b c", "a b C", "A b C"],
    ["a b c", "a c", "a b c d", "a c d"],
    ["Label tw", "Label two", "Label one tw", "Label one two"],
    ["Label on", "Label one", "Label on tw", "Label one tw"],
    ["one", "", "one two", " two"],
    ["😀", "😁", "😀!", "😁!"],
    ["same", "same!", "same!", "same!"],
  ])("%j changed to %j here and %j elsewhere is %j (UM3)", (before, mine, theirs, merged) => {
    expect(mergeText(before, mine, theirs)).toBe(merged);
  });
});
