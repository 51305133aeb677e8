/** React hooks for an open document. */
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { currentPerson, isColour, tidyName, tidyTitle, usePerson } from "../app/identity";
import { chooseToken } from "../app/access";
import { openSession, type DocumentSession } from "../connection/session";
import type { State } from "../connection/status";
import { t } from "../strings";

/** The document's session, open for as long as the page is mounted. */
export function useSession(id: string): DocumentSession | null {
  const [session, setSession] = useState<DocumentSession | null>(null);
  const person = usePerson();
  useEffect(() => {
    let opened: DocumentSession | null = null;
    let gone = false;
    const open = (): void => {
      if (gone) return;
      opened = openSession(id, currentPerson());
      setSession(opened);
    };
    const choice = chooseToken(id);
    if (choice) void choice.then(open);
    else open();
    return () => {
      gone = true;
      // After the editor's cleanup, which runs after its page's and commits pending changes.
      queueMicrotask(() => { opened?.leave(); });
    };
  }, [id]);
  useEffect(() => { session?.setPerson(person); }, [session, person]);
  return session;
}

export const useStatus = (session: DocumentSession): State => useSyncExternalStore(session.subscribe, session.snapshot);

/** A value of the document's `Map "meta"`. */
export function useMeta(session: DocumentSession, field: string): unknown {
  return useSyncExternalStore(
    useCallback((listener) => {
      session.meta.observe(listener);
      return () => { session.meta.unobserve(listener); };
    }, [session]),
    () => session.meta.get(field),
  );
}

/** The title, sanitized for display: other clients may have written anything there. */
export function useTitle(session: DocumentSession): string {
  return tidyTitle(useMeta(session, "title"));
}

export interface Peer {
  client: number;
  name: string;
  color: string;
  /** No presence update from them for a minute. */
  away: boolean;
}

const AWAY_MS = 60_000;

/** The other users who have the document open, with validated names and colours. */
export function usePeers(session: DocumentSession): Peer[] {
  const [peers, setPeers] = useState<Peer[]>([]);
  useEffect(() => {
    const { awareness } = session;
    const moved = new Map<number, number>();
    let before = "";
    const refresh = (): void => {
      const now = Date.now();
      const list: Peer[] = [];
      for (const [client, state] of awareness.getStates()) {
        if (client === session.doc.clientID) continue;
        const user = (state as { user?: { name?: unknown; color?: unknown } }).user;
        if (!user) continue;
        if (!moved.has(client)) moved.set(client, now);
        list.push({
          client,
          name: tidyName(user.name) || t.profile.guest(client % 100),
          color: isColour(user.color) ? user.color : "#6b7280",
          away: now - (moved.get(client) ?? now) > AWAY_MS,
        });
      }
      list.sort((a, b) => a.client - b.client);
      const key = JSON.stringify(list);
      if (key === before) return;
      before = key;
      setPeers(list);
    };
    const changed = ({ added, updated, removed }: Record<"added" | "updated" | "removed", number[]>): void => {
      const now = Date.now();
      for (const client of [...added, ...updated]) moved.set(client, now);
      for (const client of removed) moved.delete(client);
      refresh();
    };
    awareness.on("change", changed);
    const timer = setInterval(refresh, 5000);
    refresh();
    return () => {
      awareness.off("change", changed);
      clearInterval(timer);
    };
  }, [session]);
  return peers;
}

export interface Following {
  client: number | null;
  follow: (client: number | null) => void;
}

/** The peer whom the user follows. Ends on Escape, when the user scrolls, and when the peer leaves. */
export function useFollowing(peers: Peer[]): Following {
  const [client, follow] = useState<number | null>(null);
  const isHere = client === null || peers.some((peer) => peer.client === client);
  useEffect(() => {
    if (client === null) return;
    const stop = (): void => { follow(null); };
    const onKey = (event: KeyboardEvent): void => {
      if (["Escape", "PageUp", "PageDown", "Home", "End"].includes(event.key)) stop();
    };
    const own = ["wheel", "touchmove"] as const;
    for (const type of own) addEventListener(type, stop, { passive: true });
    // Captured before Excalidraw, which stops the propagation of Escape.
    addEventListener("keydown", onKey, true);
    return () => {
      for (const type of own) removeEventListener(type, stop);
      removeEventListener("keydown", onKey, true);
    };
  }, [client]);
  return { client: isHere ? client : null, follow };
}

/** A ref to the latest value, for timers and listeners. */
export function useLatest<T>(value: T): { readonly current: T } {
  const ref = useRef(value);
  useEffect(() => { ref.current = value; });
  return ref;
}
