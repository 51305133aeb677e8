/**
 * Maps the server's close codes and reasons to causes that can be explained to the user.
 *
 * A reason is a stable identifier, optionally followed by ": " and details (backend/raffia/errors.py).
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
  "too-contended": "too-large",
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

/** Causes that a retry cannot resolve; all others are temporary. */
const PERMANENT: ReadonlySet<Cause> = new Set<Cause>([
  "signed-out", "access-removed", "deleted", "too-large", "newer-version", "invalid", "damaged",
]);

export const isPermanent = (cause: Cause): boolean => PERMANENT.has(cause);

/** The cause for the reason of a denied authentication, or of a CLOSE message for one document. */
export function causeOfReason(reason: string): Cause {
  return BY_REASON[(reason.split(":", 1)[0] ?? "").trim()] ?? "busy";
}

/** The cause of a closed socket; null if unknown, as when the network or the server has gone away. */
export function causeOfClose(code: number, reason: string): Cause | null {
  const named = BY_REASON[(reason.split(":", 1)[0] ?? "").trim()];
  if (named) return named;
  if (code === 4408) return null; // set by the provider itself for a socket that has gone silent
  return BY_CODE[code] ?? (code >= 4400 && code <= 4499 ? "invalid" : null);
}
