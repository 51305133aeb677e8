/**
 * One document that is open in this browser: its Yjs document, its copy on the device, its place on the shared socket,
 * and its status.
 *
 * Rules:
 *   N1  All documents of a page share one socket.
 *   N2  The copy on the device comes first; the server is asked afterwards.
 *   N3  A permanent end detaches the document; everything else is tried again, later and later, and at once when the
 *       browser says that the network is back.
 *   N4  A connection that has gone without a word (a network that is another one now, a server that is silent) is given
 *       up like one that was closed.
 *   N5  A page that is left takes nothing with it: what is not saved yet goes on being sent, and whoever comes back finds
 *       it.
 *   N6  A new link is tried at once: one that was opened here, and, where this session has ended for want of access, one
 *       that was opened in another tab.
 */
import { HocuspocusProvider, HocuspocusProviderWebsocket, WebSocketStatus } from "@hocuspocus/provider";
import * as Y from "yjs";
import { ROOT } from "../app/root";
import { storageKey, onTokenChange, tokenOf } from "../app/tokens";
import { causeOfClose, causeOfReason, isPermanent } from "./causes";
import { DeviceCopy } from "./device";
import { countingWebSocket, Unacknowledged } from "./frames";
import { CheckedAwareness } from "./presence";
import { chip, reduce, START, type Chip, type Event, type State } from "./status";

/** Which documents this build can edit without damage. */
export const SCHEMA = 1;

const FIRST_RETRY_MS = 2000;
const LAST_RETRY_MS = 30_000;
/** The code of the provider's own end of a socket on which nothing comes any more. */
const SILENT = 4408;

const sessions = new Map<string, DocumentSession>();
let socket: Socket | null = null;

/**
 * Sends now or not at all: what cannot be sent is part of the first exchange of the next connection. The provider would
 * send it then as well, and with it the word that a document was closed, which has been opened again since.
 */
class Socket extends HocuspocusProviderWebsocket {
  override send(message: unknown): void {
    if (this.webSocket?.readyState === WebSocket.OPEN) super.send(message);
  }
}

function sharedSocket(): Socket {
  if (socket) return socket;
  const unanswered = new Unacknowledged((document, count, refused) => {
    sessions.get(document)?.onAcknowledged(count, refused);
  });
  const url = new URL(`${ROOT}/sync`, location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("schema", String(SCHEMA));
  socket = new Socket({
    url: url.href,
    WebSocketPolyfill: countingWebSocket(unanswered),
    delay: 500,
    minDelay: 250,
    factor: 1.7,
    maxDelay: 10_000,
  });
  socket.on("disconnect", ({ event }: { event: { code: number; reason: string } }) => {
    // The provider's own end of a silent socket, of which it tells no document (N4).
    if (event.code === SILENT) for (const session of sessions.values()) session.onSilence();
  });
  return socket;
}

/** Give the socket up, whatever it says of itself, and connect anew (N4). */
function reconnect(): void {
  if (!socket?.shouldConnect) return;
  if (socket.status === WebSocketStatus.Connected) socket.onClose({ event: { code: SILENT, reason: "network" } });
  void socket.connect();
}

addEventListener("online", () => {
  // Another network, perhaps, in which the old connection leads nowhere; and the next attempt may be seconds away.
  reconnect();
  for (const session of sessions.values()) session.setNetwork(true);
});
addEventListener("offline", () => {
  for (const session of sessions.values()) session.setNetwork(false);
});
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) for (const session of sessions.values()) session.restorePresence();
});
onTokenChange((document) => sessions.get(document)?.retry());
addEventListener("storage", ({ key, newValue }) => {
  if (newValue) for (const session of sessions.values()) if (key === storageKey(session.id)) session.onOtherTabToken();
});

