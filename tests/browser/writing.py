"""What people do in a document, and what they see of it: blocks, pictures, files.

await paste(ana, File("é.png", "image/png", png()))
assert await outline(ben) == ["heading2: Plan", "checkListItem[x]: Done", "  paragraph: and why"]
"""

from __future__ import annotations

import base64
from typing import NamedTuple

from playwright.async_api import Download, expect

from tests.browser.people import Person, until


class File(NamedTuple):
    """A file in somebody's clipboard or hand."""

    name: str
    kind: str
    content: bytes

    @property
    def sent(self) -> dict[str, str]:
        """As the page gets it."""
        return {"name": self.name, "kind": self.kind, "content": base64.b64encode(self.content).decode()}


TRANSFER = """({ files, texts }) => {
    const data = new DataTransfer();
    for (const { name, kind, content } of files) {
        data.items.add(new File([Uint8Array.from(atob(content), (char) => char.charCodeAt(0))], name, { type: kind }));
    }
    for (const [kind, text] of Object.entries(texts)) data.setData(kind, text);
    return data;
}"""

OUTLINE = """() => [...document.querySelectorAll(".bn-editor .bn-block-content")].map((block) => {
    const { contentType, level, language } = block.dataset;
    let depth = -1;
    for (let at = block.parentElement; at && !at.matches(".bn-editor"); at = at.parentElement) {
        if (at.matches(".bn-block-group")) depth += 1;
    }
    const box = block.querySelector("input[type=checkbox]");
    const copy = block.cloneNode(true);
    const others = ".peer-cursor, select, svg, button, .ProseMirror-trailingBreak";
    for (const other of copy.querySelectorAll(others)) other.remove();
    const cells = (row) => [...row.children].map((cell) => cell.textContent).join(" | ");
    const text = contentType === "table"
        ? [...copy.querySelectorAll("tr")].map(cells).join(" / ")
        : (copy.querySelector(".bn-inline-content") ?? copy).textContent;
    const mark = box ? (box.checked ? "[x]" : "[ ]") : "";
    const kind = `${contentType}${contentType === "heading" ? level ?? "1" : ""}${mark}`;
    return `${"  ".repeat(Math.max(0, depth))}${kind}: ${text.trim()}`;
})"""

DECODED = """(count) => {
    const images = [...document.querySelectorAll(".bn-editor .bn-visual-media")];
    return images.length === count && images.every((image) => image.complete && image.naturalWidth > 0);
}"""


async def outline(person: Person) -> list[str]:
    """The blocks on this person's page, nested ones indented, without the empty ones at the end."""
    lines: list[str] = await person.page.evaluate(OUTLINE)
    while lines and lines[-1] == "paragraph: ":
        lines.pop()
    return lines


async def shows(person: Person, *lines: str) -> None:
    """Wait until the page shows just these blocks."""
    seen: list[str] = []

    async def same() -> bool:
        seen[:] = await outline(person)
        return seen == list(lines)

    try:
        await until(same, "the blocks")
    except AssertionError:
        assert seen == list(lines), f"{person.name}'s page"
        raise


async def paste(person: Person, *files: File, **texts: str) -> None:
    """Paste where the focus is; `html="…"` and `plain="…"` are what comes along as text."""
    sent = {"files": [file.sent for file in files], "texts": {f"text/{kind}": text for kind, text in texts.items()}}
    await person.page.evaluate(
        f"""(sent) => document.activeElement.dispatchEvent(new ClipboardEvent("paste", {{
            clipboardData: ({TRANSFER})(sent), bubbles: true, cancelable: true }}))""",
        sent,
    )


async def drop(person: Person, x: float, y: float, *files: File) -> bool:
    """Drop files at a point of the page; whether the page took them, so that the browser does not open them."""
    sent = {"files": [file.sent for file in files], "texts": {}}
    taken: bool = await person.page.evaluate(
        f"""([sent, x, y]) => {{
            const target = document.elementFromPoint(x, y);
            const options = {{
                dataTransfer: ({TRANSFER})(sent), clientX: x, clientY: y, bubbles: true, cancelable: true }};
            target.dispatchEvent(new DragEvent("dragover", options));
            return !target.dispatchEvent(new DragEvent("drop", options));
        }}""",
        [sent, x, y],
    )
    return taken


async def decoded(person: Person, count: int) -> None:
    """Wait until the page shows so many pictures, each of them really read."""
    await person.until(DECODED, count)


async def choose_menu(person: Person, item: str) -> None:
    """Something of the page's menu."""
    await person.page.get_by_role("button", name="More").click()
    await person.page.get_by_role("menuitem", name=item).click()


async def download(person: Person, item: str) -> tuple[str, str]:
    """Download by the menu: name and text."""
    async with person.page.expect_download() as waiting:
        await choose_menu(person, item)
    got: Download = await waiting.value
    return got.suggested_filename, (await got.path()).read_text()


async def bring(person: Person, file: File) -> None:
    """Insert a file by the menu."""
    async with person.page.expect_file_chooser() as waiting:
        await choose_menu(person, "Insert a Markdown or HTML file…")
    await (await waiting.value).set_files([{"name": file.name, "mimeType": file.kind, "buffer": file.content}])


async def said(person: Person, text: str) -> None:
    """Wait until the page says something at its bottom."""
    await expect(person.page.locator(".toast").get_by_text(text)).to_be_visible()
