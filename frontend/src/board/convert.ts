/** Boards to and from files. */
import {
  CaptureUpdateAction, exportToBlob, exportToSvg, getCommonBounds, loadFromBlob, restoreElements, serializeAsJSON,
} from "@excalidraw/excalidraw";
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";

type Api = ExcalidrawImperativeAPI;

/** Its own types of these two are not in the package. */
interface Export {
  elements: readonly unknown[];
  files: unknown;
  exportPadding: number;
  appState: object;
  mimeType?: string;
  getDimensions?: (width: number, height: number) => { width: number; height: number; scale: number };
}
const blobOf = exportToBlob as unknown as (options: Export) => Promise<Blob>;
const svgOf = exportToSvg as unknown as (options: Export) => Promise<SVGSVGElement>;

const APART = 40;

export const toFile = (api: Api): Blob =>
  new Blob([serializeAsJSON(api.getSceneElements(), api.getAppState(), api.getFiles(), "local")], { type: "application/json" });

export const toPng = (api: Api): Promise<Blob> =>
  blobOf({ elements: api.getSceneElements(), files: api.getFiles(), mimeType: "image/png", exportPadding: 16,
    appState: { ...api.getAppState(), exportBackground: true, exportWithDarkMode: false, exportScale: 2 },
    getDimensions: (width, height) => ({ width: width * 2, height: height * 2, scale: 2 }) });

export async function toSvg(api: Api): Promise<Blob> {
  const svg = await svgOf({ elements: api.getSceneElements(), files: api.getFiles(), exportPadding: 16,
    appState: { ...api.getAppState(), exportBackground: true, exportWithDarkMode: false } });
  return new Blob([svg.outerHTML], { type: "image/svg+xml" });
}

/** Add what a file holds to the right of what is there; nothing that is there is replaced. */
export async function insert(api: Api, file: Blob): Promise<void> {
  const loaded = await loadFromBlob(file, null, null);
  const added = renamed(loaded.elements.filter((element) => !element.isDeleted));
  if (added.length === 0) return;
  const there = api.getSceneElements();
  if (there.length > 0) {
    const [, top, right] = getCommonBounds(there);
    const [left, addedTop] = getCommonBounds(added as never);
    for (const element of added) {
      element.x += right + APART - left;
      element.y += top - addedTop;
    }
  }
  api.addFiles(Object.values(loaded.files));
  const elements = restoreElements([...api.getSceneElementsIncludingDeleted(), ...added.map((element) => ({ ...element, index: null }))] as never, null, {});
  api.updateScene({ elements, captureUpdate: CaptureUpdateAction.IMMEDIATELY });
  const ids = new Set(added.map(({ id }) => id));
  api.scrollToContent(elements.filter(({ id }) => ids.has(id)), { fitToContent: true });
}

interface Added {
  id: string;
  x: number;
  y: number;
}

/** With ids of their own, so that the same file can be added twice; references follow. */
function renamed(elements: readonly unknown[]): Added[] {
  const names = new Map((elements as Added[]).map(({ id }) => [id, crypto.randomUUID()]));
  const follow = (value: unknown): unknown => {
    if (typeof value === "string") return names.get(value) ?? value;
    if (Array.isArray(value)) return value.map(follow);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, key === "text" || key === "originalText" ? item : follow(item)]));
  };
  return elements.map(follow) as Added[];
}
