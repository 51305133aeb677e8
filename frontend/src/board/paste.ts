/**
 * Pastes that would be too large for one update are refused before any of it is on the board: the device would keep what
 * could never be sent. Excalidraw makes an element of each line of a text.
 */

/** Elements are sent in one update, which must stay below the server's size limit; images are uploaded separately. */
export const MAX_ELEMENT_BYTES = 8 * 1024 * 1024;
/** About what a text element takes. */
const ELEMENT_BYTES = 600;

/** The size in bytes of what Excalidraw would make of pasted text, about; without the images of copied elements. */
export function pastedBytes(text: string): number {
  if (text.includes('"excalidraw/clipboard"')) {
    try {
      return JSON.stringify((JSON.parse(text) as { elements?: unknown }).elements ?? []).length;
    } catch {
      // It is text after all.
    }
  }
  let lines = 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines += 1;
  return text.length + lines * ELEMENT_BYTES;
}
