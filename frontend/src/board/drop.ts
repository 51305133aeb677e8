/**
 * Files that are dropped on a board. Excalidraw would put what an `.excalidraw` file holds, or a picture with a scene
 * in it, in the place of what everybody has drawn; here both are added. Plain pictures are left to Excalidraw.
 */
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";
import { reportImportError, insert, hasScene } from "./convert";
import { t } from "../strings";
import { showToast } from "../ui/toast";

const PICTURE = /^image\/(png|jpeg|gif|webp|avif|svg\+xml|bmp|x-icon|jfif)$/;
/** Several pictures are not put on top of each other. */
const OFFSET = 24;

export const isPicture = (file: File): boolean => PICTURE.test(file.type);
/** Whether Excalidraw may have it without being asked twice. */
export const isPlain = (files: File[]): boolean => files.length === 1 && files.every((file) => isPicture(file) && !/png|svg/.test(file.type));

/** Take what was dropped at a place of the page; `pass` gives one picture to Excalidraw. */
export async function insertDropped(api: ExcalidrawImperativeAPI, files: File[], at: { x: number; y: number }, forward: (event: DragEvent) => void): Promise<void> {
  let pictures = 0;
  for (const file of files) {
    if (isPicture(file) && !(await hasScene(file))) {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(file);
      const [clientX, clientY] = [at.x + OFFSET * pictures, at.y + OFFSET * pictures];
      forward(new DragEvent("drop", { dataTransfer, clientX, clientY, bubbles: true, cancelable: true }));
      pictures += 1;
      continue;
    }
    try {
      await insert(api, file);
      showToast(t.file.imported(file.name));
    } catch (error) {
      reportImportError(error);
    }
  }
}
