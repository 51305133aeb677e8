/**
 * Files that are dropped on a board. Excalidraw would put what an `.excalidraw` file holds, or a picture with a scene
 * in it, in the place of what everybody has drawn; here both are added. Plain pictures are left to Excalidraw.
 */
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";
import { failedImport, insert, isWithScene } from "./convert";
import { t } from "../strings";
import { say } from "../ui/toast";

const PICTURE = /^image\/(png|jpeg|gif|webp|avif|svg\+xml|bmp|x-icon|jfif)$/;
/** Several pictures are not put on top of each other. */
const STEP = 24;

export const isPicture = (file: File): boolean => PICTURE.test(file.type);
/** Whether Excalidraw may have it without being asked twice. */
export const isPlain = (files: File[]): boolean => files.length === 1 && files.every((file) => isPicture(file) && !/png|svg/.test(file.type));

/** Take what was dropped at a place of the page; `pass` gives one picture to Excalidraw. */
export async function take(api: ExcalidrawImperativeAPI, files: File[], at: { x: number; y: number }, pass: (event: DragEvent) => void): Promise<void> {
  let pictures = 0;
  for (const file of files) {
    if (isPicture(file) && !(await isWithScene(file))) {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(file);
      const [clientX, clientY] = [at.x + STEP * pictures, at.y + STEP * pictures];
      pass(new DragEvent("drop", { dataTransfer, clientX, clientY, bubbles: true, cancelable: true }));
      pictures += 1;
      continue;
    }
    try {
      await insert(api, file);
      say(t.file.imported(file.name));
    } catch (error) {
      failedImport(error);
    }
  }
}
