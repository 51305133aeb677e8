/**
 * One document that is open in this browser: its Yjs document, its copy on the device, its place on the shared socket,
 * and its status.
 *
 * Rules:
 *   N1  All documents of a page share one socket.
 *   N2  The copy on the device comes first; the server is asked afterwards.
 *   N3  A permanent end detaches the document; everything else is tried again, later and later, and at once when the
 *       browser says that the network is back.
 *   N4  A page that is left takes nothing with it: what is not saved yet goes on being sent, and whoever comes back finds it.
 */
import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider";
import * as Y from "yjs";
import { ROOT } from "../app/root";
import { causeOfClose, causeOfReason, isPermanent } from "./causes";
import { Device } from "./device";
import { countingWebSocket, Unanswered } from "./frames";
import { CheckedAwareness } from "./presence";
import { chip, reduce, START, type Chip, type Event, type State } from "./status";

/** Which documents this build can edit without damage. */
export const SCHEMA = 1;

const FIRST_RETRY_MS = 2000;
const LAST_RETRY_MS = 30_000;

const sessions = new Map<string, DocumentSession>();
let socket: HocuspocusProviderWebsocket | null = null;

function sharedSocket(): HocuspocusProviderWebsocket {
  if (socket) return socket;
  const unanswered = new Unanswered((document, count, refused) => {
    sessions.get(document)?.answered(count, refused);
  });
  const url = new URL(`${ROOT}/sync`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("schema", String(SCHEMA));
  socket = new HocuspocusProviderWebsocket({
    url: url.href,
    WebSocketPolyfill: countingWebSocket(unanswered),
    delay: 500,
    minDelay: 250,
    factor: 1.7,
    maxDelay: 10_000,
  });
  return socket;
}

addEventListener("online", () => {
  for (const session of sessions.values()) session.network(true);
  // Instead of waiting for the next attempt, which may be seconds away.
  if (socket?.shouldConnect) void socket.connect();
});
addEventListener("offline", () => {
  for (const session of sessions.values()) session.network(false);
});

export interface Person {
  name: string;
  color: string;
}

export class DocumentSession {
  readonly doc = new Y.Doc();
  readonly awareness = new CheckedAwareness(this.doc);
  state: State = START;
  chip: Chip = chip(START);

  private provider: HocuspocusProvider | null = null;
  private readonly device: Device;
  private readonly listeners = new Set<() => void>();
  private readonly pendings = new Set<string>();
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private retries = 0;
  /** How many show it: for a moment two, when one page takes the place of another. */
  private pages = 1;
  private destroyed = false;

  /** The document, as a page that was left has kept it, or opened anew (N4). */
  static open(id: string, token: string, person: Person): DocumentSession {
    const kept = sessions.get(id);
    if (kept?.token !== token) return new DocumentSession(id, token, person);
    kept.pages += 1;
    kept.awareness.setLocalState({ user: kept.user(person) });
    return kept;
  }

  constructor(
    readonly id: string,
    private readonly token: string,
    person: Person,
  ) {
    sessions.get(id)?.destroy();
    sessions.set(id, this);
    this.awareness.setLocalState({ user: this.user(person) });
    this.device = new Device(`weft${ROOT}:${id}`, this.doc, (kept) => { this.happened({ type: "kept", kept }); });
    this.doc.on("update", this.onUpdate);
    addEventListener("beforeunload", this.onBeforeUnload);
    void this.open();
  }

  // -- for the page -------------------------------------------------------------------------------------------------

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => { this.listeners.delete(listener); };
  };

  snapshot = (): State => this.state;

  get meta(): Y.Map<unknown> {
    return this.doc.getMap("meta");
  }

  /** As others see it; with an id, so that what is drawn for one client can be found again. */
  user(person: Person): Person & { id: string } {
    return { ...person, id: String(this.doc.clientID) };
  }

  setPerson(person: Person): void {
    this.awareness.setLocalStateField("user", this.user(person));
  }

  /** Something that is not in the document yet, under a name of its own: a stroke, an upload. */
  setPending(what: string, pending: boolean): void {
    if (pending) this.pendings.add(what);
    else this.pendings.delete(what);
    const any = this.pendings.size > 0;
    if (this.state.pending !== any) this.happened({ type: "pending", pending: any });
  }

  /** Try again after a permanent end, because a person asked for it. */
  retry = (): void => {
    this.happened({ type: "retried" });
    this.retries = 0;
    this.reattach();
    if (socket && !socket.shouldConnect) void socket.connect();
  };

  /** The page is left. Its editor may still be writing down what it has: to be called after that. */
  leave(): void {
    this.pages -= 1;
    if (this.pages > 0) return;
    this.awareness.setLocalState(null);
    this.endIfDone();
  }

  private endIfDone(): void {
    // What cannot be saved any more has been said to be so, and the device keeps it.
    if (this.pages === 0 && (!this.chip.warn || this.state.ended !== null)) this.destroy();
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    clearTimeout(this.retryTimer);
    removeEventListener("beforeunload", this.onBeforeUnload);
    if (sessions.get(this.id) === this) sessions.delete(this.id);
    this.doc.off("update", this.onUpdate);
    this.provider?.destroy();
    this.awareness.destroy();
    this.listeners.clear();
    void this.device.destroy();
  }

  // -- what happens -------------------------------------------------------------------------------------------------

  network(up: boolean): void {
    this.happened({ type: "network", up });
  }

  answered(count: number, refused: boolean): void {
    if (refused) this.happened({ type: "refused" });
    this.happened({ type: "outstanding", count });
  }

  private happened(event: Event): void {
    if (this.destroyed) return;
    this.state = reduce(this.state, event);
    this.chip = chip(this.state);
    this.device.setUnsaved(this.state.edited);
    for (const listener of this.listeners) listener();
    this.endIfDone();
  }

  private onUpdate = (_update: Uint8Array, _origin: unknown, _doc: Y.Doc, transaction: Y.Transaction): void => {
    if (transaction.local) this.happened({ type: "edited" });
  };

  private onBeforeUnload = (event: BeforeUnloadEvent): void => {
    if (this.chip.warn) event.preventDefault();
  };

  private async open(): Promise<void> {
    if (!navigator.onLine) this.network(false);
    const { found, unsaved } = await this.device.open();
    if (this.isGone()) return;
    this.happened({ type: "device", loaded: found, unsaved });
    const provider = new HocuspocusProvider({
      websocketProvider: sharedSocket(),
      name: this.id,
      document: this.doc,
      awareness: this.awareness,
      token: this.token,
    });
    this.provider = provider;
    provider.on("authenticated", ({ scope }: { scope: string }) => {
      this.happened({ type: "admitted", readOnly: scope === "readonly" });
    });
    provider.on("synced", () => {
      this.retries = 0;
      this.happened({ type: "synced" });
    });
    provider.on("authenticationFailed", ({ reason }: { reason: string }) => { this.closed(reason); });
    provider.on("close", ({ event }: { event: { code: number; reason: string } }) => {
      // In band, for this document alone, it is no event of the browser's and says 1000.
      if (event instanceof CloseEvent || event.code !== 1000) this.lost(event.code, event.reason);
      else this.closed(event.reason);
    });
    provider.attach();
    // Another document's permanent end may have closed the socket that all share.
    if (!sharedSocket().shouldConnect) void sharedSocket().connect();
  }

  /** The socket has gone. */
  private lost(code: number, reason: string): void {
    const cause = causeOfClose(code, reason);
    this.happened({ type: "lost", cause });
    if (cause && isPermanent(cause)) socket?.disconnect();
  }

  /** The server does not serve this document, though the socket is open (N3). */
  private closed(reason: string): void {
    const cause = causeOfReason(reason);
    if (isPermanent(cause)) {
      this.happened({ type: "ended", cause });
      this.provider?.detach();
      return;
    }
    this.happened({ type: "lost", cause });
    const most = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.retries);
    this.retries += 1;
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => { this.reattach(); }, most * (0.5 + Math.random() / 2));
  }

  private reattach(): void {
    if (this.destroyed) return;
    this.provider?.detach();
    this.provider?.attach();
  }

  private isGone(): boolean {
    return this.destroyed;
  }
}
