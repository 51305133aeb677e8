/**
 * The copy of a document on this device, in IndexedDB.
 *
 * Rules (tests quote these ids):
 *   D1  What the device holds is loaded before the server is asked, so that it is not sent as if it were new.
 *   D2  `kept` is told after the database has confirmed an edit and all before it, and false when one could not be
 *       written. After such a failure the whole document is written, again and again until that works: a copy with a
 *       gap would hide what comes after the gap.
 *   D3  Whether anything is unsaved is remembered with the document, so that the next visit knows. It is written in one
 *       transaction with the edit, by each tab for itself: a tab that is saved takes back its own word, and that of
 *       earlier ones as far as it has read it, but not what another tab has said since.
 *   D4  A browser without a database (a private window), or with one that does not answer, works without a copy.
 *   D5  A database that fails does not keep an edit from the server.
 *   D6  What other tabs have put into the copy is read again on every connection: one that was closed without a server
 *       has nobody else to send it.
 */
import { fetchUpdates, IndexeddbPersistence, PREFERRED_TRIM_SIZE, storeState } from "y-indexeddb";
import * as Y from "yjs";

const UNSAVED = "unsaved:";
const OPEN_MS = 4000;
const RETRY_MS = 5000;
const TRIM_MS = 1000;

export interface Loaded {
  /** The device had a copy. */
  found: boolean;
  /** With edits that the server has not confirmed. */
  unsaved: boolean;
}

export class DeviceCopy {
  private persistence: IndexeddbPersistence | null = null;
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private trimTimer: ReturnType<typeof setTimeout> | undefined;
  private pendingWrites = 0;
  /** The copy lacks something that is here. */
  private incomplete = false;
  private unsaved = false;
  /** How often this tab has said that something is unsaved; with each edit again (D3). */
  private markCount = 0;
  /** What other tabs and earlier visits had said when this one began. */
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
      console.warn("This browser keeps no copy on the device:", error);
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
    // Written by us instead: when it throws, Yjs calls nobody after it, and the edit would never be sent (D5).
    this.doc.off("update", persistence._storeUpdate);
    await persistence.whenSynced;
    if (this.incomplete) this.write(); // edited while a slow database was opened
    const said = await readMarks(persistence.db);
    // Nobody waits for it any more: what it says is for the next visit.
    if (!this.late) for (const [key, value] of said) this.otherMarks.set(key, value);
    this.unsaved ||= this.otherMarks.size > 0;
    return { found: this.doc.store.clients.size > 0, unsaved: this.unsaved };
  }

  /** Take over what other tabs have written (D6). True when some of it was not saved, as far as they knew. */
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

  /** Remember whether anything is unsaved (D3): that something is, together with the edit that follows. */
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

  /** Write an edit, or everything when the copy lacks something (D2). */
  private write(update?: Uint8Array): void {
    const db = this.persistence?.db;
    if (this.destroyed) return;
    if (!db) {
      this.incomplete = true; // it is written once the database is there, if it ever is
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
      // A database that was closed under us (its storage was cleared). The edit must go on to the server.
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

  /** Put many small updates together; what another tab has written is taken over first. */
  private trim(): void {
    const { persistence } = this;
    if (!persistence || (persistence._dbsize += 1) < PREFERRED_TRIM_SIZE) return;
    clearTimeout(this.trimTimer);
    this.trimTimer = setTimeout(() => {
      if (this.destroyed || this.incomplete) return;
      storeState(persistence, false).catch((error: unknown) => { console.warn("The copy on the device could not be tidied:", error); });
    }, TRIM_MS);
  }

  async destroy(): Promise<void> {
    this.destroyed = true;
    clearTimeout(this.retryTimer);
    clearTimeout(this.trimTimer);
    this.doc.off("update", this.onUpdate);
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

/** What tabs have said to be unsaved, by their keys. */
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
