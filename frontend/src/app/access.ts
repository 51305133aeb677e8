/** What a person may do with a document, and which of their tokens lets them do most. */
import { useEffect, useState } from "react";
import { api, ApiError, type Can } from "./api";
import { isLink, storeTokens, ownTokens, tokenOf, tokensOf } from "./tokens";

const RANK: Record<Can, number> = { read: 1, comment: 2, edit: 3, admin: 4 };
/** Whoever opens a document does not wait longer for a better token. */
const TIMEOUT_MS = 4000;

/** What one token opens; nothing when the server refuses it. */
async function rankOf(document: string, token: string): Promise<number> {
  try {
    return RANK[(await api.get(document, { token, signal: AbortSignal.timeout(TIMEOUT_MS) })).can];
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) return 0;
    throw error;
  }
}

/** Put the token that opens most in front (K5 of tokens.ts); null when there is nothing to choose from. Never fails. */
export function chooseToken(document: string): Promise<void> | null {
  const tokens = tokensOf(document);
  if (tokens.length < 2) return null;
  return Promise.all(tokens.map((token) => rankOf(document, token))).then(
    (ranks) => {
      const own = ownTokens(document);
      const best = tokens.filter((_, at) => ranks[at]).sort((a, b) => (ranks[tokens.indexOf(b)] ?? 0) - (ranks[tokens.indexOf(a)] ?? 0));
      const winner = best[0];
      // Those that open nothing are forgotten, unless none does: then what is said is about the newest.
      if (winner === undefined) storeTokens(document, own.slice(0, 1));
      else storeTokens(document, own.includes(winner) ? [winner] : []);
    },
    // The server cannot be asked now: the newest, and next time again.
    (error: unknown) => { console.info("which token opens more is not known:", error); },
  );
}

export interface Rights {
  /** Null while that is not known. */
  can: Can | null;
  /** New documents can be made: not by those who came by a link. */
  canCreate: boolean;
}

/** What this person may do, asked when the document has opened; a deleted document can be asked about, too. */
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
