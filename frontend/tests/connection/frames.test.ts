import { describe, expect, it } from "vitest";
import { readHead, Unanswered } from "../../src/connection/frames";

const frame = (address: string, ...rest: number[]): Uint8Array => {
  const name = new TextEncoder().encode(address);
  return Uint8Array.from([name.length, ...name, ...rest]);
};

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
    const unanswered = new Unanswered((...what) => told.push(what));
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

  it("of a document that was left are not waited for", () => {
    const counts: number[] = [];
    const unanswered = new Unanswered((_, count) => counts.push(count));
    unanswered.sent(frame("a", 0, 2, 2, 0, 0));
    unanswered.sent(frame("a", 7));
    unanswered.received(frame("a", 8, 1)); // on its way when the document was left
    unanswered.sent(frame("a", 0, 1, 2, 0, 0));
    unanswered.received(frame("a", 8, 1));
    expect(counts).toEqual([1, 0, 1, 0]);
  });
});
