/**
 * Counts what the server has yet to answer, for each document, on the socket itself.
 *
 * The provider's own counter forgets: it starts again at one on every connection, so that the first of several answers
 * to edits that had waited for the connection looks like the last.
 *
 * Rules (tests quote these ids):
 *   C1  Counted are edits that were sent, and the step 2 of each exchange that this side began, less the answers to them.
 *       A step 2 that the server asks for besides, since an edit came before what it stands on, it does not answer.
 *   C2  When a document is closed, by either side, what it has not answered is never answered: the next time it is
 *       attached it counts from nothing, and answers that are still under way count only once it was let in again.
 *   C3  A connection on which the server says nothing for 20 s from its beginning is given up: nobody else would.
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
  /** Of a sync message its kind, of a status whether it was taken. */
  value: number;
}

const utf8 = new TextDecoder();

/** Read the start of a Hocuspocus frame; null when it is none. */
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
  /** Exchanges that this side has begun, less those of which the step 2 was sent (C1). */
  private readonly exchanges = new Map<string, number>();
  /** Closed, and not let in since (C2). */
  private readonly closed = new Set<string>();

  constructor(private readonly onChange: (document: string, count: number, refused: boolean) => void) {}

  /** A new connection: what an earlier one has not answered is sent again as part of the first exchange. */
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

/** A WebSocket that counts, and is not waited for in vain (C3); everything else is the browser's. */
export function countingWebSocket(unanswered: Unacknowledged): typeof WebSocket {
  return class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      unanswered.reset();
      const timeout = setTimeout(() => { this.close(); }, FIRST_MESSAGE_MS);
      this.addEventListener("close", () => { clearTimeout(timeout); });
      // Before the provider's own listeners, so that an answer is counted when they hear of it.
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
