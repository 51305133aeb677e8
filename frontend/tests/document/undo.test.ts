import { describe, expect, it } from "vitest";
import * as Y from "yjs";
import { canUndo } from "../../src/document/undo";

function block(id: string, text: string, name = "paragraph"): Y.XmlElement {
  const container = new Y.XmlElement("blockContainer");
  container.setAttribute("id", id);
  const content = new Y.XmlElement(name);
  content.setAttribute("textAlignment", "left");
  content.insert(0, [new Y.XmlText(text)]);
  container.insert(0, [content]);
  return container;
}

function open(): { mine: Y.Doc; theirs: Y.Doc; group: Y.XmlElement; undo: Y.UndoManager; sync: () => void } {
  const [mine, theirs] = [new Y.Doc(), new Y.Doc()];
  const fragment = mine.getXmlFragment("document-store");
  const group = new Y.XmlElement("blockGroup");
  fragment.insert(0, [group]);
  const undo = new Y.UndoManager(fragment, { trackedOrigins: new Set(["me"]), captureTimeout: 0, deleteFilter: canUndo });
  const sync = (): void => {
    Y.applyUpdate(theirs, Y.encodeStateAsUpdate(mine));
    Y.applyUpdate(mine, Y.encodeStateAsUpdate(theirs));
  };
  return { mine, theirs, group, undo, sync };
}

const textOf = (doc: Y.Doc, at: number): Y.XmlText => {
  const group = doc.getXmlFragment("document-store").get(0) as Y.XmlElement;
  return ((group.get(at) as Y.XmlElement).get(0) as Y.XmlElement).get(0) as Y.XmlText;
};
const xml = (doc: Y.Doc): string => doc.getXmlFragment("document-store").toJSON();

describe("undo", () => {
  it("removes a block that only I have written in, and redo brings it back", () => {
    const { mine, group, undo } = open();
    mine.transact(() => { group.insert(0, [block("a", "é😀")]); }, "me");
    undo.undo();
    expect(group.length).toBe(0);
    undo.redo();
    expect(xml(mine)).toContain('<blockcontainer id="a"><paragraph textAlignment="left">é😀</paragraph></blockcontainer>');
  });

  it("keeps others' words in a block of mine, with the block's id (UU1, UU2)", () => {
    const { mine, theirs, group, undo, sync } = open();
    mine.transact(() => { group.insert(0, [block("a", "mine")]); }, "me");
    sync();
    textOf(theirs, 0).insert(4, " and yours");
    sync();
    undo.undo();
    expect(xml(mine)).toBe('<blockgroup><blockcontainer id="a"><paragraph textAlignment="left"> and yours</paragraph></blockcontainer></blockgroup>');
    undo.redo();
    expect(textOf(mine, 0).toJSON()).toBe("mine and yours");
  });

  it("takes back a changed attribute", () => {
    const { mine, group, undo } = open();
    mine.transact(() => { group.insert(0, [block("a", "x")]); }, "me");
    const paragraph = (group.get(0) as Y.XmlElement).get(0) as Y.XmlElement;
    mine.transact(() => { paragraph.setAttribute("textAlignment", "center"); }, "me");
    undo.undo();
    expect(paragraph.getAttribute("textAlignment")).toBe("left");
  });
});
