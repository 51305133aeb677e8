import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import * as Y from "yjs";
import { Board, random, Wire, type Drawn } from "./boards";

const boards: Board[] = [];

function open(count = 2): { all: Board[]; wire: Wire; ana: Board; ben: Board } {
  const all = Array.from({ length: count }, (_, at) => new Board(at + 1));
  boards.push(...all);
  const wire = new Wire(all);
  for (const board of all) board.binding.start();
  return { all, wire, ana: all[0] as Board, ben: all[1] as Board };
}

beforeEach(() => { vi.useFakeTimers(); });
afterEach(() => {
  for (const board of boards.splice(0)) board.destroy();
  vi.useRealTimers();
});

const settle = (): void => { vi.advanceTimersByTime(5000); };

describe("two boards", () => {
  it("show each other's shapes (UB2)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("é😀", { x: 3 }); });
    vi.advanceTimersByTime(150);
    expect(ben.picture()).toEqual(ana.picture());
    expect(ben.scene.get("é😀").x).toBe(3);
  });

  it("merge a move and a recolour of the same shape (UH1)", () => {
    const { ana, ben, wire } = open();
    ana.edit((scene) => { scene.add("one"); });
    settle();
    wire.cut = true;
    ana.edit((scene) => { scene.change("one", { x: 100 }); });
    ben.edit((scene) => { scene.change("one", { strokeColor: "#e03131" }); });
    settle();
    wire.heal();
    settle();
    for (const board of [ana, ben]) expect(board.scene.get("one")).toMatchObject({ x: 100, strokeColor: "#e03131" });
  });

  it("keep what is uncommitted here when others change another group (UB4)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("one"); });
    settle();
    ben.edit((scene) => { scene.change("one", { x: 50 }); });
    ana.edit((scene) => { scene.change("one", { strokeColor: "#2f9e44" }); });
    ana.binding.commit();
    vi.advanceTimersByTime(30);
    expect(ben.binding.pending).toBe(true);
    expect(ben.scene.get("one")).toMatchObject({ x: 50, strokeColor: "#2f9e44" });
    settle();
    expect(ana.scene.get("one")).toMatchObject({ x: 50, strokeColor: "#2f9e44" });
  });

  it("merge changes of one group by its fields (UB4, UM1)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("one"); scene.add("two"); scene.add("box"); });
    settle();
    // Before and after the change of the other one is shown.
    for (const [id, wait] of [["one", 0], ["two", 30]] as const) {
      ben.edit((scene) => { scene.change(id, { strokeColor: "#e03131", groupIds: ["g"] }); });
      ana.edit((scene) => { scene.change(id, { backgroundColor: "#a5d8ff", locked: true }); });
      ana.binding.commit();
      vi.advanceTimersByTime(wait);
      expect(ben.binding.pending).toBe(true);
      ben.binding.commit();
      settle();
      for (const board of [ana, ben]) {
        expect(board.scene.get(id)).toMatchObject({ strokeColor: "#e03131", backgroundColor: "#a5d8ff", groupIds: ["g"], locked: true });
      }
    }
  });

  it("do not bring back what others delete by tying an arrow to it (UM1)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("box"); });
    settle();
    ben.press();
    ben.edit((scene) => { scene.change("box", { boundElements: [{ id: "arrow", type: "arrow" }] }); });
    ana.edit((scene) => { scene.change("box", { isDeleted: true }); });
    ana.binding.commit();
    ben.release();
    settle();
    for (const board of [ana, ben]) expect(board.picture()).toEqual([]);
  });

  it("keep points with the size and the place that belong to them (UM2)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("line", { type: "line", points: [[0, 0], [10, 10]] }); });
    settle();
    ben.press();
    ben.edit((scene) => { scene.change("line", { points: [[0, 0], [50, 10]], width: 50 }); });
    ana.edit((scene) => { scene.change("line", { points: [[0, 0], [10, 90]], height: 90, y: 5, angle: 1 }); });
    ana.binding.commit();
    ben.release();
    settle();
    for (const board of [ana, ben]) {
      expect(board.scene.get("line")).toMatchObject({ points: [[0, 0], [50, 10]], width: 50, height: 10, y: 0, angle: 1 });
    }
  });

  it("do not show changes of what the pointer holds until it lets go, or they would be undone along with it (UB5)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("one"); });
    settle();
    ben.press();
    ben.edit((scene) => { scene.change("one", { x: 50 }); });
    ana.edit((scene) => { scene.change("one", { strokeColor: "#2f9e44" }); });
    vi.advanceTimersByTime(3000);
    expect(ben.scene.get("one")).toMatchObject({ x: 50, strokeColor: "#1e1e1e" });
    expect(ana.scene.get("one")).toMatchObject({ x: 50, strokeColor: "#2f9e44" });
    ben.release();
    settle();
    for (const board of [ana, ben]) expect(board.scene.get("one")).toMatchObject({ x: 50, strokeColor: "#2f9e44" });
  });

  it("keep a text that is written into while others delete it, with its shape (UB10)", () => {
    const { ana, ben } = open();
    const text = { type: "text", text: "a", originalText: "a", containerId: "box" };
    ana.edit((scene) => { scene.add("box", { boundElements: [{ id: "t", type: "text" }] }); scene.add("t", text); scene.add("other", { ...text, containerId: null }); });
    settle();
    for (const id of ["t", "box", "other"]) ben.scene.editing.add(id);
    ana.edit((scene) => { for (const id of ["t", "box", "other"]) scene.change(id, { isDeleted: true }); });
    settle();
    ben.edit((scene) => { scene.change("t", { text: "ab", originalText: "ab" }); });
    settle();
    ben.scene.editing.clear();
    settle();
    for (const board of [ana, ben]) {
      expect(board.scene.list.filter(({ isDeleted }) => !isDeleted).map(({ id }) => id)).toEqual(["box", "t"]);
      expect(board.scene.get("t")).toMatchObject({ text: "ab" });
    }
    // The last letter and the end of writing, before the letter is committed.
    ben.scene.editing.add("t");
    ana.edit((scene) => { scene.change("t", { isDeleted: true }); });
    vi.advanceTimersByTime(1000);
    ben.scene.change("t", { text: "abc", originalText: "abc" });
    ben.scene.editing.clear();
    settle();
    for (const board of [ana, ben]) expect(board.scene.get("t")).toMatchObject({ text: "abc", isDeleted: false });
  });

  it("do not write back what they are shown (UB3)", () => {
    const { ana, ben, wire } = open();
    for (let at = 0; at < 20; at += 1) ana.edit((scene) => { scene.add(`e${at}`); });
    settle();
    const before = wire.updates.length;
    for (let at = 0; at < 50; at += 1) {
      ana.binding.changed();
      ben.binding.changed();
      vi.advanceTimersByTime(50);
    }
    settle();
    expect(wire.updates.length).toBe(before);
    expect(wire.updates.every(({ from }) => from === ana.doc)).toBe(true);
  });

  it("keep deleted shapes, so that undo brings them back with what others did to them (UE2)", () => {
    const { ana, ben, wire } = open();
    ana.edit((scene) => { scene.add("one"); });
    settle();
    wire.cut = true;
    ana.edit((scene) => { scene.change("one", { isDeleted: true }); });
    ben.edit((scene) => { scene.change("one", { x: 77 }); });
    settle();
    wire.heal();
    settle();
    expect(ben.picture()).toEqual([]);
    ana.edit((scene) => { scene.change("one", { isDeleted: false }); });
    settle();
    for (const board of [ana, ben]) expect(board.scene.get("one")).toMatchObject({ x: 77, isDeleted: false });
  });

  it("put back what vanishes without being deleted (UB6)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("one"); scene.add("two"); });
    settle();
    ana.edit((scene) => { scene.list = []; });
    settle();
    expect(ana.picture()).toHaveLength(2);
    expect(ben.picture()).toHaveLength(2);
  });

  it("leave an element alone while it is edited here, and show it afterwards (UB5)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("t", { type: "text", text: "a", originalText: "a" }); });
    settle();
    ben.scene.editing.add("t");
    const edited = ben.scene.get("t");
    ana.edit((scene) => { scene.change("t", { x: 40 }); });
    settle();
    expect(ben.scene.get("t")).toBe(edited);
    ben.edit((scene) => { scene.change("t", { text: "ab", originalText: "ab" }); });
    settle();
    ben.scene.editing.clear();
    settle();
    for (const board of [ana, ben]) expect(board.scene.get("t")).toMatchObject({ x: 40, text: "ab" });
  });

  it("do not share what was only clicked", () => {
    const { ana, wire } = open();
    ana.press();
    ana.edit((scene) => { scene.add("one", { width: 0, height: 0 }); });
    ana.release();
    settle();
    expect(wire.updates).toHaveLength(0);
    expect(ana.binding.pending).toBe(false);
    ana.edit((scene) => { scene.change("one", { width: 9, height: 9 }); });
    settle();
    expect(wire.updates).toHaveLength(1);
  });

  it("say what has not reached the document (UB8)", () => {
    const { ana } = open();
    ana.edit((scene) => { scene.add("one"); });
    expect(ana.pending).toEqual([true]);
    ana.binding.commit();
    expect(ana.pending).toEqual([true, false]);
    expect(ana.binding.store.read("one")?.g?.["width"]).toBe(10);
  });

  it("commit what was changed before the right to write came back (UB12)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("one"); scene.add("two"); });
    ana.binding.setWritable(false);
    ana.edit((scene) => { scene.change("two", { x: 7 }); });
    settle();
    expect(ben.picture()).toEqual([]);
    expect(ana.binding.pending).toBe(true);
    ana.binding.setWritable(true);
    settle();
    expect(ana.binding.pending).toBe(false);
    expect(ben.picture()).toEqual(ana.picture());
    expect(ben.scene.get("two").x).toBe(7);
  });

  it("forget what was deleted more than a month ago, along with a change (UB11, UE2)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { for (let at = 0; at < 50; at += 1) scene.add(`old${at}`, { points: Array.from({ length: 50 }, (_, n) => [n, n]) }); scene.add("kept"); });
    settle();
    ana.edit((scene) => { for (let at = 0; at < 50; at += 1) scene.change(`old${at}`, { isDeleted: true }); });
    settle();
    vi.setSystemTime(Date.now() + 20 * 86_400_000);
    ana.edit((scene) => { scene.add("new"); scene.change("kept", { isDeleted: true }); });
    settle();
    vi.setSystemTime(Date.now() + 12 * 86_400_000);
    const size = Y.encodeStateAsUpdate(ana.doc).length;
    ben.edit((scene) => { scene.change("new", { x: 1 }); });
    settle();
    expect(ana.binding.store.ids()).toHaveLength(52); // not told that it is up to date
    ben.binding.markSynced();
    settle();
    expect(ana.binding.store.ids()).toHaveLength(52); // opening a board does not change it
    ben.edit((scene) => { scene.change("new", { x: 2 }); });
    settle();
    expect(ana.binding.store.ids().sort()).toEqual(["kept", "new"]);
    expect(Y.encodeStateAsUpdate(ana.doc).length).toBeLessThan(size / 10);
    // Undo still brings back what is on somebody's screen.
    ana.edit((scene) => { scene.change("old7", { isDeleted: false, x: 70 }); });
    settle();
    for (const board of [ana, ben]) expect(board.scene.get("old7")).toMatchObject({ x: 70, isDeleted: false, points: Array.from({ length: 50 }, (_, n) => [n, n]) });
  });

  it("do not keep what others have deleted and forgotten while this one was away (UB11)", () => {
    const { ana, ben, wire } = open();
    ana.edit((scene) => { scene.add("one"); });
    settle();
    wire.cut = true;
    ana.edit((scene) => { scene.change("one", { isDeleted: true }); });
    settle();
    vi.setSystemTime(Date.now() + 40 * 86_400_000);
    ana.binding.markSynced();
    ana.edit((scene) => { scene.add("two"); });
    settle();
    wire.heal();
    settle();
    for (const board of [ana, ben]) expect(board.scene.list.filter(({ isDeleted }) => !isDeleted).map(({ id }) => id)).toEqual(["two"]);
  });

  it("write nothing when they are read-only", () => {
    const ana = new Board(1, { writable: false });
    boards.push(ana);
    ana.binding.start();
    ana.edit((scene) => { scene.add("one"); });
    settle();
    expect(ana.binding.store.ids()).toEqual([]);
    expect(ana.binding.pending).toBe(false);
  });
});

