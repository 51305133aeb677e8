import { describe, expect, it } from "vitest";
import { causeOfClose, causeOfReason, isPermanent } from "../../src/connection/causes";
import { chip, reduce, START, type Chip, type Event, type State } from "../../src/connection/status";

const after = (...events: Event[]): State => events.reduce(reduce, START);
const says = (...events: Event[]): Chip => chip(after(...events));

const admitted: Event = { type: "admitted", readOnly: false };
const synced: Event = { type: "synced" };
const edited: Event = { type: "edited" };
const lost: Event = { type: "lost", cause: null };
const waiting = (count: number): Event => ({ type: "outstanding", count });
/** A first connection, all answered. */
const open: Event[] = [admitted, waiting(1), synced, waiting(0)];

describe("the chip", () => {
  it("loads, then is saved", () => {
    expect(says().label).toBe("loading");
    expect(says(admitted).label).toBe("loading");
    expect(says(...open).label).toBe("saved");
  });

  it("says Saving until the last answer, and never before the whole exchange (UT1)", () => {
    expect(says(...open, edited).label).toBe("saving");
    expect(says(...open, edited, waiting(1)).label).toBe("saving");
    expect(says(...open, edited, waiting(2), waiting(1)).label).toBe("saving");
    expect(says(...open, edited, waiting(2), waiting(1), waiting(0)).label).toBe("saved");
    // Connected again: an answer to a queued edit does not stand for the others.
    const again = [...open, lost, edited, admitted];
    expect(says(...again, waiting(3)).label).toBe("saving");
    expect(says(...again, waiting(3), synced, waiting(1)).label).toBe("saving");
    expect(says(...again, waiting(3), waiting(0)).label).toBe("saving");
    expect(says(...again, waiting(3), waiting(0), synced).label).toBe("saved");
  });

  it("counts what has not reached the document (UT1)", () => {
    const drawing = [...open, { type: "pending", pending: true } as const];
    expect(says(...drawing)).toMatchObject({ label: "saving", warn: true });
    expect(says(...drawing, edited, waiting(1), { type: "pending", pending: false }).label).toBe("saving");
    expect(says(...drawing, edited, waiting(1), { type: "pending", pending: false }, waiting(0)).label).toBe("saved");
    expect(says(...drawing, lost)).toMatchObject({ label: "unsaved", keptHere: false });
  });

  it("reconnects calmly when nothing is pending (UT2)", () => {
    expect(says(...open, lost)).toMatchObject({ label: "reconnecting", warn: false });
    expect(says(...open, { type: "network", up: false }).label).toBe("reconnecting");
    expect(says(lost).label).toBe("loading");
  });

  it("is red when edits are pending without a connection (UT2)", () => {
    expect(says(...open, lost, edited)).toMatchObject({ label: "unsaved", warn: true });
    expect(says(...open, edited, lost).label).toBe("unsaved");
    expect(says(...open, edited, { type: "network", up: false }).label).toBe("unsaved");
    expect(says({ type: "device", loaded: true, unsaved: true }, lost).label).toBe("unsaved");
    expect(says({ type: "device", loaded: true, unsaved: true }, ...open).label).toBe("saved");
  });

  it("says that the device holds it only when the device has said so (UT3)", () => {
    const offline = [...open, lost, edited];
    expect(says(...offline).keptHere).toBe(false);
    expect(says(...offline, { type: "kept", kept: true }).keptHere).toBe(true);
    expect(says(...offline, { type: "kept", kept: true }, edited).keptHere).toBe(false);
    expect(says(...offline, { type: "kept", kept: false }).keptHere).toBe(false);
    expect(says({ type: "device", loaded: true, unsaved: true }).keptHere).toBe(true);
  });

  it("does not forget a refusal (UT4)", () => {
    const refused = [...open, edited, waiting(1), { type: "refused" } as const, waiting(0)];
    expect(says(...refused)).toMatchObject({ label: "unsaved", warn: true });
    expect(says(...refused, edited, waiting(1), waiting(0)).label).toBe("unsaved");
    expect(after(...refused).edited).toBe(true); // so that the device remembers
    // Everything is sent again: taken now, or refused again.
    const again = [...refused, lost, admitted, waiting(1), synced];
    expect(says(...again).label).toBe("saving");
    expect(says(...again, waiting(0)).label).toBe("saved");
    expect(says(...again, { type: "refused" }, waiting(0)).label).toBe("unsaved");
  });

  it("is not Saved while the server has not answered what another tab has left on the device (UT1)", () => {
    expect(says(...open, waiting(1))).toMatchObject({ label: "saving", warn: true });
    expect(says(admitted, waiting(1), synced).label).toBe("reconnecting");
    expect(says(...open, waiting(1), waiting(0)).label).toBe("saved");
  });

  it("ends for good, and says why (UT5)", () => {
    const gone: Event = { type: "ended", cause: "access-removed" };
    expect(says(...open, gone)).toEqual({ label: "closed", cause: "access-removed", keptHere: false, warn: false });
    expect(says(...open, edited, gone)).toMatchObject({ label: "unsaved", cause: "access-removed" });
    expect(says(...open, gone, { type: "retried" }).label).toBe("reconnecting");
    expect(says(...open, { type: "lost", cause: "newer-version" })).toMatchObject({ label: "closed", cause: "newer-version" });
    expect(says(...open, { type: "lost", cause: "room-full" })).toMatchObject({ label: "reconnecting", cause: "room-full" });
    expect(says(...open, { type: "lost", cause: "room-full" }, admitted).cause).toBeNull();
  });

  it("of a reader is only about the connection (UT6)", () => {
    const reader: Event[] = [{ type: "admitted", readOnly: true }, synced];
    expect(says(...reader, edited, waiting(1)).label).toBe("live");
    expect(says(...reader, { type: "refused" }).label).toBe("live");
    expect(says(...reader, lost).label).toBe("reconnecting");
    expect(says(...open, edited, { type: "admitted", readOnly: true })).toMatchObject({ label: "unsaved", cause: "read-only" });
    const demoted: Event[] = [...open, lost, edited, { type: "admitted", readOnly: true }, synced, waiting(1), { type: "refused" }, waiting(0)];
    expect(says(...demoted)).toMatchObject({ label: "unsaved", cause: "read-only" });
    expect(after(...demoted).edited).toBe(true);
    expect(says(...demoted, lost, admitted, synced, waiting(1), waiting(0)).label).toBe("saved");
  });

  it("is never Saved while something is unsaved, whatever happens (UT1, UT2)", () => {
    let seed = 20261123;
    const chance = (): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
      return seed / 0x7fffffff;
    };
    for (let run = 0; run < 300; run += 1) {
      let state = START;
      let [sent, connected, whole, dirty, settled] = [0, false, false, false, false];
      const happens = (event: Event): void => { state = reduce(state, event); };
      for (let at = 0; at < 80; at += 1) {
        const what = chance();
        if (what < 0.3) {
          happens(edited);
          dirty = true;
          if (connected) happens(waiting(sent += 1));
        } else if (what < 0.6 && sent > 0) happens(waiting(sent -= 1));
        else if (what < 0.7 && connected) {
          [connected, whole, settled, sent] = [false, false, false, 0];
          happens(lost);
        } else if (what < 0.85 && !connected) {
          connected = true;
          happens(admitted);
          happens(waiting(sent += 1)); // step 2: holds everything that was not answered
        } else if (connected && !whole) {
          whole = true;
          happens(synced);
        }
        if (connected && whole && sent === 0) [dirty, settled] = [false, true];
        expect(["saved", "saving"].includes(chip(state).label)).toBe(connected && (settled || dirty));
        if (chip(state).label === "saved") expect([dirty, sent]).toEqual([false, 0]);
        if (chip(state).label === "unsaved") expect([dirty, connected]).toEqual([true, false]);
      }
    }
  });
});

