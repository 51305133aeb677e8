"""The home page, as tests use it.

home = await Home.of(ana)
await home.search("Grüße")
await home.act("Plans", "Delete")
"""

from __future__ import annotations

import re
import secrets
from typing import Self

import httpx
from playwright.async_api import Locator, expect

from tests.browser.people import DEADLINE_S, Person, create

WAIT_MS = DEADLINE_S * 1000


class Home:
    """A person on the home page."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.page = person.page

    @classmethod
    async def of(cls, person: Person, *, fragment: str = "") -> Self:
        """Go there, and wait until the list has come."""
        await person.page.goto(person.home + fragment)
        home = cls(person)
        await home.settled()
        return home

    async def settled(self) -> None:
        """Wait until the list has come, or the word that there is none."""
        await expect(self.page.locator(".home")).to_be_visible(timeout=WAIT_MS)
        await expect(self.page.locator(".skeleton-row")).to_have_count(0, timeout=WAIT_MS)

    # -- looking

    @property
    def rows(self) -> Locator:
        """The documents and boards that are listed."""
        return self.page.locator(".rows .row")

    def row(self, title: str) -> Locator:
        """The row with exactly this title."""
        exact = self.page.locator(".row-title").get_by_text(title, exact=True)
        return self.rows.filter(has=exact)

    async def shows(self, *titles: str) -> None:
        """Wait until exactly these are listed, in this order."""
        await expect(self.page.locator(".row-title")).to_have_text(list(titles), timeout=WAIT_MS)

    @property
    def heading(self) -> Locator:
        """Above the list."""
        return self.page.locator(".list-head h2")

    def toast(self, text: str) -> Locator:
        """A short message at the bottom."""
        return self.page.locator(".toast").filter(has_text=text)

    # -- doing

    async def search(self, text: str) -> None:
        """Look for titles."""
        await self.page.get_by_role("searchbox").fill(text)

    async def show(self, filter_label: str) -> None:
        """`All`, `Documents` or `Boards`."""
        await self.page.locator(".segment").get_by_text(filter_label, exact=True).click()

    async def act(self, title: str, action: str) -> None:
        """An item of a row's menu."""
        await self.row(title).get_by_role("button", name=f"Actions for {title}").click()
        await self.page.get_by_role("menuitem", name=action, exact=True).click()

    async def rename(self, title: str, new: str) -> None:
        """With the row's dialog."""
        await self.act(title, "Rename")
        dialog = self.page.get_by_role("dialog")
        await dialog.get_by_label("Title").fill(new)
        await dialog.get_by_role("button", name="Rename").click()
        await expect(dialog).to_have_count(0)

    async def make(self, what: str) -> str:
        """Click on a card or a template, wait for the page; its path."""
        await self.page.get_by_role("button", name=re.compile(f"^{re.escape(what)}")).click()
        await self.page.wait_for_url(re.compile(r"/[db]/[^/]+$"), timeout=WAIT_MS)
        await self.person.chip("saved", "live")
        return self.page.url


def mark() -> str:
    """A word for titles that no other test has."""
    return f"mark{secrets.token_hex(4)}"


async def create_many(url: str, titles: list[str], kind: str = "document") -> list[str]:
    """Documents, one after another, so that their order is known; their ids."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        made = []
        for title in titles:
            answer = await client.post("/api/documents", json={"kind": kind, "title": title})
            assert answer.status_code == 201, answer.text
            made.append(str(answer.json()["id"]))
        return made


__all__ = ["WAIT_MS", "Home", "create", "create_many", "mark"]
