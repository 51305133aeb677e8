/** Where each person is in a document, and going along with one of them. */
import { useEffect } from "react";
import type { DocumentSession } from "../connection/session";
import type { Following, Peer } from "../page/hooks";

interface View {
  block: string;
  /** How far below the top of the window that block begins, in pixels. */
  top: number;
}

const SPACING_MS = 150;
/** Below the bar. */
const TOP_PX = 64;

const blocks = (): HTMLElement[] => [...document.querySelectorAll<HTMLElement>(".sheet .bn-block[data-id]")];

function here(): View | null {
  for (const block of blocks()) {
    const { top, bottom } = block.getBoundingClientRect();
    if (bottom > TOP_PX) return { block: block.dataset["id"] ?? "", top: Math.round(top) };
  }
  return null;
}

function read(value: unknown): View | null {
  const { block, top } = (value ?? {}) as Partial<View>;
  return typeof block === "string" && typeof top === "number" && Number.isFinite(top) ? { block, top } : null;
}

export function useScrollPresence(session: DocumentSession, peers: Peer[], following: Following): void {
  const alone = peers.length === 0;
  useEffect(() => {
    if (alone) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const say = (): void => {
      timer = undefined;
      if (session.awareness.getLocalState()) session.awareness.setLocalStateField("view", here());
    };
    const soon = (): void => { timer ??= setTimeout(say, SPACING_MS); };
    soon();
    addEventListener("scroll", soon, { passive: true });
    addEventListener("resize", soon);
    return () => {
      clearTimeout(timer);
      removeEventListener("scroll", soon);
      removeEventListener("resize", soon);
    };
  }, [session, alone]);

  const { client } = following;
  useEffect(() => {
    if (client === null) return;
    let last = "";
    const go = (): void => {
      const view = read((session.awareness.getStates().get(client) as { view?: unknown } | undefined)?.view);
      if (!view || JSON.stringify(view) === last) return;
      last = JSON.stringify(view);
      const block = blocks().find((one) => one.dataset["id"] === view.block);
      if (!block) return;
      const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth";
      scrollTo({ top: scrollY + block.getBoundingClientRect().top - view.top, behavior });
    };
    go();
    session.awareness.on("change", go);
    return () => { session.awareness.off("change", go); };
  }, [session, client]);
}
