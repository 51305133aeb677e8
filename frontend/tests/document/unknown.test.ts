import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { addsUnknown, Copy, hasUnknown, type Schema } from "../../src/document/unknown";

const node = (...attrs: string[]) => ({ spec: { attrs: Object.fromEntries(attrs.map((name) => [name, {}])) } });
const schema: Schema = {
  nodes: { blockGroup: node(), blockContainer: node("id"), paragraph: node("textAlignment") },
  marks: { bold: {}, comment: {} },
};

/** One paragraph "Größe 😀". */
function open(): { doc: Y.Doc; group: Y.XmlElement; paragraph: Y.XmlElement; text: Y.XmlText } {
  const doc = new Y.Doc();
  const group = new Y.XmlElement("blockGroup");
  const container = new Y.XmlElement("blockContainer");
  const paragraph = new Y.XmlElement("paragraph");
  const text = new Y.XmlText("Größe 😀");
  doc.getXmlFragment("document-store").insert(0, [group]);
  group.insert(0, [container]);
  container.setAttribute("id", "a");
  container.insert(0, [paragraph]);
  paragraph.insert(0, [text]);
  return { doc, group, paragraph, text };
}

type Open = ReturnType<typeof open>;

const changes: [string, boolean, (document: Open) => void][] = [
  ["a block of the schema", false, ({ group }) => { group.push([new Y.XmlElement("blockContainer")]); }],
  ["a setting of the schema", false, ({ paragraph }) => { paragraph.setAttribute("textAlignment", "right"); }],
  ["a mark of the schema", false, ({ text }) => { text.format(0, 3, { bold: {} }); }],
  ["an overlapping mark", false, ({ text }) => { text.format(0, 3, { "comment--a1B2c3D4": {} }); }],
  ["a colour where earlier versions put it", false, ({ group }) => { (group.get(0) as Y.XmlElement).setAttribute("textColor", "red"); }],
  ["a mark that is taken away", false, ({ text }) => { text.format(0, 3, { futureMark: null }); }],
  ["the title", false, ({ doc }) => { doc.getMap("meta").set("futureField", 1); }],
  ["another text of the document", false, ({ doc }) => { doc.getXmlFragment("other").insert(0, [new Y.XmlElement("futureBlock")]); }],
  ["an unknown block", true, ({ group }) => { group.push([new Y.XmlElement("futureBlock")]); }],
  ["an unknown block deep inside", true, ({ group }) => {
    const container = new Y.XmlElement("blockContainer");
    container.insert(0, [new Y.XmlElement("futureBlock")]);
    group.push([container]);
  }],
  ["an unknown mark", true, ({ text }) => { text.format(0, 3, { futureMark: { level: 1 } }); }],
  ["an unknown mark that may overlap", true, ({ text }) => { text.format(0, 3, { "futureMark--a1B2c3D4": true }); }],
  ["an unknown setting", true, ({ paragraph }) => { paragraph.setAttribute("futureSetting", "on"); }],
  ["something in the text that is no text", true, ({ text }) => { text.insertEmbed(2, { image: "x" }); }],
  ["a hook", true, ({ paragraph }) => { paragraph.push([new Y.XmlHook("futureHook") as unknown as Y.XmlElement]); }],
];

describe("what the editor does not know", () => {
  it.each(changes)("%s: unknown is %s (UW1)", (_what, unknown, change) => {
    const theirs = open();
    const mine = new Y.Doc();
    Y.applyUpdate(mine, Y.encodeStateAsUpdate(theirs.doc));
    const root = mine.getXmlFragment("document-store");
    expect(hasUnknown(root, schema)).toBe(false);
    const brought: boolean[] = [];
    mine.on("beforeObserverCalls", (transaction) => { brought.push(addsUnknown(transaction, root, schema)); });
    change(theirs);
    Y.applyUpdate(mine, Y.encodeStateAsUpdate(theirs.doc));
    expect(brought[0]).toBe(unknown);
    expect(hasUnknown(root, schema)).toBe(unknown);
  });

  it("is gone when it was deleted (UW3)", () => {
    const { doc, group, text } = open();
    group.push([new Y.XmlElement("futureBlock")]);
    text.format(0, 3, { futureMark: true });
    const root = doc.getXmlFragment("document-store");
    expect(hasUnknown(root, schema)).toBe(true);
    group.delete(1);
    text.delete(0, 4);
    expect(hasUnknown(root, schema)).toBe(false);
  });

  it("is not in the copy that is shown, which follows the document and gives nothing back", () => {
    const { doc, text } = open();
    text.format(0, 3, { futureMark: true });
    const copy = new Copy(doc, "document-store", schema);
    const end = copy.start();
    const shown = copy.doc.getXmlFragment("document-store");
    expect(shown.toJSON()).toContain("Größe 😀");
    expect(hasUnknown(shown, schema)).toBe(false);
    text.insert(0, "Die ", { futureMark: true });
    expect(shown.toJSON()).toContain("Die Größe 😀");
    expect(hasUnknown(shown, schema)).toBe(false);
    const before = Y.encodeStateAsUpdate(doc);
    shown.delete(0, 1);
    expect(Y.encodeStateAsUpdate(doc)).toEqual(before);
    end();
  });
});
