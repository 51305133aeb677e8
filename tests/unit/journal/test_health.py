"""When the journal is asked and when it counts as away: JH1 and JH2 of readiness.py."""

from __future__ import annotations

import asyncio

import pytest

from raffia.errors import JournalUnavailableError
from raffia.journal.health import JournalHealth
from raffia.journal.testing.memory import MemoryJournal


class Journal(MemoryJournal):
    """One that can be taken away, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.asked = 0

    async def healthy(self) -> None:
        self.asked += 1
        if self.away:
            raise JournalUnavailableError("disk full, é")


@pytest.fixture
async def journal() -> Journal:
    return Journal()


async def test_jh1_nobody_asks_an_idle_journal(journal: Journal) -> None:
    watch = JournalHealth(journal)
    await watch.look()
    await watch.look()
    assert journal.asked == 0
    assert watch.away_s() == 0.0
    await watch.look()
    await watch.look()
    assert journal.asked == 1


async def test_jh1_a_failed_commit_and_a_stuck_queue_are_reasons(journal: Journal) -> None:
    watch = JournalHealth(journal)
    journal.stats.failures += 1
    await watch.look()
    await watch.look()
    assert journal.asked == 1
    journal.stats.queued = 3
    await watch.look()
    assert journal.asked == 2
    journal.stats.commits += 1
    await watch.look()
    assert journal.asked == 2


async def test_jh2_away_from_the_first_failure_until_a_success(journal: Journal) -> None:
    watch = JournalHealth(journal)
    journal.away = True
    watch.away_s()
    before_s = asyncio.get_running_loop().time()
    await watch.look()
    await watch.look()
    assert 0.0 < watch.away_s() <= asyncio.get_running_loop().time() - before_s
    journal.away = False
    await watch.look()
    assert watch.away_s() == 0.0


async def test_jh2_no_answer_is_away(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("raffia.journal.health.ANSWER_S", 0.01)
    monkeypatch.setattr(journal, "healthy", hangs)
    watch = JournalHealth(journal)
    watch.away_s()
    await watch.look()
    assert watch.away_s() > 0.0
