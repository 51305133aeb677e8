"""Deleting and restoring at the same time on two replicas: RD1 and RD2 of listing.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.support.journals import Journals

from raffia.journal.redis.base import Base
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.redis.keys import Keys
from raffia.journal.search import Order
from raffia.journal.testing.contract import DOCUMENT, Clock, edit

KEYS = Keys("raffia")


def hold_after(journal: RedisJournal, script: str, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, Any]:
    """Stop a journal after one of its scripts; returns what is set then, and what lets it go on."""
    reached, go_on, real = asyncio.Event(), asyncio.Event(), Base.ask

    async def ask(self: Base, name: str, *arguments: Any) -> Any:
        answer = await real(self, name, *arguments)
        if self is journal._base and name == script:
            reached.set()
            await go_on.wait()
        return answer

    monkeypatch.setattr(Base, "ask", ask)
    return reached, go_on.set


async def listed(journal: RedisJournal, *, deleted: bool) -> list[list[str]]:
    orders: tuple[Order, ...] = ("name", "edited")
    pages = [await journal.directory.documents(order=order, deleted=deleted) for order in orders]
    return [[info.document for info in page.documents] for page in pages]


async def test_rd1_restored_there_while_it_is_deleted_here(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await journals.open(), await journals.open()
    await one.append(DOCUMENT, (edit(b"\x00\x00"),))
    reached, go_on = hold_after(one, "delete", monkeypatch)
    deleting = asyncio.create_task(one.directory.delete(DOCUMENT))
    await reached.wait()
    await two.directory.restore(DOCUMENT)
    go_on()
    await deleting
    assert await listed(two, deleted=False) == [[DOCUMENT], [DOCUMENT]]
    assert await listed(two, deleted=True) == [[], []]


async def test_rd2_deleted_there_while_it_is_restored_here(
    journals: Journals, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await journals.open(), await journals.open()
    await one.append(DOCUMENT, (edit(b"\x00\x00"),))
    await one.directory.delete(DOCUMENT)
    reached, go_on = hold_after(one, "restore", monkeypatch)
    restoring = asyncio.create_task(one.directory.restore(DOCUMENT))
    await reached.wait()
    clock.advance(1000)
    await two.directory.delete(DOCUMENT)
    go_on()
    await restoring
    assert await listed(two, deleted=False) == [[], []]
    assert await listed(two, deleted=True) == [[DOCUMENT], [DOCUMENT]]
    assert journals.server.command("ZSCORE", KEYS.trash, DOCUMENT) is not None  # or nothing would ever purge it
