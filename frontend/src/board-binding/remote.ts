/** Remote changes: collects the elements that others have changed, and their live movements. */
import type { Awareness } from "y-protocols/awareness";
import { extendStroke, parseLive, type Live } from "./live";
import type { Json } from "./shape";
import type { BindingState } from "./state";

/** Another client's live movement of an element. */
export interface Overlay {
  /** Null once a commit has superseded it. */
  live: Live | null;
  /** The message it came from: the same object means that there is nothing new. */
  source: unknown;
  /** The points of a stroke received so far. */
  points: Json[] | null;
  /** When to stop showing it; null while its sender still sends it. In ms since the epoch. */
  expiresAt: number | null;
}

const APPLY_MS = 16;
/** How long a movement stays visible after its sender has stopped, unless the commit arrives first. */
const LINGER_MS = 400;

export class RemoteChanges {
  /** Other clients' visible movements, by element id. */
  readonly overlays = new Map<string, Overlay>();
  private readonly cleanups: (() => void)[] = [];

  /** @param onChange called with the delay after which the unapplied changes should be shown. */
  constructor(
    private readonly state: BindingState,
    private readonly awareness: Awareness | undefined,
    private readonly onChange: (delayMs: number) => void,
  ) {}

  start(): void {
    this.cleanups.push(this.state.store.observe(this.state, (ids) => { this.onRemoteChange(ids); }));
    const { awareness } = this;
    if (awareness) {
      const listener = (): void => { this.onRemoteLive(); };
      awareness.on("change", listener);
      this.cleanups.push(() => { awareness.off("change", listener); });
      this.onRemoteLive();
    }
  }

  destroy(): void {
    for (const cleanup of this.cleanups.splice(0)) cleanup();
  }

  private onRemoteChange(ids: Set<string>): void {
    for (const id of ids) {
      this.state.unapplied.add(id);
      // The stored element is newer than the movement that led to it; the next message continues from there.
      const overlay = this.overlays.get(id);
      if (overlay) overlay.live = null;
    }
    this.onChange(APPLY_MS);
  }

  private onRemoteLive(): void {
    const moving = new Set<string>();
    for (const [client, state] of this.awareness?.getStates() ?? []) {
      if (client === this.awareness?.clientID) continue;
      const source = (state as Record<string, unknown>)["live"];
      for (const live of parseLive(source)) {
        moving.add(live.i);
        const overlay = this.overlays.get(live.i);
        if (overlay?.source === source) continue;
        const points = extendStroke(overlay?.points ?? null, this.state.store.read(live.i)?.g?.["points"], live);
        this.overlays.set(live.i, { live, source, points, expiresAt: null });
        this.state.unapplied.add(live.i);
      }
    }
    for (const [id, overlay] of this.overlays) {
      if (moving.has(id) || overlay.expiresAt !== null) continue;
      overlay.expiresAt = Date.now() + LINGER_MS;
      setTimeout(() => { this.expireOverlay(id, overlay); }, LINGER_MS);
    }
    if (this.state.unapplied.size > 0) this.onChange(APPLY_MS);
  }

  private expireOverlay(id: string, overlay: Overlay): void {
    if (this.overlays.get(id) !== overlay) return; // it is moving again
    this.overlays.delete(id);
    this.state.unapplied.add(id);
    this.onChange(0);
  }
}
