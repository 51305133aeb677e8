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
  it("leave the address, and are kept for their document (UK1, UK2)", async () => {
    const { takeToken, tokenOf } = await import("../../src/app/tokens");
    const taken = takeToken("team/é", "http://here/d/team%2F%C3%A9#token=a.b.c&block=7");
    expect(taken).toEqual({ token: "a.b.c", rest: "http://here/d/team%2F%C3%A9#block=7" });
    expect(tokenOf("team/é")).toBe("a.b.c");
    expect(tokenOf("team")).toBe("");
    expect(takeToken("x", "http://here/d/x?token=never")).toBeNull();
    expect(takeToken("x", "http://here/d/x#token=t")?.rest).toBe("http://here/d/x");
  });
});

describe("tokens, where nothing can be kept,", () => {
  it("open their document while the page is open (UK2)", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const full = new Store();
    full.setItem = () => { throw new DOMException("full", "QuotaExceededError"); };
    vi.stubGlobal("sessionStorage", full);
    const tokens = await import("../../src/app/tokens");
    expect(tokens.takeToken("x", "http://here/d/x#token=t")?.rest).toBe("http://here/d/x");
    expect(tokens.tokenOf("x")).toBe("t");
    expect((localStorage as unknown as Store).map.size).toBe(1);
    warn.mockRestore();
  });

  it("or forbidden", async () => {
    vi.stubGlobal("sessionStorage", undefined);
    Object.defineProperty(globalThis, "sessionStorage", { configurable: true, get: () => { throw new DOMException("no", "SecurityError"); } });
    const tokens = await import("../../src/app/tokens");
    tokens.takeToken("x", "http://here/d/x#token=t");
    expect(tokens.tokenOf("x")).toBe("t");
  });
});

describe("files of a document", () => {
  it("are fetched from this server's files only, however their address is written", async () => {
    vi.stubGlobal("location", { origin: "http://here", pathname: "/", href: "http://here/" });
    const { api, ownFilePath: ownFile } = await import("../../src/app/api");
    expect(ownFile("/api/files/team%2Fé/a.png")).toBe("/api/files/team%2F%C3%A9/a.png");
    expect(ownFile("http://here/api/files/x/a.png")).toBe("/api/files/x/a.png");
    const others = ["//evil/api/files/x", "/\\evil/api/files/x", "/\t/evil/api/files/x", "http://evil/api/files/x", "/api/files/../documents/x",
      "/api/files/%2e%2e/documents/x", "/api/files/..\\documents/x", "/api/documents/x/links", "javascript:alert(1)", "data:image/png;base64,", "http://", ""];
    for (const url of others) expect(ownFile(url), url).toBeNull();
    const fetched = vi.fn();
    vi.stubGlobal("fetch", fetched);
    await expect(api.download("x", "/\t/evil/api/files/x")).rejects.toThrow();
    expect(fetched).not.toHaveBeenCalled();
  });
});

describe("images of a server that has moved to another root path", () => {
  const name = `${"0123456789abcdef".repeat(4)}.png`;
  it.each(["", "/raffia", "/a/b"])("are found from %j", async (root) => {
    vi.stubGlobal("location", { origin: "http://here", pathname: "/", href: "http://here/" });
    vi.resetModules();
    vi.doMock("../../src/app/root", () => ({ ROOT: root }));
    const { documentOfFile, ownFilePath } = await import("../../src/app/api");
    for (const before of ["", "/raffia", "/a/b", "/a/b/c"]) {
      expect(ownFilePath(`${before}/api/files/team%2Fx/${name}`)).toBe(`${root}/api/files/team%2Fx/${name}`);
    }
    expect(ownFilePath(`http://other/raffia/api/files/x/${name}`)).toBeNull();
    expect(ownFilePath(`/else/api/documents/x/${name}`)).toBeNull();
    expect(ownFilePath("/else/api/files/x/short.png")).toBeNull();
    expect(documentOfFile(`${root}/api/files/team%2Fx/${name}`)).toBe("team/x");
    expect(documentOfFile(`${root}/api/files/%ff/${name}`)).toBeNull();
    vi.doUnmock("../../src/app/root");
    vi.resetModules();
  });
});

