/** Which page the address names. */
import { useSyncExternalStore } from "react";
import { ROOT } from "./root";
import { takeToken } from "./tokens";

export type Route =
  | { page: "home" }
  | { page: "document" | "board"; id: string }
  | { page: "unknown" };

export const HOME = `${ROOT}/`;

export function parse(pathname: string, root = ROOT): Route {
  const path = pathname.startsWith(`${root}/`) ? pathname.slice(root.length) : pathname;
  if (path === "/") return { page: "home" };
  const match = /^\/([db])\/([^/]+)\/?$/.exec(path);
  if (!match?.[2]) return { page: "unknown" };
  try {
    return { page: match[1] === "b" ? "board" : "document", id: decodeURIComponent(match[2]) };
  } catch {
    return { page: "unknown" };
  }
}

const listeners = new Set<() => void>();
let current = location.href;
arrive();

/** A share link's token leaves the address bar before anything else happens. */
function arrive(): void {
  const route = parse(location.pathname);
  if (route.page === "document" || route.page === "board") {
    const taken = takeToken(route.id, location.href);
    if (taken) history.replaceState(history.state, "", taken.rest);
  }
  current = location.href;
}

function changed(): void {
  arrive();
  for (const listener of listeners) listener();
}

addEventListener("popstate", changed);
// A second link to the same document, pasted into the address bar, changes the fragment only.
addEventListener("hashchange", () => {
  const before = current;
  arrive();
  if (location.href !== before) location.reload();
});

export function navigate(path: string, { replace = false } = {}): void {
  history[replace ? "replaceState" : "pushState"](null, "", path);
  scrollTo(0, 0);
  changed();
}

export function useRoute(): Route {
  const path = useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => { listeners.delete(listener); };
  }, () => location.pathname);
  return parse(path);
}
