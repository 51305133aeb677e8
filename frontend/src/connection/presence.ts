/**
 * What others say of themselves, checked before anybody reads it.
 *
 * The server passes on any JSON object. The editors believe what stands in it: a cursor that is none stops every keystroke
 * with an exception, and a colour goes into a style as it is.
 *
 * Rules (tests quote these ids):
 *   C1  `user` is a name and a colour, or there is none; `cursor` is two positions, or there is none.
 *   C2  Everything else is kept: whoever reads it checks it.
 */
import { Awareness } from "y-protocols/awareness";
import type * as Y from "yjs";
import { isColour, tidyName } from "../app/identity";

type State = Record<string, unknown>;

const isObject = (value: unknown): value is State => typeof value === "object" && value !== null && !Array.isArray(value);

const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

const isId = (value: unknown): boolean => value == null || (isObject(value) && isCount(value["client"]) && isCount(value["clock"]));

/** A relative position of Yjs, as JSON. */
function isPosition(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { type, tname, item, assoc } = value;
  return isId(type) && isId(item) && (tname == null || tname === "document-store") && (assoc == null || Number.isInteger(assoc)) &&
    (type != null || tname != null || item != null);
}

/** One person's state, made fit (C1). */
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

/** Presence in which nobody else's state is anything but what it should be. */
export class CheckedAwareness extends Awareness {
  constructor(doc: Y.Doc) {
    super(doc);
    const states = new CheckedStates(this.clientID);
    for (const [client, state] of this.states) states.set(client, state);
    this.states = states;
  }
}
