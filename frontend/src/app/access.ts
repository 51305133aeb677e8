/** What a user may do with a document, and which of their tokens grants the most access. */
import { useEffect, useState } from "react";
import { api, ApiError, type Can } from "./api";
import { isLink, storeTokens, ownTokens, tokenOf, tokensOf } from "./tokens";

const RANK: Record<Can, number> = { read: 1, comment: 2, edit: 3, admin: 4 };
/** How long opening a document may wait for the tokens to be compared. */
const TIMEOUT_MS = 4000;

/** The rank of the access that a token grants; 0 if the server rejects the token. */
async function rankOf(document: string, token: string): Promise<number> {
  try {
    return RANK[(await api.get(document, { token, signal: AbortSignal.timeout(TIMEOUT_MS) })).can];
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) return 0;
    throw error;
  }
}

/** Move the token that grants the most access to the front (UK5 in tokens.ts). Null if there is nothing to choose; never rejects. */
export function chooseToken(document: string): Promise<void> | null {
  const tokens = tokensOf(document);
  if (tokens.length < 2) return null;
  return Promise.all(tokens.map((token) => rankOf(document, token))).then(
    (ranks) => {
      const own = ownTokens(document);
      const best = tokens.filter((_, at) => ranks[at]).sort((a, b) => (ranks[tokens.indexOf(b)] ?? 0) - (ranks[tokens.indexOf(a)] ?? 0));
      const winner = best[0];
      // Drop tokens that grant nothing. If none does, keep the newest: the error message is then about that one.
      if (winner === undefined) storeTokens(document, own.slice(0, 1));
      else storeTokens(document, own.includes(winner) ? [winner] : []);
    },
    // The server cannot be reached: use the newest token, and compare again next time.
    (error: unknown) => { console.info("tokens could not be compared:", error); },
  );
}

export interface Rights {
  /** Null until known. */
  can: Can | null;
  /** Whether the user can create documents; guests with a share link cannot. */
  canCreate: boolean;
}

/** The user's rights, requested once the document is open. Works for deleted documents too. */
export function useRights(document: string, isOpen: boolean): Rights {
  const [can, setCan] = useState<Can | null>(null);
  useEffect(() => {
    if (!isOpen) return;
    const abort = new AbortController();
    api.get(document, { signal: abort.signal }).then(
      (item) => { setCan(item.can); },
      (error: unknown) => { if (!abort.signal.aborted) console.info("rights:", error); },
    );
    return () => { abort.abort(); };
  }, [document, isOpen]);
  return { can, canCreate: !isLink(tokenOf(document)) };
}
