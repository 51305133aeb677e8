/** Before Excalidraw is loaded: its fonts come from this server, and from nowhere else; how often it draws. */
import { ROOT } from "../app/root";

declare global {
  interface Window {
    EXCALIDRAW_ASSET_PATH?: string;
    EXCALIDRAW_THROTTLE_RENDER?: boolean;
  }
}

window.EXCALIDRAW_ASSET_PATH = import.meta.env.PROD ? `${ROOT}/static/app/excalidraw/` : "/node_modules/@excalidraw/excalidraw/dist/prod/";
// The board is drawn once a frame, however often it has changed since the last one.
window.EXCALIDRAW_THROTTLE_RENDER = true;
export {};
