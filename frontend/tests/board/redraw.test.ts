/** Drawing what has changed, against drawing everything: on a canvas of small squares that keeps who painted them last. */
import { beforeEach, describe, expect, it, vi } from "vitest";
import { redraw, type DrawnElement, type Editor, type Scene } from "../../src/board/redraw";

const [WIDTH, HEIGHT] = [120, 80];
const GROUND = ".";

interface Shape extends DrawnElement {
  version: number;
  x: number;
  y: number;
  size: number;
  color: string;
  link?: string;
}

/** A canvas that knows rectangles, and is clipped to them. */
class Canvas {
  isConnected = true;
  width = WIDTH;
  height = HEIGHT;
  cells = new Array<string>(WIDTH * HEIGHT).fill("?");
  private path: number[][] = [];
  private clips: (number[][] | null)[] = [null];

  getContext(): unknown { return this; }
  save(): void { this.clips.push(this.clips.at(-1) ?? null); }
  restore(): void { this.clips.pop(); }
  setTransform(): void { /* there are pixels only */ }
  beginPath(): void { this.path = []; }
  rect(x: number, y: number, width: number, height: number): void { this.path.push([x, y, x + width, y + height]); }
  clip(): void { this.clips[this.clips.length - 1] = this.path; }

  fill(left: number, top: number, right: number, bottom: number, value: string): void {
    const clip = this.clips.at(-1);
    for (let y = Math.max(0, top); y < Math.min(HEIGHT, bottom); y += 1) {
      for (let x = Math.max(0, left); x < Math.min(WIDTH, right); x += 1) {
        if (clip && !clip.some(([l, t, r, b]) => x >= (l ?? 0) && x < (r ?? 0) && y >= (t ?? 0) && y < (b ?? 0))) continue;
        this.cells[y * WIDTH + x] = value;
      }
    }
  }
}

/** Draws like Excalidraw: the ground, then a picture of each element, made when there is none. */
class FakeEditor implements Editor {
  readonly pictures = new WeakMap<object, { paint: string; zoomValue: number }>();
  readonly shapes = new WeakMap<object, null>();
  made = 0;
  drawn = 0;

  padding = (): number => 2;
  coordinates = (element: DrawnElement): number[] => {
    const { x, y, size } = element as Shape;
    return [x, y, x + size, y + size];
  };

  draw = ({ canvas, visibleElements, appState }: Scene): void => {
    const cells = canvas as unknown as Canvas;
    cells.fill(0, 0, WIDTH, HEIGHT, GROUND);
    for (const element of visibleElements as Shape[]) {
      this.drawn += 1;
      if (!this.shapes.has(element)) this.pictures.delete(element);
      this.shapes.set(element, null);
      let picture = this.pictures.get(element);
      if (!picture || (picture.zoomValue !== appState.zoom.value && !appState["shouldCacheIgnoreZoom"])) {
        picture = { paint: element.color, zoomValue: appState.zoom.value };
        this.pictures.set(element, picture);
        this.made += 1;
      }
      const { paint, zoomValue } = picture;
      const selected = element.link && (appState["selectedElementIds"] as Record<string, boolean>)[element.id] ? "!" : "";
      const zoom = appState.zoom.value;
      const [x, y] = [(element.x + appState.scrollX) * zoom, (element.y + appState.scrollY) * zoom];
      const [far, low] = [x + element.size * zoom, y + element.size * zoom];
      cells.fill(Math.round(x) - 1, Math.round(y) - 1, Math.round(far) + 1, Math.round(low) + 1, `${element.id}${paint}${zoomValue}${selected}`);
    }
  };
}

/** The next frame, if somebody waits for it. */
let frame: (() => void) | null = null;
beforeEach(() => {
  frame = null;
  vi.stubGlobal("requestAnimationFrame", (run: () => void) => { frame = run; return 1; });
  vi.stubGlobal("cancelAnimationFrame", () => { frame = null; });
});

let names = 0;
const shape = (x: number, y: number, size = 8, fields: Partial<Shape> = {}): Shape =>
  ({ id: `e${names++}`, type: "rectangle", version: 1, angle: 0, x, y, size, color: "a", ...fields });

class Board {
  readonly canvas = new Canvas();
  readonly editor = new FakeEditor();
  list: Shape[] = [];
  view = { zoom: { value: 1 }, scrollX: 0, scrollY: 0, theme: "light", selectedElementIds: {} as Record<string, boolean>, notes: {} };
  config: Record<string, unknown> = { images: this };

  scene(canvas: Canvas): Scene {
    return {
      canvas: canvas as unknown as HTMLCanvasElement, scale: 1, elementsMap: new Map(this.list.map((one) => [one.id, one])),
      visibleElements: this.list.filter(({ x, y }) => x * this.view.zoom.value < WIDTH && y * this.view.zoom.value < HEIGHT), appState: { ...this.view }, renderConfig: { ...this.config },
    };
  }

  /** Draw; returns how many elements that took, and checks that nothing looks otherwise (UD1). */
  show(): number {
    this.editor.drawn = 0;
    redraw(this.scene(this.canvas), this.editor);
    const took = this.editor.drawn;
    const whole = new Canvas();
    this.editor.draw(this.scene(whole));
    expect(this.canvas.cells).toEqual(whole.cells);
    return took;
  }

