"""`on_load` on memory journals: who is asked, what is kept, and what happens when the hook fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.unit.world import DOCUMENT, Author, text_of

from raffia.crdt.merge import merge
from raffia.documents.seeding import OnLoad, Seeding
from raffia.errors import DocumentDeletedError, ForbiddenError, LaterError
from raffia.journal import Journal
from raffia.journal.testing.memory import MemoryJournal, MemoryStore
from raffia.rooms.hub import Hub
from raffia.runtime.metrics import Metrics
from raffia.runtime.workers import Workers
from raffia.settings import Settings
from raffia.types import EMPTY_UPDATE, DocumentId, Edit

SEED = Author(1).type("seed")


@asynccontextmanager
async def seeded(hook: OnLoad, store: MemoryStore | None = None, *, deadline_s: float = 5.0) -> AsyncIterator[Hub]:
    settings = Settings(journal_pause_s=0.0, coalesce_factor=0.0, drain_s=1.0)
    async with Workers(1) as workers, MemoryJournal(store=store or MemoryStore()) as journal:
        seed = Seeding(hook, journal, workers, max_bytes=settings.max_document_bytes, deadline_s=deadline_s)
        async with Hub(journal, workers, settings, Metrics(), seed=seed) as hub:
            yield hub


async def open_text(hub: Hub) -> str:
    room = await hub.open(DOCUMENT)
    try:
        return text_of(merge([room.document.base, *room.document.tail]))
    finally:
        hub.release(room)


async def entries(journal: Journal) -> int:
    return len((await journal.load(DOCUMENT)).entries)


async def test_ol1_ol3_the_hook_is_asked_once_and_its_seed_is_durable_first() -> None:
    asked: list[DocumentId] = []

    async def hook(document: DocumentId) -> bytes:
        asked.append(document)
        await asyncio.sleep(0)
        return SEED

    async with seeded(hook) as hub:
        assert set(await asyncio.gather(*[open_text(hub) for _ in range(20)])) == {"seed"}
        assert asked == [DOCUMENT]
        assert await entries(hub.journal) == 1
        hub.evict_idle(1e9, all_of_them=True)
        assert await open_text(hub) == "seed"
        assert asked == [DOCUMENT]


async def test_ol6_a_plain_function_runs_in_a_thread() -> None:
    threads: list[int] = []

    def hook(document: DocumentId) -> bytes:
        threads.append(threading.get_ident())
        return SEED

    async with seeded(hook) as hub:
        assert await open_text(hub) == "seed"
    assert threads != [threading.get_ident()]


@pytest.mark.parametrize("nothing", [None, EMPTY_UPDATE])
async def test_ol4_nothing_seeds_nothing(nothing: bytes | None) -> None:
    async def hook(document: DocumentId) -> bytes | None:
        return nothing

    async with seeded(hook) as hub:
        assert await open_text(hub) == ""
        assert await entries(hub.journal) == 0


async def test_ol1_a_tombstone_is_never_seeded() -> None:
    asked: list[DocumentId] = []

    async def hook(document: DocumentId) -> bytes:
        asked.append(document)
        return SEED

    async with seeded(hook) as hub:
        await open_text(hub)
        await hub.journal.directory.delete(DOCUMENT)
        hub.deleted(DOCUMENT)
        with pytest.raises(DocumentDeletedError):
            await hub.open(DOCUMENT)
        assert asked == [DOCUMENT]


def later(author: Author) -> bytes:
    author.type("a")
    return author.type("b")


@pytest.mark.parametrize("bad", [b"nonsense", "text", later(Author(3))], ids=["bytes", "text", "incomplete"])
async def test_ol5_a_bad_seed_is_not_stored(bad: object, caplog: pytest.LogCaptureFixture) -> None:
    async def hook(document: DocumentId) -> bytes:
        return bad  # type: ignore[return-value]

    async with seeded(hook) as hub:
        with pytest.raises(LaterError):
            await hub.open(DOCUMENT)
        assert await entries(hub.journal) == 0
        assert DOCUMENT not in hub.rooms
    assert "cannot be used" in caplog.text


async def test_ol5_a_failing_hook_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    fails = [ConnectionError("database away"), ForbiddenError("not yours")]

    async def hook(document: DocumentId) -> bytes:
        if fails:
            raise fails.pop(0)
        return SEED

    async with seeded(hook) as hub:
        with pytest.raises(LaterError):
            await hub.open(DOCUMENT)
        with pytest.raises(ForbiddenError):
            await hub.open(DOCUMENT)
        assert await open_text(hub) == "seed"
    assert "on_load failed" in caplog.text


async def test_ol5_a_slow_hook_is_not_waited_for() -> None:
    async def hook(document: DocumentId) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    async with seeded(hook, deadline_s=0.01) as hub:
        with pytest.raises(LaterError):
            await hub.open(DOCUMENT)


async def test_ol2_of_two_that_are_slow_one_wins() -> None:
    """Two processes cannot share a store that is not shared, so the other writer is played by the journal itself."""

    async def hook(document: DocumentId) -> bytes:
        await hub.journal.append(DOCUMENT, (Edit("other", 1, Author(9).type("theirs")),))
        return SEED

    async with seeded(hook) as hub:
        assert await open_text(hub) == "theirs"
        assert await entries(hub.journal) == 1
