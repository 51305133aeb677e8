/**
 * Access tokens: one per document from share links, and one for the whole server that grants access to the list.
 *
 * Rules (tests quote these ids):
 *   UK1  A token arrives in the URL fragment, which browsers never send, and is removed from the address bar immediately.
 *   UK2  It is stored on this device, so that a bookmark without it keeps working in every tab. If storage is blocked, it
 *       lasts as long as the page is open.
 *   UK3  It is sent only to the server it was issued for, even if one host serves several under different paths.
 *   UK4  A token that arrives at the home page, `/#token=…`, is the fallback for documents without a token of their own.
 *   UK5  A new token does not replace the previous one: an editor who opens a view-only link can still edit. The server
 *       decides which token grants more; see access.ts.
 */

import { ROOT } from "./root";

/** Includes the path prefix, so that servers under other paths of the same host have their own tokens (UK3). */
const KEY = `raffia${ROOT}.token`;
/** The most tokens stored for one document, newest first. */
const MAX_TOKENS = 3;

const listeners = new Set<(document: string) => void>();

/** Subscribe to documents that receive a new token while this page is open. */
export function onTokenChange(listener: (document: string) => void): void {
  listeners.add(listener);
}

export const storageKey = (document: string | null): string => (document === null ? KEY : `${KEY}:${document}`);

/** Tokens that no storage accepts, because it is blocked or full: kept for this visit. */
const inMemory = new Map<string, string[]>();
/** Where tokens are stored, in order of preference: on the device, else with the tab. */
const STORAGES: (() => Storage)[] = [() => localStorage, () => sessionStorage];

function read(key: string): string[] {
  const mine = inMemory.get(key);
  if (mine) return mine;
  for (const store of STORAGES) {
    try {
      const kept = store().getItem(key)?.split(" ").filter(Boolean);
      if (kept?.length) return kept;
    } catch {
      // Blocked by the browser's settings: try the next one.
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
      console.warn("This browser does not store the token:", error);
    }
  }
  inMemory.set(key, tokens);
}

/** Remove the token from a URL and store it, for a document or (null) for the server; null if there is none (UK1). */
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

/** The document's own tokens, best first. */
export const ownTokens = (document: string): string[] => read(storageKey(document));

/** Every token that might open a document, best first (UK4). */
export const tokensOf = (document: string): string[] => [...new Set([...ownTokens(document), ...read(KEY)])];

/** The token for a document or (null) for the list of documents; empty if there is none. */
export const tokenOf = (document: string | null): string => (document === null ? read(KEY) : tokensOf(document))[0] ?? "";

/** Whether a token belongs to a share link, which opens one document only. Read from the token's own claims. */
export function isLink(token: string): boolean {
  try {
    const payload = (token.split(".")[1] ?? "").replace(/-/g, "+").replace(/_/g, "/");
    return "lnk" in (JSON.parse(atob(payload)) as object);
  } catch {
    return false; // not a JWT: the server decides
  }
}