describe("the list", () => {
  it("knows what other programs make as text", async () => {
    vi.stubGlobal("location", { origin: "http://here", pathname: "/", href: "http://here/" });
    const { api } = await import("../../src/app/api");
    const documents = [null, "évil", "board", "__proto__"].map((kind) => ({ id: "a", title: "A", kind }));
    vi.stubGlobal("fetch", () => Promise.resolve(new Response(JSON.stringify({ documents, total: 4, following: null }))));
    expect((await api.list({})).documents.map(({ kind }) => kind)).toEqual(["text", "text", "board", "text"]);
  });
});

const claims = (payload: object): string => `h.${btoa(JSON.stringify(payload)).replace(/=+$/, "")}.s`;

describe("tokens of one document", () => {
  it("are kept beside each other, the newest first, until it is known which opens more (UK5)", async () => {
    const { isLink, storeTokens: keepTokens, takeToken, tokenOf, tokensOf } = await import("../../src/app/tokens");
    for (const token of ["edit", "view", "view", "other", "last"]) takeToken("x", `http://here/d/x#token=${token}`);
    expect(tokensOf("x")).toEqual(["last", "other", "view"]);
    keepTokens("x", ["view"]);
    expect(tokenOf("x")).toBe("view");
    expect(isLink(claims({ lnk: "read-1", raffia: { x: "read" } }))).toBe(true);
    for (const other of [claims({ raffia: {} }), "", "a.b.c", "opaque"]) expect(isLink(other)).toBe(false);
  });

  it("stand before the one for the whole server (UK4)", async () => {
    const { takeToken, tokenOf, tokensOf } = await import("../../src/app/tokens");
    expect(takeToken(null, "http://here/#token=all")?.rest).toBe("http://here/");
    expect(tokenOf(null)).toBe("all");
    expect(tokenOf("x")).toBe("all");
    takeToken("x", "http://here/d/x#token=own");
    expect(tokensOf("x")).toEqual(["own", "all"]);
    expect(tokenOf("y")).toBe("all");
  });

  it("are kept with the tab where the device keeps nothing", async () => {
    vi.stubGlobal("localStorage", { getItem: () => { throw new Error("no"); }, setItem: () => { throw new Error("full"); } });
    const { takeToken, tokenOf } = await import("../../src/app/tokens");
    takeToken("x", "http://here/d/x#token=t");
    expect(tokenOf("x")).toBe("t");
  });

  it("are chosen by what they open; a server that is away changes nothing", async () => {
    const answers: Record<string, Response> = {
      view: Response.json({ can: "read" }), old: Response.json({}, { status: 401 }), all: Response.json({ can: "admin" }),
    };
    const ask = vi.fn((_: string, { headers }: { headers: Headers }) =>
      Promise.resolve((answers[headers.get("authorization")?.slice(7) ?? ""] ?? Response.error()).clone()));
    vi.stubGlobal("fetch", ask);
    const { chooseToken } = await import("../../src/app/access");
    const { storeTokens: keepTokens, tokenOf, tokensOf } = await import("../../src/app/tokens");
    keepTokens("x", ["view"]);
    expect(chooseToken("x")).toBeNull();
    keepTokens("x", ["view", "old"]);
    await chooseToken("x");
    expect(tokensOf("x")).toEqual(["view"]);
    keepTokens(null, ["all"]);
    await chooseToken("x");
    expect(tokensOf("x")).toEqual(["all"]);
    keepTokens("y", ["view", "old"]);
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("away")));
    await chooseToken("y");
    expect(tokenOf("y")).toBe("view");
    expect(tokensOf("y")).toEqual(["view", "old", "all"]);
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
    expect(tidyName("Ana 👩‍👩‍👧")).toBe("Ana 👩‍👩‍👧");
    expect(tidyName("é".repeat(39) + "👩‍👩‍👧")).toBe("é".repeat(39));
    expect(tidyName("A\u202e\u0000\nB")).toBe("A B");
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
