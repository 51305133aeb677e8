import { beforeEach, describe, expect, it, vi } from "vitest";

class Store {
  readonly map = new Map<string, string>();
  getItem = (key: string): string | null => this.map.get(key) ?? null;
  setItem = (key: string, value: string): void => { this.map.set(key, value); };
}

beforeEach(() => {
  vi.resetModules();
  vi.stubGlobal("sessionStorage", new Store());
  vi.stubGlobal("localStorage", new Store());
  vi.stubGlobal("addEventListener", vi.fn());
});

describe("tokens", () => {
  it("leave the address, and are kept for their document (K1, K2)", async () => {
    const { takeToken, tokenOf } = await import("../../src/app/tokens");
    const taken = takeToken("team/é", "http://here/d/team%2F%C3%A9#token=a.b.c&block=7");
    expect(taken).toEqual({ token: "a.b.c", rest: "http://here/d/team%2F%C3%A9#block=7" });
    expect(tokenOf("team/é")).toBe("a.b.c");
    expect(tokenOf("team")).toBe("");
    expect(takeToken("x", "http://here/d/x?token=never")).toBeNull();
    expect(takeToken("x", "http://here/d/x#token=t")?.rest).toBe("http://here/d/x");
  });
});

describe("addresses", () => {
  it("name pages", async () => {
    vi.stubGlobal("location", { pathname: "/", href: "http://here/" });
    const { parse } = await import("../../src/app/router");
    expect(parse("/")).toEqual({ page: "home" });
    expect(parse("/d/team%2Fplan")).toEqual({ page: "document", id: "team/plan" });
    expect(parse("/b/x/")).toEqual({ page: "board", id: "x" });
    for (const path of ["/d/", "/d/a/b", "/x/a", "/d/%E0%A4%A"]) expect(parse(path)).toEqual({ page: "unknown" });
  });
});

describe("names", () => {
  it("become letters, with no half of an emoji", async () => {
    const { initials, tidyName } = await import("../../src/app/identity");
    expect(initials("Ana Lima")).toBe("AL");
    expect(initials("zoë")).toBe("Z");
    expect(initials("😀 Émile")).toBe("😀É");
    expect(initials("  ")).toBe("?");
    expect(tidyName("  a\u0000b\nc ")).toBe("a b c");
    expect(tidyName({})).toBe("");
  });

  it("of files hold nothing that a file system minds", async () => {
    const { fileName } = await import("../../src/app/files");
    expect(fileName("Plan: é/😀?", "md")).toBe("Plan é 😀.md");
    expect(fileName("../..", "md")).toBe("untitled.md");
  });
});