describe("causes", () => {
  it("come from reasons, with or without details", () => {
    expect(causeOfReason("unauthenticated")).toBe("signed-out");
    expect(causeOfReason("too-large: update of 9 bytes is over the limit of 8")).toBe("too-large");
    expect(causeOfReason("full")).toBe("room-full");
    expect(causeOfReason("something new")).toBe("busy");
  });

  it("come from close codes", () => {
    expect(causeOfClose(4409, "")).toBe("newer-version");
    expect(causeOfClose(4403, "")).toBe("access-removed");
    expect(causeOfClose(1012, "draining")).toBe("restarting");
    expect(causeOfClose(1013, "")).toBe("busy");
    expect(causeOfClose(1013, "full: 5 of 5 sessions")).toBe("room-full");
    expect(causeOfClose(1006, "")).toBeNull();
    expect(causeOfClose(4408, "forced")).toBeNull();
    expect(causeOfClose(4477, "")).toBe("invalid");
  });

  it("are permanent when trying again cannot help", () => {
    for (let code = 4400; code < 4500; code += 1) {
      const cause = causeOfClose(code, "");
      if (cause) expect(isPermanent(cause)).toBe(true);
    }
    for (const reason of ["full", "draining", "too-fast", "journal-unavailable"]) {
      expect(isPermanent(causeOfReason(reason))).toBe(false);
    }
  });
});
