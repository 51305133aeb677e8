import { beforeAll, describe, expect, it, vi } from "vitest";
import { applyAwarenessUpdate, Awareness, encodeAwarenessUpdate } from "y-protocols/awareness";
import * as Y from "yjs";

let presence: typeof import("../../src/connection/presence");

beforeAll(async () => {
  vi.stubGlobal("addEventListener", vi.fn());
  presence = await import("../../src/connection/presence");
});

const position = { type: { client: 5, clock: 3 }, tname: null, item: { client: 5, clock: 4 }, assoc: 0 };

/** A state as it arrives from somebody else. */
function arrived(state: Record<string, unknown>): Record<string, unknown> | undefined {
  const [theirs, mine] = [new Awareness(new Y.Doc()), new presence.CheckedAwareness(new Y.Doc())];
  theirs.setLocalState(state);
  applyAwarenessUpdate(mine, encodeAwarenessUpdate(theirs, [theirs.clientID]), "test");
  const result = mine.getStates().get(theirs.clientID);
  theirs.destroy();
  mine.destroy();
  return result;
}

describe("what others say of themselves", () => {
  it("is a name, a colour and a cursor, or it is not there (UQ1)", () => {
    const user = { id: "7", name: "Zoë 😀", color: "#1d4ed8" };
    const cursor = { anchor: position, head: position };
    expect(arrived({ user, cursor, view: { block: "b" } })).toEqual({ user, cursor, view: { block: "b" } });
    expect(arrived({ user: "Ana" })).toEqual({});
    expect(arrived({ user: { name: 5, color: "red;position:fixed" } })).toEqual({ user: { name: "", color: "#6b7280" } });
    const broken = [
      5, null, {}, { anchor: null, head: null }, { anchor: position }, { anchor: {}, head: {} },
      { anchor: position, head: { ...position, item: { client: 5, clock: 0.5 } } },
      { anchor: position, head: { ...position, item: { client: 5, clock: -1 } } },
      { anchor: position, head: { type: "x" } }, { anchor: position, head: { tname: "meta" } },
    ];
    for (const bad of broken) expect(arrived({ cursor: bad }), JSON.stringify(bad)).toEqual({});
  });

  it("is not changed in what one says oneself", () => {
    const mine = new presence.CheckedAwareness(new Y.Doc());
    mine.setLocalState({ user: { name: "Ana", color: "teal" } });
    expect(mine.getLocalState()).toEqual({ user: { name: "Ana", color: "teal" } });
    mine.destroy();
  });
});
