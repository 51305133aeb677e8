/** MK1, MK2 of markdown.ts, and the URLs of urls.ts. */
import { describe, expect, it } from "vitest";
import { escapeBlocks, escapeText, escapeUrl, mapText, unescapeBlocks, unescapeText } from "../../src/document/markdown";
import { safeUrl } from "../../src/document/urls";

const paragraph = (text: string, styles: object = {}) =>
  ({ type: "paragraph", props: {}, content: [{ type: "text", text, styles }] as unknown, children: [] as unknown[] });

describe("MK1: text stays text", () => {
  it.each([
    ["<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)>"],
    ["[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"],
    ["*a* _b_ ~~c~~ `d` \\", "\\*a\\* \\_b\\_ \\~\\~c\\~\\~ \\`d\\` \\\\"],
    ["&lt;script&#62; AT&T", "&amp;lt;script&amp;#62; AT&T"],
    ["# x", "\\# x"], ["### x", "##\\# x"], ["- x", "\\- x"], ["+ x", "\\+ x"], ["1. x", "1\\. x"], ["12) x", "12\\) x"], ["> x", "\\> x"], ["---", "\\---"],
    ["a\n# x", "a\n\\# x"],
    ["snake_case, 3 - 4, #5, 1.5, -5, $& $` $$1 😀", "snake_case, 3 - 4, #5, 1.5, -5, $& $\\` $$1 😀"],
  ])("%j", (text, shown) => { expect(escapeText(text, true)).toBe(shown); });

  it("in the middle of a line nothing begins a block", () => { expect(escapeText("# x", false)).toBe("# x"); });

  it("two texts do not make a tag together", () => {
    const [block] = escapeBlocks([{ ...paragraph(""), content: [{ type: "text", text: "<", styles: {} }, { type: "text", text: "img>", styles: { textColor: "red" } }] }]);
    expect(JSON.stringify(block?.content)).not.toContain("<");
  });

  it("code is left alone", () => {
    const code = paragraph("<b>*", { code: true });
    const block = { type: "codeBlock", props: { language: "js" }, content: [{ type: "text", text: "<b>*", styles: {} }], children: [] };
    expect(escapeBlocks([code, block])).toEqual([code, block]);
  });

  it("a language is one word", () => {
    const languages = ["c++", "x\n```\n<script>", "a b"].map((language) => escapeBlocks([{ type: "codeBlock", props: { language }, children: [] }])[0]?.props.language);
    expect(languages).toEqual(["c++", "", ""]);
  });

  it("names and captions are one line, and escaped where BlockNote does not", () => {
    const image = { type: "image", props: { url: "u", name: "a]\n<b>", caption: "", showPreview: true }, children: [] };
    expect(escapeBlocks([image])[0]?.props.name).toBe("a\\] &lt;b>");
    expect(escapeBlocks([{ ...image, props: { ...image.props, caption: "c\n\n<d>" } }])[0]?.props).toMatchObject({ name: "a] <b>", caption: "c <d>" });
    expect(escapeBlocks([{ ...image, type: "file", props: { ...image.props, caption: "# <d>" } }])[0]?.props).toMatchObject({ name: "a\\] &lt;b>", caption: "\\# &lt;d>" });
  });

  it("tables, links and children too", () => {
    const cell = { type: "tableCell", props: {}, content: [{ type: "text", text: "<i>", styles: {} }] };
    const table = { type: "table", props: {}, content: { type: "tableContent", rows: [{ cells: [cell, [{ type: "text", text: "*", styles: {} }], "<p>"] }] }, children: [] };
    const link = { ...paragraph(""), content: [{ type: "link", href: "x <b>", content: [{ type: "text", text: "<u>", styles: {} }] }], children: [table] };
    const shown = JSON.stringify(escapeBlocks([link]));
    expect(shown).not.toContain("<");
    expect(shown).toContain("x%20%3Cb%3E");
    expect(shown).toContain("\\\\*");
  });

  it("comes back", () => {
    const text = "<b> &lt; &amp;amp; AT&T";
    expect(unescapeText(escapeText(text))).toBe(text);
    expect(unescapeBlocks(escapeBlocks([paragraph(text)]))).toEqual([paragraph(text)]);
    const image = { type: "image", props: { name: "a] \\ `<b>`", caption: "" }, children: [] };
    expect(unescapeBlocks(escapeBlocks([image]))).toEqual([image]);
    expect(mapText(undefined, escapeText, escapeUrl)).toBeUndefined();
  });
});

describe("MK2: a URL stays one URL", () => {
  it.each([
    ["https://h/x?a=$$1&b=$&", "https://h/x?a=$$1&b=$&"],
    ["https://h/é😀/[1]", "https://h/é😀/[1]"],
    ["http://h/a) <img src=x onerror=alert(1)>", "http://h/a%29%20%3Cimg%20src=x%20onerror=alert%281%29%3E"],
    ["http://h/\"'`\\\n|", "http://h/%22%27%60%5C%0A%7C"],
    ["&#106;avascript:x", "%26#106;avascript:x"],
    ["javascript:alert(1)", "about:blank"],
  ])("%j", (url, shown) => { expect(escapeUrl(url)).toBe(shown); });

  it.each(["javascript:x", " JavaScript:x", "java\nscript:x", "\u0001javascript:x", "vbscript:x", "data:text/html,x", "data:image/../x".replace("image/", "text/"), "file:///etc/passwd"])(
    "%j could run a script or is not for others", (url) => { expect(safeUrl(url)).toBe("about:blank"); });

  it.each(["https://h/x", "/api/files/x", "x.png", "mailto:a@b", "data:image/png;base64,AA=="])("%j stays", (url) => { expect(safeUrl(url)).toBe(url); });
});