describe("order", () => {
  it("is the same everywhere when two put a shape on the same place, and nobody writes repairs (UB7)", () => {
    const { ana, ben, wire } = open();
    wire.cut = true;
    ana.edit((scene) => { scene.add("zz", { index: "a5" }); });
    ben.edit((scene) => { scene.add("aa", { index: "a5" }); });
    settle();
    const before = wire.updates.length;
    wire.heal();
    settle();
    expect(wire.updates.length).toBe(before);
    for (const board of [ana, ben]) expect(board.scene.list.map(({ id }) => id)).toEqual(["aa", "zz"]);
    // A shape between the two only stays there when the repaired places are written along with it.
    ana.edit((scene) => { scene.add("mm", { index: "a5G" }); });
    settle();
    for (const board of [ana, ben]) expect(board.scene.list.map(({ id }) => id)).toEqual(["aa", "mm", "zz"]);
    const late = new Board(9);
    boards.push(late);
    Y.applyUpdate(late.doc, Y.encodeStateAsUpdate(ana.doc));
    late.binding.start();
    expect(late.scene.list.map(({ id }) => id)).toEqual(["aa", "mm", "zz"]);
  });
});

describe("arrows", () => {
  it("leave the shapes that they are tied to where they are in the order (UB7)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("box"); scene.add("round"); });
    settle();
    ana.edit((scene) => {
      scene.add("arrow", { type: "arrow", points: [[0, 0], [9, 9]], startBinding: { elementId: "round" }, endBinding: { elementId: "box" } });
      for (const id of ["box", "round"]) scene.change(id, { boundElements: [{ id: "arrow", type: "arrow" }] });
    });
    settle();
    for (const board of [ana, ben]) expect(board.scene.list.map(({ id, index }) => [id, index])).toEqual([["box", "a0"], ["round", "a1"], ["arrow", "a2"]]);
  });

  it("that two people tie to one shape at the same time both stay tied", () => {
    const { ana, ben, wire } = open();
    ana.edit((scene) => { scene.add("box"); });
    settle();
    wire.cut = true;
    for (const [board, id] of [[ana, "arrow-a"], [ben, "arrow-b"]] as const) {
      board.edit((scene) => {
        scene.add(id, { type: "arrow", points: [[0, 0], [9, 9]], startBinding: { elementId: "box" }, endBinding: null });
        scene.change("box", { boundElements: [{ id, type: "arrow" }] });
      });
    }
    settle();
    wire.heal();
    settle();
    for (const board of [ana, ben]) {
      const bound = (board.scene.get("box").boundElements ?? []).map(({ id }) => id).sort();
      expect(bound).toEqual(["arrow-a", "arrow-b"]);
    }
  });
});

