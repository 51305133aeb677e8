/**
 * Tokens: those of share links, each for its document, and one for the whole server that opens the list of documents.
 *
 * Rules (tests quote these ids):
 *   K1  A token comes in the fragment, which browsers never send, and leaves the address bar at once.
 *   K2  It is kept on this device, so that a bookmark without it goes on working, in every tab; where nothing can be kept,
 *       for as long as the page is open.
 *   K3  It is sent to the server that it came for only, also when a host has several under different paths.
 *   K4  A token that came at the home page, `/#token=…`, is for whatever has none of its own.
 *   K5  A new token does not throw away the one before: who may edit and opens a link for viewing may still edit. Which of
 *       them opens more is asked of the server, see access.ts.
 */

import { ROOT } from "./root";

/** Another server under another path of the same host keeps its own (K3). */
const KEY = `raffia${ROOT}.token`;
/** Kept at most for one document, the newest first. */
const MAX_TOKENS = 3;

const listeners = new Set<(document: string) => void>();

/** Hear of documents that were given another token while this page is open. */
export function onTokenChange(listener: (document: string) => void): void {
  listeners.add(listener);
}

export const storageKey = (document: string | null): string => (document === null ? KEY : `${KEY}:${document}`);

/** Where tokens are kept: on the device; where that is forbidden, with the tab; where that is, too, nowhere. */
/** What storage does not take, because the browser's settings forbid it or it is full: for this visit. */
const inMemory = new Map<string, string[]>();
const STORAGES: (() => Storage)[] = [() => localStorage, () => sessionStorage];

function read(key: string): string[] {
  const mine = inMemory.get(key);
  if (mine) return mine;
  for (const store of STORAGES) {
    try {
      const kept = store().getItem(key)?.split(" ").filter(Boolean);
      if (kept?.length) return kept;
    } catch {
      // Forbidden by the browser's settings: the next one.
    }
  }
  return [];
}

function write(key: string, tokens: string[]): void {
  for (const store of STORAGES) {
    try {
      store().setItem(key, tokens.join(" "));
      inMemory.delete(key);
      return;
    } catch (error) {
      console.warn("This browser does not keep the link:", error);
    }
  }
  inMemory.set(key, tokens);
}

/** Take the token out of an address, of a document's page or (null) of home; null when there was none (K1). */
export function takeToken(document: string | null, address: string): { token: string; rest: string } | null {
  const url = new URL(address);
  const fragment = new URLSearchParams(url.hash.slice(1));
  const token = fragment.get("token")?.replace(/\s+/g, "");
  if (!token) return null;
  fragment.delete("token");
  url.hash = fragment.toString();
  const isNew = tokenOf(document) !== token;
  storeTokens(document, document === null ? [token] : [token, ...read(storageKey(document))]);
  if (isNew && document !== null) for (const listener of listeners) listener(document);
  return { token, rest: url.href };
}

export function storeTokens(document: string | null, tokens: string[]): void {
  write(storageKey(document), [...new Set(tokens)].slice(0, MAX_TOKENS));
}

/** The document's own tokens, the best first. */
export const ownTokens = (document: string): string[] => read(storageKey(document));

/** Every token that could open a document, the best first (K4). */
export const tokensOf = (document: string): string[] => [...new Set([...ownTokens(document), ...read(KEY)])];

/** The token for a document, or for the list of documents; empty when there is none. */
export const tokenOf = (document: string | null): string => (document === null ? read(KEY) : tokensOf(document))[0] ?? "";

/** Whether a token is a share link's: it says so itself, and opens this one document only. */
export function isLink(token: string): boolean {
  try {
    const payload = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    return "lnk" in (JSON.parse(atob(payload)) as object);
  } catch {
    return false; // of another form: the server decides
  }
}
