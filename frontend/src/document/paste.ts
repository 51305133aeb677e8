/**
 * Files pasted into or dropped on a document.
 *
 * Rules:
 *   UG1  A file that cannot be uploaded is refused before a block is created for it. A block whose upload fails is removed.
 *   UG2  Dropping a file outside the text does not navigate away from the page.
 *   UG3  An image copied from another page is inserted as an image, not as a URL on another host.
 *   UG7  What is larger than the server accepts in one update is refused before any of it is in the document: the editor
 *        would keep it on the device, from where it could never be sent.
 */
import { size, t } from "../strings";
import { showToast } from "../ui/toast";
import type { DocumentEditor } from "./editor";
import { IMAGES, maxFileBytes } from "./upload";

/** The most that is pasted at once, in characters without images. */
const MAX_PASTED = 4 * 1024 * 1024;

/** Whether a paste would be too large for one update (UG7); `html` is without its embedded images. */
export function isTooLarge(data: DataTransfer, html: string): boolean {
  const own = data.getData("blocknote/html");
  const length = own.length || html.length || data.getData("text/plain").length;
  return length > MAX_PASTED;
}

/** The files to insert. None if text was copied that merely comes with an image of itself, as from office programs. */
export function filesIn(data: DataTransfer): File[] {
  const files = [...data.files];
  if (files.length === 0) return [];
  const html = data.getData("text/html");
  if (!html) return data.getData("text/plain") ? [] : files;
  const { body } = new DOMParser().parseFromString(html, "text/html");
  return body.textContent.trim() === "" && body.querySelector("img") ? files : []; // UG3
}

/** Insert files after or before a block, in order. */
export async function insertFiles(editor: DocumentEditor, files: File[], at: { id: string; placement: "before" | "after" }): Promise<void> {
  const supported = files.filter((file) => IMAGES.includes(file.type));
  if (supported.length < files.length) showToast(t.failed.uploadTypes, { isError: true }); // UG1
  const maxBytes = await maxFileBytes();
  const accepted = supported.filter((file) => file.size <= maxBytes);
  if (accepted.length < supported.length) showToast(t.failed.uploadTooLarge(size(maxBytes)), { isError: true });
  let { id, placement } = at;
  for (const file of accepted) {
    const near = editor.getBlock(id);
    if (!near) return;
    const block = { type: "image" as const, props: { name: file.name } };
    const isEmpty = near.type === "paragraph" && Array.isArray(near.content) && near.content.length === 0 && near.children.length === 0;
    const made = isEmpty ? editor.updateBlock(near, block) : editor.insertBlocks([block], near, placement)[0];
    if (!made) return;
    [id, placement] = [made.id, "after"];
    try {
      const url = await editor.uploadFile?.(file, made.id);
      if (typeof url === "string" && editor.getBlock(made.id)) editor.updateBlock(made.id, { type: "image", props: { url } });
    } catch {
      // `upload` has told the user.
      if (!editor.getBlock(made.id)) continue;
      if (isEmpty) editor.updateBlock(made.id, { type: "paragraph", props: {} });
      else {
        editor.removeBlocks([made.id]);
        id = near.id;
      }
    }
  }
}