describe("what is not known", () => {
  it("survives being opened and edited (UH3)", () => {
    const { ana, ben } = open();
    ana.doc.transact(() => {
      const element = new Y.Map<unknown>();
      ana.doc.getMap("elements").set("new", element);
      element.set("g", { x: 1, y: 1, width: 5, height: 5, angle: 0, skew: 0.25 });
      element.set("s", { strokeColor: "#000000", glow: { radius: 3 } });
      element.set("m", { type: "rectangle", index: "a0", isDeleted: false, review: ["é"] });
      element.set("x", { of: "a later version" });
    });
    settle();
    ben.edit((scene) => { scene.change("new", { x: 20, strokeColor: "#ff0000" }); });
    ben.edit((scene) => { scene.change("new", { locked: true }); });
    settle();
    const kept = ana.doc.getMap("elements").get("new") as Y.Map<unknown>;
    expect(kept.get("g")).toMatchObject({ x: 20, skew: 0.25 });
    expect(kept.get("s")).toEqual({ strokeColor: "#ff0000", glow: { radius: 3 } });
    expect(kept.get("m")).toMatchObject({ locked: true, review: ["é"], type: "rectangle" });
    expect(kept.get("m")).not.toHaveProperty("skew");
    expect(kept.get("x")).toEqual({ of: "a later version" });
  });

  it("is left alone when it is no element at all (UE3)", () => {
    const { ana, ben } = open();
    ana.doc.getMap("elements").set("odd", "just a text");
    ana.doc.getMap("elements").set("empty", new Y.Map());
    settle();
    expect(ben.picture()).toEqual([]);
    expect(ana.doc.getMap("elements").get("odd")).toBe("just a text");
  });
});