/** The session of a document: a new one, or the one that has gone on since it was left (N5). */
export function openSession(id: string, person: Person): DocumentSession {
  const kept = sessions.get(id);
  if (!kept) return new DocumentSession(id, person);
  kept.rejoin(person);
  return kept;
}

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
  private readonly device: DeviceCopy;
  private readonly listeners = new Set<() => void>();
  private readonly pendingNames = new Set<string>();
  private readonly waiters: (() => void)[] = [];
  private retryTimer: ReturnType<typeof setTimeout> | undefined;
  private retries = 0;
  /** How many show it: for a moment two, when one page takes the place of another. */
  private pages = 1;
  private destroyed = false;

  constructor(
    readonly id: string,
    private person: Person,
  ) {
    sessions.get(id)?.destroy();
    sessions.set(id, this);
    this.awareness.setLocalState({ user: this.user(person) });
    this.device = new DeviceCopy(`raffia${ROOT}:${id}`, this.doc, (kept) => { this.dispatch({ type: "kept", kept }); });
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
    this.person = person;
    this.awareness.setLocalStateField("user", this.user(person));
  }

  /** Something that is not in the document yet, under a name of its own: a stroke, an upload. */
  setPending(what: string, pending: boolean): void {
    if (pending) this.pendingNames.add(what);
    else this.pendingNames.delete(what);
    const any = this.pendingNames.size > 0;
    if (this.state.pending !== any) this.dispatch({ type: "pending", pending: any });
  }

  /** Nothing can be sent for this session any more. */
  get isOver(): boolean {
    return this.destroyed || this.state.ended !== null;
  }

  /** For what failed without a connection: at the next one, or after a while. */
  waitForConnection(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.waiters.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Try again after a permanent end, or with another token. */
  retry = (): void => {
    this.dispatch({ type: "retried" });
    this.retries = 0;
    this.reattach();
  };

  /** The page is left. Its editor may still be writing down what it has: to be called after that. */
  leave(): void {
    this.pages -= 1;
    if (this.pages > 0) return;
    this.awareness.setLocalState(null);
    this.endIfDone();
  }

  /** Another page shows it, the one that was left or one that takes its place. */
  rejoin(person: Person): void {
    this.pages += 1;
    this.person = person;
    this.awareness.setLocalState({ user: this.user(person) });
    if (this.state.ended) this.retry();
  }

  /** Be seen by others again; the provider has said goodbye for a page that was put away. */
  restorePresence(): void {
    if (this.pages > 0 && this.awareness.getLocalState() === null) this.awareness.setLocalState({ user: this.user(this.person) });
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

  setNetwork(up: boolean): void {
    this.dispatch({ type: "network", up });
  }

  /** Another tab has been given a token (N6). */
  onOtherTabToken(): void {
    const { ended } = this.state;
    if (ended === "signed-out" || ended === "access-removed") this.retry();
  }

  onSilence(): void {
    this.provider?.onClose();
    this.onLost(SILENT, "");
  }

  onAcknowledged(count: number, refused: boolean): void {
    if (refused) this.dispatch({ type: "refused" });
    this.dispatch({ type: "outstanding", count });
  }

  private dispatch(event: Event): void {
    if (this.destroyed) return;
    this.state = reduce(this.state, event);
    this.chip = chip(this.state);
    this.device.setUnsaved(this.state.edited);
    for (const listener of this.listeners) listener();
    // Not from within what the provider is doing.
    if (this.pages === 0) setTimeout(() => { this.endIfDone(); });
  }

  /** Out of sight there is nothing to do any more once everything is saved, or can only be kept here (N5). */
  private endIfDone(): void {
    const { warn, keptHere } = this.chip;
    if (this.pages === 0 && (!warn || (this.state.ended !== null && keptHere))) this.destroy();
  }

  private onUpdate = (_update: Uint8Array, _origin: unknown, _doc: Y.Doc, transaction: Y.Transaction): void => {
    if (transaction.local) this.dispatch({ type: "edited" });
  };

  private onBeforeUnload = (event: BeforeUnloadEvent): void => {
    // Out of sight nobody knows what would be lost; what the device keeps is not.
    if (this.chip.warn && !(this.pages === 0 && this.chip.keptHere)) event.preventDefault();
  };

  private async open(): Promise<void> {
    if (!navigator.onLine) this.setNetwork(false);
    const { found, unsaved } = await this.device.open();
    if (this.isDestroyed()) return;
    this.dispatch({ type: "device", loaded: found, unsaved });
    const provider = new HocuspocusProvider({
      websocketProvider: sharedSocket(),
      name: this.id,
      document: this.doc,
      awareness: this.awareness,
      token: () => tokenOf(this.id),
    });
    this.provider = provider;
    provider.on("authenticated", ({ scope }: { scope: string }) => {
      this.dispatch({ type: "admitted", readOnly: scope === "readonly" });
      for (const wake of this.waiters.splice(0)) wake();
      void this.device.refresh().then((unsaved) => {
        if (unsaved) this.dispatch({ type: "device", loaded: false, unsaved: true });
      });
    });
    provider.on("synced", () => {
      this.retries = 0;
      this.dispatch({ type: "synced" });
    });
    provider.on("authenticationFailed", ({ reason }: { reason: string }) => { this.onClosed(reason); });
    provider.on("close", ({ event }: { event: { code: number; reason: string } }) => {
      // In band, for this document alone, it is no event of the browser's and says 1000.
      if (event instanceof CloseEvent || event.code !== 1000) this.onLost(event.code, event.reason);
      else this.onClosed(event.reason);
    });
    this.attach();
  }

  /** The socket has gone. */
  private onLost(code: number, reason: string): void {
    const cause = causeOfClose(code, reason);
    this.dispatch({ type: "lost", cause });
    if (cause && isPermanent(cause)) socket?.disconnect();
  }

  /** The server does not serve this document, though the socket is open (N3). */
  private onClosed(reason: string): void {
    const cause = causeOfReason(reason);
    // At once: an edit must not go to a server that does not listen, and count as sent.
    this.provider?.detach();
    if (isPermanent(cause)) {
      this.dispatch({ type: "ended", cause });
      return;
    }
    this.dispatch({ type: "lost", cause });
    const maxDelayMs = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.retries);
    this.retries += 1;
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => { this.reattach(); }, maxDelayMs * (0.5 + Math.random() / 2));
  }

  private reattach(): void {
    clearTimeout(this.retryTimer);
    if (this.destroyed || !this.provider) return;
    if (this.provider.isAttached) {
      this.provider.detach();
      this.provider.onClose();
      this.dispatch({ type: "lost", cause: null });
    }
    this.attach();
  }

  private attach(): void {
    this.provider?.attach();
    // An earlier document may have ended the connection for good.
    if (socket && !socket.shouldConnect) void socket.connect();
  }

  private isDestroyed(): boolean {
    return this.destroyed;
  }
}
