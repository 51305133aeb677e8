"""A journal with nothing but what is required keeps the contract of that, and says clearly what it lacks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.support.small_journal import SmallJournal

from raffia.errors import JournalUnavailableError, NotConfiguredError
from raffia.journal import Journal, Revocations
from raffia.journal.testing.contract import DOCUMENT, Clock, DirectoryContract, LogContract
from raffia.types import Revocation, Revoked


class TestSmallJournal(LogContract, DirectoryContract):
    @pytest.fixture
    async def journal(self, clock: Clock) -> AsyncIterator[Journal]:
        async with SmallJournal(now_ms=clock, elapsed_ms=clock.elapsed_ms) as journal:
            yield journal

    def fail(self, journal: Journal) -> None:
        assert isinstance(journal, SmallJournal)
        journal.disk_is_full = True

    def mend(self, journal: Journal) -> None:
        assert isinstance(journal, SmallJournal)
        journal.disk_is_full = False

    async def test_what_it_lacks_is_refused(self, journal: Journal) -> None:
        for attempt, what in (
            (journal.history.at(DOCUMENT, 0), "no history"),
            (journal.history.windows(DOCUMENT), "no history"),
            (journal.versions.save(DOCUMENT, b"", time_ms=0), "no versions"),
            (journal.versions.all(DOCUMENT), "no versions"),
            (journal.versions.get(DOCUMENT, 1), "no versions"),
            (journal.versions.rename(DOCUMENT, 1, "é"), "no versions"),
            (journal.versions.delete(DOCUMENT, 1), "no versions"),
            (journal.links.add(DOCUMENT, "read", 0), "no share links"),
            (journal.links.reset(DOCUMENT), "no share links"),
        ):
            with pytest.raises(NotConfiguredError, match=f"keeps {what}"):
                await attempt

    async def test_it_keeps_no_revocations(self, journal: Journal) -> None:
        journal.revocations.on_added(lambda: None)
        with pytest.raises(JournalUnavailableError, match="keeps no revocations"):
            await journal.revocations.add(Revocation(Revoked.USER, "zoë 🦊", 0))
        assert await journal.revocations.read() == Revocations(b"", [])
        assert await journal.revocations.read(b"") is None

    async def test_it_is_alone_and_says_nothing_of_itself(self, journal: Journal) -> None:
        assert (journal.is_shared, journal.bus) == (False, None)
        assert await journal.warnings() == []


def test_what_is_required_is_missed_at_once() -> None:
    class Unfinished(SmallJournal):
        append = Journal.append  # type: ignore[assignment]

    with pytest.raises(TypeError, match=r"abstract method.*append"):
        Unfinished(Clock())
