/** Before Excalidraw is loaded: its fonts come from this server, and from nowhere else. */
import { ROOT } from "../app/root";

declare global {
  interface Window {
    EXCALIDRAW_ASSET_PATH?: string;
  }
}

window.EXCALIDRAW_ASSET_PATH = import.meta.env.PROD ? `${ROOT}/static/app/excalidraw/` : "/node_modules/@excalidraw/excalidraw/dist/prod/";
export {};
