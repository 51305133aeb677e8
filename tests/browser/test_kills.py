"""Servers that are killed or restarted while people write and draw: everything arrives, in order and once."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser

from tests.browser.people import Person
from tests.browser.scene import Place, Scene
from tests.browser.troubles import count, draw, lines, said, shows, watch, write_line

WORDS = 24


def words(name: str) -> str:
    """What one person types: numbered, so that a gap, a repetition and a wrong order all show."""
    return " ".join(f"{name}{number}" for number in range(WORDS))


async def type_through(person: Person, part: int) -> None:
    """Type a third of the words."""
    third = WORDS // 3
    text = words(person.name).split(" ")[part * third : (part + 1) * third]
    await person.page.keyboard.type(" ".join(text) + (" " if part < 2 else ""), delay=15)


@pytest.mark.scenario
async def test_a_kill_while_people_type(browser: Browser, mortal: Place) -> None:
    async with Scene(browser, mortal) as scene:
        document = await scene.create("document", "Absturz")
        ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
        await ana.open(document)
        await ana.write("é")
        await ben.open(document)
        await ben.sees("é")
        await ben.write("")  # into a paragraph of his own
        await asyncio.gather(type_through(ana, 0), type_through(ben, 0))
        await watch(ana)
        await asyncio.gather(type_through(ana, 1), mortal.kill())
        await ana.chip("unsaved")
        await type_through(ben, 1)
        await ben.chip("unsaved")
        assert "saved" not in (await said(ana))[(await said(ana)).index("unsaved") :]
        await asyncio.gather(type_through(ana, 2), type_through(ben, 2), mortal.start())
        await ana.sees(words("Ben"))
        await ben.sees("é" + words("Ana"))
        for person in (ana, ben):
            await person.chip("saved")
        carla = await scene.invite("Carla")
        await carla.open(document)
        assert lines(await carla.text()) == ["é" + words("Ana"), words("Ben")]
        assert await carla.text() == await ana.text() == await ben.text()


async def test_a_kill_while_people_draw(browser: Browser, mortal: Place) -> None:
    async with Scene(browser, mortal) as scene:
        document = await scene.create("board", "Absturz")
        ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
        await ana.open(document, "board")
        await ben.open(document, "board")
        await draw(ana, "r", (300, 200), (400, 260))
        await draw(ben, "o", (300, 400), (400, 460))
        await count(ana, 2)
        # In the middle of a stroke.
        await ana.press("p")
        mouse = ana.page.mouse
        await mouse.move(500, 200)
        await mouse.down()
        await mouse.move(600, 240, steps=8)
        await mortal.kill()
        await mouse.move(700, 200, steps=8)
        await ana.chip("unsaved")
        await mouse.up()
        await ana.press("Escape")
        await draw(ben, "r", (500, 400), (600, 460))
        await ben.chip("unsaved")
        await mortal.start()
        await draw(ben, "r", (700, 400), (800, 460))
        drawn = await count(ana, 5)
        await shows(ben, drawn)
        for person in (ana, ben):
            await person.chip("saved")
        carla = await scene.invite("Carla")
        await carla.open(document, "board")
        await shows(carla, drawn)
        (stroke,) = [element for element in drawn if element["type"] == "freedraw"]
        assert stroke["points"] > 12


async def test_one_server_after_another(browser: Browser, mortal: Place) -> None:
    """One of them is killed, the same or another one is restarted politely; who is elsewhere notices nothing."""
    async with Scene(browser, mortal) as scene:
        document = await scene.create("document", "Nacheinander")
        ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
        await ana.open(document)
        await ben.open(document)
        await ana.write("eins")
        await ben.sees("eins")
        await ana.chip("saved")
        await ben.chip("saved")
        await watch(ben)
        await asyncio.to_thread(mortal.servers[0].kill)
        await ana.chip("reconnecting")
        await write_line(ana, "zwei")
        await ana.chip("unsaved")
        if mortal.cluster:
            await write_line(ben, "drei")
            await ben.chip("saved")
            assert set(await said(ben)) <= {"saved", "saving"}
        await mortal.start()
        await ben.sees("zwei")
        await ana.chip("saved")

        await watch(ana)
        await asyncio.to_thread(mortal.servers[0].restart)
        await ana.chip("saved")
        await write_line(ana, "vier")
        await ben.sees("vier")
        await ana.chip("saved")
        assert not {"closed", "loading"} & set(await said(ana))
        expected = ["eins", "zwei", "vier"] + (["drei"] if mortal.cluster else [])
        assert sorted(lines(await ana.text())) == sorted(expected)
        assert await ben.text() == await ana.text()
