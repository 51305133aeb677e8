/**
 * Whether what a person has written is safe. Pure: events in, a state out, and from that what the chip says.
 *
 * Rules (tests quote these ids):
 *   T1  "Saved" is only said when the server has confirmed, on the connection that is open now, everything it was sent,
 *       and has seen everything that this browser holds (the answer to its question for it was confirmed, too).
 *   T2  Without a connection the chip says "Reconnecting…" when nothing is pending, and "Not saved – offline" when
 *       something is: edits of an earlier visit included, which the device remembers.
 *   T3  "Kept on this device" is only said when the device has confirmed it.
 *   T4  A refusal is not forgotten because later edits are taken: what was refused is not saved, and the device remembers
 *       it as unsaved. Only the next connection, on which everything is sent again, can show that it has been taken.
 *   T5  A permanent end (access removed, deleted, outdated, …) is not tried again; other causes are shown and pass.
 *   T6  A read-only session has nothing to save; its chip is only about the connection. Edits that were made before it
 *       became read-only are not saved, and that is said.
 */
import { isPermanent, type Cause } from "./causes";

export interface State {
  /** The browser believes that there is a network. */
  network: boolean;
  /** The socket is open and this document was let in. */
  admitted: boolean;
  /** The whole document has come on this connection. */
  synced: boolean;
  /** Everything was confirmed at least once on this connection. */
  settled: boolean;
  /** There is something to show, from the server or from this device. */
  loaded: boolean;
  /** Writes on this connection that the server has not answered. */
  outstanding: number;
  /** Something was edited since everything was last confirmed. */
  edited: boolean;
  /** Something has not even reached the document: a stroke, an upload. */
  pending: boolean;
  /** The device holds everything: null when it has not said so. */
  kept: boolean | null;
  readOnly: boolean;
  refused: Cause | null;
  ended: Cause | null;
  /** Why there is no connection at the moment, where that is known. */
  trouble: Cause | null;
}

export type Event =
  | { type: "network"; up: boolean }
  | { type: "admitted"; readOnly: boolean }
  | { type: "synced" }
  | { type: "lost"; cause: Cause | null }
  | { type: "ended"; cause: Cause }
  | { type: "retried" }
  | { type: "edited" }
  | { type: "pending"; pending: boolean }
  | { type: "outstanding"; count: number }
  | { type: "refused" }
  | { type: "device"; loaded: boolean; unsaved: boolean }
  | { type: "kept"; kept: boolean };

export const START: State = {
  network: true, admitted: false, synced: false, settled: false, loaded: false, outstanding: 0, edited: false, pending: false,
  kept: null, readOnly: false, refused: null, ended: null, trouble: null,
};

/** Everything that was sent is confirmed, and everything that is here was sent (T1). */
const isConfirmed = (state: State): boolean =>
  state.admitted && state.synced && state.outstanding === 0 && !state.pending && state.refused === null;

export function reduce(state: State, event: Event): State {
  const next = step(state, event);
  // An edit is heard of before it is sent: it never confirms itself.
  const mayConfirm = event.type === "outstanding" || event.type === "synced" || event.type === "pending" || event.type === "device";
  return mayConfirm && !next.readOnly && isConfirmed(next) ? { ...next, edited: false, settled: true } : next;
}

function step(state: State, event: Event): State {
  switch (event.type) {
    case "network":
      return { ...state, network: event.up };
    case "admitted":
      return { ...state, admitted: true, readOnly: event.readOnly, trouble: null, refused: null };
    case "synced":
      return { ...state, synced: true, loaded: true };
    case "lost": {
      const lost = { ...state, admitted: false, synced: false, settled: false, outstanding: 0, trouble: event.cause };
      return event.cause && isPermanent(event.cause) ? { ...lost, ended: event.cause } : lost;
    }
    case "ended":
      return { ...state, admitted: false, synced: false, settled: false, outstanding: 0, ended: event.cause };
    case "retried":
      return { ...state, ended: null, trouble: null };
    case "edited":
      // What a reader's editor tidies up by itself is nobody's work.
      return state.readOnly ? state : { ...state, edited: true, kept: null };
    case "pending":
      return { ...state, pending: event.pending };
    case "outstanding":
      return { ...state, outstanding: event.count };
    case "refused":
      if (state.readOnly) return state.edited ? { ...state, refused: "read-only" } : state;
      return { ...state, refused: "invalid" };
    case "device":
      return { ...state, loaded: state.loaded || event.loaded, edited: state.edited || event.unsaved,
        kept: event.unsaved ? true : state.kept };
    case "kept":
      return { ...state, kept: event.kept };
  }
}

export type Label = "loading" | "saving" | "saved" | "reconnecting" | "unsaved" | "closed" | "live";

export interface Chip {
  label: Label;
  cause: Cause | null;
  /** Say that the device holds what is not saved (T3). */
  keptHere: boolean;
  /** Leaving now loses something, or leaves it on this device only. */
  warn: boolean;
}

/** What the chip says. */
export function chip(state: State): Chip {
  const dirty = state.edited || state.pending;
  const cause = state.ended ?? state.refused ?? state.trouble;
  const unsaved = (): Chip =>
    ({ label: "unsaved", cause, keptHere: state.kept === true && !state.pending, warn: true });
  const calm = (label: Label): Chip => ({ label, cause, keptHere: false, warn: false });
  if (state.ended) return dirty ? unsaved() : calm("closed");
  if (state.refused) return unsaved();
  const connected = state.admitted && state.network;
  if (!connected) {
    if (dirty) return unsaved();
    return calm(state.loaded ? "reconnecting" : "loading");
  }
  if (state.readOnly) {
    if (dirty) return { ...unsaved(), cause: "read-only" };
    return calm(state.synced ? "live" : state.loaded ? "reconnecting" : "loading");
  }
  if (dirty) {
    return { label: "saving", cause: null, keptHere: state.kept === true && !state.pending, warn: true };
  }
  if (!state.settled) return calm(state.loaded ? "reconnecting" : "loading");
  // Not written here: another tab's, found on the device.
  return state.outstanding > 0 ? { ...calm("saving"), warn: true } : calm("saved");
}
