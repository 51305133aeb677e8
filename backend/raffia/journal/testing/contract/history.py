"""The history (J9-J11)."""

# A test's name says what it tests, and random.Random gives seeds here, not secrets:
# ruff: noqa: D102, S311

from __future__ import annotations

import random

import pytest

from raffia.errors import DocumentDeletedError, ForbiddenError
from raffia.journal.protocol import DAY_MS, RETENTION_MS, TRASH_MS, WINDOW_MS, Journal, Snapshot
from raffia.journal.testing.contract.base import Contract
from raffia.journal.testing.contract.tools import BEGIN_MS, DOCUMENT, Clock, Typist, canonical, content, edit
from raffia.types import Position


class HistoryContract(Contract):
    """The contract of `Journal.history`."""

    @pytest.mark.parametrize("seed", range(6))
    async def test_j9_every_moment_can_be_rebuilt(self, journal: Journal, clock: Clock, seed: int) -> None:
        chance = random.Random(seed)
        session = Session(chance, clock)
        for _ in range(chance.randrange(10, 40)):
            await session.append(journal)
            clock.advance(chance.choice([0, 300, 4_000, 9_999, 10_000, 61_000]))
            if chance.random() < 0.3:
                await session.compact(journal, chance.randrange(len(session.positions)))
            if chance.random() < 0.1:
                journal = await self.reopen(journal)
        for moment_ms in session.moments():
            assert canonical(await journal.history.at(DOCUMENT, moment_ms)) == canonical(session.until(moment_ms)), (
                moment_ms
            )
        await journal.compact(DOCUMENT, Snapshot(canonical(session.updates), b""), session.positions[-1])
        for moment_ms in session.moments():
            assert canonical(await journal.history.at(DOCUMENT, moment_ms)) == canonical(session.until(moment_ms)), (
                moment_ms
            )
        assert await journal.history.at(DOCUMENT, BEGIN_MS - 3 * WINDOW_MS) == []

    async def test_j9_deleted_text_is_back_in_the_moment_before(self, journal: Journal) -> None:
        typist = Typist(1)
        kept, gone = typist.type("hello "), typist.type("sécret🦊")
        deletion = typist.delete(6, 8)
        times = [BEGIN_MS, BEGIN_MS + 20_000, BEGIN_MS + 40_000]
        for update, time_ms in zip((kept, gone, deletion), times, strict=True):
            position = await journal.append(DOCUMENT, (edit(update, time_ms),))
        state = canonical([kept, gone, deletion])
        assert "sécret".encode() not in state
        await journal.compact(DOCUMENT, Snapshot(state, b""), position)
        assert "sécret".encode() in canonical(await journal.history.at(DOCUMENT, times[1]))
        assert "sécret".encode() not in canonical(await journal.history.at(DOCUMENT, times[0]))
        assert canonical(await journal.history.at(DOCUMENT, times[2])) == state

    async def test_j9_windows_say_who_did_something_when(self, journal: Journal) -> None:
        ana, ben = Typist(1), Typist(2)
        plan = [("ana", 0), ("bén", 3_000), ("ana", 9_999), ("ana", 10_000), (None, 95_000)]
        for author, after_ms in plan:
            typist = ben if author == "bén" else ana
            position = await journal.append(DOCUMENT, (edit(typist.type("é"), BEGIN_MS + after_ms, author),))
        expected = [(0, "ana"), (0, "bén"), (10_000, "ana"), (90_000, None)]
        listed = await journal.history.windows(DOCUMENT)
        assert [(one.start_ms - BEGIN_MS, one.author) for one in listed] == expected
        await journal.compact(DOCUMENT, Snapshot(await content(journal), b""), position)
        listed = await journal.history.windows(DOCUMENT)
        assert [(one.start_ms - BEGIN_MS, one.author) for one in listed] == expected
        assert all(one.size_bytes > 0 for one in listed)
        assert len(await journal.history.windows(DOCUMENT, BEGIN_MS + 10_000)) == 2

    async def test_j10_a_clock_set_back_opens_no_gap(self, journal: Journal) -> None:
        typist = Typist(1)
        updates = [typist.type(text) for text in "abcd"]
        times = [BEGIN_MS, BEGIN_MS + 60_000, BEGIN_MS + 20_000, BEGIN_MS + 70_000]
        positions = [
            await journal.append(DOCUMENT, (edit(update, time_ms),))
            for update, time_ms in zip(updates, times, strict=True)
        ]
        for _ in range(2):
            moments = [canonical(await journal.history.at(DOCUMENT, time_ms)) for time_ms in times]
            assert moments == [canonical(updates[:count]) for count in (1, 3, 1, 4)]
            await journal.compact(DOCUMENT, Snapshot(canonical(updates[:2]), b""), positions[1])

    async def test_j11_history_lasts_for_the_retention_and_then_goes(self, journal: Journal, clock: Clock) -> None:
        session = Session(random.Random(7), clock)
        for _ in range(60):  # 2.5 days, an edit an hour, each folded at once
            await session.append(journal)
            await session.compact(journal, len(session.positions) - 1)
            await journal.prune()
            for moment_ms in session.moments():
                if moment_ms >= clock.now_ms - RETENTION_MS:
                    rebuilt = canonical(await journal.history.at(DOCUMENT, moment_ms))
                    assert rebuilt == canonical(session.until(moment_ms)), moment_ms
            clock.advance(3_600_000)
        with pytest.raises(ForbiddenError):
            await journal.history.at(DOCUMENT, BEGIN_MS)
        kept = await journal.history.windows(DOCUMENT)
        assert kept[0].start_ms > clock.now_ms - 2 * RETENTION_MS
        clock.advance(3 * DAY_MS)
        await journal.prune()
        assert await journal.history.windows(DOCUMENT) == []
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert info.history_bytes == 0
        assert canonical(await journal.history.at(DOCUMENT, clock.now_ms)) == canonical(session.updates)
        assert await content(journal) == canonical(session.updates)

    async def test_j13_the_listing_counts_the_history(self, journal: Journal) -> None:
        position = await journal.append(DOCUMENT, (edit(Typist(1).type("é" * 100)),))
        await journal.compact(DOCUMENT, Snapshot(b"s" * 1000, b"i" * 24), position)
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert info.history_bytes > 0

    async def test_j14_a_tombstone_hides_the_history(self, journal: Journal) -> None:
        await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        await journal.directory.delete(DOCUMENT)
        for _ in range(2):
            for attempt in (journal.history.at(DOCUMENT, BEGIN_MS), journal.history.windows(DOCUMENT)):
                with pytest.raises(DocumentDeletedError):
                    await attempt
            journal = await self.reopen(journal)

    async def test_j14_history_goes_with_the_purge(self, journal: Journal, clock: Clock) -> None:
        typist = Typist(1)
        position = await journal.append(DOCUMENT, (edit(typist.type("é" * 1000)),))
        await journal.compact(DOCUMENT, Snapshot(typist.type("x"), b""), position)
        await journal.directory.delete(DOCUMENT)
        clock.advance(TRASH_MS)
        await journal.prune()
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert (info.purged, info.history_bytes) == (True, 0)


