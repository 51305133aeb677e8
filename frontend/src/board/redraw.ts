/**
 * Draws only the parts of a board that have changed. Excalidraw draws all elements that are in view for each change of
 * one; with thousands of them a hand and its line come apart.
 *
 * The build puts this in front of Excalidraw's own drawing (scripts/excalidraw.ts): it finds what has changed since the
 * canvas was last drawn, and lets Excalidraw draw what touches those places, with everything else clipped away.
 *
 * Rules (tests quote these ids):
 *   D1  A canvas looks the same as if all of it had been drawn.
 *   D2  An element is as it was when it is the same object with the same version and the same picture: Excalidraw throws
 *       a shape away, and with it the picture, when a font or an image has come.
 *   D3  Everything is drawn when anything but the elements has changed: zoom, place, theme, size …; when their order has
 *       changed; and when most of the canvas would be drawn anyway.
 *   D4  Frames and links are drawn differently when something is selected or dragged: with them, everything is drawn
 *       for such changes too.
 *   D5  Pictures are made so many a frame: what has none comes in the order of the board, and what has one of another size
 *       is shown with that until it is its turn. So a full board answers while it is opened and zoomed.
 */

export interface DrawnElement {
  readonly id: string;
  readonly type: string;
  readonly version: number;
  readonly angle: number;
  readonly link?: string | null;
  readonly frameId?: string | null;
  readonly containerId?: string | null;
}

interface View {
  readonly zoom: { readonly value: number };
  readonly scrollX: number;
  readonly scrollY: number;
  readonly [field: string]: unknown;
}

export interface Scene {
  readonly canvas: HTMLCanvasElement | null;
  readonly scale: number;
  readonly elementsMap: ReadonlyMap<string, DrawnElement>;
  readonly visibleElements: readonly DrawnElement[];
  readonly appState: View;
  readonly renderConfig: Readonly<Record<string, unknown>>;
}

/** Excalidraw's own. */
export interface Editor {
  draw: (scene: Scene) => void;
  /** What is left of an element's shape: undefined when its picture is not to be used any more. */
  shapes: { get: (element: never) => unknown };
  /** The picture of each element, as it was last drawn. */
  pictures: { get: (element: object) => unknown; delete: (element: object) => unknown };
  /** How far a picture goes beyond its element. */
  padding: (element: DrawnElement) => number;
  /** Left, top, right, bottom before it is turned. */
  coordinates: (element: DrawnElement, all: ReadonlyMap<string, DrawnElement>) => readonly number[];
}

/** In pixels of the canvas, whole ones: left, top, right, bottom. */
export type Box = readonly [number, number, number, number];

interface Drawn {
  element: DrawnElement;
  version: number;
  picture: unknown;
  box: Box;
  /** How many were drawn before it. */
  place: number;
}

interface Canvas {
  /** The frame in which more pictures are made (D5). */
  next: number;
  /** How many pictures were to be made then. */
  remaining: number;
  /** What else it depends on, by name. */
  settings: Map<string, unknown>;
  drawn: Map<string, Drawn>;
}

/** New pictures in one frame: one takes about a third of a millisecond. */
const MAX_NEW = 100;
/** Of the canvas: when more than that has changed, all of it is drawn. */
const MAX_AREA = 0.5;
/** What drawing depends on: what Excalidraw itself looks at before it draws. */
const VIEW_FIELDS = [
  "scrollX", "scrollY", "zoom", "width", "height", "offsetLeft", "offsetTop", "theme", "viewBackgroundColor", "viewModeEnabled",
  "gridSize", "gridStep", "gridModeEnabled", "openDialog", "pendingImageElementId", "shouldCacheIgnoreZoom", "exportScale", "frameRendering",
  "frameToHighlight", "currentHoveredFontFamily", "croppingElementId",
];
/** What frames and links depend on, and nothing else (D4). */
const SELECTION_FIELDS = ["selectedElementIds", "selectedElementsAreBeingDragged", "hoveredElementIds", "editingGroupId"];

const canvases = new WeakMap<HTMLCanvasElement, Canvas>();

