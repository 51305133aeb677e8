/** Settings that Excalidraw reads when it loads: the path of its fonts, which come only from this server, and throttling. */
import { ROOT } from "../app/root";

declare global {
  interface Window {
    EXCALIDRAW_ASSET_PATH?: string;
    EXCALIDRAW_THROTTLE_RENDER?: boolean;
  }
}

window.EXCALIDRAW_ASSET_PATH = import.meta.env.PROD ? `${ROOT}/static/app/excalidraw/` : "/node_modules/@excalidraw/excalidraw/dist/prod/";
// Draw the board at most once per frame, however often it has changed.
window.EXCALIDRAW_THROTTLE_RENDER = true;
export {};
