import "fake-indexeddb/auto";
import { describe, expect, it, vi } from "vitest";
import * as Y from "yjs";
import { DeviceCopy } from "../../src/connection/device";

let number = 0;
const fresh = (): string => `raffia:device-${(number += 1)}`;

/** How many updates the copy holds. */
function entries(name: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name);
    request.onerror = () => { reject(new Error("cannot be opened")); };
    request.onsuccess = () => {
      const count = request.result.transaction(["updates"]).objectStore("updates").count();
      count.onsuccess = () => {
        request.result.close();
        resolve(count.result);
      };
    };
  });
}

describe("the copy on the device", () => {
  it("says that it holds an edit once it can be read back, and has it at the next visit (DV2)", async () => {
    const name = fresh();
    const doc = new Y.Doc();
    const told = vi.fn<(kept: boolean) => void>();
    const device = new DeviceCopy(name, doc, told);
    expect(await device.open()).toEqual({ found: false, unsaved: false });
    doc.getText("t").insert(0, "é😀");
    expect(told).not.toHaveBeenCalled();
    await vi.waitFor(() => { expect(told).toHaveBeenLastCalledWith(true); });
    await device.destroy();

    const later = new Y.Doc();
    const again = new DeviceCopy(name, later, told);
    expect(await again.open()).toEqual({ found: true, unsaved: false });
    expect(later.getText("t").toJSON()).toBe("é😀");
    await again.destroy();
  });

  it("remembers what is unsaved (DV3)", async () => {
    const name = fresh();
    const doc = new Y.Doc();
    const device = new DeviceCopy(name, doc, vi.fn());
    await device.open();
    device.setUnsaved(true);
    doc.getText("t").insert(0, "x");
    await device.destroy();
    const again = new DeviceCopy(name, new Y.Doc(), vi.fn());
    expect((await again.open()).unsaved).toBe(true);
    again.setUnsaved(false);
    await again.destroy();
    const third = new DeviceCopy(name, new Y.Doc(), vi.fn());
    expect((await third.open()).unsaved).toBe(false);
    await third.destroy();
  });

  it("does not say so when the database has gone, and the edit goes on (DV2, DV5)", async () => {
    const doc = new Y.Doc();
    const told = vi.fn<(kept: boolean) => void>();
    const device = new DeviceCopy(fresh(), doc, told);
    await device.open();
    const { persistence } = device as unknown as { persistence: { db: IDBDatabase } };
    persistence.db.transaction = () => { throw new DOMException("gone", "InvalidStateError"); };
    const sent = vi.fn();
    doc.on("update", sent);
    doc.getText("t").insert(0, "x");
    expect(told).toHaveBeenLastCalledWith(false);
    expect(sent).toHaveBeenCalledOnce();
  });

  it("remembers what another tab has not saved, whatever this one says (DV3)", async () => {
    const name = fresh();
    const [one, two] = [new Y.Doc(), new Y.Doc()];
    const [first, second] = [new DeviceCopy(name, one, vi.fn()), new DeviceCopy(name, two, vi.fn())];
    await first.open();
    first.setUnsaved(true);
    one.getText("t").insert(0, "a");
    await vi.waitFor(async () => { expect(await entries(name)).toBeGreaterThan(1); });
    expect(await second.open()).toEqual({ found: true, unsaved: true });
    one.getText("t").insert(1, "b"); // of which the second one knows nothing
    second.setUnsaved(false);
    await Promise.all([first.destroy(), second.destroy()]);
    const doc = new Y.Doc();
    const third = new DeviceCopy(name, doc, vi.fn());
    expect(await third.open()).toEqual({ found: true, unsaved: true });
    expect(doc.getText("t").toJSON()).toBe("ab");
    third.setUnsaved(false); // everything of both was read here
    await third.destroy();
    const fourth = new DeviceCopy(name, new Y.Doc(), vi.fn());
    expect((await fourth.open()).unsaved).toBe(false);
    await fourth.destroy();
  });

  it("that failed to take an edit takes everything the next time, and says no before (DV2)", async () => {
    const name = fresh();
    const before = new Y.Doc();
    const visit = new DeviceCopy(name, before, vi.fn());
    await visit.open();
    before.getText("t").insert(0, "old ");
    await visit.destroy();

    const doc = new Y.Doc();
    const told = vi.fn<(kept: boolean) => void>();
    const device = new DeviceCopy(name, doc, told);
    await device.open();
    const { persistence } = device as unknown as { persistence: { db: IDBDatabase } };
    const real = persistence.db.transaction.bind(persistence.db);
    persistence.db.transaction = (...asked: Parameters<typeof real>): IDBTransaction => {
      const transaction = real(...asked);
      queueMicrotask(() => { transaction.abort(); }); // as when the disk is full
      return transaction;
    };
    doc.getText("t").insert(4, "one ");
    await vi.waitFor(() => { expect(told).toHaveBeenLastCalledWith(false); });
    expect(told).not.toHaveBeenCalledWith(true);
    persistence.db.transaction = real;
    doc.getText("t").insert(8, "two");
    await vi.waitFor(() => { expect(told).toHaveBeenLastCalledWith(true); });
    await device.destroy();
    const later = new Y.Doc();
    const again = new DeviceCopy(name, later, vi.fn());
    await again.open();
    expect(later.getText("t").toJSON()).toBe("old one two");
    await again.destroy();
  });

  it("is not waited for when the database does not answer (DV4)", async () => {
    vi.useFakeTimers();
    const open = vi.spyOn(indexedDB, "open").mockImplementation(() => ({}) as IDBOpenDBRequest);
    const doc = new Y.Doc();
    const told = vi.fn<(kept: boolean) => void>();
    const device = new DeviceCopy(fresh(), doc, told);
    const opening = device.open();
    await vi.advanceTimersByTimeAsync(4000);
    expect(await opening).toEqual({ found: false, unsaved: false });
    doc.getText("t").insert(0, "x");
    expect(told).toHaveBeenLastCalledWith(false);
    await device.destroy();
    open.mockRestore();
    vi.useRealTimers();
  });

  it("puts many small edits together, with those of another tab (DV2)", async () => {
    const name = fresh();
    const [one, two] = [new Y.Doc(), new Y.Doc()];
    const told = vi.fn<(kept: boolean) => void>();
    const [first, second] = [new DeviceCopy(name, one, told), new DeviceCopy(name, two, vi.fn())];
    await Promise.all([first.open(), second.open()]);
    two.getText("t").insert(0, "b");
    for (let at = 0; at < 520; at += 1) one.getText("u").insert(at, "a");
    await vi.waitFor(async () => { expect(await entries(name)).toBeLessThan(20); }, 5000);
    expect(one.getText("t").toJSON()).toBe("b");
    await Promise.all([first.destroy(), second.destroy()]);
    const doc = new Y.Doc();
    const third = new DeviceCopy(name, doc, vi.fn());
    await third.open();
    expect([doc.getText("t").length, doc.getText("u").length]).toEqual([1, 520]);
    await third.destroy();
  });

  it("is not needed (DV4)", async () => {
    const open = vi.spyOn(indexedDB, "open").mockImplementation(() => { throw new DOMException("private", "SecurityError"); });
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const device = new DeviceCopy(fresh(), new Y.Doc(), vi.fn());
    expect(await device.open()).toEqual({ found: false, unsaved: false });
    expect(warn).toHaveBeenCalled();
    device.setUnsaved(true);
    await device.destroy();
    open.mockRestore();
    warn.mockRestore();
  });
});
