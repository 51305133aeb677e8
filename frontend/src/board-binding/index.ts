/** Binds Excalidraw to a shared Yjs document. See README.md in this folder. */
export { BoardBinding, type BoardBindingOptions } from "./binding";
export { BoardFiles, isDataUrl, RefusedError, type FileElement, type FileHost, type FileScene, type SceneFile, type StoredFile } from "./files";
export { Presence, type BoardState } from "./presence";
export { ElementStore } from "./store";
export { join, split, type BoardElement, type Groups } from "./shape";
export type { Scene } from "./state";
