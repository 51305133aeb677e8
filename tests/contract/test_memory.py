"""The memory journal keeps the contract."""

from collections.abc import AsyncIterator

import pytest

from raffia.journal import Entry, Journal
from raffia.journal.testing.contract import Clock, IntegrityContract, JournalContract
from raffia.journal.testing.memory import MemoryJournal
from raffia.types import DocumentId, Edit


class TestMemoryJournal(JournalContract, IntegrityContract):
    @pytest.fixture
    async def journal(self, clock: Clock) -> AsyncIterator[Journal]:
        async with MemoryJournal(now_ms=clock, elapsed_ms=clock.elapsed_ms) as journal:
            yield journal

    async def damage(self, journal: Journal, document: DocumentId) -> None:
        assert isinstance(journal, MemoryJournal)
        kept = journal.store.documents[document]
        ((one,), *_) = [entry.batch for entry in kept.entries]
        changed = Edit(one.author, one.time_ms, one.update[:-1] + bytes([one.update[-1] ^ 1]))
        kept.entries[0] = Entry(kept.entries[0].position, (changed,))

    def fail(self, journal: Journal) -> None:
        assert isinstance(journal, MemoryJournal)
        journal.store.failing = "the store is said to fail"

    def mend(self, journal: Journal) -> None:
        assert isinstance(journal, MemoryJournal)
        journal.store.failing = None
