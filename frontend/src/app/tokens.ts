/**
 * Tokens of share links, for each document.
 *
 * Rules (tests quote these ids):
 *   K1  A token comes in the fragment, which browsers never send, and leaves the address bar at once.
 *   K2  It is kept on this device, so that a bookmark without it goes on working; where nothing can be kept, for as long as
 *       the page is open.
 *   K3  It is sent to the server that it came for only, also when a host has several under different paths.
 */

import { ROOT } from "./root";

/** Another server under another path of the same host keeps its own (K3). */
const key = (document: string): string => `weft${ROOT}.token:${document}`;

/** What storage does not take, because the browser's settings forbid it or it is full: for this visit. */
const visit = new Map<string, string>();

function stores(): Storage[] {
  try {
    return [sessionStorage, localStorage];
  } catch {
    return [];
  }
}

/** Take the token out of an address; returns the address without it, or null when there was none (K1). */
export function takeToken(document: string, address: string): { token: string; rest: string } | null {
  const url = new URL(address);
  const fragment = new URLSearchParams(url.hash.slice(1));
  const token = fragment.get("token");
  if (!token) return null;
  fragment.delete("token");
  url.hash = fragment.toString();
  keepToken(document, token);
  return { token, rest: url.href };
}

function keepToken(document: string, token: string): void {
  visit.set(key(document), token);
  for (const store of stores()) {
    try {
      store.setItem(key(document), token);
    } catch (error) {
      console.warn("This browser does not keep the link:", error);
    }
  }
}

export function tokenOf(document: string): string {
  const mine = visit.get(key(document));
  if (mine) return mine;
  for (const store of stores()) {
    const token = store.getItem(key(document));
    if (token) return token;
  }
  return "";
}
