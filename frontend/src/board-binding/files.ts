/**
 * Images on a board: `Map "files"`, file id -> `{ url, mimeType, width, height }`. Their bytes go through the upload API.
 *
 * Rules (tests quote these ids):
 *   UF1  An image added here is stored on this device until the server has it, even if the page is closed.
 *   UF2  A failed upload is retried with growing delays. One that the server refuses permanently is reported once.
 *   UF3  An image is downloaded when an element shows it. A failed download is retried in the same way.
 */
import type * as Y from "yjs";

export interface StoredFile {
  url: string;
  mimeType: string;
  width: number;
  height: number;
}

export interface SceneFile {
  id: string;
  dataURL: string;
  mimeType: string;
}

export interface FileHost {
  /** Store bytes on the server. Rejects with a `RefusedError` if a retry cannot succeed. */
  upload(bytes: Blob): Promise<StoredFile>;
  download(url: string): Promise<Blob>;
  /** Save on this device until the upload has succeeded. */
  save(id: string, file: SceneFile): Promise<void>;
  load(id: string): Promise<SceneFile | undefined>;
  remove(id: string): Promise<void>;
}

export interface FileScene {
  file(id: string): SceneFile | undefined;
  add(files: SceneFile[]): void;
}

export class RefusedError extends Error {}

export interface FileElement {
  readonly isDeleted: boolean;
  readonly fileId?: string | null;
}

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 60_000;

type Transfer = "upload" | "download";

export class BoardFiles {
  readonly map: Y.Map<unknown>;
  private readonly running = new Map<string, Transfer>();
  private readonly failed = new Map<string, { times: number; timer: ReturnType<typeof setTimeout> }>();
  private readonly refused = new Set<string>();
  private readonly wanted = new Set<string>();
  private destroyed = false;
  private readonly onMapChange: () => void;

  constructor(
    doc: Y.Doc,
    private readonly scene: FileScene,
    private readonly host: FileHost,
    private readonly callbacks: {
      /** The number of images that are only on this device. */
      pending: (count: number) => void;
      refused: (id: string, error: RefusedError) => void;
    },
    private readonly writable: () => boolean = () => true,
  ) {
    this.map = doc.getMap("files");
    this.onMapChange = () => { for (const id of this.wanted) this.check(id); };
    this.map.observe(this.onMapChange);
  }

  /** Call this with the elements whenever they may have changed. */
  changed(elements: Iterable<FileElement>): void {
    for (const { fileId, isDeleted } of elements) {
      if (typeof fileId !== "string" || isDeleted || this.wanted.has(fileId)) continue;
      this.wanted.add(fileId);
      this.check(fileId);
    }
    // An image's bytes may reach the scene after its element.
    for (const id of this.wanted) if (!this.map.has(id) && this.scene.file(id)) this.check(id);
  }

  /** Retry everything now, because the connection is back. */
  retry(): void {
    for (const [id, { timer }] of this.failed) {
      clearTimeout(timer);
      this.check(id);
    }
  }

  destroy(): void {
    this.destroyed = true;
    this.map.unobserve(this.onMapChange);
    for (const { timer } of this.failed.values()) clearTimeout(timer);
  }

  private check(id: string): void {
    if (this.running.has(id) || this.refused.has(id) || this.destroyed) return;
    const stored = readStored(this.map.get(id));
    if (stored) {
      if (!this.scene.file(id)) this.run(id, "download", () => this.download(id, stored));
    } else if (this.writable()) {
      this.run(id, "upload", () => this.upload(id));
    }
  }

  private run(id: string, work: Transfer, action: () => Promise<void>): void {
    this.running.set(id, work);
    this.reportPending();
    action().then(
      () => {
        this.failed.delete(id);
        this.running.delete(id);
        // Its URL may have arrived in the meantime.
        if (work === "upload" && !this.scene.file(id) && this.map.has(id)) this.check(id);
        this.reportPending();
      },
      (error: unknown) => {
        this.running.delete(id);
        if (this.destroyed) return;
        if (error instanceof RefusedError) {
          this.refused.add(id);
          this.callbacks.refused(id, error);
        } else {
          const times = (this.failed.get(id)?.times ?? 0) + 1;
          const delay = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (times - 1));
          this.failed.set(id, { times, timer: setTimeout(() => { this.check(id); }, delay) });
        }
        this.reportPending();
      },
    );
  }

  private async download(id: string, stored: StoredFile): Promise<void> {
    const bytes = await this.host.download(stored.url);
    const file = { id, dataURL: await dataUrl(bytes, stored.mimeType), mimeType: stored.mimeType };
    if (!this.destroyed) this.scene.add([file]);
  }

  private async upload(id: string): Promise<void> {
    let file = this.scene.file(id);
    if (file) {
      await this.host.save(id, file);
    } else {
      file = await this.host.load(id);
      if (!file) return; // belongs to another client, which has not uploaded it yet
      this.scene.add([file]);
    }
    const stored = await this.host.upload(bytesOf(file));
    if (this.destroyed) return;
    this.map.doc?.transact(() => this.map.set(id, { ...stored }), this);
    await this.host.remove(id);
  }

  private reportPending(): void {
    let count = 0;
    for (const id of new Set([...this.running.keys(), ...this.failed.keys()])) {
      if (!this.map.has(id) && this.scene.file(id)) count += 1;
    }
    this.callbacks.pending(count);
  }
}

/** Validate a file's entry in the document; undefined if it is unusable. */
export function readStored(value: unknown): StoredFile | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { url, mimeType, width, height } = value as Record<string, unknown>;
  // On this server only: the content of a document must not make browsers contact other hosts.
  if (typeof url !== "string" || !/^\/(?![/\\])/.test(url) || typeof mimeType !== "string") return undefined;
  if (!/^image\/(png|jpeg|gif|webp|avif|bmp|x-icon|jfif|svg\+xml)$/.test(mimeType)) return undefined;
  return { url, mimeType, width: Number(width) || 0, height: Number(height) || 0 };
}

/** Whether a value is a base64 data URL of an image, as opposed to a URL that would have to be fetched. */
export const isDataUrl = (value: unknown): value is string =>
  typeof value === "string" && /^data:image\/[a-z+.-]+;base64,[a-z0-9+/]*={0,2}$/i.test(value);

/** The bytes of a data URL. Does not use `fetch`, which a strict Content-Security-Policy forbids. */
function bytesOf(file: SceneFile): Blob {
  if (!isDataUrl(file.dataURL)) throw new RefusedError("the image is damaged");
  const binary = atob(file.dataURL.slice(file.dataURL.indexOf(",") + 1));
  return new Blob([Uint8Array.from(binary, (char) => char.charCodeAt(0))], { type: file.mimeType });
}

async function dataUrl(bytes: Blob, mimeType: string): Promise<string> {
  const buffer = new Uint8Array(await bytes.arrayBuffer());
  let binary = "";
  for (let at = 0; at < buffer.length; at += 0x8000) binary += String.fromCharCode(...buffer.subarray(at, at + 0x8000));
  return `data:${mimeType};base64,${btoa(binary)}`;
}
