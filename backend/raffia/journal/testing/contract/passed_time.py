"""A system clock that is wrong for a while makes nothing expire early (PT1-PT5 of raffia.journal.passed_time)."""

# A test's name says what it tests:
# ruff: noqa: D102

from __future__ import annotations

from raffia.errors import DocumentDeletedError
from raffia.journal.passed_time import SETTLED_MS
from raffia.journal.protocol import TRASH_MS, Journal, Snapshot
from raffia.journal.testing.contract.base import Contract
from raffia.journal.testing.contract.tools import DOCUMENT, OTHER, Clock, Typist, canonical, edit
from raffia.types import Revocation, Revoked

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


class PassedTimeContract(Contract):
    """The contract of `Journal.prune` when clocks are wrong; needs history, the directory and revocations."""

    async def test_pt1_a_clock_that_is_ahead_for_minutes_destroys_nothing(self, journal: Journal, clock: Clock) -> None:
        await self._settle(journal, clock)
        there = await self._furnish(journal, clock)
        clock.jump(40 * DAY_MS)
        for _ in range(3):
            await journal.prune()
            clock.advance(5 * MINUTE_MS)
        clock.jump(-40 * DAY_MS)
        await journal.prune()
        await self._check_is_there(journal, there)

    async def test_pt1_nor_does_a_restart_while_it_is_ahead(self, journal: Journal, clock: Clock) -> None:
        await self._settle(journal, clock)
        there = await self._furnish(journal, clock)
        clock.jump(40 * DAY_MS)
        for _ in range(3):
            journal = await self.reopen(journal)
            await journal.prune()
            clock.advance(5 * MINUTE_MS)
            await journal.prune()
        clock.jump(-40 * DAY_MS)
        await journal.prune()
        journal = await self.reopen(journal)
        await journal.prune()
        await self._check_is_there(journal, there)

    async def test_pt2_nor_a_first_start_while_it_is_ahead(self, journal: Journal, clock: Clock) -> None:
        there = await self._furnish(journal, clock)
        clock.jump(40 * DAY_MS)
        journal = await self.reopen(journal)
        clock.advance(SETTLED_MS - 1)
        await journal.prune()
        clock.jump(-40 * DAY_MS)
        await journal.prune()
        await self._check_is_there(journal, there)

    async def test_pt2_what_is_over_goes_when_the_clock_has_been_steady(self, journal: Journal, clock: Clock) -> None:
        await self._furnish(journal, clock)
        clock.jump(TRASH_MS)  # it was not running for so long
        journal = await self.reopen(journal)
        clock.advance(SETTLED_MS)
        await journal.prune()
        info = await journal.directory.info(OTHER)
        assert info is not None
        assert info.purged
        found = await journal.revocations.read()
        assert found is not None
        assert found.revocations == []

    async def test_pt5_what_is_deleted_while_the_clock_is_behind_is_kept(self, journal: Journal, clock: Clock) -> None:
        await self._settle(journal, clock)
        clock.jump(-40 * DAY_MS)
        await journal.append(DOCUMENT, (edit(Typist(1).type("x"), clock.now_ms),))
        await journal.directory.delete(DOCUMENT)
        await journal.prune()
        clock.jump(40 * DAY_MS)
        await journal.prune()
        await journal.directory.restore(DOCUMENT)

    async def test_pt1_a_clock_that_runs_too_fast_destroys_nothing_early(self, journal: Journal, clock: Clock) -> None:
        await self._settle(journal, clock)
        there = await self._furnish(journal, clock)
        for _ in range(20 * 12):  # less than a day, in which the clock runs most of a month
            clock.advance(5 * MINUTE_MS)
            clock.jump(30 * 5 * MINUTE_MS)
            await journal.prune()
        await self._check_is_there(journal, there)

    async def _settle(self, journal: Journal, clock: Clock) -> None:
        clock.advance(SETTLED_MS)
        await journal.prune()

    async def _furnish(self, journal: Journal, clock: Clock) -> bytes:
        """Create a document with history, a deleted document and a revocation; each expires within a few weeks."""
        typist = Typist(1)
        position = await journal.append(DOCUMENT, (edit(typist.type("early"), clock.now_ms),))
        await journal.append(OTHER, (edit(Typist(2).type("x"), clock.now_ms),))
        await journal.compact(DOCUMENT, Snapshot(typist.all, b""), position)
        self._early_ms = clock.now_ms
        early = canonical(await journal.history.at(DOCUMENT, self._early_ms))
        clock.advance(MINUTE_MS)
        position = await journal.append(DOCUMENT, (edit(typist.type("late"), clock.now_ms),))
        await journal.compact(DOCUMENT, Snapshot(typist.all, b""), position)
        await journal.directory.delete(OTHER)
        until_ms = clock.now_ms + 10 * DAY_MS
        await journal.revocations.add(Revocation(Revoked.USER, "bob", clock.now_ms, until_ms))
        return early

    async def _check_is_there(self, journal: Journal, early: bytes) -> None:
        assert canonical(await journal.history.at(DOCUMENT, self._early_ms)) == early
        try:
            await journal.directory.restore(OTHER)
        except DocumentDeletedError as error:
            raise AssertionError("the deleted document was purged") from error
        found = await journal.revocations.read()
        assert found is not None
        assert [one.subject for one in found.revocations] == ["bob"]
