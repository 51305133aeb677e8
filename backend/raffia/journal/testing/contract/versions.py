"""Versions (J12)."""

# A test's name says what it tests:
# ruff: noqa: D102

from __future__ import annotations

import pytest

from raffia.errors import DocumentDeletedError, ForbiddenError
from raffia.journal.protocol import TRASH_MS, Journal
from raffia.journal.testing.contract.base import Contract
from raffia.journal.testing.contract.tools import DOCUMENT, OTHER, Clock, edit
from raffia.types import DocumentId


class VersionsContract(Contract):
    """The contract of `Journal.versions`."""

    async def test_j12_versions_come_back_exactly(self, journal: Journal) -> None:
        await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        small = await journal.versions.save(DOCUMENT, b"\x00\x00", time_ms=5, authors=["ána", "🦊"], name="Früh")
        state = bytes(range(256)) * 10_000
        large = await journal.versions.save(DOCUMENT, state, time_ms=9)
        journal = await self.reopen(journal)
        assert await journal.versions.all(DOCUMENT) == [large, small]
        assert (large.authors, large.name, large.size_bytes) == ((), None, len(state))
        found = await journal.versions.get(DOCUMENT, small.id)
        assert (found.info, found.state) == (small, b"\x00\x00")
        assert (await journal.versions.get(DOCUMENT, large.id)).state == state

    async def test_j12_versions_are_renamed_and_deleted(self, journal: Journal) -> None:
        await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        await journal.append(OTHER, (edit(b"\x00\x00"),))
        version = await journal.versions.save(DOCUMENT, b"abc", time_ms=5, name="é")
        renamed = await journal.versions.rename(DOCUMENT, version.id, "Fünf 🦊")
        assert renamed.name == "Fünf 🦊"
        assert await journal.versions.all(DOCUMENT) == [renamed]
        assert (await journal.versions.rename(DOCUMENT, version.id, None)).name is None
        for other in (journal.versions.get, journal.versions.delete):
            with pytest.raises(ForbiddenError):
                await other(OTHER, version.id)
        await journal.versions.delete(DOCUMENT, version.id)
        assert await journal.versions.all(DOCUMENT) == []
        with pytest.raises(ForbiddenError):
            await journal.versions.get(DOCUMENT, version.id)
        with pytest.raises(ForbiddenError):
            await journal.versions.rename(DOCUMENT, version.id, "x")
        with pytest.raises(ForbiddenError):
            await journal.versions.save(DocumentId("nobody"), b"abc", time_ms=5)

    async def test_j14_a_tombstone_hides_the_versions(self, journal: Journal) -> None:
        await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        version = await journal.versions.save(DOCUMENT, b"abc", time_ms=5)
        await journal.directory.delete(DOCUMENT)
        for _ in range(2):
            for attempt in (
                journal.versions.all(DOCUMENT),
                journal.versions.get(DOCUMENT, version.id),
                journal.versions.save(DOCUMENT, b"", time_ms=1),
            ):
                with pytest.raises(DocumentDeletedError):
                    await attempt
            journal = await self.reopen(journal)
        await journal.directory.restore(DOCUMENT)
        assert (await journal.versions.get(DOCUMENT, version.id)).state == b"abc"

    async def test_j12_versions_go_with_the_purge(self, journal: Journal, clock: Clock) -> None:
        await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        await journal.versions.save(DOCUMENT, b"abc", time_ms=5)
        await journal.directory.delete(DOCUMENT)
        clock.advance(TRASH_MS)
        await journal.prune()
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert (info.purged, info.history_bytes) == (True, 0)
        with pytest.raises(DocumentDeletedError):
            await journal.versions.all(DOCUMENT)
