/**
 * Files dropped on a board. Excalidraw would replace everyone's work with the content of an `.excalidraw` file or of an
 * image with an embedded scene; here both are added instead. Plain images are left to Excalidraw.
 */
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";
import { reportImportError, insert, hasScene } from "./convert";
import { t } from "../strings";
import { showToast } from "../ui/toast";

const PICTURE = /^image\/(png|jpeg|gif|webp|avif|svg\+xml|bmp|x-icon|jfif)$/;
/** Offset between several images, in pixels, so that they do not cover each other. */
const OFFSET = 24;

export const isPicture = (file: File): boolean => PICTURE.test(file.type);
/** Whether the files can go straight to Excalidraw: one image of a type that cannot embed a scene. */
export const isPlain = (files: File[]): boolean => files.length === 1 && files.every((file) => isPicture(file) && !/png|svg/.test(file.type));

/** Insert files dropped at a position on the page; `forward` passes one image to Excalidraw. */
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
