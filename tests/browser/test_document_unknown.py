"""Documents with something in them that the page's editor does not know: nothing of it is lost, whoever opens them."""

from __future__ import annotations

from typing import Any

import pycrdt
import pytest
from playwright.async_api import expect

from tests.browser.people import until
from tests.browser.programs import change, group_of, markup, stored
from tests.browser.scene import Scene
from tests.support.client import YClient

FUTURE = "Parts of this document cannot be shown."


def add_block(doc: pycrdt.Doc[Any]) -> None:
    """A block of a later version behind all others."""
    group_of(doc).children.append(
        pycrdt.XmlElement(
            "blockContainer",
            {"id": "future-1"},
            [pycrdt.XmlElement("futureBlock", {"shape": "round"}, [pycrdt.XmlText("später 😀")])],
        )
    )


def add_mark(doc: pycrdt.Doc[Any]) -> None:
    """A mark of a later version on the first words."""
    container = next(iter(group_of(doc).children))
    text = next(iter(next(iter(container.children)).children))
    text.format(0, 4, {"futureMark": {"colour": "infrared"}})


@pytest.mark.scenario(alone=True)
async def test_a_newer_schema_closes_the_page_and_changes_nothing(scene: Scene) -> None:
    document = await scene.create("document", "Von morgen", template="plan")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)

    def say(doc: pycrdt.Doc[Any]) -> None:
        doc.get("meta", type=pycrdt.Map)["schema"] = 2

    for what in (say, add_block, add_mark):
        await change(scene.place, document, what)
    before = await stored(scene.place, document)
    async with await YClient().open(f"{scene.place.servers[0].ws}/{document}?schema=1") as outdated:
        assert (await outdated.until_closed())[0] == 4409

    # Who has it open is sent away; who comes later does not get in.
    said = "The app has been updated. Reload to edit."
    await ben.page.goto(ben.address("document", document))
    for person in (ana, ben):
        await expect(person.page.locator("main").get_by_text(said)).to_be_visible()
        await expect(person.editor).to_have_count(0)
    await ana.page.get_by_role("button", name="Reload").click()
    await expect(ana.page.locator(".message").get_by_text(said)).to_be_visible()
    assert await stored(scene.place, document) == before


@pytest.mark.scenario(alone=True)
async def test_unknown_blocks_and_marks_are_kept(scene: Scene) -> None:
    document = await scene.create("document", "Halb bekannt", template="plan")
    await change(scene.place, document, add_block)
    await change(scene.place, document, add_mark)
    before = await stored(scene.place, document)
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await expect(ana.page.get_by_text(FUTURE)).to_be_visible()
    await ana.sees("What people may expect")
    await expect(ana.editor).to_have_attribute("contenteditable", "false")
    await ana.editor.click()
    await ana.page.keyboard.type("verloren")
    await ben.open(document)
    await expect(ben.page.get_by_text(FUTURE)).to_be_visible()
    # What cannot be lost can still be changed, and is seen.
    await ana.page.get_by_label("Title").fill("Umbenannt 😀")
    await ana.page.keyboard.press("Enter")
    await expect(ben.page.get_by_label("Title")).to_have_value("Umbenannt 😀")
    await ana.chip("saved")
    after = await markup(scene.place, document)
    assert "später 😀" in after
    assert "futureMark" in after
    assert "verloren" not in after
    assert before != await stored(scene.place, document)  # the title

    # As soon as nothing of it is left, people can write.
    def remove(doc: pycrdt.Doc[Any]) -> None:
        children = group_of(doc).children
        del children[len(children) - 1]
        container = next(iter(children))
        next(iter(next(iter(container.children)).children)).format(0, 4, {"futureMark": None})

    await change(scene.place, document, remove)
    await expect(ana.page.get_by_text(FUTURE)).to_have_count(0)
    await ana.write("Wieder da")
    await ben.sees("Wieder da")


async def test_unknown_content_that_arrives_while_people_write(scene: Scene) -> None:
    document = await scene.create("document", "Mittendrin")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await ben.open(document)
    await ana.write("Grüße aus der Gegenwart")
    await ben.sees("Grüße aus der Gegenwart")
    await ana.chip("saved")
    await change(scene.place, document, add_mark)
    for person in (ana, ben):
        await expect(person.page.get_by_text(FUTURE)).to_be_visible()
        await person.sees("Grüße aus der Gegenwart")  # without the mark
        await expect(person.editor).to_have_attribute("contenteditable", "false")
    await ana.page.keyboard.type("nicht mehr")

    async def has_all() -> bool:
        text = await markup(scene.place, document)
        return "futureMark" in text and "Grü" in text and "ße aus der Gegenwart" in text

    await until(has_all, "the stored document has the mark and its words")
    await change(scene.place, document, add_block)
    await ana.page.reload()
    await expect(ana.page.get_by_text(FUTURE)).to_be_visible()
    await ana.chip("saved")
    after = await markup(scene.place, document)
    assert "später 😀" in after
    assert "futureMark" in after
    assert "nicht mehr" not in after
