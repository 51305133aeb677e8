/**
 * Validates other clients' presence before it is used.
 *
 * The server relays any JSON object, and the editors trust it: an invalid cursor makes every keystroke throw, and a
 * colour is inserted into a style unchanged.
 *
 * Rules (tests quote these ids):
 *   UQ1  `user` is a name and a colour, or absent; `cursor` is two positions, or absent.
 *   UQ2  All other fields pass through; the code that reads them validates them.
 */
import { Awareness } from "y-protocols/awareness";
import type * as Y from "yjs";
import { isColour, tidyName } from "../app/identity";

type State = Record<string, unknown>;

const isObject = (value: unknown): value is State => typeof value === "object" && value !== null && !Array.isArray(value);

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

const isId = (value: unknown): boolean => value == null || (isObject(value) && isCount(value["client"]) && isCount(value["clock"]));

/** Whether a value is a Yjs relative position in JSON form. */
function isPosition(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { type, tname, item, assoc } = value;
  return isId(type) && isId(item) && (tname == null || tname === "document-store") && (assoc == null || Number.isInteger(assoc)) &&
    (type != null || tname != null || item != null);
}

/** Sanitize one client's state (UQ1). */
export function sanitizeState(state: State): State {
  const { user, cursor, ...rest } = state;
  const result: State = rest;
  if (isObject(user)) {
    result["user"] = {
      ...(typeof user["id"] === "string" ? { id: user["id"] } : {}),
      name: tidyName(user["name"]),
      color: isColour(user["color"]) ? user["color"] : "#6b7280",
    };
  }
  if (isObject(cursor) && isPosition(cursor["anchor"]) && isPosition(cursor["head"])) result["cursor"] = cursor;
  return result;
}

class CheckedStates extends Map<number, State> {
  constructor(private readonly own: number) {
    super();
  }

  override set(client: number, state: State): this {
    return super.set(client, client === this.own ? state : sanitizeState(state));
  }
}

/** An `Awareness` that sanitizes the states of all other clients. */
export class CheckedAwareness extends Awareness {
  constructor(doc: Y.Doc) {
    super(doc);
    const states = new CheckedStates(this.clientID);
    for (const [client, state] of this.states) states.set(client, state);
    this.states = states;
  }
}
