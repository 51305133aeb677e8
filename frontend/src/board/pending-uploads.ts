/** Images that have not been uploaded yet, stored in IndexedDB. */
import { ROOT } from "../app/root";
import type { SceneFile } from "../board-binding";

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(`raffia${ROOT}-files`, 1);
    request.onupgradeneeded = () => { request.result.createObjectStore("files"); };
    request.onsuccess = () => { resolve(request.result); };
    request.onerror = () => { reject(request.error ?? new Error("IndexedDB cannot be opened")); };
  });
}

async function run<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const db = await open();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = db.transaction(["files"], mode);
      const request = work(transaction.objectStore("files"));
      transaction.oncomplete = () => { resolve(request.result); };
      transaction.onabort = () => { reject(transaction.error ?? new Error("the image could not be stored")); };
    });
  } finally {
    db.close();
  }
}

const key = (document: string, id: string): string => `${document}\n${id}`;

export const pendingUploads = {
  // Without a database an image is still uploaded; it is lost only if the page is closed before that.
  save: async (document: string, file: SceneFile): Promise<void> => {
    await run("readwrite", (store) => store.put(file, key(document, file.id))).catch((error: unknown) => {
      console.warn("This browser stores no copy of the image:", error);
    });
  },
  load: (document: string, id: string): Promise<SceneFile | undefined> =>
    run<SceneFile | undefined>("readonly", (store) => store.get(key(document, id)) as IDBRequest<SceneFile | undefined>).catch(() => undefined),
  remove: async (document: string, id: string): Promise<void> => {
    await run("readwrite", (store) => store.delete(key(document, id))).catch(() => undefined);
  },
};
