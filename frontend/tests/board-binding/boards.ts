/** Two and more boards on documents that are wired together, and an editor that behaves like Excalidraw's scene. */
import { Awareness, applyAwarenessUpdate, encodeAwarenessUpdate } from "y-protocols/awareness";
import * as Y from "yjs";
import { BoardBinding } from "../../src/board-binding/binding";
import type { Scene } from "../../src/board-binding/state";
import { isInvisible, type BoardElement } from "../../src/board-binding/shape";

export interface Drawn extends BoardElement {
  x: number;
  y: number;
  width: number;
  height: number;
  index: string;
  strokeColor: string;
  points?: number[][];
  boundElements?: { id: string; type: string }[] | null;
  [key: string]: unknown;
}

let nonces = 1;

/** As Excalidraw: elements change in place, with a new version; others' win when theirs is newer. */
export class FakeScene implements Scene {
  list: Drawn[] = [];
  pointerDown = false;
  editing = new Set<string>();
  shown = 0;

  elements(): readonly Drawn[] { return this.list; }

  busy(): { pointerDown: boolean; editing: ReadonlySet<string> } { return this; }

  restore(elements: BoardElement[]): BoardElement[] {
    const ids = new Set(elements.map(({ id }) => id));
    for (const element of elements as Drawn[]) {
      // Like repairBindings: what refers to nothing is dropped.
      if (element.boundElements) element.boundElements = element.boundElements.filter(({ id }) => ids.has(id));
    }
    // Like syncInvalidIndices: the order of the list counts, and a place that does not fit into it is given anew.
    let last = "";
    for (const element of elements as Drawn[]) {
      if (element.index <= last) element.index = `${last}V`;
      last = element.index;
    }
    return elements.filter((element) => element.isDeleted || !isInvisible(element));
  }

  show(elements: BoardElement[]): readonly BoardElement[] {
    this.shown += 1;
    const result = new Map<string, Drawn>(this.list.map((element) => [element.id, element]));
    for (const element of elements as Drawn[]) {
      const local = result.get(element.id);
      if (local && (this.editing.has(local.id) || local.version > element.version)) continue;
      result.set(element.id, element);
    }
    this.list = [...result.values()];
    this.arrange();
    return this.list;
  }

  /** Like orderByFractionalIndex and syncInvalidIndices: no two elements keep the same place. */
  private arrange(): void {
    this.list.sort((a, b) => (a.index < b.index ? -1 : a.index > b.index ? 1 : a.id < b.id ? -1 : 1));
    for (let at = 1; at < this.list.length; at += 1) {
      const [before, element] = [this.list[at - 1] as Drawn, this.list[at] as Drawn];
      if (element.index <= before.index) this.change(element.id, { index: `${before.index}V` });
    }
  }

  change(id: string, fields: Partial<Drawn>): void {
    const element = this.list.find((one) => one.id === id);
    if (!element) throw new Error(`there is no element ${id}`);
    Object.assign(element, fields, { version: element.version + 1, versionNonce: nonces++ });
  }

  add(id: string, fields: Partial<Drawn> = {}): void {
    this.list.push({
      id, version: 1, versionNonce: nonces++, isDeleted: false, type: "rectangle", x: 0, y: 0, width: 10, height: 10,
      angle: 0, index: `a${this.list.length}`, strokeColor: "#1e1e1e", backgroundColor: "transparent",
      fillStyle: "solid", strokeWidth: 2, strokeStyle: "solid", roughness: 1, opacity: 100, seed: 7, groupIds: [],
      frameId: null, roundness: null, boundElements: [], link: null, locked: false, updated: 1, ...fields,
    });
    this.arrange();
  }

  get(id: string): Drawn {
    const element = this.list.find((one) => one.id === id);
    if (!element) throw new Error(`there is no element ${id}`);
    return element;
  }
}

export class Board {
  readonly doc: Y.Doc;
  readonly awareness: Awareness;
  readonly scene = new FakeScene();
  readonly binding: BoardBinding;
  pending: boolean[] = [];

  constructor(client: number, { writable = true } = {}) {
    this.doc = new Y.Doc();
    this.doc.clientID = client;
    this.awareness = new Awareness(this.doc);
    this.awareness.setLocalState({ user: { name: "Zoë 😀", color: "#c8553d" } });
    this.binding = new BoardBinding({
      doc: this.doc, scene: this.scene, awareness: this.awareness, writable,
      onPending: (pending) => this.pending.push(pending),
    });
  }

  /** Change something as the person here, with the editor telling the binding. */
  edit(change: (scene: FakeScene) => void): void {
    change(this.scene);
    this.binding.changed();
  }

  press(): void { this.scene.pointerDown = true; }

  release(): void {
    this.scene.pointerDown = false;
    this.binding.changed();
    this.binding.released();
  }

  destroy(): void {
    this.binding.destroy();
    this.awareness.destroy();
  }

  /** What is to be seen, without what is each browser's own, as precisely as it is kept (UH4). */
  picture(): unknown[] {
    const coarse = (value: unknown): unknown =>
      typeof value === "number" ? Math.round(value * 64) : Array.isArray(value) ? value.map(coarse) : value;
    return this.scene.list.filter((element) => !element.isDeleted).map((element) => {
      const { version: _v, versionNonce: _n, updated: _u, index: _i, x, y, width, height, points, ...rest } = element;
      return { ...rest, at: coarse([x, y, width, height, points]) };
    });
  }
}

/** A network of documents; a cut one keeps its updates back. */
export class Wire {
  readonly updates: { from: Y.Doc; bytes: number }[] = [];
  readonly presence: { from: Y.Doc; bytes: number }[] = [];
  private readonly held: (() => void)[] = [];
  cut = false;

  constructor(readonly boards: Board[]) {
    for (const board of boards) {
      board.doc.on("update", (update: Uint8Array, origin: unknown) => {
        if (origin === this) return;
        this.updates.push({ from: board.doc, bytes: update.length });
        this.send(() => {
          for (const other of boards) if (other !== board) Y.applyUpdate(other.doc, update, this);
        });
      });
      board.awareness.on("update", ({ added, updated, removed }: Record<"added" | "updated" | "removed", number[]>, origin: unknown) => {
        if (origin === this) return;
        const bytes = encodeAwarenessUpdate(board.awareness, [...added, ...updated, ...removed]);
        this.presence.push({ from: board.doc, bytes: bytes.length });
        this.send(() => {
          for (const other of boards) if (other !== board) applyAwarenessUpdate(other.awareness, bytes, this);
        });
      });
    }
  }

  private send(delivery: () => void): void {
    if (this.cut) this.held.push(delivery);
    else delivery();
  }

  heal(): void {
    this.cut = false;
    for (const delivery of this.held.splice(0)) delivery();
  }
}

/** Small and repeatable: the seed is part of a failing test's name. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
