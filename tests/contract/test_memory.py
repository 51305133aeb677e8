"""The memory journal keeps the contract."""

from collections.abc import AsyncIterator

import pytest

from raffia.journal import Journal
from raffia.journal.testing.contract import Clock, JournalContract
from raffia.journal.testing.memory import MemoryJournal


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    async def journal(self, clock: Clock) -> AsyncIterator[Journal]:
        async with MemoryJournal(now_ms=clock, elapsed_ms=clock.elapsed_ms) as journal:
            yield journal

    def fail(self, journal: Journal) -> None:
        assert isinstance(journal, MemoryJournal)
        journal.store.failing = "the store is said to fail"

    def mend(self, journal: Journal) -> None:
        assert isinstance(journal, MemoryJournal)
        journal.store.failing = None
