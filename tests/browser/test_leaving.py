"""Leaving a page within the app, with something that is not saved yet."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.scene import Scene
from tests.browser.troubles import watch


@pytest.mark.scenario(alone=True)
async def test_what_was_in_hand_is_not_lost_with_the_page(scene: Scene) -> None:
    """A title before its pause is over, and an element before it is committed."""
    board = await scene.create("board", "Plan")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.page.goto(ana.home)
    await ana.page.locator(f"a[href$='{board}']").click()
    await expect(ana.canvas).to_be_visible()
    await ana.chip("saved")
    await ana.press("r")
    await ana.drag((500, 300), (600, 400))
    await ana.chip("saved")
    await ben.open(board, "board")
    # In one go, as a quick hand does it: the key that moves the element, a title, and back.
    await ana.press("ArrowRight")
    await ana.page.locator(".title input").fill("Grüße 😀")
    await ana.page.evaluate("history.back()")
    await expect(ana.page.locator(".home")).to_be_visible()
    await expect(ben.page.locator(".title input")).to_have_value("Grüße 😀")


async def test_edits_without_a_network_go_on_when_their_page_is_left(scene: Scene) -> None:
    """Also where the browser keeps nothing: they are sent once the network is back, and are there on coming back."""
    document = await scene.create("document", "Notes")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.context.add_init_script("Object.defineProperty(window, 'indexedDB', { value: undefined })")
    await ana.page.goto(ana.home)
    await ana.page.locator(f"a[href$='{document}']").click()
    await expect(ana.editor).to_be_visible()
    await ana.chip("saved")
    await ben.open(document)
    ana.wire.cut()
    await ana.write("Grüße é😀")
    await ana.chip("unsaved")
    await ana.page.evaluate("history.back()")
    await expect(ana.page.locator(".home")).to_be_visible()
    # Nobody who has left is shown as being here.
    await ana.page.evaluate("history.forward()")
    await ana.sees("Grüße é😀")
    await ana.chip("unsaved")
    await ana.page.evaluate("history.back()")
    await expect(ana.page.locator(".home")).to_be_visible()
    ana.wire.heal()
    await ben.sees("Grüße é😀")
    await expect(ben.page.locator(".people .avatar-button")).to_have_count(1)


async def test_a_new_link_is_taken_by_a_page_that_is_open(scene: Scene) -> None:
    """It changes the fragment only: the browser does not load the page by itself."""
    document = await scene.create("document", "Notes")
    ana = await scene.invite("Ana")
    await ana.open(document)
    await watch(ana)
    await ana.page.evaluate("location.hash = 'token=new.to.ken'")
    # The same page asks the server again, with this token.
    await ana.until("() => window.saidByChip.join() === 'saved,reconnecting,saved'")
    assert "token" not in ana.page.url
    assert await ana.page.evaluate("id => localStorage.getItem(`raffia.token:${id}`)", document) == "new.to.ken"
