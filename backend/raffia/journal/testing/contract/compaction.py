"""Compaction (J8)."""

# A test's name says what it tests:
# ruff: noqa: D102

from __future__ import annotations

import asyncio
import contextlib

import pytest

from raffia.errors import ForbiddenError, InternalError, JournalUnavailableError
from raffia.journal.protocol import Journal, Snapshot
from raffia.journal.testing.contract.base import Contract
from raffia.journal.testing.contract.tools import DOCUMENT, Typist, canonical, content, edit, updates_of
from raffia.types import DocumentId, Position


class CompactionContract(Contract):
    """The contract of `compact`."""

    async def test_j8_a_compaction_that_fails_leaves_the_old(self, journal: Journal) -> None:
        typist = Typist(1)
        position = await journal.append(DOCUMENT, (edit(typist.type("abc")),))
        before = await journal.load(DOCUMENT)
        self.fail(journal)
        with pytest.raises(JournalUnavailableError):
            await journal.compact(DOCUMENT, Snapshot(b"x" * 3_000_000, b""), position)
        self.mend(journal)
        assert await journal.load(DOCUMENT) == before
        await journal.compact(DOCUMENT, Snapshot(before.entries[0].batch[0].update, b"i"), position)
        assert (await journal.load(DOCUMENT)).snapshot == Snapshot(before.entries[0].batch[0].update, b"i")

    async def test_j8_compaction_changes_nothing_that_load_rebuilds(self, journal: Journal) -> None:
        typist = Typist(1)
        updates = [typist.type(text) for text in ("abc", "é", "🦊", "def", "g")]
        positions = [await journal.append(DOCUMENT, (edit(update),)) for update in updates]
        state = canonical(updates[:3])
        await journal.compact(DOCUMENT, Snapshot(state, b"index \x00"), positions[2])
        for _ in range(2):
            loaded = await journal.load(DOCUMENT)
            assert loaded.snapshot == Snapshot(state, b"index \x00")
            assert updates_of(loaded.entries) == updates[3:]
            assert loaded.position == positions[4]
            journal = await self.reopen(journal)
        assert await content(journal) == canonical(updates)

    async def test_j8_positions_go_on_after_everything_was_folded(self, journal: Journal) -> None:
        typist = Typist(1)
        update = typist.type("a")
        position = await journal.append(DOCUMENT, (edit(update),))
        await journal.compact(DOCUMENT, Snapshot(update, b""), position)
        journal = await self.reopen(journal)
        assert (await journal.load(DOCUMENT)).position == position
        assert await journal.append(DOCUMENT, (edit(typist.type("b")),)) > position

    async def test_j8_a_stale_compaction_does_nothing(self, journal: Journal) -> None:
        typist = Typist(1)
        updates = [typist.type(text) for text in "abc"]
        positions = [await journal.append(DOCUMENT, (edit(update),)) for update in updates]
        await journal.compact(DOCUMENT, Snapshot(canonical(updates[:2]), b""), positions[1])
        await journal.compact(DOCUMENT, Snapshot(b"stale", b""), positions[1])
        await journal.compact(DOCUMENT, Snapshot(b"stale", b""), positions[0])
        assert await content(journal) == canonical(updates)

    async def test_j8_of_two_compactions_at_once_the_result_is_one_of_them(self, journal: Journal) -> None:
        typist = Typist(1)
        updates = [typist.type("é" * 50_000) for _ in range(12)]
        positions = [await journal.append(DOCUMENT, (edit(update),)) for update in updates]
        await asyncio.gather(
            *[
                journal.compact(DOCUMENT, Snapshot(canonical(updates[:count]), b""), positions[count - 1])
                for count in (5, 12, 8, 5)
            ]
        )
        assert await content(journal) == canonical(updates)

    async def test_j8_appends_and_loads_during_compactions(self, journal: Journal) -> None:
        typist = Typist(1)
        updates = [typist.type("start " * 20_000)]
        positions = [await journal.append(DOCUMENT, (edit(updates[0]),))]
        for _ in range(6):
            state = canonical(updates)
            compaction = asyncio.ensure_future(journal.compact(DOCUMENT, Snapshot(state, b""), positions[-1]))
            while not compaction.done():
                updates.append(typist.type("é" * 1000))
                positions.append(await journal.append(DOCUMENT, (edit(updates[-1]),)))
                assert await content(journal) == canonical(updates)
                await asyncio.sleep(0)
            await compaction
        assert await content(journal) == canonical(updates)

    async def test_j8_beyond_the_end_is_our_fault(self, journal: Journal) -> None:
        position = await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        with pytest.raises(InternalError):
            await journal.compact(DOCUMENT, Snapshot(b"\x00\x00", b""), Position(position + 1))
        with pytest.raises(ForbiddenError):
            await journal.compact(DocumentId("nobody"), Snapshot(b"\x00\x00", b""), Position(1))

    async def test_j8_a_cancelled_compaction_leaves_the_old_or_the_new(self, journal: Journal) -> None:
        typist = Typist(1)
        updates: list[bytes] = []
        for turns in range(8):
            updates.append(typist.type("é" * 10_000))
            position = await journal.append(DOCUMENT, (edit(updates[-1]),))
            compaction = asyncio.ensure_future(
                journal.compact(DOCUMENT, Snapshot(canonical(updates), b"i" * 2_000_000), position)
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            compaction.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await compaction
            assert await content(journal) == canonical(updates)
        journal = await self.reopen(journal)
        assert await content(journal) == canonical(updates)