class Session:
    """Several people editing one document, and its expected content at any time."""

    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self._chance = chance
        self._clock = clock
        self._typists = [Typist(client) for client in (1, 2, 3)]
        self.updates: list[bytes] = []
        self.positions: list[Position] = []
        self._batches: list[list[tuple[int, bytes]]] = []

    async def append(self, journal: Journal) -> None:
        """Append a batch of one to three edits, sometimes timed by a slow clock."""
        batch = []
        for _ in range(self._chance.randrange(1, 4)):
            typist = self._chance.choice(self._typists)
            if typist.clock > 4 and self._chance.random() < 0.2:
                # A whole "é🦊é", never half a character.
                update = typist.delete(4 * self._chance.randrange(typist.clock // 4), 4)
            else:
                update = typist.type("é🦊é")
            behind_ms = self._chance.choice([0, 0, 0, 15_000])
            batch.append(edit(update, self._clock.now_ms - behind_ms, f"author {typist.client}"))
        self.positions.append(await journal.append(DOCUMENT, tuple(batch)))
        self._batches.append([(one.time_ms, one.update) for one in batch])
        self.updates += [one.update for one in batch]

    async def compact(self, journal: Journal, index: int) -> None:
        """Compact up to one of the batches."""
        updates = [update for batch in self._batches[: index + 1] for _, update in batch]
        await journal.compact(DOCUMENT, Snapshot(canonical(updates), b""), self.positions[index])

    def moments(self) -> list[int]:
        """Return a time in every window in which something happened, and times in between."""
        times = {time_ms for batch in self._batches for time_ms, _ in batch if time_ms >= BEGIN_MS}
        return sorted(times | {time_ms + WINDOW_MS // 2 for time_ms in times})

    def until(self, moment_ms: int) -> list[bytes]:
        """Return the updates up to the end of the window of a time (J9, J10)."""
        end_ms = moment_ms - moment_ms % WINDOW_MS + WINDOW_MS
        latest_ms, updates = 0, []
        for batch in self._batches:
            for time_ms, update in batch:
                latest_ms = max(latest_ms, time_ms)
                if latest_ms < end_ms:
                    updates.append(update)
        return updates
