import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import * as Y from "yjs";
import { BoardFiles, readStored, RefusedError, type SceneFile, type StoredFile } from "../../src/board-binding/files";

const PNG = "data:image/png;base64,iVBORw0KGgo=";
const stored: StoredFile = { url: "/api/files/d/abc.png", mimeType: "image/png", width: 2, height: 3 };

class Host {
  saved = new Map<string, SceneFile>();
  uploads = 0;
  answer: () => Promise<StoredFile> = () => Promise.resolve(stored);
  upload = (_bytes: Blob): Promise<StoredFile> => {
    this.uploads += 1;
    return this.answer();
  };
  download = vi.fn((_url: string) => Promise.resolve(new Blob([Uint8Array.from([1, 2, 3])])));
  save = (id: string, file: SceneFile): Promise<void> => { this.saved.set(id, file); return Promise.resolve(); };
  load = (id: string): Promise<SceneFile | undefined> => Promise.resolve(this.saved.get(id));
  remove = (id: string): Promise<void> => { this.saved.delete(id); return Promise.resolve(); };
}

function open(doc = new Y.Doc(), host = new Host()): { doc: Y.Doc; host: Host; scene: Map<string, SceneFile>; files: BoardFiles; pending: number[]; refused: string[] } {
  const scene = new Map<string, SceneFile>();
  const pending: number[] = [];
  const refused: string[] = [];
  const files = new BoardFiles(
    doc,
    { file: (id) => scene.get(id), add: (all) => { for (const file of all) scene.set(file.id, file); } },
    host,
    { pending: (count) => pending.push(count), refused: (id) => refused.push(id) },
  );
  return { doc, host, scene, files, pending, refused };
}

const image = (fileId: string): { fileId: string; isDeleted: boolean } => ({ fileId, isDeleted: false });

beforeEach(() => { vi.useFakeTimers(); });
afterEach(() => { vi.useRealTimers(); });

describe("images", () => {
  it("are uploaded, and seen by others (UF3)", async () => {
    const ana = open();
    ana.scene.set("f", { id: "f", dataURL: PNG, mimeType: "image/png" });
    ana.files.changed([image("f")]);
    await vi.runAllTimersAsync();
    expect(ana.doc.getMap("files").get("f")).toEqual(stored);
    expect(ana.host.saved.size).toBe(0);
    expect(ana.pending.at(-1)).toBe(0);
    expect(Math.max(...ana.pending)).toBe(1);

    const doc = new Y.Doc();
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(ana.doc));
    const ben = open(doc);
    ben.files.changed([image("f")]);
    await vi.runAllTimersAsync();
    expect(ben.host.download).toHaveBeenCalledWith("/api/files/d/abc.png");
    expect(ben.scene.get("f")?.dataURL).toBe("data:image/png;base64,AQID");
    expect(ben.host.uploads).toBe(0);
  });

  it("of others are fetched also when their address comes while this device is asked for them (UF3)", async () => {
    const ben = open();
    let answer: (file: SceneFile | undefined) => void = () => undefined;
    ben.host.load = () => new Promise((resolve) => { answer = resolve; });
    ben.files.changed([image("f")]);
    ben.doc.getMap("files").set("f", stored);
    answer(undefined);
    await vi.runAllTimersAsync();
    expect(ben.scene.get("f")?.dataURL).toBe("data:image/png;base64,AQID");
    expect(ben.host.uploads).toBe(0);
  });

  it("are kept here and tried again until the server has them, the next visit included (UF1, UF2)", async () => {
    const ana = open();
    ana.host.answer = () => Promise.reject(new TypeError("offline"));
    ana.scene.set("f", { id: "f", dataURL: PNG, mimeType: "image/png" });
    ana.files.changed([image("f")]);
    await vi.advanceTimersByTimeAsync(8000);
    expect(ana.host.uploads).toBe(4); // at 0, 1, 3 and 7 s
    expect(ana.pending.at(-1)).toBe(1);
    expect(ana.host.saved.size).toBe(1);
    ana.files.destroy();

    const later = open(ana.doc, ana.host);
    ana.host.answer = () => Promise.resolve(stored);
    later.files.changed([image("f")]);
    await vi.runAllTimersAsync();
    expect(later.scene.get("f")?.dataURL).toBe(PNG);
    expect(later.doc.getMap("files").get("f")).toEqual(stored);
  });

  it("that the server refuses are reported once (UF2)", async () => {
    const ana = open();
    ana.host.answer = () => Promise.reject(new RefusedError("too large"));
    ana.scene.set("f", { id: "f", dataURL: PNG, mimeType: "image/png" });
    ana.files.changed([image("f")]);
    await vi.runAllTimersAsync();
    ana.files.changed([image("f")]);
    await vi.runAllTimersAsync();
    expect(ana.refused).toEqual(["f"]);
    expect(ana.host.uploads).toBe(1);
  });

  it("are asked of this server only", () => {
    expect(readStored(stored)).toEqual(stored);
    for (const url of ["https://elsewhere.example/x.png", "//elsewhere.example/x.png", "/\\elsewhere.example", "javascript:1", 5]) {
      expect(readStored({ ...stored, url })).toBeUndefined();
    }
    expect(readStored({ ...stored, mimeType: "text/html" })).toBeUndefined();
    expect(readStored("x")).toBeUndefined();
  });
});
