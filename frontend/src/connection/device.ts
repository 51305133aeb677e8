/**
 * The copy of a document on this device, in IndexedDB.
 *
 * Rules (tests quote these ids):
 *   DV1  The copy is loaded before the server is contacted, so that its content is not sent as if it were new.
 *   DV2  `onKept(true)` is called once the database has confirmed an edit and all edits before it, and `onKept(false)` if
 *       one could not be written. After a failure the whole document is written, and retried until that succeeds: a gap
 *       in the copy would hide everything after it.
 *   DV3  The copy records whether anything is unsaved, for the next visit. Each tab writes its own mark, in one transaction
 *       with the edit. A tab that is saved removes its own mark, and other tabs' marks that have not changed since it
 *       read them, but not newer ones.
 *   DV4  Without a database (in a private window), or if the database does not respond, the app works without a copy.
 *   DV5  A failing database does not keep an edit from the server.
 *   DV6  Edits that other tabs have written to the copy are read on every connection: if such a tab was closed while
 *       offline, only this one can send them.
 */
import { fetchUpdates, IndexeddbPersistence, PREFERRED_TRIM_SIZE, storeState } from "y-indexeddb";
import * as Y from "yjs";

const UNSAVED = "unsaved:";
const OPEN_MS = 4000;
const RETRY_MS = 5000;
const TRIM_MS = 1000;

export interface Loaded {
  /** Whether there was a copy. */
  found: boolean;
  /** Whether it has edits that the server has not confirmed. */
  unsaved: boolean;
}

export class DeviceCopy {
  private persistence: IndexeddbPersistence | null = null;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private trimTimer: ReturnType<typeof setTimeout> | undefined;
  private pendingWrites = 0;
  /** Whether edits are missing from the copy. */
  private incomplete = false;
  private unsaved = false;
  /** The value of this tab's unsaved mark, incremented with every edit (DV3). */
  private markCount = 0;
  /** The unsaved marks of other tabs and earlier visits, as last read. */
  private readonly otherMarks = new Map<string, unknown>();
  private late = false;
  private destroyed = false;
  private readonly ownMark: string;
  private readonly onUpdate: (update: Uint8Array, origin: unknown) => void;

  constructor(
    private readonly name: string,
    private readonly doc: Y.Doc,
    private readonly onKept: (kept: boolean) => void,
  ) {
    this.ownMark = `${UNSAVED}${doc.clientID}`;
    this.onUpdate = (update, origin) => {
      if (!this.persistence || origin !== this.persistence) this.write(update);
    };
  }

  async open(): Promise<Loaded> {
    const none = { found: false, unsaved: false };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<Loaded>((resolve) => {
      timer = setTimeout(() => {
        this.late = true;
        resolve(none);
      }, OPEN_MS);
    });
    this.doc.on("update", this.onUpdate);
    const loaded = this.load().catch((error: unknown) => {
      console.warn("This browser stores no copy on the device:", error);
      return none;
    });
    const first = await Promise.race([loaded, late]);
    clearTimeout(timer);
    return first;
  }

  private async load(): Promise<Loaded> {
    await probe(this.name);
    if (this.destroyed) return { found: false, unsaved: false };
    const persistence = new IndexeddbPersistence(this.name, this.doc);
    this.persistence = persistence;
    // Replaced by our own handler: if this one throws, Yjs skips later handlers, and the edit is never sent (DV5).
    this.doc.off("update", persistence._storeUpdate);
    await persistence.whenSynced;
    if (this.incomplete) this.write(); // edited while the database was opening
    const said = await readMarks(persistence.db);
    // After the timeout the result is no longer awaited; the marks stay for the next visit.
    if (!this.late) for (const [key, value] of said) this.otherMarks.set(key, value);
    this.unsaved ||= this.otherMarks.size > 0;
    return { found: this.doc.store.clients.size > 0, unsaved: this.unsaved };
  }

  /** Load what other tabs have written (DV6). True if any of them had unsaved edits. */
  async refresh(): Promise<boolean> {
    const { persistence } = this;
    if (!persistence?.synced || this.destroyed) return false;
    try {
      await fetchUpdates(persistence);
      for (const [key, value] of await readMarks(persistence.db)) if (key !== this.ownMark) this.otherMarks.set(key, value);
      return this.otherMarks.size > 0;
    } catch (error) {
      console.warn("The copy on the device could not be read again:", error);
      return false;
    }
  }

