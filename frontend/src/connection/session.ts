/**
 * A document that is open in this browser: its Yjs document, its copy on the device, its connection on the shared
 * socket, and its status.
 *
 * Rules:
 *   UN1  All documents of a page share one socket.
 *   UN2  The copy on the device is loaded first; the server is contacted afterwards.
 *   UN3  A permanent end detaches the document. All other failures are retried with growing delays, and immediately when
 *       the browser reports that it is online again.
 *   UN4  A connection that has silently died (the network has changed, the server does not respond) is treated as closed.
 *   UN5  Leaving a page loses nothing: unsaved edits continue to be sent, and returning to the page finds the same session.
 *   UN6  A new link is tried immediately if it was opened here, and also if it was opened in another tab while this session
 *       has ended for lack of access.
 */
import { HocuspocusProvider, HocuspocusProviderWebsocket, WebSocketStatus } from "@hocuspocus/provider";
import * as Y from "yjs";
import { ROOT } from "../app/root";
import { storageKey, onTokenChange, tokenOf } from "../app/tokens";
import { setUnsent } from "../app/unsent";
import { causeOfClose, causeOfReason, isPermanent } from "./causes";
import { DeviceCopy } from "./device";
import { countingWebSocket, Unacknowledged } from "./frames";
import { CheckedAwareness } from "./presence";
import { chip, reduce, START, type Chip, type Event, type State } from "./status";

/** The newest document schema that this build can edit without damage. */
export const SCHEMA = 1;

const FIRST_RETRY_MS = 2000;
const LAST_RETRY_MS = 30_000;
/** The close code that the provider uses when it gives up a silent socket. */
const SILENT = 4408;

const sessions = new Map<string, DocumentSession>();
let socket: Socket | null = null;

/**
 * Sends immediately or not at all: unsent edits are part of the first exchange of the next connection. The provider's
 * queue would send them a second time, together with stale CLOSE messages for documents that have been reopened since.
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
    // The provider has closed a silent socket, and does not notify the documents of that (UN4).
    if (event.code === SILENT) for (const session of sessions.values()) session.onSilence();
  });
  return socket;
}

/** Drop the socket, whatever its reported state, and connect again (UN4). */
function reconnect(): void {
  if (!socket?.shouldConnect) return;
  if (socket.status === WebSocketStatus.Connected) socket.onClose({ event: { code: SILENT, reason: "network" } });
  void socket.connect();
}