describe("movement", () => {
  const bytes = (list: { bytes: number }[]): number => list.reduce((sum, item) => sum + item.bytes, 0);

  it("of 300 frames takes at most 30 KB on the wire and 1 KB kept, and is seen on the way (UB1, UL1)", () => {
    const { ana, ben, wire } = open();
    ana.edit((scene) => { scene.add("V1StGXR8_Z5jdHi6B-myT", { x: 100.5, y: 200.25 }); });
    settle();
    const [updates, presence] = [wire.updates.length, wire.presence.length];
    const kept = Y.encodeStateAsUpdate(ana.doc).length;
    ana.press();
    let seen = 0;
    for (let frame = 1; frame <= 300; frame += 1) {
      ana.edit((scene) => { scene.change("V1StGXR8_Z5jdHi6B-myT", { x: 100.5 + frame * 1.37, y: 200.25 + frame * 0.71 }); });
      ana.binding.presence?.set({ pointer: { x: Math.round(frame * 1.37), y: frame, tool: "pointer" }, button: "down" });
      vi.advanceTimersByTime(1000 / 60);
      if (Math.abs(ben.scene.get("V1StGXR8_Z5jdHi6B-myT").x - ana.scene.get("V1StGXR8_Z5jdHi6B-myT").x) < 10) seen += 1;
    }
    ana.release();
    settle();
    const wireBytes = bytes(wire.updates.slice(updates)) + bytes(wire.presence.slice(presence));
    const keptBytes = Y.encodeStateAsUpdate(ana.doc).length - kept;
    console.info(`300 frames: ${wireBytes} bytes on the wire, ${keptBytes} bytes kept, ${wire.presence.length - presence} messages`);
    expect(wire.presence.length - presence).toBeLessThanOrEqual(152 + 10);
    expect(wireBytes).toBeLessThanOrEqual(30_000);
    expect(keptBytes).toBeLessThanOrEqual(1000);
    expect(seen).toBeGreaterThan(270);
    expect(ben.picture()).toEqual(ana.picture());
  });

  it("of a growing stroke sends its new end only, and arrives whole (UL1)", () => {
    const { ana, ben, wire } = open();
    ana.press();
    ana.edit((scene) => { scene.add("stroke", { type: "freedraw", points: [[0, 0]], pressures: [], simulatePressure: true }); });
    let behind = 0;
    for (let at = 1; at < 600; at += 1) {
      ana.edit((scene) => {
        const points = [...(scene.get("stroke").points ?? []), [at * 1.1, Math.sin(at / 20) * 50]];
        scene.change("stroke", { points, width: at * 1.1, height: 100 });
      });
      vi.advanceTimersByTime(1000 / 60);
      const theirs = ben.scene.list[0]?.points?.length ?? 0;
      behind = Math.max(behind, at + 1 - theirs);
    }
    ana.release();
    settle();
    const size = bytes(wire.updates) + bytes(wire.presence);
    console.info(`600 points: ${bytes(wire.updates)} bytes of updates, ${bytes(wire.presence)} of presence, ${Y.encodeStateAsUpdate(ana.doc).length} kept`);
    expect(ben.scene.get("stroke").points).toHaveLength(600);
    expect(ben.picture()).toEqual(ana.picture());
    expect(behind).toBeLessThan(12);
    expect(size).toBeLessThan(120_000);
  });

  it("that ends without a commit is taken back", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("one"); });
    settle();
    ana.awareness.setLocalStateField("live", [{ i: "one", f: { x: 500 } }]);
    vi.advanceTimersByTime(100);
    expect(ben.scene.get("one").x).toBe(500);
    ana.awareness.setLocalState(null);
    settle();
    expect(ben.scene.get("one").x).toBe(0);
    ben.edit((scene) => { scene.change("one", { strokeColor: "#2f9e44" }); });
    settle();
    expect(ana.scene.get("one")).toMatchObject({ x: 0, strokeColor: "#2f9e44" });
  });

  it("that makes no sense is not shown (UL3)", () => {
    const { ana, ben } = open();
    ana.edit((scene) => { scene.add("one"); });
    settle();
    const nonsense = ["x", [{ i: 5 }], [{ i: "one", f: { x: "1e9", type: "image", y: Infinity } }], [null], [{ i: "one", n: 1, p: [[1]] }]];
    for (const live of nonsense) {
      ana.awareness.setLocalStateField("live", live);
      vi.advanceTimersByTime(100);
      expect(ben.scene.get("one")).toMatchObject({ x: 0, y: 0, type: "rectangle" });
    }
  });
});