  /** Set whether anything is unsaved (DV3). True is written together with the next edit, false immediately. */
  setUnsaved(unsaved: boolean): void {
    if (this.unsaved === unsaved && (unsaved || this.otherMarks.size === 0)) return;
    this.unsaved = unsaved;
    const db = this.persistence?.db;
    if (unsaved || !db) return;
    try {
      const store = db.transaction(["custom"], "readwrite").objectStore("custom");
      store.delete(this.ownMark);
      for (const [key, before] of this.otherMarks) {
        const request = store.get(key);
        request.onsuccess = () => { if (request.result === before) store.delete(key); };
      }
      this.otherMarks.clear();
    } catch (error) {
      console.warn("The device could not note that everything is saved:", error);
    }
  }

  /** Write an edit, or the whole document if the copy is incomplete (DV2). */
  private write(update?: Uint8Array): void {
    const db = this.persistence?.db;
    if (this.destroyed) return;
    if (!db) {
      this.incomplete = true; // written once the database has opened, if it ever does
      this.onKept(false);
      return;
    }
    const content = this.incomplete || !update ? Y.encodeStateAsUpdate(this.doc) : update;
    try {
      const transaction = db.transaction(["updates", "custom"], "readwrite");
      transaction.oncomplete = () => { this.written(true); };
      transaction.onabort = () => { this.written(false); };
      transaction.objectStore("updates").add(content);
      if (this.unsaved) transaction.objectStore("custom").put(this.markCount += 1, this.ownMark);
      this.pendingWrites += 1;
      this.incomplete = false;
      this.trim();
    } catch {
      // The database was closed, for example because its storage was cleared. The edit must still reach the server.
      this.failed();
    }
  }

  private written(isDone: boolean): void {
    this.pendingWrites -= 1;
    if (!isDone) this.failed();
    else if (this.pendingWrites === 0 && !this.incomplete && !this.destroyed) this.onKept(true);
  }

  private failed(): void {
    this.incomplete = true;
    if (this.destroyed) return;
    this.onKept(false);
    this.retryTimer ??= setTimeout(() => {
      this.retryTimer = undefined;
      if (this.incomplete) this.write();
    }, RETRY_MS);
  }

  /** Compact many small updates into one; updates of other tabs are loaded first. */
  private trim(): void {
    const { persistence } = this;
    if (!persistence || (persistence._dbsize += 1) < PREFERRED_TRIM_SIZE) return;
    clearTimeout(this.trimTimer);
    this.trimTimer = setTimeout(() => {
      if (this.destroyed || this.incomplete) return;
      storeState(persistence, false).catch((error: unknown) => { console.warn("The copy on the device could not be compacted:", error); });
    }, TRIM_MS);
  }

  async destroy(): Promise<void> {
    this.destroyed = true;
    clearTimeout(this.retryTimer);
    clearTimeout(this.trimTimer);
    this.doc.off("update", this.onUpdate);
    await this.persistence?.destroy();
  }

  /** Remove the copy. It is removed even if another tab has it open, once that one has closed. */
  static forget(name: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const request = indexedDB.deleteDatabase(name);
      request.onsuccess = request.onblocked = () => { resolve(); };
      request.onerror = () => { reject(request.error ?? new Error("the copy cannot be deleted")); };
    });
  }
}

/** Reject if there is no database; y-indexeddb would report that only as an unhandled rejection. */
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

/** The tabs' unsaved marks, by key. */
function readMarks(db: IDBDatabase | null): Promise<Map<string, unknown>> {
  return new Promise((resolve, reject) => {
    const found = new Map<string, unknown>();
    if (!db) {
      resolve(found);
      return;
    }
    const request = db.transaction(["custom"], "readonly").objectStore("custom").openCursor(IDBKeyRange.bound(UNSAVED, `${UNSAVED}\uffff`));
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor) {
        resolve(found);
        return;
      }
      found.set(cursor.key as string, cursor.value);
      cursor.continue();
    };
    request.onerror = () => { reject(request.error ?? new Error("cannot read back")); };
  });
}
