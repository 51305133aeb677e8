"""Pictures of boards."""

from __future__ import annotations

import math

from playwright.async_api import expect
from tests.browser.people import Person, until

from tools.screens.content import journey, picture
from tools.screens.stage import BEN, RENEE, Stage

TITLE = "A guest's first visit"


async def take(stage: Stage) -> None:
    zoe = await stage.visitor()
    empty = await stage.create("board", "Terrace, seen from above 🌿")
    await zoe.open(empty, "board")
    await stage.shoot(zoe, "board-empty", "A new board")
    await together(stage, zoe)
    await templates(stage, zoe)
    await read_only(stage)


LETTERS = "() => [...document.fonts].some((font) => /Excalifont/.test(font.family) && font.status === 'loaded')"


async def lettered(person: Person) -> None:
    """Wait until the board's fonts are loaded: until then it draws with others."""
    await person.until(LETTERS)


async def point(person: Person, x: float, y: float) -> None:
    """Move the pointer, so that its name shows for two seconds."""
    await person.page.mouse.move(x - 6, y)
    await person.page.mouse.move(x, y)


async def together(stage: Stage, zoe: Person) -> None:
    page = zoe.page
    board = await stage.create("board", TITLE)
    ben, renee = await stage.colleague(BEN), await stage.colleague(RENEE)
    await ben.open(board, "board")
    await stage.bring(ben, "Add an .excalidraw file…", "visit.excalidraw", journey())
    await ben.press("Escape")
    await zoe.open(board, "board")
    await renee.open(board, "board")
    await lettered(zoe)
    await expect(page.locator(".cursor")).to_have_count(2)

    await renee.page.mouse.click(700, 270)
    await ben.press("p")
    await ben.page.mouse.move(930, 640)
    await ben.page.mouse.down()
    for step in range(60):
        await ben.page.mouse.move(930 + step * 3, 640 + 16 * math.sin(step / 6))

    async def pointers() -> None:
        async def shown() -> bool:
            await point(renee, 520, 330)
            await ben.page.mouse.move(1108, 640)
            await ben.page.mouse.move(1110, 641)
            return await page.locator('.cursor[data-state="moving"]').count() == 2

        await until(shown, "names at both pointers")

    await stage.shoot(zoe, "board", "A board with two users and a stroke being drawn", before=pointers)
    await ben.page.mouse.up()
    await ben.press("v")

    await page.get_by_role("button", name="More", exact=True).click()
    await expect(page.get_by_role("menuitem").first).to_be_visible()
    await stage.shoot(zoe, "board-menu", "The menu of a board")
    await page.get_by_role("menuitem", name="Keyboard shortcuts").click()
    await expect(page.locator("dialog.dialog")).to_be_visible()
    await stage.shoot(zoe, "board-shortcuts", "Keyboard shortcuts for boards")
    await page.keyboard.press("Escape")

    await page.locator(".main-menu-trigger, [data-testid=main-menu-trigger]").first.click()
    await expect(page.locator(".dropdown-menu")).to_be_visible()
    await stage.shoot(zoe, "board-drawing-menu", "Excalidraw's own menu")
    await page.locator(".main-menu-trigger, [data-testid=main-menu-trigger]").first.click()
    await expect(page.locator(".dropdown-menu")).to_have_count(0)

    follow = page.get_by_role("button", name="Follow Renée")
    if stage.phone:
        await page.get_by_role("button", name="more people").click()
        follow = page.get_by_role("menuitem", name="Follow Renée")
    await follow.click()
    await expect(page.locator(".follow-frame")).to_be_visible()
    await stage.shoot(zoe, "board-following", "Following a user on a board", before=pointers)
    await page.locator(".follow-label button").click()

    if not stage.phone:
        await page.mouse.click(770, 270)
        await expect(page.get_by_text("Sloppiness")).to_be_visible()
        await stage.shoot(zoe, "board-selected", "A selected shape and its style options")
        await page.keyboard.press("Escape")
    zoe.wire.cut()
    await zoe.chip("reconnecting", "unsaved")
    await stage.shoot(zoe, "board-reconnecting", "A board while reconnecting")
    zoe.wire.heal()
    await zoe.chip("saved", "live")
    await with_image(stage, zoe)


async def with_image(stage: Stage, zoe: Person) -> None:
    board = await stage.create("board", "Terrace, seen from above 🌿")
    ben = await stage.colleague(BEN)
    await ben.open(board, "board")
    async with ben.page.expect_file_chooser() as asked:
        await ben.page.locator("label:has([data-testid=toolbar-image])").click()
    await (await asked.value).set_files({"name": "hills.png", "mimeType": "image/png", "buffer": picture()})
    await ben.page.mouse.click(640, 420)
    await ben.chip("saved")
    await zoe.open(board, "board")
    await stage.shoot(zoe, "board-image", "An image on a board")


async def templates(stage: Stage, zoe: Person) -> None:
    for template, title in (
        ("kanban", "Task board"),
        ("flow", "Flow chart"),
        ("mindmap", "Mind map"),
        ("retro", "Retrospective"),
    ):
        await zoe.open(await stage.create("board", title, template=template), "board")
        await lettered(zoe)
        await stage.shoot(zoe, f"template-{template}", f"From a template: {title.lower()}", themes=("light",))


async def read_only(stage: Stage) -> None:
    board = await stage.create("board", TITLE, stage.closed, template="flow")
    reader = await stage.visitor(RENEE, stage.closed)
    await reader.open(board, "board", fragment=await stage.link(board, "read"))
    await expect(reader.page.locator(".badge")).to_be_visible()
    await lettered(reader)
    await stage.shoot(reader, "board-view-only", "A view-only board")