export function redraw(requested: Scene, editor: Editor): void {
  const { canvas } = requested;
  const context = canvas?.getContext("2d");
  if (!canvas || !context) {
    editor.draw(requested);
    return;
  }
  const before = canvases.get(canvas);
  if (before) cancelAnimationFrame(before.next);
  // Until it has been drawn to its end nothing is known of it.
  canvases.delete(canvas);
  const settings = settingsOf(requested);
  const isKnown = before !== undefined && isSame(before.settings, settings);
  const { scene, left } = limitPictures(requested, editor, isKnown);
  const isDone = left <= MAX_NEW;
  // Should the last frame have made none, then what is left is drawn at once: never a frame for nothing, for ever.
  const isStuck = isKnown && !isDone && before.remaining > 0 && left >= before.remaining;
  const parts = isKnown && !isStuck ? changes(scene, editor, before.drawn) : null;
  let drawn: Map<string, Drawn>;
  if (parts) {
    drawParts(scene, editor, context, parts);
    ({ drawn } = parts);
  } else {
    editor.draw(isStuck ? requested : scene);
    drawn = new Map((isStuck ? requested : scene).visibleElements.map((element, place) => [element.id, record(scene, editor, element, place)]));
  }
  const next = isDone || isStuck ? 0 : requestAnimationFrame(() => { if (canvas.isConnected) redraw(requested, editor); });
  canvases.set(canvas, { settings, drawn, next, remaining: next === 0 ? 0 : isKnown ? left : Infinity });
}

/** What of it is drawn now, and how many pictures had to be made before that (D5). */
function limitPictures(scene: Scene, editor: Editor, isKnown: boolean): { scene: Scene; left: number } {
  const { visibleElements, appState } = scene;
  const missing: DrawnElement[] = [];
  const stale: DrawnElement[] = [];
  for (const element of visibleElements) {
    const picture = pictureOf(editor, element) as { zoomValue?: number } | undefined;
    if (!picture) missing.push(element);
    else if (picture.zoomValue !== appState.zoom.value && !appState["shouldCacheIgnoreZoom"]) stale.push(element);
  }
  const left = missing.length + stale.length;
  if (left <= MAX_NEW) {
    for (const element of isKnown ? stale : []) editor.pictures.delete(element);
    return { scene, left };
  }
  const later = new Set(missing.slice(MAX_NEW));
  // First all of them as they are, at once; from the next frame on each as it should be.
  for (const element of isKnown ? stale.slice(0, Math.max(0, MAX_NEW - missing.length)) : []) editor.pictures.delete(element);
  return {
    scene: {
      ...scene,
      visibleElements: later.size > 0 ? visibleElements.filter((element) => !later.has(element)) : visibleElements,
      appState: { ...appState, shouldCacheIgnoreZoom: stale.length > 0 || appState["shouldCacheIgnoreZoom"] },
    },
    left,
  };
}

function drawParts(scene: Scene, editor: Editor, context: CanvasRenderingContext2D, { boxes, drawn }: Parts): void {
  if (boxes.length === 0) return;
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.beginPath();
  for (const [left, top, right, bottom] of boxes) context.rect(left, top, right - left, bottom - top);
  context.clip();
  const visibleElements = elementsIn(scene, { boxes, drawn });
  try {
    editor.draw({ ...scene, visibleElements });
  } finally {
    context.restore();
  }
  for (const { id } of visibleElements) {
    // Drawing may have made a picture that was not there.
    const one = drawn.get(id);
    if (one) one.picture = pictureOf(editor, one.element);
  }
}

/** Everything that is drawn otherwise when it changes, elements apart (D3). */
function settingsOf({ canvas, scale, appState, renderConfig, visibleElements }: Scene): Map<string, unknown> {
  const settings = new Map<string, unknown>([["canvas width", canvas?.width], ["canvas height", canvas?.height], ["scale", scale]]);
  const special = visibleElements.some(({ link, frameId, type }) => Boolean(link) || Boolean(frameId) || type === "frame" || type === "magicframe");
  settings.set("special", special);
  const dependsOnSelection = special || Boolean(appState["frameToHighlight"]) || Boolean(appState["openDialog"]);
  for (const field of dependsOnSelection ? [...VIEW_FIELDS, ...SELECTION_FIELDS] : VIEW_FIELDS) {
    settings.set(field, field === "zoom" ? appState.zoom.value : appState[field]);
  }
  for (const [field, value] of Object.entries(renderConfig)) settings.set(`config ${field}`, value);
  return settings;
}

