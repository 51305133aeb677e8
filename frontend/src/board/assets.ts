/** Before Excalidraw is loaded: its fonts come from this server, and from nowhere else. */
declare global {
  interface Window {
    EXCALIDRAW_ASSET_PATH?: string;
  }
}

window.EXCALIDRAW_ASSET_PATH = import.meta.env.PROD ? `${import.meta.env.BASE_URL}excalidraw/` : "/node_modules/@excalidraw/excalidraw/dist/prod/";
export {};
