"""Pictures of the home page."""

from __future__ import annotations

import asyncio
import json
import time

from playwright.async_api import Page, Route, expect
from tests.browser.people import Person

from tools.screens.stage import BEN, RENEE, TOMAS, ZOE, Stage

MINUTE, HOUR, DAY = 60, 3600, 86_400
LIST: list[tuple[str, str, float, str]] = [
    ("document", "Garden café: opening plan", 3 * MINUTE, BEN),
    ("board", "A guest's first visit", 26 * MINUTE, RENEE),
    ("document", "Weekly notes – février", 2 * HOUR, ZOE),
    ("board", "Terrace, seen from above 🌿", 5 * HOUR, TOMAS),
    ("document", "Menu: soups, tartes, pastéis de nata", 1.1 * DAY, RENEE),
    ("document", "Suppliers and prices", 2.2 * DAY, BEN),
    ("board", "Retrospective of the test weekend", 4.1 * DAY, ZOE),
    ("document", "What we answer when the neighbours ask about noise after ten o'clock", 6.2 * DAY, TOMAS),
]


async def steady_times(page: Page) -> None:
    """The server's list, with the times and authors of `LIST` (SCR1)."""

    async def answer(route: Route) -> None:
        response = await route.fetch()
        body = await response.json()
        now = time.time()
        for item in body["documents"]:
            for _, title, age_s, author in LIST:
                if item["title"] == title:
                    item |= {"updated_ms": int((now - age_s) * 1000), "updated_by": author}
        body["documents"].sort(key=lambda item: -item["updated_ms"])
        await route.fulfill(response=response, body=json.dumps(body))

    await page.route("**/api/documents?*", answer)


async def loaded(person: Person, rows: int) -> None:
    await expect(person.page.locator(".row-link")).to_have_count(rows)
    await expect(person.page.locator(".template").first).to_be_visible()


async def take(stage: Stage) -> None:
    zoe = await stage.visitor(server=stage.home)
    page = zoe.page
    await steady_times(page)
    await page.goto(zoe.home)
    await expect(page.locator(".empty")).to_be_visible()
    await loaded(zoe, 0)
    await stage.shoot(zoe, "home-empty", "Home without any documents")

    for kind, title, _, _ in reversed(LIST):
        await stage.create(kind, title, stage.home)
    await page.reload()
    await loaded(zoe, len(LIST))
    await stage.shoot(zoe, "home", "Home")

    if not stage.phone:
        await page.locator(".row").nth(1).hover()
        await page.locator(".new-card").first.focus()
        await page.keyboard.press("Tab")
        await stage.shoot(zoe, "home-focus", "Home with a hovered row and a focused button")

    await page.get_by_role("button", name="Actions for A guest's first visit").click()
    await expect(page.get_by_role("menuitem").first).to_be_visible()
    await stage.shoot(zoe, "home-menu", "The menu of a board in the list")
    await page.get_by_role("menuitem", name="Rename").click()
    await stage.shoot(zoe, "home-rename", "Renaming a board")
    await page.keyboard.press("Escape")

    await page.get_by_role("button", name="Actions for Suppliers").click()
    await page.get_by_role("menuitem", name="Delete").click()
    await expect(page.locator(".toast")).to_be_visible()
    await expect(page.locator(".row-link")).to_have_count(len(LIST) - 1)
    await stage.shoot(zoe, "home-deleted", "Home after deleting a document, with Undo")
    await stage.create("document", "Suppliers and prices", stage.home)
    await page.reload()
    await expect(page.locator(".row-link")).to_have_count(len(LIST))

    search = page.get_by_role("searchbox")
    await search.fill("visit")
    await expect(page.locator(".row-link")).to_have_count(1)
    await stage.shoot(zoe, "home-search", "Search results")
    await search.fill("telescope")
    await expect(page.locator(".empty")).to_be_visible()
    await stage.shoot(zoe, "home-nothing-found", "A search without results")
    await search.fill("")

    await page.get_by_role("button", name="You are").click()
    await stage.shoot(zoe, "profile", "The dialog for name and colour")
    await page.keyboard.press("Escape")
    await states(stage)


async def states(stage: Stage) -> None:
    """While the list loads, when loading fails, and where the server does not offer it."""
    zoe = await stage.visitor(server=stage.home)
    page = zoe.page
    held = asyncio.Event()

    async def hold(route: Route) -> None:
        await held.wait()
        await route.abort()

    await page.route("**/api/documents?*", hold)
    await page.goto(zoe.home)
    await expect(page.locator(".skeleton-row").first).to_be_visible()
    await stage.shoot(zoe, "home-loading", "Home while the list loads")
    held.set()
    await expect(page.locator(".message")).to_be_visible()
    await stage.shoot(zoe, "home-failed", "Home when the server cannot be reached")

    await page.goto(f"{zoe.home}d/a/b/c")
    await expect(page.locator(".message")).to_be_visible()
    await stage.shoot(zoe, "not-found", "A page that does not exist")
