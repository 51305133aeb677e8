import { BlockNoteEditor } from "@blocknote/core";
import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { findNewProblem, findProblem, MAX_DEPTH, type Problem, type Rules } from "../../src/document/fit";
import { readable } from "../../src/document/readable";
import { repair } from "../../src/document/repair";

const { pmSchema: schema } = BlockNoteEditor.create();
const rules: Rules = { schema, values: (node, attribute) => (node === "heading" && attribute === "level" ? [1, 2, 3, 4, 5, 6] : undefined) };

type Attributes = Record<string, unknown>;

function element(name: string, attributes: Attributes, ...children: (Y.XmlElement | Y.XmlText)[]): Y.XmlElement {
  const made = new Y.XmlElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value as string);
  made.insert(0, children);
  return made;
}

const words = (text: string): Y.XmlText => new Y.XmlText(text);
const paragraph = (text: string): Y.XmlElement => element("paragraph", {}, words(text));
const block = (text: string): Y.XmlElement => element("blockContainer", { id: text }, paragraph(text));
const cell = (text: string): Y.XmlElement => element("tableCell", {}, element("tableParagraph", {}, words(text)));

/** One paragraph "Größe 😀". */
function open() {
  const doc = new Y.Doc();
  const root = doc.getXmlFragment("document-store");
  root.insert(0, [element("blockGroup", {}, element("blockContainer", { id: "a" }, paragraph("Größe 😀")))]);
  const group = root.get(0) as Y.XmlElement;
  const container = group.get(0) as Y.XmlElement;
  const inner = container.get(0) as Y.XmlElement;
  return { doc, root, group, container, paragraph: inner, text: inner.get(0) as Y.XmlText };
}

type Open = ReturnType<typeof open>;

const nested = (levels: number): Y.XmlElement => {
  let at = block("deepest 😀");
  for (let level = 0; level < levels; level += 1) at = element("blockContainer", {}, paragraph(""), element("blockGroup", {}, at));
  return at;
};