addEventListener("online", () => {
  // The network may have changed, so that the old connection is dead, and the next attempt may be seconds away.
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

/** The session of a document: a new one, or one that is still running since its page was left (UN5). */
export function openSession(id: string, person: Person, options: { isSilent?: boolean } = {}): DocumentSession {
  const kept = sessions.get(id);
  if (!kept) return new DocumentSession(id, person, options.isSilent);
  kept.rejoin(person, options.isSilent);
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
  /** The number of pages that show it: briefly two while one page replaces another. */
  private pages = 1;
  private destroyed = false;
  /** What the home page has last been told. */
  private notedUnsent = false;

  constructor(
    readonly id: string,
    private person: Person,
    /** Only sends what is unsent: its user is not shown to others. */
    isSilent = false,
  ) {
    sessions.get(id)?.destroy();
    sessions.set(id, this);
    this.awareness.setLocalState(isSilent ? null : { user: this.user(person) });
    this.device = new DeviceCopy(this.databaseName, this.doc, (kept) => { this.dispatch({ type: "kept", kept }); });
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

  /** The user as others see them, with an id by which the cursor drawn for this client can be found. */
  user(person: Person): Person & { id: string } {
    return { ...person, id: String(this.doc.clientID) };
  }

  setPerson(person: Person): void {
    this.person = person;
    this.awareness.setLocalStateField("user", this.user(person));
  }

  /** Set whether something named, such as a stroke or an upload, has yet to reach the document. */
  setPending(what: string, pending: boolean): void {
    if (pending) this.pendingNames.add(what);
    else this.pendingNames.delete(what);
    const any = this.pendingNames.size > 0;
    if (this.state.pending !== any) this.dispatch({ type: "pending", pending: any });
  }

  /** Whether nothing can be sent for this session any more. */
  get isOver(): boolean {
    return this.destroyed || this.state.ended !== null;
  }

  /** Resolves at the next connection, or after `ms`: for retrying what failed. */
  waitForConnection(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.waiters.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Reconnect after a permanent end, or with another token. */
  retry = (): void => {
    this.dispatch({ type: "retried" });
    this.retries = 0;
    this.reattach();
  };

  /** Call this when the page is left, after its editor has committed its changes. */
  leave(): void {
    this.pages -= 1;
    if (this.pages > 0) return;
    this.awareness.setLocalState(null);
    this.endIfDone();
  }

  /** Call this when another page shows the document: the page has been reopened, or is replacing another. */
  rejoin(person: Person, isSilent = false): void {
    this.pages += 1;
    this.person = person;
    if (!isSilent) this.awareness.setLocalState({ user: this.user(person) });
    if (this.state.ended) this.retry();
  }

  /** Restore presence on a page that returns from the back/forward cache; the provider had removed it. */
  restorePresence(): void {
    if (this.pages > 0 && this.awareness.getLocalState() === null) this.awareness.setLocalState({ user: this.user(this.person) });
  }

  /** Delete the copy on this device, with all changes that the server does not have. Reload the page afterwards. */
  async giveUp(): Promise<void> {
    this.destroy();
    setUnsent(this.id, false);
    await DeviceCopy.forget(this.databaseName);
  }

  private get databaseName(): string {
    return `raffia${ROOT}:${this.id}`;
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

  // -- events -------------------------------------------------------------------------------------------------------

  setNetwork(up: boolean): void {
    this.dispatch({ type: "network", up });
  }

  /** Another tab has received a token (UN6). */
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
    if (this.state.edited !== this.notedUnsent) {
      this.notedUnsent = this.state.edited;
      setUnsent(this.id, this.notedUnsent);
    }
    for (const listener of this.listeners) listener();
    // Asynchronously, because the provider may be in the middle of handling an event.
    if (this.pages === 0) setTimeout(() => { this.endIfDone(); });
  }

  /** Destroy a session without pages once everything is saved, or has ended and is stored on the device (UN5). */
  private endIfDone(): void {
    const { warn, keptHere } = this.chip;
    if (this.pages === 0 && (!warn || (this.state.ended !== null && keptHere))) this.destroy();
  }

  private onUpdate = (_update: Uint8Array, _origin: unknown, _doc: Y.Doc, transaction: Y.Transaction): void => {
    if (transaction.local) this.dispatch({ type: "edited" });
  };

  private onBeforeUnload = (event: BeforeUnloadEvent): void => {
    // Warn, unless no page shows the document and the device has stored the edits.
    const isShown = this.pages > 0 && this.awareness.getLocalState() !== null;
    if (this.chip.warn && (isShown || !this.chip.keptHere)) event.preventDefault();
  };

  private async open(): Promise<void> {
    if (!navigator.onLine) this.setNetwork(false);
    const { found, unsaved } = await this.device.open();
    if (this.isDestroyed()) return;
    if (!unsaved && !this.state.edited) setUnsent(this.id, false);
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
      // A CLOSE message for this document alone is not a browser event, and has the code 1000.
      if (event instanceof CloseEvent || event.code !== 1000) this.onLost(event.code, event.reason);
      else this.onClosed(event.reason);
    });
    this.attach();
  }

  /** The socket has been closed. */
  private onLost(code: number, reason: string): void {
    const cause = causeOfClose(code, reason);
    this.dispatch({ type: "lost", cause });
    if (cause && isPermanent(cause)) socket?.disconnect();
  }

  /** The server has closed or denied this document, while the socket stays open (UN3). */
  private onClosed(reason: string): void {
    const cause = causeOfReason(reason);
    // Immediately, so that no edit is sent to a server that ignores it, and counted as sent.
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
    // Another document may have disconnected the socket permanently.
    if (socket && !socket.shouldConnect) void socket.connect();
  }

  private isDestroyed(): boolean {
    return this.destroyed;
  }
}
