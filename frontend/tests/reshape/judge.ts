/**
 * Plays histories of several people on one document, and checks that no letter is lost or doubled.
 *
 * Every letter of a history is unique, so that each can be followed.
 *
 * Rules:
 *   JU1  A letter is shown exactly once, unless it disappeared from the screen of the person who erased or deleted it, or
 *        whose undo took back its typing.
 *   JU2  Only erasing, deleting and undoing make letters disappear from the screen of the person who does it, and undoing
 *        only those that this person has typed. Turning, indenting, splitting and joining leave all letters in order.
 *   JU3  At the end, all pages, a newcomer and the server read the same.
 *        Two people who undo the same deletion bring letters back twice, in every model (Yjs does so); this is counted
 *        apart.
 *   JU4  Letters keep their Yjs ids, unless they were deleted and brought back by undo.
 */
import * as Y from "yjs";
import type { Block, Model, Page } from "./model";

export const KINDS = ["type", "erase", "turn", "indent", "outdent", "split", "join", "move", "remove", "mergeCells", "undo"] as const;
export type Kind = (typeof KINDS)[number];

/** A small generator of pseudo-random numbers, so that a history is known by its seed. */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

export interface Verdict {
  lost: number;
  doubled: number;
  doubledByUndo: number;
  /** Letters that an operation which deletes nothing took from its own person's screen (JU2), or put there twice. */
  broken: number;
  unequal: boolean;
  /** Letters that are there and have another id. */
  changedIds: number;
  letters: number;
  edits: number;
  bytes: number;
  failures: string[];
}

const IN_ORDER: ReadonlySet<Kind> = new Set(["turn", "indent", "outdent", "split", "join"]);

const lettersOf = (blocks: Block[]): string => blocks.map((block) => block.text + (block.cells?.map((cell) => cell.text).join("") ?? "")).join("");

/** The ids of all letters that are in the document. */
function idsOf(doc: Y.Doc): Map<string, string> {
  const ids = new Map<string, string>();
  for (const structs of doc.store.clients.values()) {
    for (const item of structs) {
      if (!(item instanceof Y.Item) || item.deleted || !(item.content instanceof Y.ContentString)) continue;
      for (let i = 0; i < item.content.str.length; i++) ids.set(item.content.str.charAt(i), `${item.id.client}:${item.id.clock + i}`);
    }
  }
  return ids;
}

export class Table {
  readonly server: Y.Doc;
  readonly docs: Y.Doc[] = [];
  readonly pages: Page[] = [];
  private readonly expected = new Set<string>();
  private readonly maybe = new Set<string>();
  private readonly ids = new Map<string, string>();
  private readonly authors = new Map<string, number>();
  private next = 0x4e00;
  readonly verdict: Verdict = { lost: 0, doubled: 0, doubledByUndo: 0, broken: 0, unequal: false, changedIds: 0, letters: 0, edits: 0, bytes: 0, failures: [] };

  constructor(private readonly model: Model, people: number, blocks = 5, hasTable = true) {
    this.server = new Y.Doc({ gc: !model.mend });
    const seeds: Block[] = [];
    for (let i = 0; i < blocks; i++) seeds.push({ id: `b${i}`, type: "paragraph", depth: 0, text: this.word(5) });
    if (hasTable) {
      seeds.push({ id: "t", type: "table", depth: 0, text: "", cells: Array.from({ length: 9 }, (_, i) => ({ id: `t#${Math.floor(i / 3)},${i % 3}`, text: this.word(2) })) });
      seeds.push({ id: "z", type: "paragraph", depth: 0, text: this.word(3) });
    }
    this.server.clientID = 1;
    model.seed(this.server, seeds);
    for (let i = 0; i < people; i++) {
      const doc = new Y.Doc();
      doc.clientID = 10 + i;
      Y.applyUpdate(doc, Y.encodeStateAsUpdate(this.server));
      doc.on("update", (update: Uint8Array, _origin: unknown, _doc: Y.Doc, transaction: Y.Transaction) => {
        if (transaction.local) this.verdict.bytes += update.length;
      });
      this.docs.push(doc);
      this.pages.push(model.open(doc));
    }
    this.rememberIds(this.server);
  }

  word(length: number): string {
    let word = "";
    while (word.length < length) {
      word += String.fromCharCode(this.next);
      this.expected.add(String.fromCharCode(this.next++));
    }
    return word;
  }

