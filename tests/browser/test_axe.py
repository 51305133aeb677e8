"""What axe-core finds: in every state of the pages, light and dark, wide and on phones."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.axe import Axe
from tests.browser.home import WAIT_MS, Home
from tests.browser.people import Person
from tests.browser.phone import misfits
from tests.browser.scene import Place, Scene
from tests.support.server import ROOT, RaffiaServer

DOC = ROOT / "docs/accessibility.md"
PHONE: dict[str, Any] = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, **PHONE},
    "small dark phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark", **PHONE},
    "landscape phone": {"viewport": {"width": 740, "height": 360}, **PHONE},
    "large screen": {"viewport": {"width": 1920, "height": 1080}},
}
COLOURS = "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"


class Tour:
    """One person goes through every state of the app; each is looked at."""

    def __init__(self, scene: Scene, ana: Person, axe: Axe) -> None:
        self.scene, self.ana, self.axe = scene, ana, axe
        self.page: Page = ana.page
        self.misfits: list[str] = []

    async def look(self, state: str) -> None:
        await self.axe.look(self.page, state)
        self.misfits += [f"{state}: {one}" for one in await misfits(self.page)]

    async def dialog(self, name: str, state: str) -> None:
        dialog = self.page.get_by_role("dialog", name=name)
        await expect(dialog).to_be_visible(timeout=WAIT_MS)
        await expect(dialog.locator(".bone")).to_have_count(0, timeout=WAIT_MS)
        await self.look(state)
        await self.page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)

    async def menu(self, item: str) -> None:
        await self.page.get_by_role("button", name="More", exact=True).click()
        if item:
            await self.page.get_by_role("menuitem", name=item, exact=True).click()

    async def home(self) -> None:
        home = await Home.of(self.ana)
        await expect(self.page.locator(".empty")).to_be_visible(timeout=WAIT_MS)
        await self.look("home, empty")
        title = "A very long title that goes on and on without an end, é 😀 " * 3
        await self.scene.create("document", title.strip())
        await self.scene.create("board", "Skizze 😀")
        await home.row("Skizze 😀").wait_for(timeout=WAIT_MS)
        await self.look("home")
        await home.row("Skizze 😀").get_by_role("button").click()
        await self.look("home, menu")
        await self.page.get_by_role("menuitem", name="Rename").click()
        await self.dialog("Rename", "home, rename")
        await self.page.get_by_role("button", name=re.compile("^You are Ana")).click()
        await self.dialog("Your name and colour", "home, profile")
        await home.search("nothing like it")
        await expect(self.page.locator(".empty")).to_be_visible(timeout=WAIT_MS)
        await self.look("home, nothing found")
        self.ana.wire.cut()
        await home.search("nothing at all")
        await expect(self.page.get_by_role("alert")).to_be_visible(timeout=WAIT_MS)
        await self.look("home, no server")
        self.ana.wire.heal()
        await home.search("")
        await home.act("Skizze 😀", "Delete")
        await expect(home.toast("was deleted")).to_be_visible(timeout=WAIT_MS)
        await self.look("home, undo")

    async def document(self) -> None:
        document = await self.scene.create("document", "Plan é 😀", template="meeting")
        await self.ana.open(document)
        await self.look("document")
        await self.menu("")
        await self.look("document, menu")
        await self.page.keyboard.press("Escape")
        await self.menu("Keyboard shortcuts")
        await self.dialog("Keyboard shortcuts", "document, shortcuts")
        await self.page.get_by_role("button", name="Share", exact=True).click()
        await self.dialog("Share", "document, share")
        await self.ana.editor.click()
        self.ana.wire.cut()
        await self.page.keyboard.type("x")
        await self.ana.chip("unsaved")
        await self.look("document, not saved")
        self.ana.wire.heal()
        await self.ana.chip("saved")
        await self.page.goto(self.ana.address("document", "nowhere"))
        await expect(self.page.get_by_role("alert")).to_be_visible(timeout=WAIT_MS)
        await self.look("document, not there")

    async def board(self) -> None:
        board = await self.scene.create("board", "Skizze é", template="retro")
        await self.ana.open(board, "board")
        await self.look("board")
        await self.menu("")
        await self.look("board, menu")
        await self.page.keyboard.press("Escape")
        await self.menu("Keyboard shortcuts")
        await self.dialog("Keyboard shortcuts", "board, shortcuts")


SHORT = ("light", "small dark phone")
ALL = [pytest.param(look, marks=pytest.mark.scenario if look in SHORT else ()) for look in LOOKS]


@pytest.mark.parametrize("look", ALL)
async def test_every_state(look: str, browser: Browser, tmp_path: Path) -> None:
    """Nothing serious in our own markup (AXE1); everything fits, and is large enough for fingers on phones."""
    axe = Axe()
    with RaffiaServer(tmp_path / "data") as server:
        async with Scene(browser, Place("alone", [server])) as scene:
            tour = Tour(scene, await scene.invite("Ana", **LOOKS[look]), axe)
            await tour.home()
            await tour.document()
            await tour.board()
            if LOOKS[look].get("color_scheme") == "dark":
                colours = await tour.page.evaluate(
                    "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
                )
                assert colours == ["rgb(23, 24, 26)", "rgb(237, 236, 233)"]
    assert len(axe.looked) == 17
    assert not axe.own + tour.misfits, "\n".join(axe.own + tour.misfits)
    known = set(re.findall(r"^\| (BlockNote|Excalidraw) \| `([a-z-]+)` \|", DOC.read_text(), re.MULTILINE))
    found = {(editor, rule) for editor, rule, _, _ in axe.theirs}
    if os.environ.get("WRITE_DOCS"):
        print(axe.theirs)
    assert found <= known, f"not in docs/accessibility.md: {found - known}"
