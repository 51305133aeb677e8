/**
 * Tokens of share links, for each document.
 *
 * Rules (tests quote these ids):
 *   K1  A token comes in the fragment, which browsers never send, and leaves the address bar at once.
 *   K2  It is kept on this device, so that a bookmark without it goes on working.
 */

const key = (document: string): string => `weft.token:${document}`;

function stores(): Storage[] {
  try {
    return [sessionStorage, localStorage];
  } catch {
    return []; // forbidden by the browser's settings: the link has to be opened each time
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

export function keepToken(document: string, token: string): void {
  for (const store of stores()) store.setItem(key(document), token);
}

export function tokenOf(document: string): string {
  for (const store of stores()) {
    const token = store.getItem(key(document));
    if (token) return token;
  }
  return "";
}
