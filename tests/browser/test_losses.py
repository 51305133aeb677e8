"""Ways to lose work that people have met: labels on boards, images of other documents, unsent changes.

Typing is as slow as a person's, with pauses: without them, a shape and its label reach the others together.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest
from playwright.async_api import expect

from tests.browser.boards import NOWHERE, Board, meet, same
from tests.browser.people import until
from tests.browser.programs import markup
from tests.browser.scene import Scene
from tests.browser.writing import File, decoded, paste
from tests.support.images import png

WYSIWYG = "textarea.excalidraw-wysiwyg"
KEY_MS = 120
# Between two actions of a person: longer than the pause after which the board commits changes (UB2).
PAUSE_S = 0.7


async def pause() -> None:
    """What a person takes before the next action."""
    await asyncio.sleep(PAUSE_S)


async def start_label(board: Board, name: str) -> None:
    """Open the label of a shape for editing."""
    await board.tool("v")
    await board.page.mouse.dblclick(*await board.spot(name))
    await expect(board.page.locator(WYSIWYG)).to_be_focused()
    await pause()


async def end_label(board: Board) -> None:
    """Click elsewhere."""
    await pause()
    await board.page.mouse.click(*NOWHERE)
    await expect(board.page.locator(WYSIWYG)).to_have_count(0)


async def label_of(board: Board, container: str) -> dict[str, Any]:
    """The label that a container shows here: tied from both sides."""
    found: list[dict[str, Any]] = []

    async def tied() -> bool:
        bound = {one["id"] for one in (await board.element(container) or {}).get("boundElements") or []}
        found[:] = [
            element
            for element in await board.elements()
            if element["type"] == "text" and element["containerId"] == container and element["id"] in bound
        ]
        return len(found) == 1

    await until(tied, f"{board.person.name} sees the label in its shape")
    return found[0]


async def in_place(board: Board, container: str) -> None:
    """Wait until the label is in the middle of its shape."""

    async def centred() -> bool:
        box, label = await board.element(container), await label_of(board, container)
        return box is not None and all(
            abs(box[at] + box[size] / 2 - label[at] - label[size] / 2) <= 2
            for at, size in (("x", "width"), ("y", "height"))
        )

    await until(centred, f"{board.person.name} sees the label in the middle")


@pytest.mark.scenario
async def test_a_label_typed_with_pauses_is_shown_and_moves_with_its_shape(scene: Scene) -> None:
    document, ana, ben = await meet(scene)
    box = await ana.draw("r", (300, 250), (500, 350))
    await pause()
    await start_label(ana, box)
    await ana.page.keyboard.type("Küche", delay=KEY_MS)
    await end_label(ana)
    for board in (ana, ben):
        assert (await label_of(board, box))["originalText"] == "Küche"
    await same(scene, document, ana, ben)
    await ben.move(box, (150, 100))
    for board in (ana, ben):
        await in_place(board, box)
    await same(scene, document, ana, ben)


async def test_two_people_in_one_label_keep_the_words_of_both(scene: Scene) -> None:
    _, ana, ben = await meet(scene)
    box = await ana.draw("r", (300, 250), (600, 400))
    await start_label(ana, box)
    await ana.page.keyboard.type("Label", delay=KEY_MS)
    await end_label(ana)
    await label_of(ben, box)
    for board in (ana, ben):
        await start_label(board, box)
        await board.person.press("End")
    await ana.page.keyboard.type(" one", delay=KEY_MS)
    await pause()
    await ben.page.keyboard.type(" two", delay=KEY_MS)
    for board in (ana, ben):
        await end_label(board)
    for board in (ana, ben):
        words: list[str] = []

        async def both(board: Board = board, words: list[str] = words) -> bool:
            words[:] = sorted((await label_of(board, box))["originalText"].split())
            return words == ["Label", "one", "two"]

        await until(both, f"{board.person.name} sees the words of both, not {words}")
        await in_place(board, box)


async def test_a_label_stays_in_a_shape_that_another_user_moves_meanwhile(scene: Scene) -> None:
    _, ana, ben = await meet(scene)
    box = await ana.draw("r", (300, 250), (500, 350))
    await start_label(ana, box)
    await ana.page.keyboard.type("Label", delay=KEY_MS)
    await end_label(ana)
    await label_of(ben, box)
    await start_label(ana, box)
    await ana.person.press("End")
    await ana.page.keyboard.type(" more", delay=KEY_MS)
    await ben.move(box, (150, 150))
    await pause()
    await ana.page.keyboard.type(" words", delay=KEY_MS)
    await end_label(ana)
    for board in (ana, ben):
        await in_place(board, box)
    cara = Board(await scene.invite("Cara"))
    await cara.open(ana.page.url.rpartition("/")[2])
    await in_place(cara, box)


@pytest.mark.scenario
async def test_an_image_pasted_from_another_document_survives_it(scene: Scene) -> None:
    first, second = await scene.create("document", "Eins"), await scene.create("document", "Zwei")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(first)
    await ana.write("Bild:")
    await ana.press("Enter")
    await paste(ana, File("a.png", "image/png", png(40, 30)))
    await decoded(ana, 1)
    await ana.chip("saved")
    source = await markup(scene.place, first)
    path = source[source.index("/api/files/") :].partition('"')[0]
    await ana.open(second)
    await ana.write("Kopie:")
    await ana.press("Enter")
    await paste(ana, html=f'<p>Vorher</p><img src="{path}"><p>Nachher</p>', plain="Vorher Nachher")

    async def copied() -> bool:
        text = await markup(scene.place, second)
        return f"/api/files/{second}/" in text and f"/api/files/{first}/" not in text

    await until(copied, "the image is a file of the second document")
    httpx.delete(f"{scene.place.http}/api/documents/{first}").raise_for_status()
    await ben.open(second)
    await decoded(ben, 1)


async def test_images_within_pasted_html_are_uploaded(scene: Scene) -> None:
    document = await scene.create("document", "Büro")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await ben.open(document)
    await ana.write("Vorher")
    await ana.press("Enter")
    source = "data:image/png;base64," + base64.b64encode(png(40, 30)).decode()
    await paste(ana, html=f'<p>Eins</p><p><img src="{source}"></p><p>Zwei</p>', plain="Eins Zwei")
    await decoded(ben, 1)
    await ana.chip("saved")
    text = await markup(scene.place, document)
    assert "base64" not in text
    assert "raffia-paste" not in text
    assert "Eins" in text
    assert "Zwei" in text


async def test_a_paste_that_is_too_large_is_refused_whole(scene: Scene) -> None:
    document = await scene.create("document", "Groß")
    ana = await scene.invite("Ana")
    await ana.open(document)
    await ana.write("Vorher")
    await ana.page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.setData("text/html", `<p>${"viel ".repeat(1_000_000)}</p>`);
            document.activeElement.dispatchEvent(
                new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
        }"""
    )
    await expect(ana.page.locator(".toast")).to_contain_text("Nothing was inserted")
    await ana.page.keyboard.type(" danach")
    await ana.chip("saved")
    assert "viel" not in await markup(scene.place, document)
    await ana.sees("Vorher danach")


@pytest.mark.scenario
async def test_the_home_page_sends_what_was_written_offline(scene: Scene) -> None:
    document = await scene.create("document", "Unterwegs")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await ben.open(document)
    ana.wire.cut()
    await ana.write("Im Zug geschrieben")
    await ana.chip("unsaved")
    await expect(ana.page.locator(".chip-wrap [role=tooltip]")).to_contain_text("kept on this device")
    await ana.close_tab()
    await ana.new_tab()
    ana.wire.heal()
    await ana.page.goto(ana.home)
    await ben.sees("Im Zug geschrieben")
    await expect(ana.page.get_by_text("not saved on the server")).to_have_count(0)
    await expect(ben.page.locator(".people .avatar-button")).to_have_count(1)
