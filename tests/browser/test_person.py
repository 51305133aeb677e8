"""Who a person says to be: given at first, chosen, remembered, and seen by others at once; and less motion."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.boards import Board
from tests.browser.home import WAIT_MS, Home
from tests.browser.people import DEADLINE_S, Person
from tests.browser.scene import Place, Scene

HTML = "<img src=x onerror=alert(1)> <b>é</b>"
KEPT = "() => JSON.parse(localStorage.getItem('raffia.person'))"
COLOUR = "node => getComputedStyle(node).getPropertyValue('--person').trim()"
# What is of our own, with the time that each change of it takes, in milliseconds.
MOTION = """() => [...document.querySelectorAll("*")].flatMap((one) => {
    if (one.closest(".bn-root, .bn-container, .excalidraw")) return [];
    return [null, "::before", "::after", "::backdrop"].flatMap((part) => {
        const style = getComputedStyle(one, part);
        const one_ms = (time) => parseFloat(time) * (/ms/.test(time) ? 1 : 1000);
        const ms = (times) => Math.max(...times.split(",").map(one_ms));
        const moves = style.animationName === "none" ? 0 : ms(style.animationDuration);
        const longest = Math.max(moves, ms(style.transitionDuration), ms(style.transitionDelay));
        return longest > 1 ? [`${one.localName}.${one.className}${part ?? ""}: ${longest} ms`] : [];
    });
})"""


async def _become(person: Person, opener: str, name: str, colour: int) -> str:
    """With the dialog, which the button named so opens; the colour's value."""
    page = person.page
    await page.get_by_role("button", name=re.compile(opener)).click()
    dialog = page.get_by_role("dialog", name="Your name and colour")
    await expect(dialog.get_by_label("Name")).to_be_focused()
    await dialog.get_by_label("Name").fill(name)
    swatch = dialog.get_by_role("radio", name=f"Colour {colour}", exact=True)
    await swatch.check(force=True)
    value = str(await swatch.get_attribute("value"))
    await expect(dialog.locator(".profile-preview")).to_have_text(name)
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_have_count(0)
    person.name = name
    return value


async def _shown(person: Person, name: str, colour: str) -> None:
    """Wait until somebody has a face with this name and colour on this page."""
    face = person.page.get_by_role("button", name=f"Follow {name}", exact=True).locator(".avatar")
    await expect(face).to_be_visible(timeout=WAIT_MS)
    await expect(face).to_have_attribute("style", re.compile(re.escape(colour)), timeout=WAIT_MS)


async def test_a_first_visit(browser: Browser, alone: Place) -> None:
    """A guest has a name and a colour, which are the same after a reload and are theirs to change."""
    async with Scene(browser, alone) as scene:
        guest = await scene.invite("")
        home = await Home.of(guest)
        kept: dict[str, Any] = await guest.page.evaluate(KEPT)
        assert re.fullmatch(r"Guest [1-9]\d?", kept["name"])
        assert re.fullmatch(r"#[0-9a-f]{6}", kept["color"])
        await guest.page.reload()
        await home.settled()
        assert await guest.page.evaluate(KEPT) == kept
        me = guest.page.get_by_role("button", name=f"You are {kept['name']}. Change your name and colour")
        assert await me.locator(".avatar").evaluate(COLOUR) == kept["color"]

        # An empty name is none; what was written is dropped with the dialog.
        await me.click()
        dialog = guest.page.get_by_role("dialog")
        await dialog.get_by_label("Name").fill("")
        await dialog.get_by_role("button", name="Save").click()
        await expect(dialog).to_be_visible()
        await dialog.get_by_label("Name").fill("nobody")
        await guest.press("Escape")
        await expect(dialog).to_have_count(0)
        await expect(me).to_be_focused()
        assert await guest.page.evaluate(KEPT) == kept

        colour = await _become(guest, "^You are Guest", "Zoë 😀", 3)
        await guest.page.reload()
        await home.settled()
        assert await guest.page.evaluate(KEPT) == {"name": "Zoë 😀", "color": colour}
        me = guest.page.get_by_role("button", name="You are Zoë 😀. Change your name and colour")
        assert await me.locator(".avatar").evaluate(COLOUR) == colour

        # Another tab of the same browser is the same person, and hears of a change.
        first = guest.page
        await guest.new_tab()
        await Home.of(guest)
        await expect(guest.page.get_by_role("button", name="You are Zoë 😀.")).to_be_visible()
        await _become(guest, "^You are Zoë", "Zoë B.", 4)
        await expect(first.get_by_role("button", name="You are Zoë B..")).to_be_visible(timeout=WAIT_MS)


