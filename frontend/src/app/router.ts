/** Client-side routing: which page a path names, and navigation between pages. */
import { useSyncExternalStore, type MouseEvent } from "react";
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
storeToken();

/**
 * Move a share link's token from the address bar into storage before anything else happens. Pasting a second link into
 * the address bar of an open page changes only the fragment; the document's session is then notified of the new token.
 */
function storeToken(): void {
  const route = parse(location.pathname);
  if (route.page === "unknown") return;
  const taken = takeToken(route.page === "home" ? null : route.id, location.href);
  if (taken) history.replaceState(history.state, "", taken.rest);
}

function onLocationChange(): void {
  storeToken();
  for (const listener of listeners) listener();
}

addEventListener("popstate", onLocationChange);
addEventListener("hashchange", onLocationChange);

let hasNavigated = false;
/** Whether this page was reached from within the app, so that it has to set the focus itself. */
export const isInAppNavigation = (): boolean => hasNavigated;

export function navigate(path: string, { replace = false } = {}): void {
  hasNavigated = true;
  history[replace ? "replaceState" : "pushState"](null, "", path);
  scrollTo(0, 0);
  onLocationChange();
}

/** Follow a link within the app, unless the user is opening it in another tab. */
export function follow(event: MouseEvent, path: string): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  navigate(path);
}

export function useRoute(): Route {
  const path = useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => { listeners.delete(listener); };
  }, () => location.pathname);
  return parse(path);
}
