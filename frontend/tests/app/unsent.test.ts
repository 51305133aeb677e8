import { beforeEach, describe, expect, it, vi } from "vitest";

beforeEach(() => {
  const kept = new Map<string, string>();
  vi.stubGlobal("localStorage", { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => { kept.set(key, value); } });
  vi.stubGlobal("location", { origin: "http://here", pathname: "/", href: "http://here/" });
});

describe("unsent documents", () => {
  it("are noted once, with what this device knows of them, until they are sent", async () => {
    const { setUnsent, unsent } = await import("../../src/app/unsent");
    const { addRecent } = await import("../../src/app/recent");
    addRecent({ id: "b", title: "Plan é", kind: "board" });
    for (const id of ["a", "b", "b"]) setUnsent(id, true);
    expect(unsent()).toEqual([{ id: "a", title: "", kind: "document" }, { id: "b", title: "Plan é", kind: "board" }]);
    setUnsent("a", false);
    setUnsent("unknown", false);
    expect(unsent().map(({ id }) => id)).toEqual(["b"]);
  });

  it("survive damaged storage", async () => {
    const { unsent } = await import("../../src/app/unsent");
    for (const kept of ["{", "5", '[null, 3]']) {
      vi.stubGlobal("localStorage", { getItem: () => kept });
      expect(unsent()).toEqual([]);
    }
  });
});
