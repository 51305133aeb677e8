/** Fetch an editor as soon as it is likely to be needed, all files in parallel instead of one after another. */
import type { Kind } from "../app/api";

const started = new Set<Kind>();

export function preload(kind: Kind): void {
  if (kind === "text" || started.has(kind)) return; // there is no editor for texts
  started.add(kind);
  const work = kind === "board"
    // In this order: the page sets the path of Excalidraw's fonts before Excalidraw loads.
    ? import("./board").then(() => import("../board/view"))
    : Promise.all([import("./document"), import("../document/view")]);
  // The page that needs the editor requests it again and reports the error.
  work.catch((error: unknown) => { console.info("preload failed:", error); });
}
