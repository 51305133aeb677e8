"""The home page: what there is, found, made, named, deleted and brought back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.browser.home import WAIT_MS, Home, create_many, mark
from tests.browser.scene import Place, Scene
from tests.support.server import RaffiaServer


async def test_search_filter_and_order(scene: Scene) -> None:
    """What is written in titles is found, whatever its letters; who edits moves a document to the top."""
    word = mark()
    first = await scene.create("document", f"Étude 😀 {word}")
    await scene.create("document", f"Plan {word}")
    await scene.create("board", f"Skizze 🎨 {word}")
    ana = await scene.invite("Ana")
    home = await Home.of(ana)
    await home.search(word)
    await home.shows(f"Skizze 🎨 {word}", f"Plan {word}", f"Étude 😀 {word}")
    await expect(home.heading).to_have_text(f"3 results for “{word}”")
    for text, title in (
        (f"étude 😀 {word}", "Étude 😀"),
        (f"🎨 {word.upper()}", "Skizze 🎨"),
        ("É" + f"tude 😀 {word}", "Étude 😀"),
    ):
        await home.search(text)
        await home.shows(f"{title} {word}")
        await expect(home.heading).to_have_text(f"1 result for “{text}”")
    await home.search(word)
    await home.show("Boards")
    await home.shows(f"Skizze 🎨 {word}")
    await home.show("Documents")
    await home.shows(f"Plan {word}", f"Étude 😀 {word}")
    await home.show("All")
    await home.search(f"{word} not there")
    await expect(home.page.locator(".empty")).to_contain_text("No titles match")
    await home.page.get_by_role("button", name="Clear search").click()
    await expect(home.page.get_by_role("searchbox")).to_be_focused()
    await expect(home.page.locator(".new-card").first).to_be_visible()

    # Somebody edits the oldest one: it comes to the top by itself, with their change.
    await home.search(word)
    await home.shows(f"Skizze 🎨 {word}", f"Plan {word}", f"Étude 😀 {word}")
    ben = await scene.invite("Ben")
    await ben.open(first)
    await ben.write("Grüße 😀")
    await ben.chip("saved")
    await home.page.reload()
    await home.search(word)
    await home.shows(f"Étude 😀 {word}", f"Skizze 🎨 {word}", f"Plan {word}")


async def test_more_than_a_hundred(scene: Scene) -> None:
    """A long list comes in pages; what was fetched stays when the list renews itself, and after an action."""
    word = mark()
    titles = [f"{word} {number:03}" for number in range(104)]
    await create_many(scene.place.http, titles)
    titles.reverse()
    ana = await scene.invite("Ana")
    home = await Home.of(ana)
    await home.search(word)
    await expect(home.heading).to_have_text(f"104 results for “{word}”", timeout=WAIT_MS)
    await home.shows(*titles[:30])
    more = home.page.get_by_role("button", name="Show more")
    for shown in (60, 90, 104):
        await more.click()
        await home.shows(*titles[:shown])
    await expect(more).to_have_count(0)
    # The list looks again by itself, and all of it is asked for.
    async with home.page.expect_response(re.compile("/api/documents[?]limit=120&"), timeout=WAIT_MS):
        pass
    await home.act(titles[80], "Delete")
    gone = [title for title in titles if title != titles[80]]
    await home.shows(*gone)
    await home.toast("was deleted").get_by_role("button", name="Undo").click()
    await expect(home.toast(f"“{titles[80]}” was restored")).to_be_visible(timeout=WAIT_MS)
    await expect(home.rows).to_have_count(104, timeout=WAIT_MS)


@pytest.mark.scenario(alone=True)
async def test_make_name_copy_delete_and_undo(scene: Scene) -> None:
    """Everything that can be done from the list, and the undo of a deletion from the document's own page."""
    word = mark()
    ana = await scene.invite("Ana")
    home = await Home.of(ana)
    await home.make("New document")
    await expect(ana.editor).to_be_focused()
    await ana.page.keyboard.type("Grüße 😀")
    await ana.sees("Grüße 😀")
    title = ana.page.get_by_role("textbox", name="Title")
    await title.fill(f"Brief {word}")
    await title.press("Enter")
    await ana.chip("saved")
    await ana.page.get_by_role("link", name="Back to all documents").click()

    await home.settled()
    await home.make("New board")
    await expect(ana.canvas).to_be_visible(timeout=WAIT_MS)
    await ana.page.go_back()
    await home.settled()
    await home.make("Meeting notes")
    await expect(ana.editor).to_contain_text("Agenda")
    await ana.page.go_back()

    await home.search(word)
    await home.shows(f"Brief {word}")
    await home.rename(f"Brief {word}", f"Léa <b>& 😀</b> {word}")
    named = f"Léa <b>& 😀</b> {word}"
    await home.shows(named)
    await home.act(named, "Duplicate")
    await expect(home.rows).to_have_count(2, timeout=WAIT_MS)
    await home.row(named).get_by_role("link").click()
    await expect(title).to_have_value(named, timeout=WAIT_MS)
    await ana.sees("Grüße 😀")
    await ana.chip("saved")

    # Deleted from its own page: home, with an undo that leads back to it, text and all.
    page = ana.page.url
    await ana.page.get_by_role("button", name="More").click()
    await ana.page.get_by_role("menuitem", name="Delete").click()
    await expect(ana.page).to_have_url(ana.home, timeout=WAIT_MS)
    undo = home.toast(f"“{named}” was deleted").get_by_role("button", name="Undo")
    await home.search(word)
    await expect(home.rows).to_have_count(1, timeout=WAIT_MS)
    await undo.click()
    await expect(ana.page).to_have_url(page, timeout=WAIT_MS)
    await ana.chip("saved")
    await ana.sees("Grüße 😀")

    # Deleted from the list, while somebody reads it: they are told, and get in again when it is back.
    ben = await scene.invite("Ben")
    await ben.open(page.rsplit("/", 1)[1])
    home = await Home.of(ana)
    await home.search(word)
    await home.act(named, "Delete")
    await expect(home.rows).to_have_count(1, timeout=WAIT_MS)
    await expect(ben.page.get_by_role("alert")).to_contain_text("This document was deleted", timeout=WAIT_MS)
    await home.toast("was deleted").get_by_role("button", name="Undo").click()
    await expect(home.rows).to_have_count(2, timeout=WAIT_MS)
    await ben.page.get_by_role("button", name="Restore").click()
    await ben.sees("Grüße 😀")