async def test_others_see_it_at_once(scene: Scene) -> None:
    """A new name and colour reach the other one's page, in faces and at cursors; HTML in a name is text."""
    document, board = await scene.create("document", "Plan é"), await scene.create("board", "Küche 😀")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await ben.open(document)
    await ana.write("Grüße 😀")
    await ben.sees("Grüße 😀")
    label = ben.page.locator(".bn-editor .bn-collaboration-cursor__label")
    await expect(label).to_have_text("Ana")
    await _shown(ben, "Ana", "#c2410c")
    for opener, name, number in (("^You are Ana", "Aña 😀", 4), ("^You are Aña", HTML, 8)):
        colour = await _become(ana, opener, name, number)
        await _shown(ben, name, colour)
        await ana.editor.click()
        await expect(label).to_have_text(name)
        caret = ben.page.locator(".bn-editor .bn-collaboration-cursor__caret")
        await expect(caret).to_have_attribute("style", re.compile(re.escape(colour)))
    await _no_html(ben.page)
    # Whom one follows is named too, and a reload changes nothing.
    await ben.page.get_by_role("button", name=f"Follow {HTML}", exact=True).click()
    await expect(ben.page.locator(".follow-label span")).to_have_text(f"Following {HTML}")
    await ben.page.get_by_role("button", name="Share", exact=True).click()
    await expect(ben.page.locator(".share-people li").nth(1)).to_have_text(HTML)
    await ben.press("Escape")
    await ana.page.reload()
    await ana.chip("saved", "live")
    await _shown(ben, HTML, colour)
    await _no_html(ben.page)

    # The same person on a board, where the cursor bears the name.
    at_board, with_ben = Board(ana), Board(ben)
    await at_board.open(board)
    await with_ben.open(board)
    await ana.page.mouse.move(600, 500, steps=4)
    cursor = ben.page.locator(".cursor").filter(has=ben.page.locator("svg"))
    await expect(cursor.locator("span")).to_have_text(HTML)
    await _shown(ben, HTML, colour)
    await _no_html(ben.page)
    colour = await _become(ana, "^You are <img", "Ana Z.", 10)
    await _shown(ben, "Ana Z.", colour)
    await ana.page.mouse.move(640, 520, steps=4)
    await expect(cursor.locator("span")).to_have_text("Ana Z.")
    await expect(cursor).to_have_attribute("style", re.compile(re.escape(colour)))
    await ana.page.reload()
    await expect(ana.page.get_by_role("button", name="You are Ana Z..")).to_be_visible(timeout=WAIT_MS)


async def _no_html(page: Page) -> None:
    """No name has become an element of the page."""
    assert await page.locator("img[src=x], img[onerror]").count() == 0
    assert await page.locator("b", has_text="é").count() == 0


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
async def test_motion(motion: str, browser: Browser, alone: Place) -> None:
    """Who asks the system for less motion gets none from us; others do."""
    found: list[str] = []
    async with Scene(browser, alone) as scene:
        document = await scene.create("document", "Plan é")
        board = await scene.create("board", "Küche 😀")
        ana = await scene.invite("Ana", reduced_motion=motion)
        ben = await scene.invite("Ben")

        async def look() -> None:
            found.extend(await ana.page.evaluate(MOTION))

        await Home.of(ana)
        await look()
        await ana.page.get_by_role("button", name=re.compile("^You are Ana")).click()
        await expect(ana.page.get_by_role("dialog")).to_be_visible()
        await look()
        await ana.open(document)
        await ben.open(document)
        await ben.write("Grüße 😀")
        await ana.sees("Grüße 😀")
        await look()
        await ana.page.get_by_role("button", name="More", exact=True).click()
        await expect(ana.page.get_by_role("menu")).to_be_visible()
        await look()
        await ana.open(board, "board")
        await Board(ben).open(board)
        await ben.page.mouse.move(600, 500, steps=4)
        await expect(ana.page.locator(".cursor")).to_be_visible(timeout=DEADLINE_S * 1000)
        await look()
    if motion == "reduce":
        assert found == []
    else:
        for one in ("button.button", "dialog", "div.cursor"):
            assert [line for line in found if line.startswith(one)], one
