/**
 * Redraws only the parts of a board that have changed. Excalidraw redraws every visible element when one changes; with
 * thousands of elements, strokes lag behind the pointer.
 *
 * The build wraps Excalidraw's draw function with this module (scripts/excalidraw.ts). It finds the regions that have
 * changed since the canvas was last drawn, and lets Excalidraw draw the elements in them, clipped to those regions.
 *
 * A "picture" is the bitmap that Excalidraw caches for each element.
 *
 * Rules (tests quote these ids):
 *   UD1  The canvas looks the same as after a full redraw.
 *   UD2  An element is unchanged if it is the same object with the same version and the same picture. Excalidraw discards
 *       an element's shape, and with it the picture, when a font or an image has loaded.
 *   UD3  Everything is redrawn when anything other than the elements changes (zoom, scroll position, theme, size …), when
 *       the order changes, and when most of the canvas would be redrawn anyway.
 *   UD4  Frames and links look different while something is selected or dragged. If there are any, such changes redraw
 *       everything too.
 *   UD5  The number of new pictures per frame is limited. Elements without a picture appear in the order of the board, and
 *       one whose picture has the wrong zoom is shown scaled until its turn. So a full board stays responsive while it
 *       opens and zooms.
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

/** Excalidraw's own functions and caches. */
export interface Editor {
  draw: (scene: Scene) => void;
  /** The cached shapes: undefined for an element whose picture must not be used any more. */
  shapes: { get: (element: never) => unknown };
  /** The cached picture of each element. */
  pictures: { get: (element: object) => unknown; delete: (element: object) => unknown };
  /** How far a picture extends beyond its element, in scene units. */
  padding: (element: DrawnElement) => number;
  /** Left, top, right, bottom before rotation. */
  coordinates: (element: DrawnElement, all: ReadonlyMap<string, DrawnElement>) => readonly number[];
}

/** Left, top, right, bottom in whole canvas pixels. */
export type Box = readonly [number, number, number, number];

interface Drawn {
  element: DrawnElement;
  version: number;
  picture: unknown;
  box: Box;
  /** The number of elements drawn before it. */
  place: number;
}

interface Canvas {
  /** Handle of the animation frame that makes more pictures; 0 if there is none (UD5). */
  next: number;
  /** The number of pictures still to be made at that time. */
  remaining: number;
  /** Everything else the drawing depends on, by name. */
  settings: Map<string, unknown>;
  drawn: Map<string, Drawn>;
}

/** New pictures per frame; each takes about a third of a millisecond. */
const MAX_NEW = 100;
/** Fraction of the canvas: if more than this has changed, everything is redrawn. */
const MAX_AREA = 0.5;
/** The fields of the app state that the drawing depends on: those that Excalidraw compares before it draws. */
const VIEW_FIELDS = [
  "scrollX", "scrollY", "zoom", "width", "height", "offsetLeft", "offsetTop", "theme", "viewBackgroundColor", "viewModeEnabled",
  "gridSize", "gridStep", "gridModeEnabled", "openDialog", "pendingImageElementId", "shouldCacheIgnoreZoom", "exportScale", "frameRendering",
  "frameToHighlight", "currentHoveredFontFamily", "croppingElementId",
];
/** Fields that only frames and links depend on (UD4). */
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
  // If drawing throws, the state of the canvas is unknown.
  canvases.delete(canvas);
  const settings = settingsOf(requested);
  const isKnown = before !== undefined && isSame(before.settings, settings);
  const { scene, left } = limitPictures(requested, editor, isKnown);
  const isDone = left <= MAX_NEW;
  // If the last frame has made no progress, draw the rest at once instead of requesting frames forever.
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

/** The part of the scene to draw now, and the number of pictures that were missing or stale (UD5). */
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
  // First draw all stale pictures as they are; replace them from the next frame on.
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
    // Drawing may have created a missing picture.
    const one = drawn.get(id);
    if (one) one.picture = pictureOf(editor, one.element);
  }
}

/** Everything except the elements that the drawing depends on (UD3). */
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

/** The bounding box of an element's picture on the canvas. */
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

/** The changed regions; null if everything must be redrawn. */
function changes(scene: Scene, editor: Editor, before: Map<string, Drawn>): Parts | null {
  const { visibleElements, canvas } = scene;
  const drawn = new Map<string, Drawn>();
  const boxes: Box[] = [];
  let last = -1;
  for (let place = 0; place < visibleElements.length; place += 1) {
    const element = visibleElements[place] as DrawnElement;
    const old = before.get(element.id);
    if (old?.element === element && old.version === element.version && old.picture === pictureOf(editor, element)) {
      if (old.place < last) return null; // it has moved behind another element
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
  // Unchanged elements have kept their relative order, which is all that `place` is compared for; renumber them.
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

/** The elements that overlap the given regions, in drawing order. */
function elementsIn({ visibleElements }: Scene, { boxes, drawn }: Parts): DrawnElement[] {
  const found = new Set<string>();
  for (const { id, containerId } of visibleElements) {
    const box = drawn.get(id)?.box;
    if (!box || !boxes.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
    found.add(id);
    // A label is drawn together with its container, which may be smaller.
    if (containerId) found.add(containerId);
  }
  return visibleElements.filter(({ id }) => found.has(id));
}