async def test_nothing_yet_and_no_server(browser: Browser, tmp_path: Path) -> None:
    """An empty server says what to do; one that is away is an error with a way on; the list comes back by itself."""
    with RaffiaServer(tmp_path / "data") as server:
        async with Scene(browser, Place("alone", [server])) as scene:
            ana = await scene.invite("Ana")
            home = await Home.of(ana)
            await expect(home.page.locator(".empty")).to_contain_text("Nothing here yet")
            await expect(home.page.get_by_role("button", name=re.compile("New document"))).to_be_enabled()
            await scene.create("document", "Plan é")
            await home.shows("Plan é")  # by itself

            server.kill()
            await home.search("Plan")
            problem = home.page.get_by_role("alert")
            await expect(problem).to_contain_text("Your documents could not be loaded", timeout=WAIT_MS)
            await problem.get_by_role("button", name="Try again").click()
            await expect(problem).to_be_visible()
            await home.search("")
            await home.page.get_by_role("button", name=re.compile("^New board")).click()
            await expect(home.toast("The server cannot be reached")).to_be_visible(timeout=WAIT_MS)
            server.start()
            await home.shows("Plan é")
            # What is on the screen stays when the server goes away behind it.
            server.kill()
            await home.page.evaluate("dispatchEvent(new Event('online'))")
            await home.act("Plan é", "Delete")
            await expect(home.toast("It could not be deleted")).to_be_visible(timeout=WAIT_MS)
            await home.shows("Plan é")
            server.start()
            await home.page.get_by_role("button", name=re.compile("^New document")).click()
            await ana.chip("saved")