  private rememberIds(doc: Y.Doc): void {
    for (const [letter, id] of idsOf(doc)) if (!this.ids.has(letter)) this.ids.set(letter, id);
  }

  /** One person's operation, checked on their own screen. */
  act(person: number, kind: Kind, work: (page: Page, blocks: Block[]) => void): void {
    const page = this.pages[person] as Page;
    const blocks = page.read();
    const before = lettersOf(blocks);
    try {
      work(page, blocks);
    } catch (error) {
      this.verdict.failures.push(`${kind}: ${String(error)}`);
      return;
    }
    this.verdict.edits++;
    this.rememberIds(this.docs[person] as Y.Doc);
    const after = lettersOf(page.read());
    const isDeleting = kind === "erase" || kind === "remove" || kind === "undo";
    for (const letter of before) {
      if (after.includes(letter)) continue;
      if (isDeleting) this.maybe.add(letter);
      if (isDeleting && (kind !== "undo" || this.authors.get(letter) === person)) continue;
      this.verdict.broken++;
      this.verdict.failures.push(`${kind} took a letter`);
    }
    if (kind === "type") for (const letter of after) if (!before.includes(letter)) this.authors.set(letter, person);
    if (IN_ORDER.has(kind) && after !== before) this.verdict.failures.push(`${kind} changed the order`);
    if (kind === "undo") for (const letter of after) if (!before.includes(letter)) { this.ids.delete(letter); this.maybe.add(letter); }
    this.rememberIds(this.docs[person] as Y.Doc);
  }

  sync(person: number): void {
    const doc = this.docs[person] as Y.Doc;
    const update = Y.encodeStateAsUpdate(doc, Y.encodeStateVector(this.server));
    Y.applyUpdate(this.server, update, "remote");
    this.model.mend?.(this.server, update);
    Y.applyUpdate(doc, Y.encodeStateAsUpdate(this.server, Y.encodeStateVector(doc)), "remote");
  }

  end(): Verdict {
    for (let round = 0; round < 3; round++) for (let i = 0; i < this.docs.length; i++) this.sync(i);
    const { verdict } = this;
    const newcomer = new Y.Doc();
    Y.applyUpdate(newcomer, Y.encodeStateAsUpdate(this.server));
    const page = this.model.open(newcomer);
    const read = JSON.stringify(page.read());
    verdict.unequal = this.pages.some((other) => JSON.stringify(other.read()) !== read);
    const counts = new Map<string, number>();
    for (const letter of lettersOf(page.read())) counts.set(letter, (counts.get(letter) ?? 0) + 1);
    const ids = idsOf(this.server);
    for (const letter of this.expected) {
      const count = counts.get(letter) ?? 0;
      if (count > 1 && this.maybe.has(letter)) verdict.doubledByUndo++;
      else if (count > 1) verdict.doubled++;
      if (count === 0 && !this.maybe.has(letter)) verdict.lost++;
      if (count === 0) continue;
      verdict.letters++;
      if (!this.maybe.has(letter) && ids.get(letter) !== this.ids.get(letter)) verdict.changedIds++;
    }
    page.close();
    for (const each of this.pages) each.close();
    return verdict;
  }
}

const TYPES = ["heading", "paragraph", "bulletListItem", "quote"];

/** One random operation of a person. */
export function randomAct(table: Table, person: number, below: (n: number) => number, kinds: readonly Kind[] = KINDS): void {
  const kind = below(3) === 0 ? "type" : kinds[below(kinds.length)] as Kind;
  table.act(person, kind, (page, blocks) => {
    const texts = blocks.filter((block) => !block.cells);
    const block = texts[below(Math.max(texts.length, 1))];
    const cells = blocks.find((each) => each.cells)?.cells ?? [];
    if (kind === "undo") { page.undo(); return; }
    if (kind === "mergeCells") {
      const at = below(cells.length || 1);
      const [into, cell] = [cells[at], cells[at + 1]];
      if (into && cell) page.mergeCells(into.id, cell.id);
      return;
    }
    if (!block) return;
    const cell = cells[below(Math.max(cells.length, 1))];
    const place = kind === "type" && cell && below(5) === 0 ? cell : block;
    const at = below(place.text.length + 1);
    if (kind === "type") page.type(place.id, at, table.word(1 + below(3)));
    else if (kind === "erase") page.erase(block.id, Math.min(at, 2), Math.min(at, 2) + Math.min(2, block.text.length - Math.min(at, 2)));
    else if (kind === "turn") page.turn(block.id, TYPES[below(TYPES.length)] as string);
    else if (kind === "indent") page.indent(block.id);
    else if (kind === "outdent") page.outdent(block.id);
    else if (kind === "split") page.split(block.id, at);
    else if (kind === "join") page.join(block.id);
    else if (kind === "move") page.move(block.id, below(6) === 0 ? null : (texts[below(texts.length)] as Block).id);
    else page.remove(block.id);
  });
}

