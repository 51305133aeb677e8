import { describe, expect, it, vi } from "vitest";
import { countingWebSocket, readHead, Unacknowledged } from "../../src/connection/frames";

const frame = (address: string, ...rest: number[]): Uint8Array => {
  const name = new TextEncoder().encode(address);
  return Uint8Array.from([name.length, ...name, ...rest]);
};

/** A socket that never says anything by itself. */
class Mute extends EventTarget {
  closed = 0;
  close(): void { this.closed += 1; }
  send(): void { /* into nothing */ }
}

describe("frames", () => {
  it("are read as the protocol has them", () => {
    expect(readHead(Uint8Array.from([1, 0x64, 0, 2, 11]))).toEqual({ address: "d", type: 0, value: 2 });
    expect(readHead(Uint8Array.from([1, 0x64, 8, 1]))).toEqual({ address: "d", type: 8, value: 1 });
    expect(readHead(frame("team/é😀", 8, 0))).toEqual({ address: "team/é😀", type: 8, value: 0 });
    expect(readHead(Uint8Array.from([9]))).toBeNull(); // a ping has no address
    expect(readHead(new Uint8Array())).toBeNull();
  });

  it("are counted for each document: writes sent, answers received", () => {
    const told: [string, number, boolean][] = [];
    const unanswered = new Unacknowledged((...what) => told.push(what));
    unanswered.sent(frame("a", 0, 0, 1, 0)); // a question
    unanswered.sent(frame("a", 1, 5)); // presence
    unanswered.sent(frame("a", 0, 1, 2, 0, 0));
    unanswered.sent(frame("a", 0, 2, 2, 0, 0));
    unanswered.sent(frame("b", 0, 2, 2, 0, 0));
    unanswered.received(frame("a", 8, 1));
    unanswered.received(frame("b", 8, 0));
    unanswered.received(frame("a", 0, 2, 2, 0, 0)); // somebody else's edit
    expect(told).toEqual([["a", 1, false], ["a", 2, false], ["b", 1, false], ["a", 1, false], ["b", 0, true]]);
    unanswered.reset();
    unanswered.sent(frame("a", 0, 2, 2, 0, 0));
    expect(told.at(-1)).toEqual(["a", 1, false]);
  });

  it("are not counted where the server asks by itself, which it does not answer (UC1)", () => {
    const counts: number[] = [];
    const unanswered = new Unacknowledged((_document, count) => counts.push(count));
    unanswered.sent(frame("a", 0, 2, 2, 0, 0)); // written before the first exchange: it has to wait there
    unanswered.sent(frame("a", 0, 0, 1, 0));
    unanswered.sent(frame("a", 0, 1, 2, 0, 0));
    unanswered.sent(frame("a", 0, 1, 2, 0, 0)); // asked for because of the first edit
    unanswered.received(frame("a", 8, 1));
    unanswered.received(frame("a", 8, 1));
    expect(counts).toEqual([1, 2, 1, 0]);
  });

  it("that were not answered when a document was closed are never answered (UC2)", () => {
    const told: [string, number, boolean][] = [];
    const unanswered = new Unacknowledged((...what) => told.push(what));
    for (const close of ["sent", "received"] as const) {
      unanswered.sent(frame("a", 0, 2, 2, 0, 0));
      unanswered.sent(frame("a", 0, 2, 2, 0, 0));
      unanswered[close](frame("a", 7));
      unanswered.sent(frame("a", 2, 0, 0)); // attached again
      unanswered.sent(frame("a", 0, 2, 2, 0, 0)); // written before it was let in
      unanswered.received(frame("a", 8, 1)); // under way before the end
      expect(told.at(-1)).toEqual(["a", 1, false]);
      unanswered.received(frame("a", 2, 2, 10));
      unanswered.sent(frame("a", 0, 0, 1, 0));
      unanswered.sent(frame("a", 0, 1, 2, 0, 0));
      unanswered.received(frame("a", 8, 1));
      expect(told.at(-1)).toEqual(["a", 1, false]);
      unanswered.received(frame("a", 8, 1));
      expect(told.at(-1)).toEqual(["a", 0, false]);
    }
  });

  it("are not waited for when the server never says a word (UC3)", () => {
    vi.useFakeTimers();
    vi.stubGlobal("WebSocket", Mute);
    const Socket = countingWebSocket(new Unacknowledged(() => undefined));
    const [silent, alive] = [new Socket("ws://here"), new Socket("ws://here")] as unknown as Mute[];
    alive?.dispatchEvent(new MessageEvent("message", { data: frame("a", 2, 2, 10).buffer }));
    vi.advanceTimersByTime(19_000);
    expect([silent?.closed, alive?.closed]).toEqual([0, 0]);
    vi.advanceTimersByTime(1000);
    expect([silent?.closed, alive?.closed]).toEqual([1, 0]);
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });
});
