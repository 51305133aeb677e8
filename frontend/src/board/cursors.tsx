/**
 * Other users' pointers, drawn above the board. A name is visible while its pointer moves and for two seconds after. A
 * pointer fades after three seconds without movement, and disappears after a minute.
 */
import type { ExcalidrawImperativeAPI } from "@excalidraw/excalidraw/types";
import { useEffect, useRef } from "react";
import type { DocumentSession } from "../connection/session";
import type { Peer } from "../shell/hooks";
import { readPointer } from "./peers";

const LABEL_MS = 2000;
const IDLE_MS = 3000;
const AWAY_MS = 60_000;

export function Cursors({ session, api, peers }: { session: DocumentSession; api: ExcalidrawImperativeAPI; peers: Peer[] }) {
  const layer = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const moved = new Map<number, { at: number; place: string }>();
    let frame = 0;
    const draw = (): void => {
      frame = 0;
      const now = Date.now();
      const { scrollX, scrollY, zoom } = api.getAppState();
      const states = session.awareness.getStates();
      for (const node of layer.current?.children ?? []) {
        const cursor = node as HTMLElement;
        const client = Number(cursor.dataset["client"]);
        const pointer = readPointer(states.get(client));
        const place = pointer ? `${pointer.x},${pointer.y}` : "";
        if (moved.get(client)?.place !== place) moved.set(client, { at: now, place });
        const idleMs = now - (moved.get(client)?.at ?? now);
        cursor.hidden = !pointer || idleMs > AWAY_MS;
        if (!pointer) continue;
        cursor.dataset["state"] = idleMs < LABEL_MS ? "moving" : idleMs < IDLE_MS ? "resting" : "idle";
        const [x, y] = [(pointer.x + scrollX) * zoom.value, (pointer.y + scrollY) * zoom.value];
        cursor.style.transform = `translate(${Math.round(x)}px, ${Math.round(y)}px)`;
      }
    };
    const schedule = (): void => { frame ||= requestAnimationFrame(draw); };
    const stopScroll = api.onScrollChange(schedule);
    session.awareness.on("change", schedule);
    const timer = setInterval(schedule, 500);
    schedule();
    return () => {
      stopScroll();
      session.awareness.off("change", schedule);
      clearInterval(timer);
      cancelAnimationFrame(frame);
    };
  }, [session, api, peers]);
  return (
    <div className="cursors" ref={layer} aria-hidden="true">
      {peers.map(({ client, name, color }) => (
        <div key={client} className="cursor" data-client={client} hidden style={{ "--person": color } as React.CSSProperties}>
          <svg width="18" height="20" viewBox="0 0 18 20"><path d="M2 1.5 15.5 9l-6.2 1.6L6 16.8z" fill="var(--person)" stroke="#fff" strokeWidth="1.4" strokeLinejoin="round" /></svg>
          <span>{name}</span>
        </div>
      ))}
    </div>
  );
}