const changes: [string, Problem | null, (document: Open) => void][] = [
  ["a block", null, ({ group }) => { group.push([block("b")]); }],
  ["a block in a block", null, ({ container }) => { container.push([element("blockGroup", {}, block("b"))]); }],
  ["an attribute", null, ({ paragraph }) => { paragraph.setAttribute("textAlignment", "right"); }],
  ["a mark", null, ({ text }) => { text.format(0, 3, { bold: {} }); }],
  ["a mark that is only true", null, ({ text }) => { text.format(0, 3, { bold: true }); }],
  ["an overlapping mark", null, ({ text }) => { text.format(0, 3, { "bold--a1B2c3D4": {} }); }],
  ["a link as earlier versions wrote it", null, ({ text }) => { text.format(0, 3, { link: { href: "https://example.org/", target: "_blank", rel: "x", class: null } }); }],
  ["a colour where earlier versions put it", null, ({ container }) => { container.setAttribute("textColor", "red"); }],
  ["a mark that is removed", null, ({ text }) => { text.format(0, 3, { futureMark: null }); }],
  ["an unknown mark without text", null, ({ text }) => { text.insert(0, "x", { futureMark: {} }); text.delete(0, 1); }],
  ["the title", null, ({ doc }) => { doc.getMap("meta").set("futureField", 1); }],
  ["another text of the document", null, ({ doc }) => { doc.getXmlFragment("other").insert(0, [new Y.XmlElement("futureBlock")]); }],
  ["a block that comes and goes", null, ({ group }) => { group.push([element("blockContainer", {})]); group.delete(1); }],
  ["everything deleted", null, ({ root }) => { root.delete(0, 1); }],
  ["a block without an id (UW5)", null, ({ group }) => { group.push([element("blockContainer", {}, paragraph("b"))]); }],
  ["a repeated id (UW5)", null, ({ group }) => { group.push([element("blockContainer", { id: "a" }, paragraph("b"))]); }],
  ["an empty text beside a block (UW5)", null, ({ group }) => { group.push([words("")]); }],
  ["a table with unequal rows (UW5)", null, ({ group }) => {
    group.push([element("blockContainer", {}, element("table", {}, element("tableRow", {}, cell("1")), element("tableRow", {}, cell("2"), cell("3"))))]);
  }],
  ["bold code, which BlockNote shows as code", null, ({ group }) => {
    const text = words("code");
    group.push([element("blockContainer", {}, element("codeBlock", {}, text))]);
    text.format(0, 4, { bold: {} });
  }],

  ["an unknown block", "unknown", ({ group }) => { group.push([new Y.XmlElement("futureBlock")]); }],
  ["an unknown block deep inside", "unknown", ({ group }) => { group.push([element("blockContainer", {}, element("futureBlock", {}))]); }],
  ["an element named text", "unknown", ({ paragraph }) => { paragraph.push([element("text", {})]); }],
  ["an element named like a method", "unknown", ({ group }) => { group.push([element("constructor", {})]); }],
  ["an unknown mark", "unknown", ({ text }) => { text.format(0, 3, { futureMark: { level: 1 } }); }],
  ["an unknown mark that may overlap", "unknown", ({ text }) => { text.format(0, 3, { "futureMark--a1B2c3D4": true }); }],
  ["an unknown attribute of a mark", "unknown", ({ text }) => { text.format(0, 3, { textColor: { stringValue: "red", futurePart: 1 } }); }],
  ["a mark's value of another kind", "unknown", ({ text }) => { text.format(0, 3, { link: "https://example.org/" }); }],
  ["a link to a number", "unknown", ({ text }) => { text.format(0, 3, { link: { href: 5 } }); }],
  ["an unknown attribute", "unknown", ({ paragraph }) => { paragraph.setAttribute("futureSetting", "on"); }],
  ["an attribute named like a method", "unknown", ({ paragraph }) => { paragraph.setAttribute("toString", "on"); }],
  ["an attribute's value of another kind", "unknown", ({ paragraph }) => { paragraph.setAttribute("textAlignment", 5 as unknown as string); }],
  ["an attribute that is null", "unknown", ({ paragraph }) => { paragraph.setAttribute("textAlignment", null as unknown as string); }],
  ["a heading of level 9", "unknown", ({ group }) => { group.push([element("blockContainer", {}, element("heading", { level: 9 }))]); }],
  ["a cell over a billion columns", "unknown", ({ group }) => {
    const wide = cell("x");
    wide.setAttribute("colspan", 1e9 as unknown as string);
    group.push([element("blockContainer", {}, element("table", {}, element("tableRow", {}, wide)))]);
  }],
  ["something in the text that is no text", "unknown", ({ text }) => { text.insertEmbed(2, { image: "x" }); }],
  ["a hook", "unknown", ({ paragraph }) => { paragraph.push([new Y.XmlHook("futureHook") as unknown as Y.XmlElement]); }],
  ["a map", "unknown", ({ group }) => { group.push([new Y.Map() as unknown as Y.XmlElement]); }],

  ["two paragraphs in one block", "misplaced", ({ container }) => { container.push([paragraph("second")]); }],
  ["text in a group", "misplaced", ({ group }) => { group.insert(0, [words("stray")]); }],
  ["text in the root", "misplaced", ({ root }) => { root.push([words("stray")]); }],
  ["words in a text that was empty and in a wrong place", "misplaced", ({ group }) => { const text = words(""); group.push([text]); text.insert(0, "x"); }],
  ["a block without content", "misplaced", ({ container }) => { container.delete(0, 1); }],
  ["an empty group", "misplaced", ({ container }) => { container.push([element("blockGroup", {})]); }],
  ["a group that became empty", "misplaced", ({ group }) => { group.delete(0, 1); }],
  ["two groups in a block", "misplaced", ({ container }) => { container.push([element("blockGroup", {}, block("b")), element("blockGroup", {}, block("c"))]); }],
  ["a second group", "misplaced", ({ root }) => { root.push([element("blockGroup", {}, block("b"))]); }],
  ["a paragraph outside of a block", "misplaced", ({ group }) => { group.push([paragraph("b")]); }],
  ["a table in a cell", "misplaced", ({ group }) => {
    group.push([element("blockContainer", {}, element("table", {}, element("tableRow", {}, element("tableCell", {}, element("table", {}, element("tableRow", {}, cell("x")))))))]);
  }],
  ["words in a line break", "misplaced", ({ paragraph }) => { paragraph.push([element("hardBreak", {}, words("x"))]); }],
  ["nesting that is too deep", "misplaced", ({ group }) => { group.push([nested(MAX_DEPTH)]); }],
];

/** The words of a document, letters only, in the order in which the document holds them. */
const lettersIn = (text: string): string => text.replace(/<[^>]*>|\s/g, "");

