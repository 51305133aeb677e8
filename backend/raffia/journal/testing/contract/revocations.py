"""Revocations (J21)."""

# A test's name says what it tests:
# ruff: noqa: D102

from __future__ import annotations

import pytest

from raffia.errors import JournalUnavailableError, RoomFullError
from raffia.journal.passed_time import SETTLED_MS
from raffia.journal.protocol import Journal
from raffia.journal.testing.contract.base import Contract
from raffia.journal.testing.contract.tools import DOCUMENT, Clock
from raffia.types import MAX_REVOCATIONS, Revocation, Revoked


class RevocationsContract(Contract):
    """The contract of `Journal.revocations`."""

    async def test_j21_revocations_are_kept_and_the_latest_counts(self, journal: Journal, clock: Clock) -> None:
        nothing = await journal.revocations.read()
        assert nothing is not None
        assert nothing.revocations == []
        assert await journal.revocations.read(nothing.mark) is None
        user = Revocation(Revoked.USER, "zoë 🦊: *[x]", clock.now_ms, clock.now_ms + 60_000)
        await journal.revocations.add(user)
        later = Revocation(Revoked.USER, user.subject, clock.now_ms + 5, clock.now_ms + 30_000)
        await journal.revocations.add(later)
        links = Revocation(Revoked.LINKS, DOCUMENT, clock.now_ms)
        await journal.revocations.add(links)
        await journal.revocations.add(Revocation(Revoked.LINKS, DOCUMENT, clock.now_ms - 9, clock.now_ms + 1))
        token = Revocation(Revoked.TOKEN, DOCUMENT, clock.now_ms, clock.now_ms + 1_000)
        await journal.revocations.add(token)
        found = await journal.revocations.read(nothing.mark)
        assert found is not None
        merged = Revocation(Revoked.USER, user.subject, clock.now_ms + 5, clock.now_ms + 60_000)
        assert set(found.revocations) == {merged, links, token}
        assert len(found.revocations) == 3
        assert await journal.revocations.read(found.mark) is None

    async def test_j21_past_revocations_are_dropped(self, journal: Journal, clock: Clock) -> None:
        clock.advance(SETTLED_MS)
        await journal.revocations.add(Revocation(Revoked.TOKEN, "a", clock.now_ms, clock.now_ms + 1_000))
        await journal.revocations.add(Revocation(Revoked.TOKEN, "b", clock.now_ms, clock.now_ms + 2_000))
        await journal.revocations.add(Revocation(Revoked.TOKEN, "c", clock.now_ms))
        clock.advance(1_000)
        await journal.prune()
        found = await journal.revocations.read()
        assert found is not None
        assert {one.subject for one in found.revocations} == {"b", "c"}

    @pytest.mark.parametrize("full", list(Revoked))
    async def test_j21_each_kind_has_a_limit_of_its_own(
        self, journal: Journal, clock: Clock, monkeypatch: pytest.MonkeyPatch, full: Revoked
    ) -> None:
        clock.advance(SETTLED_MS)
        monkeypatch.setitem(MAX_REVOCATIONS, full, 3)
        for number in range(3):
            await journal.revocations.add(Revocation(full, f"t/{number}", clock.now_ms, clock.now_ms + 1 + number))
        with pytest.raises(RoomFullError, match=full.value):
            await journal.revocations.add(Revocation(full, "t/3", clock.now_ms))
        await journal.revocations.add(Revocation(full, "t/2", clock.now_ms, clock.now_ms + 9))  # known: no new place
        for other in set(Revoked) - {full}:
            await journal.revocations.add(Revocation(other, "t/1", clock.now_ms))
        clock.advance(2)
        await journal.prune()  # which makes two places
        for number in (4, 5):
            await journal.revocations.add(Revocation(full, f"t/{number}", clock.now_ms))
        with pytest.raises(RoomFullError):
            await journal.revocations.add(Revocation(full, "t/6", clock.now_ms))
        found = await journal.revocations.read()
        assert found is not None
        assert sorted(one.subject for one in found.revocations if one.kind is full) == ["t/2", "t/4", "t/5"]
        assert len(found.revocations) == 3 + len(Revoked) - 1

    async def test_j21_nothing_is_revoked_that_is_not_durable(self, journal: Journal, clock: Clock) -> None:
        self.fail(journal)
        with pytest.raises(JournalUnavailableError):
            await journal.revocations.add(Revocation(Revoked.TOKEN, "a", clock.now_ms))
        self.mend(journal)
        await journal.revocations.add(Revocation(Revoked.TOKEN, "b", clock.now_ms))
        found = await journal.revocations.read()
        assert found is not None
        assert "b" in {one.subject for one in found.revocations}
