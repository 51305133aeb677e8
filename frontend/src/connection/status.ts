/**
 * Whether the user's work is saved. A pure reducer: events in, a state out, and from the state what the chip shows.
 *
 * Rules (tests quote these ids):
 *   UT1  "Saved" appears only if, on the current connection, the server has confirmed everything it was sent, and has
 *       received everything this browser has (the client's step 2 was confirmed too).
 *   UT2  Without a connection the chip shows "Reconnecting…" if nothing is pending, and "Not saved – offline" if something
 *       is, including edits of an earlier visit that the device has marked as unsaved.
 *   UT3  "Kept on this device" appears only if the device has confirmed it.
 *   UT4  Accepting later edits does not clear a rejection: the rejected edit is not saved, and stays marked as unsaved on
 *       the device. Only the next connection, on which everything is sent again, can confirm it.
 *   UT5  A permanent end (access removed, deleted, outdated, …) is not retried; other causes are shown until they pass.
 *   UT6  A read-only session has nothing to save; its chip shows only the state of the connection. Edits made before the
 *       session became read-only are shown as not saved.
 */
import { isPermanent, type Cause } from "./causes";

export interface State {
  /** Whether the browser is online, by its own account. */
  network: boolean;
  /** The socket is open and this document is authenticated. */
  admitted: boolean;
  /** The whole document has been received on this connection. */
  synced: boolean;
  /** Everything has been confirmed at least once on this connection. */
  settled: boolean;
  /** There is content to show, from the server or from this device. */
  loaded: boolean;
  /** The number of unacknowledged writes on this connection. */
  outstanding: number;
  /** Something has been edited since everything was last confirmed. */
  edited: boolean;
  /** Something has not reached the document yet, such as a stroke or an upload. */
  pending: boolean;
  /** Whether the device has stored everything; null until it has reported that. */
  kept: boolean | null;
  readOnly: boolean;
  refused: Cause | null;
  ended: Cause | null;
  /** Why there is currently no connection, if known. */
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

/** Everything has been sent, and everything sent has been confirmed (UT1). */
const isConfirmed = (state: State): boolean =>
  state.admitted && state.synced && state.outstanding === 0 && !state.pending && state.refused === null;

export function reduce(state: State, event: Event): State {
  const next = step(state, event);
  // An edit is reported before it is sent, so an "edited" event must never confirm itself.
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
      // A read-only editor's own normalization is not the user's work.
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
  /** The device has stored the unsaved edits (UT3). */
  keptHere: boolean;
  /** Leaving now would lose something, or leave it on this device only. */
  warn: boolean;
}

/** What the chip shows. */
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
  // Outstanding edits that were not made here: another tab's, found on the device.
  return state.outstanding > 0 ? { ...calm("saving"), warn: true } : calm("saved");
}