describe("many edits at once", () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    it(`end in the same picture everywhere, and after a cold start (seed ${seed})`, () => {
      const chance = random(seed);
      const pick = <T,>(list: T[]): T => list[Math.floor(chance() * list.length)] as T;
      const { all, wire } = open(3);
      for (let step = 0; step < 120; step += 1) {
        const board = pick(all);
        if (chance() < 0.05) wire.cut = true;
        if (chance() < 0.08) wire.heal();
        if (chance() < 0.2) board.scene.pointerDown = !board.scene.pointerDown;
        const alive = board.scene.list;
        board.edit((scene) => {
          const what = chance();
          if (alive.length === 0 || what < 0.25) {
            scene.add(`${board.doc.clientID}-${step}`, { x: Math.floor(chance() * 900), index: `a${Math.floor(chance() * 9) + 1}` });
          } else if (what < 0.55) scene.change(pick(alive).id, { x: chance() * 999, y: chance() * 999 });
          else if (what < 0.75) scene.change(pick(alive).id, { strokeColor: `#00000${Math.floor(chance() * 9)}` });
          else if (what < 0.85) scene.change(pick(alive).id, { isDeleted: chance() < 0.6 });
          else if (what < 0.95) scene.change(pick(alive).id, { groupIds: [`g${Math.floor(chance() * 3)}`] });
          else scene.change(pick(alive).id, { width: 5 + chance() * 100, height: 5 + chance() * 100 });
        });
        vi.advanceTimersByTime(chance() * 200);
      }
      wire.heal();
      for (const board of all) board.release();
      settle();
      const late = new Board(99);
      boards.push(late);
      Y.applyUpdate(late.doc, Y.encodeStateAsUpdate((all[0] as Board).doc));
      late.binding.start();
      for (const board of all) expect(board.picture()).toEqual(late.picture());
      const sent = wire.updates.length;
      for (const board of all) board.binding.changed();
      settle();
      expect(wire.updates.length).toBe(sent);
    });
  }
});

