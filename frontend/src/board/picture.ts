/** Converts images of types that the server does not accept, mainly SVG, to PNG for upload. */
import { RefusedError } from "../board-binding";

const SUPPORTED = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);
/** Size in pixels of an SVG without intrinsic dimensions. */
const DEFAULT_SIZE = 512;
const MIN_SIZE = 1024;
const MAX_SIZE = 2048;

export async function uploadable(bytes: Blob): Promise<Blob> {
  if (SUPPORTED.has(bytes.type)) return bytes;
  const url = URL.createObjectURL(bytes);
  try {
    const image = new Image();
    image.src = url;
    // A damaged image will not become readable: retrying would never end.
    await image.decode().catch((error: unknown) => { throw new RefusedError(`the image cannot be read (${String(error)})`); });
    const [width, height] = [image.naturalWidth || DEFAULT_SIZE, image.naturalHeight || DEFAULT_SIZE];
    const longest = Math.max(width, height);
    // Scale small images up, so that they stay sharp when enlarged.
    const scale = Math.min(MAX_SIZE, Math.max(MIN_SIZE, longest)) / longest;
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    canvas.getContext("2d")?.drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve, reject) => {
      canvas.toBlob((png) => { if (png) resolve(png); else reject(new Error("the image could not be rendered")); }, "image/png");
    });
  } finally {
    URL.revokeObjectURL(url);
  }
}