/** A random history: latency is a delayed exchange, and now and then somebody is offline for a while. */
export function history(model: Model, seed: number, steps = 40): Verdict {
  const below = random(seed);
  const people = 2 + below(2);
  const table = new Table(model, people);
  const offline = new Array<number>(people).fill(0);
  for (let step = 0; step < steps; step++) {
    const person = below(people);
    if (below(15) === 0) offline[person] = 3 + below(12);
    randomAct(table, person, below);
    for (let i = 0; i < people; i++) {
      if ((offline[i] as number) > 0) offline[i] = (offline[i] as number) - 1;
      else if (below(3) === 0) table.sync(i);
    }
  }
  return table.end();
}

type Act = (table: Table, person: number) => void;

const act = (kind: Kind, work: (page: Page, table: Table) => void): Act => (table, person) => {
  table.act(person, kind, (page) => { work(page, table); });
};
const type = act("type", (page, table) => { page.type("b2", 3, table.word(5)); });
const turn = act("turn", (page) => { page.turn("b2", "heading"); });
const tab = act("indent", (page) => { page.indent("b2"); });
const join = act("join", (page) => { page.join("b2"); });
const move = (id: string, behind: string): Act => act("move", (page) => { page.move(id, behind); });
const split = (at: number): Act => act("split", (page) => { page.split("b2", at); });
const remove = act("remove", (page) => { page.remove("b2"); });
const merge = act("mergeCells", (page) => { page.mergeCells("t#0,0", "t#0,1"); });
const typeInCell = act("type", (page, table) => { page.type("t#0,1", 1, table.word(5)); });
const both = (...acts: Act[]): Act => (table, person) => { for (const each of acts) each(table, person); };

/** Two people act at once, without having seen the other's change. */
export const PAIRS: Record<string, [Act, Act]> = {
  "turn / type": [turn, type],
  "Tab / type": [tab, type],
  "Tab / Tab": [tab, tab],
  "Tab / Tab on the next": [tab, act("indent", (page) => { page.indent("b3"); })],
  "turn / turn": [turn, turn],
  "join / type": [join, type],
  "join / join": [join, join],
  "join / join of the next": [join, act("join", (page) => { page.join("b3"); })],
  "Enter / Enter": [split(2), split(3)],
  "Enter / type": [split(2), type],
  "move / type": [move("b2", "b4"), type],
  "move / move": [move("b2", "b4"), move("b2", "b0")],
  "x into y / y into x": [both(move("b1", "b3"), act("indent", (page) => { page.indent("b1"); })), both(move("b3", "b1"), act("indent", (page) => { page.indent("b3"); }))],
  "delete / type": [remove, type],
  "delete parent / child": [remove, act("indent", (page) => { page.indent("b3"); })],
  "equal order": [move("b3", "b0"), move("b4", "b0")],
  "join / Tab": [join, tab],
  "join / move": [join, move("b2", "b4")],
  "delete / join into it": [act("remove", (page) => { page.remove("b1"); }), join],
  "merge cells / type": [merge, typeInCell],
  "delete table / type": [act("remove", (page) => { page.remove("t"); }), typeInCell],
};

/** A pair, then both undo (optional). */
export function pair(model: Model, name: string, withUndo = false): Verdict {
  const table = new Table(model, 2);
  const [one, other] = PAIRS[name] as [Act, Act];
  one(table, 0);
  other(table, 1);
  for (const person of [0, 1, 0]) table.sync(person);
  if (withUndo) {
    table.act(0, "undo", (page) => { page.undo(); });
    for (const person of [0, 1, 0]) table.sync(person);
  }
  return table.end();
}

export const isClean = ({ lost, doubled, broken, unequal, changedIds, failures }: Verdict): boolean =>
  lost + doubled + broken + changedIds + failures.length === 0 && !unequal;