function isSame(before: Map<string, unknown>, after: Map<string, unknown>): boolean {
  if (before.size !== after.size) return false;
  for (const [field, value] of after) if (!Object.is(before.get(field), value)) return false;
  return true;
}

const pictureOf = (editor: Editor, element: DrawnElement): unknown =>
  editor.shapes.get(element as never) === undefined ? undefined : editor.pictures.get(element);

/** Where an element's picture is. */
export function boxOf({ appState, elementsMap, scale }: Scene, editor: Editor, element: DrawnElement): Box {
  const [left = 0, top = 0, right = 0, bottom = 0] = editor.coordinates(element, elementsMap);
  const factor = appState.zoom.value * scale;
  const [x, y] = [((left + right) / 2 + appState.scrollX) * factor, ((top + bottom) / 2 + appState.scrollY) * factor];
  const padding = editor.padding(element);
  const [wide, high] = [((right - left) / 2 + padding) * factor, ((bottom - top) / 2 + padding) * factor];
  const [sin, cos] = [Math.abs(Math.sin(element.angle)), Math.abs(Math.cos(element.angle))];
  const [half, tall] = [wide * cos + high * sin, wide * sin + high * cos];
  return [Math.floor(x - half) - 1, Math.floor(y - tall) - 1, Math.ceil(x + half) + 1, Math.ceil(y + tall) + 1];
}

function record(scene: Scene, editor: Editor, element: DrawnElement, place: number): Drawn {
  return { element, version: element.version, picture: pictureOf(editor, element), box: boxOf(scene, editor, element), place };
}

interface Parts {
  boxes: Box[];
  drawn: Map<string, Drawn>;
}

/** Where something has changed; null when all is to be drawn. */
function changes(scene: Scene, editor: Editor, before: Map<string, Drawn>): Parts | null {
  const { visibleElements, canvas } = scene;
  const drawn = new Map<string, Drawn>();
  const boxes: Box[] = [];
  let last = -1;
  for (let place = 0; place < visibleElements.length; place += 1) {
    const element = visibleElements[place] as DrawnElement;
    const old = before.get(element.id);
    if (old?.element === element && old.version === element.version && old.picture === pictureOf(editor, element)) {
      if (old.place < last) return null; // drawn behind one that it was in front of
      last = old.place;
      drawn.set(element.id, old);
      continue;
    }
    const now = record(scene, editor, element, place);
    boxes.push(now.box);
    if (old) boxes.push(old.box);
    drawn.set(element.id, now);
  }
  for (const [id, old] of before) if (!drawn.has(id)) boxes.push(old.box);
  // What stayed keeps the order among itself, which is all that `place` is compared for; now it counts from here.
  let place = 0;
  for (const one of drawn.values()) one.place = place++;
  const inView = boxes.filter(([left, top, right, bottom]) =>
    right > 0 && bottom > 0 && left < (canvas?.width ?? 0) && top < (canvas?.height ?? 0));
  const merged = inView.length > 2 * MAX_NEW ? [boundingBox(inView)] : inView;
  const area = merged.reduce((sum, [left, top, right, bottom]) => sum + (right - left) * (bottom - top), 0);
  return area > MAX_AREA * (canvas?.width ?? 0) * (canvas?.height ?? 0) ? null : { boxes: merged, drawn };
}

function boundingBox(boxes: readonly Box[]): Box {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const box of boxes) {
    [left, top] = [Math.min(left, box[0]), Math.min(top, box[1])];
    [right, bottom] = [Math.max(right, box[2]), Math.max(bottom, box[3])];
  }
  return [left, top, right, bottom];
}

/** What is in those places, in its order. */
function elementsIn({ visibleElements }: Scene, { boxes, drawn }: Parts): DrawnElement[] {
  const found = new Set<string>();
  for (const { id, containerId } of visibleElements) {
    const box = drawn.get(id)?.box;
    if (!box || !boxes.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
    found.add(id);
    // A label is drawn along with what it stands in, which may be smaller.
    if (containerId) found.add(containerId);
  }
  return visibleElements.filter(({ id }) => found.has(id));
}