describe("labels", () => {
  const label = { type: "text", containerId: "box", x: 40, y: 40, width: 20, height: 20, textAlign: "center", verticalAlign: "middle" };
  const withText = (text: string): Partial<Drawn> => ({ ...label, text, originalText: text });

  /** A box with the label "Label", seen by both. */
  function labelled(): ReturnType<typeof open> {
    const boards = open();
    boards.ana.edit((scene) => {
      scene.add("box", { width: 100, height: 100, boundElements: [{ id: "label", type: "text" }] });
      scene.add("label", withText("Label"));
    });
    settle();
    return boards;
  }

  it("typed after their box has been shared are tied to it for everyone", () => {
    const { ana, ben } = open();
    ana.edit((scene) => {
      scene.add("box", { width: 100, height: 100, boundElements: [{ id: "label", type: "text" }] });
      scene.add("label", withText(""));
      scene.editing = new Set(["label", "box"]);
    });
    settle();
    expect(ben.scene.get("box").boundElements).toEqual([]); // the editor drops what it does not know yet
    ana.edit((scene) => { scene.change("label", { text: "Hello", originalText: "Hello" }); });
    settle();
    expect(ben.scene.get("label")["text"]).toBe("Hello");
    expect(ben.scene.get("box").boundElements).toEqual([{ id: "label", type: "text" }]);
  });

  it("follow a box that others move while the label is being edited (LBL1)", () => {
    const { ana, ben } = labelled();
    ana.scene.editing = new Set(["label", "box"]);
    ana.edit((scene) => { scene.change("label", { text: "Labels", originalText: "Labels" }); });
    settle();
    ben.edit((scene) => { scene.change("box", { x: 150, y: 150 }); scene.change("label", { x: 190, y: 190 }); });
    settle();
    ana.edit((scene) => { scene.change("label", { text: "Labels!", originalText: "Labels!", x: 38, width: 24 }); });
    settle();
    ana.scene.editing = new Set();
    ana.binding.changed();
    settle();
    for (const board of [ana, ben]) expect(board.scene.get("label")).toMatchObject({ originalText: "Labels!", x: 188, y: 190 });
    expect(ana.binding.store.read("label")?.g).toMatchObject({ x: 188, y: 190 });
  });

  it("keep the words of two people who edit them at the same time (UM3)", () => {
    const { ana, ben } = labelled();
    for (const { scene } of [ana, ben]) scene.editing = new Set(["label", "box"]);
    ana.edit((scene) => { scene.change("label", { text: "Label one", originalText: "Label one" }); });
    settle();
    ben.edit((scene) => { scene.change("label", { text: "Label tw", originalText: "Label tw" }); });
    settle();
    ben.edit((scene) => { scene.change("label", { text: "Label two", originalText: "Label two" }); });
    settle();
    for (const { scene, binding } of [ana, ben]) {
      scene.editing = new Set();
      binding.changed();
    }
    settle();
    for (const board of [ana, ben]) expect(board.scene.get("label")["originalText"]).toBe("Label two one");
  });
});