  change(element: Shape, fields: Partial<Shape>): void {
    Object.assign(element, fields, { version: element.version + 1 });
    this.editor.shapes.delete(element);
  }
}

function grid(): Board {
  const board = new Board();
  for (let x = 0; x < 6; x += 1) for (let y = 0; y < 4; y += 1) board.list.push(shape(x * 20, y * 20));
  expect(board.show()).toBe(24);
  return board;
}

describe("redraw", () => {
  it("draws what touches the places that have changed, and nothing when nothing has", () => {
    const board = grid();
    expect(board.show()).toBe(0);
    board.change(board.list[0] as Shape, { x: 30 });
    expect(board.show()).toBeLessThanOrEqual(4);
    board.list = board.list.slice(1);
    expect(board.show()).toBeLessThanOrEqual(2);
    board.list = [...board.list, shape(52, 30)];
    expect(board.show()).toBeLessThanOrEqual(6);
  });

  it("UD2: a picture that was thrown away is drawn anew", () => {
    const board = grid();
    const element = board.list[9] as Shape;
    Object.assign(element, { color: "b" }); // a font has come: the version stays
    board.editor.shapes.delete(element);
    expect(board.show()).toBe(1);
    board.list = board.list.map((one) => one === element ? { ...one, color: "c" } : one);
    expect(board.show()).toBe(1);
  });

  it("UD3: draws everything when what it looks like depends on something else, or the order has changed", () => {
    const board = grid();
    const whole: (() => void)[] = [
      () => { board.view.scrollX = 3; },
      () => { board.view.theme = "dark"; },
      () => { board.config = { images: {} }; },
      () => { board.canvas.cells.fill("?"); board.canvas.width -= 1; },
      () => { board.list.unshift(...board.list.splice(5, 1)); },
      () => { for (const one of board.list) board.change(one, { y: one.y + 1 }); },
    ];
    for (const change of whole) {
      change();
      expect(board.show()).toBe(24);
      expect(board.show()).toBe(0);
    }
    board.view.notes = { pointer: 1 };
    expect(board.show()).toBe(0);
  });

  it("UD4: what is selected matters to links only", () => {
    const board = grid();
    board.view.selectedElementIds = { [board.list[3]?.id ?? ""]: true };
    expect(board.show()).toBe(0);
    board.change(board.list[3] as Shape, { link: "https://example.org" });
    board.show();
    board.view.selectedElementIds = {};
    expect(board.show()).toBe(24);
  });

  it("a label is drawn along with what it stands in", () => {
    const board = grid();
    const label = shape(30, 30, 4, { type: "text", containerId: board.list[0]?.id ?? "" });
    board.list.push(label);
    board.show();
    board.change(label, { color: "z" });
    // The label, its box, and the neighbours that the label's place touches.
    board.editor.drawn = 0;
    redraw(board.scene(board.canvas), board.editor);
    expect(board.editor.drawn).toBeGreaterThanOrEqual(2);
  });

  it("UD5: makes so many pictures a frame, and what is there stays to be seen", () => {
    const board = new Board();
    for (let x = 0; x < 60; x += 1) for (let y = 0; y < 10; y += 1) board.list.push(shape(x * 2, y * 8, 1));
    const { editor } = board;
    const all = (): number => {
      let frames = 1;
      editor.made = 0;
      redraw(board.scene(board.canvas), editor);
      for (; frame && frames < 50; frames += 1) {
        // One more than makes sense: what touches a place is drawn along.
        expect(editor.made).toBeLessThan(300);
        editor.made = 0;
        const run = frame;
        frame = null;
        run();
      }
      board.show();
      return frames;
    };
    expect(all()).toBeGreaterThanOrEqual(6);
    board.view.zoom = { value: 1.2 };
    redraw(board.scene(board.canvas), editor);
    const seen = new Set(board.canvas.cells.map((cell) => cell.split("a")[0]));
    expect(seen.size).toBeGreaterThan(300); // as they were, in their places
    expect(all()).toBeGreaterThanOrEqual(3);
    expect(editor.pictures.get(board.list[0] as Shape)?.zoomValue).toBe(1.2);
    expect(frame).toBeNull();
    // Another change in the midst of it.
    board.view.zoom = { value: 1 };
    redraw(board.scene(board.canvas), editor);
    board.change(board.list[7] as Shape, { x: 70 });
    expect(all()).toBeGreaterThanOrEqual(3);
    expect(frame).toBeNull();
  });

  it("UD1: looks the same after any changes", () => {
    let seed = 11;
    const random = (most: number): number => {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      return Math.floor((seed / 2147483648) * most);
    };
    const board = grid();
    for (let round = 0; round < 200; round += 1) {
      for (let count = random(4); count >= 0; count -= 1) {
        const element = board.list[random(board.list.length)] as Shape;
        const what = random(8);
        if (what < 4) board.change(element, { x: random(140) - 10, y: random(100) - 10, size: 1 + random(20) });
        else if (what === 4) board.list = board.list.filter((one) => one !== element || board.list.length < 5);
        else if (what === 5) board.list.splice(random(board.list.length), 0, shape(random(140) - 10, random(100) - 10, 1 + random(20)));
        else if (what === 6) board.list.splice(random(board.list.length), 0, ...board.list.splice(board.list.indexOf(element), 1));
        else board.view.scrollX = random(2);
      }
      board.show();
    }
  });
});
