"""A whole journey without a mouse; at every step of it the focus is where it can be seen."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.home import WAIT_MS, Home, mark
from tests.browser.keyboard import focus, tab_to
from tests.browser.scene import Place, Scene


async def _choose(page: Page, item: str) -> None:
    """With the arrow keys, in a menu that is open: from the first item, upwards and downwards."""
    menu = page.get_by_role("menu")
    await expect(menu).to_be_visible()
    items = [text.strip() for text in await menu.get_by_role("menuitem").all_inner_texts()]
    at = items.index(item)
    assert await focus(page) == (items[0], "menuitem")
    for number in range(1, at + 1):
        await page.keyboard.press("ArrowDown")
        assert await focus(page) == (items[number], "menuitem")
    # Above the first one is the last one, and back.
    for _ in range(at + 1):
        await page.keyboard.press("ArrowUp")
    assert await focus(page) == (items[-1], "menuitem")
    await page.keyboard.press("ArrowDown")
    assert await focus(page) == (items[0], "menuitem")
    await page.keyboard.press("End")
    assert await focus(page) == (items[-1], "menuitem")
    await page.keyboard.press("Home")
    for _ in range(at):
        await page.keyboard.press("ArrowDown")
    assert await focus(page) == (item, "menuitem")
    await page.keyboard.press("Enter")
    await expect(menu).to_have_count(0)


@pytest.mark.scenario(alone=True)
async def test_a_journey_without_a_mouse(browser: Browser, alone: Place) -> None:
    """A document is made, written, named, shared, left, renamed, deleted and brought back with keys alone."""
    word = mark()
    async with Scene(browser, alone) as scene:
        ana = await scene.invite("Ana")
        page = ana.page
        home = await Home.of(ana)

        # Home: a new document, which is ready to be written.
        await tab_to(page, "New document")
        await ana.press("Enter")
        await page.wait_for_url(re.compile(r"/d/[^/]+$"), timeout=WAIT_MS)
        await expect(ana.editor).to_be_focused(timeout=WAIT_MS)
        assert (await focus(page)).name == "Document"
        await page.keyboard.type("Grüße 😀")
        await ana.sees("Grüße 😀")
        await ana.chip("saved")
        address = page.url

        # Escape leaves the text. The title is typed, and Enter takes it.
        await ana.press("Escape")
        await focus(page)
        await tab_to(page, "Title", key="Shift+Tab")
        await page.keyboard.type(f"Brief {word}")
        await ana.press("Enter")
        await focus(page)
        await ana.chip("saved")

        # Sharing: the focus stays within, and goes back to the button.
        await tab_to(page, "Share", key="Shift+Tab")
        await ana.press("Enter")
        dialog = page.get_by_role("dialog", name="Share")
        await expect(dialog).to_contain_text("Anyone who can reach this server can edit", timeout=WAIT_MS)
        inside = {(await focus(page)).name}
        for _ in range(2):
            await ana.press("Tab")
            if await page.evaluate("document.activeElement.closest('dialog') !== null"):
                inside.add((await focus(page)).name)
        assert inside == {"Close", "Copy link"}
        await ana.press("Escape")
        await expect(dialog).to_have_count(0)
        assert await focus(page) == ("Share", "button")
        await ana.press("Space")
        await expect(dialog).to_be_visible()
        await ana.press("Escape")
        await expect(dialog).to_have_count(0)
        assert await focus(page) == ("Share", "button")

        # The menu: opened by an arrow key, left by Escape, and used.
        await tab_to(page, "More")
        await ana.press("ArrowDown")
        await expect(page.get_by_role("menu")).to_be_visible()
        await ana.press("Escape")
        await expect(page.get_by_role("menu")).to_have_count(0)
        assert await focus(page) == ("More", "button")
        await ana.press("Enter")
        await _choose(page, "Keyboard shortcuts")
        await expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
        await focus(page)
        await ana.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        assert await focus(page) == ("More", "button")

        # Back home: the focus is on the page, and its first control comes next.
        await tab_to(page, "Back to all documents", key="Shift+Tab")
        await ana.press("Enter")
        await expect(page).to_have_url(ana.home, timeout=WAIT_MS)
        await home.settled()
        await focus(page)
        await ana.press("Slash")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await focus(page)
        await page.keyboard.type(word)
        await home.shows(f"Brief {word}")

        # Renamed from the list.
        await tab_to(page, f"Actions for Brief {word}")
        await ana.press("ArrowDown")
        await _choose(page, "Rename")
        await expect(page.get_by_role("dialog", name="Rename")).to_be_visible()
        assert await focus(page) == ("Title", "input")
        await page.keyboard.type(f"Léa {word}")
        await ana.press("Enter")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await home.shows(f"Léa {word}")
        assert (await focus(page)).name == f"Actions for Léa {word}"

        # Deleted: the toast's Undo has the focus, and brings it back.
        await ana.press("Enter")
        await _choose(page, "Delete")
        await expect(home.toast(f"“Léa {word}” was deleted")).to_be_visible(timeout=WAIT_MS)
        assert await focus(page) == ("Undo", "button")
        await expect(home.rows).to_have_count(0, timeout=WAIT_MS)
        assert await focus(page) == ("Undo", "button")
        await ana.press("Enter")
        await expect(home.toast(f"“Léa {word}” was restored")).to_be_visible(timeout=WAIT_MS)
        await home.shows(f"Léa {word}")
        await focus(page)

        # And it is opened again, with its text.
        await tab_to(page, f"Léa {word}")
        await ana.press("Enter")
        await expect(page).to_have_url(address, timeout=WAIT_MS)
        await ana.sees("Grüße 😀")
        await focus(page)
