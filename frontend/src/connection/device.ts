/**
 * The copy of a document on this device, in IndexedDB.
 *
 * Rules (tests quote these ids):
 *   D1  What the device holds is loaded before the server is asked, so that it is not sent as if it were new.
 *   D2  `kept` is told after an edit has been read back from the database, and false when that is not possible.
 *   D3  Whether anything is unsaved is remembered with the document, so that the next visit knows.
 *   D4  A browser without a database (a private window) works without a copy.
 *   D5  A database that fails does not keep an edit from the server.
 */
import { IndexeddbPersistence } from "y-indexeddb";
import type * as Y from "yjs";

const UNSAVED = "unsaved";
const OPEN_MS = 4000;
const CHECK_MS = 60;

export interface Loaded {
  /** The device had a copy. */
  found: boolean;
  /** With edits that the server has not confirmed. */
  unsaved: boolean;
}

export class Device {
  private persistence: IndexeddbPersistence | null = null;
  private checkTimer: ReturnType<typeof setTimeout> | undefined;
  private lastKey = 0;
  private latest: Uint8Array | null = null;
  private count = 0;
  private unsaved = false;
  private destroyed = false;
  private readonly heard: (update: Uint8Array, origin: unknown) => void;

  constructor(
    private readonly name: string,
    private readonly doc: Y.Doc,
    private readonly told: (kept: boolean) => void,
  ) {
    this.heard = (update, origin) => {
      if (origin === this.persistence) return;
      try {
        this.persistence?._storeUpdate(update, origin);
      } catch {
        // A database that was closed under us (its storage was cleared). The edit must go on to the server.
        this.told(false);
        return;
      }
      this.latest = update;
      this.count += 1;
      this.checkTimer ??= setTimeout(() => {
        this.checkTimer = undefined;
        void this.check();
      }, CHECK_MS);
    };
  }

  async open(): Promise<Loaded> {
    const none = { found: false, unsaved: false };
    try {
      await probe(this.name);
      if (this.isGone()) return none;
      const persistence = new IndexeddbPersistence(this.name, this.doc);
      this.persistence = persistence;
      const timeout = new Promise<null>((resolve) => { setTimeout(() => { resolve(null); }, OPEN_MS); });
      // Called by us instead: when it throws, Yjs calls nobody after it, and the edit would never be sent (D5).
      this.doc.off("update", persistence._storeUpdate);
      this.doc.on("update", this.heard);
      if ((await Promise.race([persistence.whenSynced, timeout])) === null) return none;
      this.unsaved = (await persistence.get(UNSAVED) as unknown) === true;
      return { found: this.doc.store.clients.size > 0, unsaved: this.unsaved };
    } catch (error) {
      console.warn("This browser keeps no copy on the device:", error);
      return none;
    }
  }

  /** Remember whether anything is unsaved (D3). */
  setUnsaved(unsaved: boolean): void {
    if (!this.persistence || this.unsaved === unsaved) return;
    this.unsaved = unsaved;
    const done: Promise<unknown> = unsaved ? this.persistence.set(UNSAVED, true as never) : this.persistence.del(UNSAVED);
    done.catch((error: unknown) => { console.warn("The device could not note what is unsaved:", error); });
  }

  /** Whether the latest edit can be read back (D2). */
  private async check(): Promise<void> {
    const db = this.persistence?.db;
    const { latest, count } = this;
    if (this.destroyed || !latest) return;
    if (!db) {
      this.told(false);
      return;
    }
    this.count = 0;
    try {
      const last = await lastEntry(db);
      const isThere = last !== null && (isEqual(last.value, latest) || last.key >= this.lastKey + count);
      if (last) this.lastKey = last.key;
      if (this.latest === latest) this.told(isThere);
    } catch {
      this.told(false);
    }
  }

  private isGone(): boolean {
    return this.destroyed;
  }

  async destroy(): Promise<void> {
    this.destroyed = true;
    clearTimeout(this.checkTimer);
    this.doc.off("update", this.heard);
    await this.persistence?.destroy();
  }

  /** Remove the copy. */
  static forget(name: string): void {
    indexedDB.deleteDatabase(name);
  }
}

/** Fails where there is no database, which the persistence would only say as an unhandled rejection. */
async function probe(name: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const request = indexedDB.open(name);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("updates", { autoIncrement: true });
      request.result.createObjectStore("custom");
    };
    request.onsuccess = () => {
      request.result.close();
      resolve();
    };
    request.onerror = () => { reject(request.error ?? new Error("IndexedDB cannot be opened")); };
    request.onblocked = () => { reject(new Error("IndexedDB is blocked by another tab")); };
  });
}

function lastEntry(db: IDBDatabase): Promise<{ key: number; value: Uint8Array } | null> {
  return new Promise((resolve, reject) => {
    // Writes to the same store that were asked for earlier are done before this is served.
    const request = db.transaction(["updates"], "readonly").objectStore("updates").openCursor(null, "prev");
    request.onsuccess = () => {
      const cursor = request.result;
      resolve(cursor ? { key: cursor.key as number, value: cursor.value as Uint8Array } : null);
    };
    request.onerror = () => { reject(request.error ?? new Error("cannot read back")); };
  });
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
