import "fake-indexeddb/auto";
import { describe, expect, it, vi } from "vitest";
import * as Y from "yjs";
import { Device } from "../../src/connection/device";

let number = 0;
const fresh = (): string => `weft:device-${(number += 1)}`;

describe("the copy on the device", () => {
  it("says that it holds an edit once it can be read back, and has it at the next visit (D2)", async () => {
    const name = fresh();
    const doc = new Y.Doc();
    const told = vi.fn<(kept: boolean) => void>();
    const device = new Device(name, doc, told);
    expect(await device.open()).toEqual({ found: false, unsaved: false });
    doc.getText("t").insert(0, "é😀");
    expect(told).not.toHaveBeenCalled();
    await vi.waitFor(() => { expect(told).toHaveBeenLastCalledWith(true); });
    await device.destroy();

    const later = new Y.Doc();
    const again = new Device(name, later, told);
    expect(await again.open()).toEqual({ found: true, unsaved: false });
    expect(later.getText("t").toJSON()).toBe("é😀");
    await again.destroy();
  });

  it("remembers what is unsaved (D3)", async () => {
    const name = fresh();
    const device = new Device(name, new Y.Doc(), vi.fn());
    await device.open();
    device.setUnsaved(true);
    await device.destroy();
    const again = new Device(name, new Y.Doc(), vi.fn());
    expect((await again.open()).unsaved).toBe(true);
    again.setUnsaved(false);
    await again.destroy();
    const third = new Device(name, new Y.Doc(), vi.fn());
    expect((await third.open()).unsaved).toBe(false);
    await third.destroy();
  });

  it("does not say so when the database has gone, and the edit goes on (D2, D5)", async () => {
    const doc = new Y.Doc();
    const told = vi.fn<(kept: boolean) => void>();
    const device = new Device(fresh(), doc, told);
    await device.open();
    const { persistence } = device as unknown as { persistence: { db: IDBDatabase } };
    persistence.db.transaction = () => { throw new DOMException("gone", "InvalidStateError"); };
    const sent = vi.fn();
    doc.on("update", sent);
    doc.getText("t").insert(0, "x");
    expect(told).toHaveBeenLastCalledWith(false);
    expect(sent).toHaveBeenCalledOnce();
  });

  it("is not needed (D4)", async () => {
    const open = vi.spyOn(indexedDB, "open").mockImplementation(() => { throw new DOMException("private", "SecurityError"); });
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    const device = new Device(fresh(), new Y.Doc(), vi.fn());
    expect(await device.open()).toEqual({ found: false, unsaved: false });
    expect(warn).toHaveBeenCalled();
    device.setUnsaved(true);
    await device.destroy();
    open.mockRestore();
    warn.mockRestore();
  });
});
