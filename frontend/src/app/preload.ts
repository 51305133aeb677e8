/** Editors are fetched as soon as it is likely that they will be wanted, instead of one file after another. */
import type { Kind } from "./api";

const started = new Set<Kind>();

export function preload(kind: Kind): void {
  if (kind === "text" || started.has(kind)) return; // texts have no editor here
  started.add(kind);
  const work = kind === "board"
    // In this order: the page says where Excalidraw finds its fonts, before that is loaded.
    ? import("../pages/board").then(() => import("../board/view"))
    : Promise.all([import("../pages/document"), import("../document/view")]);
  // The page that needs them asks again, and says what is wrong.
  work.catch((error: unknown) => { console.info("not fetched ahead:", error); });
}