describe("what fits", () => {
  it.each(changes)("%s: the problem is %s (UW1, UW4)", (_what, problem, change) => {
    const theirs = open();
    const mine = new Y.Doc();
    Y.applyUpdate(mine, Y.encodeStateAsUpdate(theirs.doc));
    const root = mine.getXmlFragment("document-store");
    expect(findProblem(root, rules)).toBeNull();
    const brought: (Problem | null)[] = [];
    mine.on("beforeObserverCalls", (transaction) => { brought.push(findNewProblem(transaction, root, rules)); });
    theirs.doc.transact(() => { change(theirs); });
    Y.applyUpdate(mine, Y.encodeStateAsUpdate(theirs.doc));
    expect(brought[0]).toBe(problem);
    expect(findProblem(root, rules)).toBe(problem);
  });

  it.each(changes)("%s: is shown with every word, in a document that fits, and read only (UY1, UY2, UY3)", (_what, _problem, change) => {
    const document = open();
    change(document);
    const before = Y.encodeStateAsUpdate(document.doc);
    const shown = readable(document.root, rules);
    shown.check();
    expect(lettersIn(shown.textBetween(0, shown.content.size, " ", " "))).toBe(lettersIn(document.root.toJSON()).replaceAll("[objectObject]", ""));
    expect(Y.encodeStateAsUpdate(document.doc)).toEqual(before);
    expect(readable(document.root, rules).eq(shown)).toBe(true); // UY4
  });

  it("is the same after a part that did not fit was deleted (UW3)", () => {
    const { root, group, text } = open();
    group.push([new Y.XmlElement("futureBlock"), words("stray")]);
    text.format(0, 3, { futureMark: true });
    expect(findProblem(root, rules)).toBe("unknown");
    group.delete(1);
    text.delete(0, 4);
    expect(findProblem(root, rules)).toBe("misplaced");
    group.delete(1);
    expect(findProblem(root, rules)).toBeNull();
  });
});

describe("repairing", () => {
  it.each(changes.filter(([, problem]) => problem === "misplaced"))("%s: is put in order with every word (UZ1)", (_what, _problem, change) => {
    const document = open();
    change(document);
    const letters = lettersIn(document.root.toJSON());
    repair(document.root, rules);
    expect(findProblem(document.root, rules)).toBeNull();
    expect(lettersIn(document.root.toJSON())).toBe(letters);
  });

  it("does not write blocks that fit, so that others' words in them are kept (UZ2)", () => {
    const mine = open();
    mine.group.insert(0, [block("before")]);
    mine.group.push([element("blockContainer", { id: "two" }, paragraph("left"), paragraph("right")), block("after")]);
    const theirs = new Y.Doc();
    Y.applyUpdate(theirs, Y.encodeStateAsUpdate(mine.doc));
    const root = theirs.getXmlFragment("document-store");
    const blocks = (root.get(0) as Y.XmlElement).toArray() as Y.XmlElement[];
    for (const at of [0, 1, 3]) ((blocks[at]?.get(0) as Y.XmlElement).get(0) as Y.XmlText).insert(0, "more ");
    repair(mine.root, rules);
    Y.applyUpdate(theirs, Y.encodeStateAsUpdate(mine.doc));
    expect(findProblem(root, rules)).toBeNull();
    const shown = readable(root, rules);
    expect(shown.textBetween(0, shown.content.size, "|")).toBe("more before|more Größe 😀|left|right|more after");
  });

  it.each(changes.filter(([, problem]) => problem !== "misplaced"))("%s: is not touched (UZ4)", (_what, _problem, change) => {
    const document = open();
    change(document);
    const before = Y.encodeStateAsUpdate(document.doc);
    repair(document.root, rules);
    expect(Y.encodeStateAsUpdate(document.doc)).toEqual(before);
  });
});

describe("what is shown of a document that does not fit", () => {
  const shownOf = (document: Open): unknown => readable(document.root, rules).toJSON() as unknown;

  it("keeps the form and the ids of what fits (UY1)", () => {
    const document = open();
    document.text.format(0, 5, { bold: {}, futureMark: {} });
    document.container.push([paragraph("second"), element("blockGroup", {}, block("child"))]);
    expect(shownOf(document)).toMatchObject({ content: [{ type: "blockGroup", content: [
      { attrs: { id: "a" }, content: [{ type: "paragraph", content: [{ text: "Größe", marks: [{ type: "bold" }] }, { text: " 😀" }] }] },
      { content: [{ type: "paragraph", content: [{ text: "second" }] }, { type: "blockGroup", content: [{ attrs: { id: "child" } }] }] },
    ] }] });
  });

  it("has each id once (UY4)", () => {
    const document = open();
    document.group.push([element("blockContainer", { id: "a" }, paragraph("b"), paragraph("c"))]);
    const ids: unknown[] = [];
    readable(document.root, rules).descendants((node) => { if (node.type.name === "blockContainer") ids.push(node.attrs["id"]); });
    expect(new Set(ids).size).toBe(3);
    expect(ids.every((id) => typeof id === "string")).toBe(true);
  });

  it("has words from strings, maps and texts in texts as well (UY1)", () => {
    const document = open();
    document.text.insertEmbed(5, new Y.XmlText(" inside"));
    document.group.push([new Y.Text("plain") as unknown as Y.XmlText]);
    const shown = readable(document.root, rules);
    shown.check();
    expect(shown.textBetween(0, shown.content.size, "|")).toBe("Größe inside 😀|plain");
  });

  it("is one empty paragraph if there is nothing", () => {
    const document = open();
    document.root.delete(0, 1);
    expect(shownOf(document)).toMatchObject({ content: [{ content: [{ content: [{ type: "paragraph" }] }] }] });
  });
});
