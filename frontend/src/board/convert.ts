/** Import and export of boards. */
import {
  CaptureUpdateAction, exportToBlob, exportToSvg, getCommonBounds, loadFromBlob, restoreElements, serializeAsJSON,
} from "@excalidraw/excalidraw";
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";
import { reportError } from "../shell/actions";
import { isDataUrl } from "../board-binding";
import { MAX_ELEMENT_BYTES } from "./paste";
import { t } from "../strings";

type Api = ExcalidrawImperativeAPI;

/** The package does not include its types for these two functions. */
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

const GAP = 40;

export const toFile = (api: Api): Blob =>
  new Blob([serializeAsJSON(api.getSceneElements(), api.getAppState(), api.getFiles(), "local")], { type: "application/json" });

export const toPng = (api: Api): Promise<Blob> =>
  blobOf({ elements: api.getSceneElements(), files: api.getFiles(), mimeType: "image/png", exportPadding: 16,
    appState: { ...api.getAppState(), exportBackground: true, exportWithDarkMode: false, exportScale: 2 },
    getDimensions: (width, height) => ({ width: width * 2, height: height * 2, scale: 2 }) });

export async function toSvg(api: Api): Promise<Blob> {
  const svg = await svgOf({ elements: api.getSceneElements(), files: api.getFiles(), exportPadding: 16,
    appState: { ...api.getAppState(), exportBackground: true, exportWithDarkMode: false } });
  return new Blob([serialize(svg)], { type: "image/svg+xml" });
}

/** A node as XML. As HTML, a no-break space would be an entity that XML lacks, and XML has no control characters. */
const serialize = (svg: SVGSVGElement): string =>
  // eslint-disable-next-line no-control-regex -- these are the characters to take out
  new XMLSerializer().serializeToString(svg).replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]|\p{Cs}/gu, "");

class TooLargeError extends Error {}
class UnreadableError extends Error {}

const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Whether an image has an embedded scene. */
export async function hasScene(file: Blob): Promise<boolean> {
  if (!/png|svg/.test(file.type) || file.size > MAX_FILE_BYTES) return false;
  return loadFromBlob(file, null, null).then(() => true, () => false);
}

async function load(file: Blob): Promise<Awaited<ReturnType<typeof loadFromBlob>>> {
  if (file.size > MAX_FILE_BYTES) throw new TooLargeError(`${file.size} bytes`);
  let loaded;
  try {
    loaded = await loadFromBlob(file, null, null);
  } catch (error) {
    throw new UnreadableError(String(error), { cause: error });
  }
  const bytes = JSON.stringify(loaded.elements).length;
  if (bytes > MAX_ELEMENT_BYTES) throw new TooLargeError(`elements of ${bytes} bytes`);
  return loaded;
}

/** Show the user why a file was not imported. */
export function reportImportError(error: unknown): void {
  reportError(error instanceof TooLargeError ? t.failed.importTooLarge : t.failed.import, error);
}

/** Add a file's content to the right of the existing elements, without replacing anything. */
export async function insert(api: Api, file: Blob): Promise<void> {
  const loaded = await load(file);
  const added = withNewIds(loaded.elements.filter((element) => !element.isDeleted));
  if (added.length === 0) return;
  const existing = api.getSceneElements();
  if (existing.length > 0) {
    const [, top, right] = getCommonBounds(existing);
    const [left, addedTop] = getCommonBounds(added as never);
    for (const element of added) {
      element.x += right + GAP - left;
      element.y += top - addedTop;
    }
  }
  api.addFiles(Object.values(loaded.files).filter(({ dataURL }) => isDataUrl(dataURL)));
  // Put them at the end of the order: with their own indices they would be sorted in between.
  const restored = restoreElements(added as never, null, { repairBindings: true }).map((element) => ({ ...element, index: null }));
  const elements = [...api.getSceneElementsIncludingDeleted(), ...restored] as never as ReturnType<Api["getSceneElementsIncludingDeleted"]>;
  api.updateScene({ elements, captureUpdate: CaptureUpdateAction.IMMEDIATELY });
  const ids = new Set(added.map(({ id }) => id));
  api.scrollToContent(elements.filter(({ id }) => ids.has(id)), { fitToContent: true });
}

interface Added {
  id: string;
  x: number;
  y: number;
}

/** Give elements new ids and update all references, so that the same file can be added twice. */
function withNewIds(elements: readonly unknown[]): Added[] {
  const newIds = new Map((elements as Added[]).map(({ id }) => [id, crypto.randomUUID()]));
  const rewriteIds = (value: unknown): unknown => {
    if (typeof value === "string") return newIds.get(value) ?? value;
    if (Array.isArray(value)) return value.map(rewriteIds);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, key === "text" || key === "originalText" ? item : rewriteIds(item)]));
  };
  return elements.map(rewriteIds) as Added[];
}
