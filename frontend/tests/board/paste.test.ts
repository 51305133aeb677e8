import { describe, expect, it } from "vitest";
import { MAX_ELEMENT_BYTES, pastedBytes } from "../../src/board/paste";

describe("the size of what is pasted on a board", () => {
  it("counts an element for each line", () => {
    expect(pastedBytes("a\n".repeat(60_000))).toBeGreaterThan(MAX_ELEMENT_BYTES);
    expect(pastedBytes("a ".repeat(60_000))).toBeLessThan(MAX_ELEMENT_BYTES);
  });

  it("counts copied elements without their images", () => {
    const elements = [{ type: "rectangle", id: "a" }];
    const files = { a: { dataURL: "x".repeat(MAX_ELEMENT_BYTES) } };
    expect(pastedBytes(JSON.stringify({ type: "excalidraw/clipboard", elements, files }))).toBeLessThan(100);
    const many = Array.from({ length: 300_000 }, () => elements[0]);
    expect(pastedBytes(JSON.stringify({ type: "excalidraw/clipboard", elements: many }))).toBeGreaterThan(MAX_ELEMENT_BYTES);
  });
});
