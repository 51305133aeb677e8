/**
 * Counts the unacknowledged messages of each document by reading the frames on the socket.
 *
 * The provider's own counter is not enough: it restarts at one on every connection, so the first of several
 * acknowledgements of edits that had waited for the connection looks like the last.
 *
 * Rules (tests quote these ids):
 *   UC1  The count is the number of updates sent, plus the step 2 of each exchange that this client started, minus their
 *       acknowledgements. The server does not acknowledge a step 2 that it requests itself because an edit arrived before
 *       its dependencies.
 *   UC2  When a document is closed, by either side, its unacknowledged messages are never acknowledged. When it is attached
 *       again, the count starts at zero, and late acknowledgements are ignored until the document is authenticated.
 *   UC3  A connection on which the server sends nothing within the first 20 s is closed; nothing else would close it.
 */

const SYNC = 0;
const AUTH = 2;
const CLOSE = 7;
const SYNC_STATUS = 8;
const STEP1 = 0;
const STEP2 = 1;
const UPDATE = 2;
const AUTHENTICATED = 2;
const FIRST_MESSAGE_MS = 20_000;

interface Head {
  address: string;
  type: number;
  /** For a sync or auth message its subtype; for a sync status 1 if the update was accepted, else 0. */
  value: number;
}

const utf8 = new TextDecoder();

/** Read the header of a Hocuspocus frame; null if it is not one. */
export function readHead(frame: Uint8Array): Head | null {
  let at = 0;
  const varUint = (): number => {
    let result = 0;
    for (let factor = 1; at < frame.length; factor *= 128) {
      const byte = frame[at] as number;
      at += 1;
      result += (byte % 128) * factor;
      if (byte < 128) return result;
    }
    return -1;
  };
  const length = varUint();
  if (length < 0 || at + length >= frame.length) return null;
  const address = utf8.decode(frame.subarray(at, at + length));
  at += length;
  return { address, type: varUint(), value: varUint() };
}

export class Unacknowledged {
  private readonly counts = new Map<string, number>();
  /** Exchanges that this client has started and whose step 2 it has not sent yet (UC1). */
  private readonly exchanges = new Map<string, number>();
  /** Closed, and not authenticated since (UC2). */
  private readonly closed = new Set<string>();

  constructor(private readonly onChange: (document: string, count: number, refused: boolean) => void) {}

  /** Start counting for a new connection. Unacknowledged edits are sent again as part of its first exchange. */
  reset(): void {
    this.counts.clear();
    this.exchanges.clear();
    this.closed.clear();
  }

  sent(frame: Uint8Array): void {
    const head = readHead(frame);
    if (head?.type === SYNC) this.countSent(head);
    else if (head?.type === CLOSE) this.close(head.address);
  }

  private countSent({ address, value }: Head): void {
    const exchanges = this.exchanges.get(address) ?? 0;
    if (value === STEP1) this.exchanges.set(address, exchanges + 1);
    if (value === STEP2 && exchanges > 0) this.exchanges.set(address, exchanges - 1);
    if (value === UPDATE || (value === STEP2 && exchanges > 0)) this.change(address, 1, false);
  }

  received(frame: Uint8Array): void {
    const head = readHead(frame);
    if (head?.type === SYNC_STATUS && !this.closed.has(head.address)) this.change(head.address, -1, head.value === 0);
    else if (head?.type === AUTH && head.value === AUTHENTICATED) this.closed.delete(head.address);
    else if (head?.type === CLOSE) this.close(head.address);
  }

  private close(address: string): void {
    this.counts.delete(address);
    this.exchanges.delete(address);
    this.closed.add(address);
  }

  private change(address: string, by: number, refused: boolean): void {
    const count = Math.max(0, (this.counts.get(address) ?? 0) + by);
    this.counts.set(address, count);
    this.onChange(address, count, refused);
  }
}

/** A WebSocket class that counts frames, and closes itself if the server stays silent (UC3). */
export function countingWebSocket(unanswered: Unacknowledged): typeof WebSocket {
  return class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      unanswered.reset();
      const timeout = setTimeout(() => { this.close(); }, FIRST_MESSAGE_MS);
      this.addEventListener("close", () => { clearTimeout(timeout); });
      // Runs before the provider's listeners, so that an acknowledgement is counted before they handle it.
      this.addEventListener("message", (event: MessageEvent<unknown>) => {
        clearTimeout(timeout);
        if (event.data instanceof ArrayBuffer) unanswered.received(new Uint8Array(event.data));
      });
    }

    override send(data: Parameters<WebSocket["send"]>[0]): void {
      super.send(data);
      if (data instanceof Uint8Array) unanswered.sent(data);
    }
  };
}
