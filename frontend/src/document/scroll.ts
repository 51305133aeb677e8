/** Publishes each user's scroll position in a document, and follows another user's. */
import { useEffect } from "react";
import type { DocumentSession } from "../connection/session";
import type { Following, Peer } from "../shell/hooks";

interface View {
  block: string;
  /** The distance from the top of the window to the top of that block, in pixels. */
  top: number;
}

const INTERVAL_MS = 150;
/** The bottom edge of the bar. */
const TOP_PX = 64;

const blocks = (): HTMLElement[] => [...document.querySelectorAll<HTMLElement>(".sheet .bn-block[data-id]")];

function currentView(): View | null {
  for (const block of blocks()) {
    const { top, bottom } = block.getBoundingClientRect();
    if (bottom > TOP_PX) return { block: block.dataset["id"] ?? "", top: Math.round(top) };
  }
  return null;
}

function parseView(value: unknown): View | null {
  const { block, top } = (value ?? {}) as Partial<View>;
  return typeof block === "string" && typeof top === "number" && Number.isFinite(top) ? { block, top } : null;
}

export function useScrollPresence(session: DocumentSession, peers: Peer[], following: Following): void {
  const alone = peers.length === 0;
  useEffect(() => {
    if (alone) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const publish = (): void => {
      timer = undefined;
      if (session.awareness.getLocalState()) session.awareness.setLocalStateField("view", currentView());
    };
    const schedule = (): void => { timer ??= setTimeout(publish, INTERVAL_MS); };
    schedule();
    addEventListener("scroll", schedule, { passive: true });
    addEventListener("resize", schedule);
    return () => {
      clearTimeout(timer);
      removeEventListener("scroll", schedule);
      removeEventListener("resize", schedule);
    };
  }, [session, alone]);

  const { client } = following;
  useEffect(() => {
    if (client === null) return;
    let last = "";
    const scrollToView = (): void => {
      const view = parseView((session.awareness.getStates().get(client) as { view?: unknown } | undefined)?.view);
      if (!view || JSON.stringify(view) === last) return;
      last = JSON.stringify(view);
      const block = blocks().find((one) => one.dataset["id"] === view.block);
      if (!block) return;
      const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth";
      scrollTo({ top: scrollY + block.getBoundingClientRect().top - view.top, behavior });
    };
    scrollToView();
    session.awareness.on("change", scrollToView);
    return () => { session.awareness.off("change", scrollToView); };
  }, [session, client]);
}
