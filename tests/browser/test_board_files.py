"""What goes into a board from files, and out of it."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, expect

from tests.browser.boards import EXCALIDRAW, Board, meet, same, stored
from tests.browser.people import until
from tests.browser.scene import Scene
from tests.support.images import png

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20" fill="red"/></svg>'


async def decoded(board: Board, name: str) -> bool:
    """Whether the bytes of an image element are here and make a picture."""
    return bool(
        await board.page.evaluate(
            f"""async name => {{
                const app = ({EXCALIDRAW})();
                const element = app.getSceneElementsIncludingDeleted().find(({{ id }}) => id === name);
                const file = element && app.files[element.fileId];
                if (!file) return false;
                const image = new Image();
                image.src = file.dataURL;
                await image.decode();
                return image.naturalWidth > 0 && app.imageCache.has(element.fileId);
            }}""",
            name,
        )
    )


@pytest.mark.scenario
async def test_images_are_seen_by_others(scene: Scene) -> None:
    document, ana, ben = await meet(scene)
    await ana.paste(("é.png", "image/png", png(30, 20, filler=b"one")), at=(400, 300))
    await ana.count(1)
    pasted = (await ana.elements())[0]["id"]
    # One picture that the server takes as it is, one that it does not, at once.
    await ben.drop(("b.png", "image/png", png(30, 20, filler=b"two")), ("c.svg", "image/svg+xml", SVG), at=(800, 400))
    for board in (ana, ben):
        await board.count(3)
        for element in await board.elements():
            assert element["type"] == "image"
            name = element["id"]
            await until(lambda board=board, name=name: decoded(board, name), f"{board.person.name} sees {name}")
    await ben.sees(pasted, width=30, height=20)
    await same(scene, document, ana, ben)
    await ana.person.chip("saved", "live")

    # What is no picture, or too large a one, is refused with a word, and nothing else is changed.
    await ana.drop(("x.pdf", "application/pdf", b"%PDF-1.7"))
    await expect(ana.page.locator(".toast", has_text="could not be read")).to_be_visible()
    await ana.drop(("big.gif", "image/gif", b"GIF89a" + b"\0" * (5 << 20)))
    await expect(ana.page.get_by_role("dialog").filter(has_text="4MB")).to_be_visible()
    await ana.person.press("Escape")
    await ana.count(3)
    ana.forgive("resizing image file")
    assert len(await same(scene, document, ana, ben)) == 3


SLOW_READING = """() => {
    const digest = crypto.subtle.digest.bind(crypto.subtle);
    const gate = new Promise((resolve) => { window.goOn = resolve; });
    Object.defineProperty(crypto.subtle, "digest", { value: async (...of) => { await gate; return digest(...of); } });
}"""


@pytest.mark.scenario(alone=True)
async def test_an_image_arrives_although_others_change_its_place_while_it_is_read(scene: Scene) -> None:
    document, ana, ben = await meet(scene)
    await ana.page.evaluate(SLOW_READING)  # Excalidraw names an image by its digest
    await ana.paste(("é.png", "image/png", png(30, 20, filler=b"one")), at=(400, 300))
    await ana.count(1)
    await ben.count(1)
    (before,) = await ben.elements()
    assert before["fileId"] is None
    await ben.select(before["id"], across=0.5)
    await ben.person.press("ArrowRight", "ArrowRight")
    moved = await ben.sees(before["id"], x=lambda x: x > before["x"])
    await ana.sees(before["id"], x=moved["x"])
    await ana.page.evaluate("() => window.goOn()")
    for board in (ana, ben):
        await board.sees(before["id"], width=30, height=20)
        await until(lambda board=board: decoded(board, before["id"]), f"{board.person.name} sees the image")
    await same(scene, document, ana, ben)


async def menu(board: Board, label: str) -> Locator:
    """An entry of the menu at the top right."""
    await board.page.get_by_role("button", name="More", exact=True).click()
    return board.page.get_by_role("menuitem", name=label)


async def export(board: Board, label: str) -> bytes:
    """What the browser is given to save."""
    entry = await menu(board, label)
    async with board.page.expect_download() as download:
        await entry.click()
    return Path(await (await download.value).path()).read_bytes()


def file(elements: list[Any], **fields: Any) -> bytes:
    """An `.excalidraw` file."""
    return json.dumps({"type": "excalidraw", "version": 2, "elements": elements, "appState": {}, **fields}).encode()


async def test_boards_go_into_files_and_come_back(scene: Scene) -> None:
    document, ana, ben = await meet(scene)
    box = await ana.draw("r", (300, 200), (500, 300))
    await ana.write((350, 400), "Grüße 😀")
    await ana.paste(("é.png", "image/png", png(30, 20)), at=(700, 300))
    await ben.count(3)
    before = await same(scene, document, ana, ben)

    saved = await export(ana, "Download as .excalidraw")
    content = json.loads(saved)
    assert [element["id"] for element in content["elements"]] == [element["id"] for element in before]
    assert [each["mimeType"] for each in content["files"].values()] == ["image/png"]
    picture = await export(ana, "Download as PNG")
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert width > 2 * 400
    assert height > 2 * 150
    drawing = (await export(ana, "Download as SVG")).decode()
    assert drawing.startswith("<svg")
    assert "Grüße" in drawing
    hosts = set(re.findall(r"""(?:href|src)=["'](https?:[^"']*)|url\(["']?(https?:[^)"']*)""", drawing))
    assert hosts == set(), hosts
    ana.forgive("subsetting")  # it needs eval, which pages may not use: the whole font is embedded then

    # A file is added to what is there, twice if need be, dropped or chosen, whatever it is called.
    await ana.drop(("é.excalidraw", "", saved))
    await ben.count(6)
    await ana.drop(("é.json", "application/json", saved))
    await ben.count(9)
    seen = await same(scene, document, ana, ben)
    assert [element["id"] for element in seen[:3]] == [element["id"] for element in before]
    assert len({element["id"] for element in seen}) == 9
    assert await ben.sees(box, x=before[0]["x"], y=before[0]["y"])

    # What cannot be read says so; nothing is lost.
    toast = ana.page.locator(".toast")
    for name, broken, words in [
        ("cut.excalidraw", saved[: len(saved) // 2], "could not be read"),
        ("null.excalidraw", file([None]), "could not be read"),
        ("huge.excalidraw", file([{"id": "x", "type": "text", "text": "é" * (9 << 20)}]), "too large"),
        ("a.excalidrawlib", b'{"type": "excalidrawlib", "version": 2, "libraryItems": []}', "could not be read"),
    ]:
        await ana.drop((name, "", broken))
        await expect(toast.filter(has_text=words).last).to_be_visible()
        await toast.locator("button").evaluate_all("buttons => buttons.forEach((button) => button.click())")
        await expect(toast).to_have_count(0)
    assert len(await same(scene, document, ana, ben)) == 9
    entry = await menu(ana, "Add an .excalidraw file…")
    async with ana.page.expect_file_chooser() as chooser:
        await entry.click()
    chosen = {"name": "é.excalidraw", "mimeType": "application/json", "buffer": saved}
    await (await chooser.value).set_files([chosen])  # type: ignore[list-item]
    await ben.count(12)
    await ana.person.press("Control+z")
    await ben.count(9)
    await same(scene, document, ana, ben)


async def test_many_elements_are_pasted_at_once(scene: Scene) -> None:
    document, ana, ben = await meet(scene)
    many = [
        {"id": f"e{at}", "type": "rectangle", "x": at % 25 * 40, "y": at // 25 * 30, "width": 30, "height": 20}
        for at in range(500)
    ]
    await ana.paste(text=json.dumps({"type": "excalidraw/clipboard", "elements": many}))
    await ben.count(500)
    assert len(await same(scene, document, ana, ben)) == 500
    # In one step, and back.
    await ana.person.press("Control+z")
    await ben.count(0)
    await ana.person.press("Control+Shift+z")
    await ben.count(500)
    await same(scene, document, ana, ben)
    kept = await stored(scene, document)
    assert len(kept) == 500
