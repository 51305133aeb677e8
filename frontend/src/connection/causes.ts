/**
 * Why the server does not take something: from close codes and reasons to something a person can be told.
 *
 * The server says a stable identifier, perhaps followed by ": " and details (backend/raffia/errors.py).
 */

export type Cause =
  | "signed-out"
  | "access-removed"
  | "deleted"
  | "too-large"
  | "room-full"
  | "newer-version"
  | "read-only"
  | "busy"
  | "restarting"
  | "damaged"
  | "invalid";

const BY_REASON: Record<string, Cause> = {
  "unauthenticated": "signed-out",
  "revoked": "signed-out",
  "forbidden": "access-removed",
  "deleted": "deleted",
  "schema": "newer-version",
  "too-large": "too-large",
  "full": "room-full",
  "quarantined": "damaged",
  "draining": "restarting",
  "malformed": "invalid",
  "malformed-frame": "invalid",
  "malformed-update": "invalid",
  "malformed-presence": "invalid",
};

const BY_CODE: Record<number, Cause> = {
  1012: "restarting",
  1013: "busy",
  4400: "invalid",
  4401: "signed-out",
  4403: "access-removed",
  4404: "deleted",
  4409: "newer-version",
  4413: "too-large",
};

/** What to do about it: these stay, everything else goes away by trying again. */
const PERMANENT: ReadonlySet<Cause> = new Set<Cause>([
  "signed-out", "access-removed", "deleted", "too-large", "newer-version", "invalid", "damaged",
]);

export const isPermanent = (cause: Cause): boolean => PERMANENT.has(cause);

/** From the reason of a denial or of a CLOSE for one document. */
export function causeOfReason(reason: string): Cause {
  return BY_REASON[(reason.split(":", 1)[0] ?? "").trim()] ?? "busy";
}

/** From the close of the socket; null when that says nothing: the network, a server that has gone. */
export function causeOfClose(code: number, reason: string): Cause | null {
  const named = BY_REASON[(reason.split(":", 1)[0] ?? "").trim()];
  if (named) return named;
  if (code === 4408) return null; // the provider's own code for a socket that has gone silent
  return BY_CODE[code] ?? (code >= 4400 && code <= 4499 ? "invalid" : null);
}
