"""The log: appending, loading, following (J1-J7, J15, J17, J19), and compaction."""

# A test's name says what it tests:
# ruff: noqa: D102

from __future__ import annotations

import asyncio

import pytest

from raffia.errors import DocumentDeletedError, InternalError, JournalUnavailableError
from raffia.journal.protocol import Entry, Gap, Journal, Reset, Snapshot
from raffia.journal.protocol.log import DocumentLog
from raffia.journal.testing.contract.compaction import CompactionContract
from raffia.journal.testing.contract.tools import (
    BEGIN_MS,
    DEADLINE_S,
    DOCUMENT,
    OTHER,
    Typist,
    canonical,
    edit,
    take,
    updates_of,
)
from raffia.types import START, Batch, DocumentId, Edit, Position


class LogContract(CompactionContract):
    """The contract of `append`, `load`, `follow` and `compact`."""

    async def test_j1_positions_of_a_document_grow_in_the_order_of_the_calls(self, journal: Journal) -> None:
        typist = Typist(1)
        updates = [typist.type(f"é{number} ") for number in range(200)]
        positions = await asyncio.gather(*[journal.append(DOCUMENT, (edit(update),)) for update in updates])
        assert positions[0] > START
        assert positions == sorted(set(positions))
        loaded = await journal.load(DOCUMENT)
        assert updates_of(loaded.entries) == updates
        assert [entry.position for entry in loaded.entries] == positions
        assert loaded.position == positions[-1]

    async def test_j1_the_batch_is_taken_at_the_call(self, journal: Journal) -> None:
        first = journal.append(DOCUMENT, (edit(b"\x00\x00", 1),))
        second = journal.append(DOCUMENT, (edit(b"\x00\x00", 2),))
        assert await second > await first

    async def test_j1_documents_do_not_mix(self, journal: Journal) -> None:
        one, two = Typist(1), Typist(2)
        await asyncio.gather(
            *[
                journal.append(document, (edit(typist.type("x")),))
                for _ in range(50)
                for document, typist in ((DOCUMENT, one), (OTHER, two))
            ]
        )
        assert all(update[2] == 1 for update in updates_of((await journal.load(DOCUMENT)).entries))
        assert all(update[2] == 2 for update in updates_of((await journal.load(OTHER)).entries))

    async def test_j2_what_is_acknowledged_is_there_after_a_restart(self, journal: Journal) -> None:
        typist = Typist(1)
        before = [await journal.append(DOCUMENT, (edit(typist.type("ø🦊")),)) for _ in range(5)]
        loaded = await journal.load(DOCUMENT)
        journal = await self.reopen(journal)
        assert await journal.load(DOCUMENT) == loaded
        assert await journal.append(DOCUMENT, (edit(typist.type("!")),)) > before[-1]

    async def test_j24_of_several_first_appends_one_is_appended(self, journal: Journal) -> None:
        typists = [Typist(number) for number in range(1, 9)]
        batches = [(edit(typist.type("seed")),) for typist in typists]
        if type(journal).append_first is DocumentLog.append_first:  # inherited, it is not for calls at the same time
            positions = [await journal.append_first(DOCUMENT, batch) for batch in batches]
        else:
            positions = await asyncio.gather(*[journal.append_first(DOCUMENT, batch) for batch in batches])
        (position,) = [one for one in positions if one is not None]
        loaded = await journal.load(DOCUMENT)
        assert [entry.batch for entry in loaded.entries] == [batches[positions.index(position)]]
        assert loaded.position == position
        assert await journal.append_first(DOCUMENT, batches[0]) is None
        later = edit(typists[0].type("!"))
        assert await journal.append(DOCUMENT, (later,)) > position
        journal = await self.reopen(journal)
        assert await journal.append_first(DOCUMENT, batches[1]) is None
        assert len((await journal.load(DOCUMENT)).entries) == 2

    async def test_j24_nothing_is_first_after_an_append_or_a_fold(self, journal: Journal) -> None:
        typist = Typist(1)
        update = typist.type("x")
        position = await journal.append(DOCUMENT, (edit(update),))
        assert await journal.append_first(DOCUMENT, (edit(Typist(2).type("y")),)) is None
        await journal.compact(DOCUMENT, Snapshot(update, b""), position)
        assert await journal.append_first(DOCUMENT, (edit(Typist(2).type("y")),)) is None
        assert updates_of((await journal.load(DOCUMENT)).entries) == []

    async def test_j24_nothing_is_first_in_a_deleted_document(self, journal: Journal) -> None:
        await journal.append(DOCUMENT, (edit(Typist(1).type("x")),))
        await journal.directory.delete(DOCUMENT)
        with pytest.raises(DocumentDeletedError):
            await journal.append_first(DOCUMENT, (edit(Typist(2).type("y")),))

    async def test_j24_a_failed_disk_fails_it(self, journal: Journal) -> None:
        self.fail(journal)
        with pytest.raises(JournalUnavailableError):
            await journal.append_first(DOCUMENT, (edit(Typist(1).type("x")),))
        self.mend(journal)
        assert await journal.append_first(DOCUMENT, (edit(Typist(1).type("x")),)) is not None

    async def test_j3_cancelling_the_wait_withdraws_nothing(self, journal: Journal) -> None:
        typist = Typist(1)
        first = asyncio.ensure_future(journal.append(DOCUMENT, (edit(typist.type("a")),)))
        second = asyncio.ensure_future(journal.append(DOCUMENT, (edit(typist.type("b")),)))
        first.cancel()
        await second
        assert len((await journal.load(DOCUMENT)).entries) == 2

    async def test_j4_an_unknown_document_is_empty(self, journal: Journal) -> None:
        loaded = await journal.load(DocumentId("nobody"))
        assert (loaded.snapshot, loaded.entries, loaded.position) == (None, [], START)
        assert await journal.directory.info(DocumentId("nobody")) is None

    async def test_j4_a_load_between_appends_is_a_prefix_with_all_that_was_acknowledged(self, journal: Journal) -> None:
        typist = Typist(1)
        updates = [typist.type("é") for _ in range(300)]
        acknowledged = 0
        for start in range(0, 300, 30):
            waiting = [journal.append(DOCUMENT, (edit(update),)) for update in updates[start : start + 30]]
            loaded = updates_of((await journal.load(DOCUMENT)).entries)
            assert loaded == updates[: len(loaded)]
            assert len(loaded) >= acknowledged
            await asyncio.gather(*waiting)
            acknowledged = start + 30

    async def test_j5_entries_keep_their_edits_as_they_came(self, journal: Journal) -> None:
        typist = Typist(1)
        large = typist.type("💾" * 300_000)
        batches: list[Batch] = [
            (
                Edit(None, 0, typist.type("a")),
                Edit("", 1, typist.type("b")),
                Edit("ünïcode 🦊\x00", 2**41, b"\x00\x00"),
            ),
            (Edit("big", BEGIN_MS, large),),
            tuple(edit(typist.type("x"), BEGIN_MS + number) for number in range(1000)),
        ]
        for batch in batches:
            await journal.append(DOCUMENT, batch)
        journal = await self.reopen(journal)
        assert [entry.batch for entry in (await journal.load(DOCUMENT)).entries] == batches

    async def test_an_empty_batch_is_our_fault(self, journal: Journal) -> None:
        with pytest.raises(InternalError):
            await journal.append(DOCUMENT, ())

    @pytest.mark.parametrize(
        "bad",
        [
            pytest.param(Edit(42, BEGIN_MS, b"\x00\x00"), id="author-is-a-number"),  # type: ignore[arg-type]
            pytest.param(Edit("x\ud800", BEGIN_MS, b"\x00\x00"), id="author-is-not-utf-8"),
            pytest.param(Edit("é", 2**70, b"\x00\x00"), id="time-beyond-64-bits"),
            pytest.param(Edit("é", "now", b"\x00\x00"), id="time-is-a-text"),  # type: ignore[arg-type]
            pytest.param(Edit("é", BEGIN_MS, "\x00\x00"), id="update-is-a-text"),  # type: ignore[arg-type]
        ],
    )
    async def test_j19_what_cannot_be_encoded_fails_alone(self, journal: Journal, bad: Edit) -> None:
        typist = Typist(1)
        updates = [typist.type("é"), typist.type("🦊")]
        before = journal.append(DOCUMENT, (edit(updates[0]),))
        failing = [journal.append(document, (edit(b"\x00\x00"), bad)) for document in (DOCUMENT, OTHER)]
        after = journal.append(DOCUMENT, (edit(updates[1]),))
        for future in failing:
            with pytest.raises(InternalError, match="cannot be stored"):
                await future
        assert await before < await after
        assert updates_of((await journal.load(DOCUMENT)).entries) == updates
        assert await journal.directory.info(OTHER) is None
        await journal.healthy()

    async def test_j6_a_failed_append_is_said_and_goes_through_later(self, journal: Journal) -> None:
        typist = Typist(1)
        await journal.append(DOCUMENT, (edit(typist.type("a")),))
        await journal.healthy()
        self.fail(journal)
        batches = [(edit(typist.type(text)),) for text in "bcd"]
        results = await asyncio.gather(*[journal.append(DOCUMENT, b) for b in batches], return_exceptions=True)
        assert [type(result) for result in results] == [JournalUnavailableError] * 3
        with pytest.raises(JournalUnavailableError):
            await journal.healthy()
        self.mend(journal)
        for batch in batches:
            await journal.append(DOCUMENT, batch)
        await journal.healthy()
        loaded = await journal.load(DOCUMENT)
        # Something may be in it twice (J6), but nothing may be missing or out of order.
        assert canonical(updates_of(loaded.entries)) == canonical([Typist(1).type("abcd")])

    async def test_j6_nothing_overtakes_what_failed(self, journal: Journal) -> None:
        typist = Typist(1)
        updates = [typist.type(text) for text in "abcdef"]
        self.fail(journal)
        waiting = [asyncio.ensure_future(journal.append(DOCUMENT, (edit(update),))) for update in updates[:3]]
        await asyncio.sleep(0)
        self.mend(journal)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        failed = [isinstance(result, JournalUnavailableError) for result in results]
        assert failed == sorted(failed), "an append went through after one before it had failed"

    async def test_j7_reading_goes_on_while_nothing_can_be_written(self, journal: Journal) -> None:
        typist = Typist(1)
        await journal.append(DOCUMENT, (edit(typist.type("é")),))
        self.fail(journal)
        with pytest.raises(JournalUnavailableError):
            await journal.append(DOCUMENT, (edit(typist.type("x")),))
        assert len((await journal.load(DOCUMENT)).entries) >= 1
        assert (await journal.directory.documents()).total == 1
        self.mend(journal)

    async def test_j15_follows_what_there_is_and_what_comes(self, journal: Journal) -> None:
        typist = Typist(1)
        updates = [typist.type(text) for text in "abcdé🦊"]
        positions = [await journal.append(DOCUMENT, (edit(update),)) for update in updates[:3]]
        follower = journal.follow(DOCUMENT, positions[0])
        found = await take(follower, 2)
        await journal.append(OTHER, (edit(b"\x00\x00"),))
        positions += [await journal.append(DOCUMENT, (edit(update),)) for update in updates[3:]]
        found += await take(follower, 3)
        expected = zip(positions[1:], updates[1:], strict=True)
        assert found == [Entry(position, (edit(update),)) for position, update in expected]

    async def test_j15_a_slow_follower_is_told_what_it_missed(self, journal: Journal) -> None:
        position = await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        follower = journal.follow(DOCUMENT, START)
        assert await take(follower, 1) == [Entry(position, (edit(b"\x00\x00"),))]
        batch = (edit(b"\x00\x00"),)
        positions = await asyncio.gather(*[journal.append(DOCUMENT, batch) for _ in range(3000)])
        seen = position
        async with asyncio.timeout(DEADLINE_S):
            while seen < positions[-1]:
                item = await anext(follower)
                if isinstance(item, Entry):
                    assert item.position == positions[positions.index(seen) + 1 if seen in positions else 0]
                    seen = item.position
                else:
                    assert isinstance(item, Gap)
                    assert item.after == seen
                    seen = item.upto
        position = await journal.append(DOCUMENT, batch)
        assert await take(follower, 1) == [Entry(position, batch)]

    async def test_j15_what_is_folded_is_a_gap(self, journal: Journal) -> None:
        typist = Typist(1)
        updates = [typist.type(text) for text in "abcd"]
        positions = [await journal.append(DOCUMENT, (edit(update),)) for update in updates]
        await journal.compact(DOCUMENT, Snapshot(canonical(updates[:3]), b""), positions[2])
        found = await take(journal.follow(DOCUMENT, positions[0]), 2)
        assert found == [Gap(positions[0], positions[2]), Entry(positions[3], (edit(updates[3]),))]
        assert await take(journal.follow(DOCUMENT, positions[2]), 1) == found[1:]

    async def test_j15_a_log_that_is_behind_its_reader_is_a_reset(self, journal: Journal) -> None:
        position = await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        follower = journal.follow(DOCUMENT, Position(position + 1000))
        assert await take(follower, 1) == [Reset(position)]
        following = await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        assert await take(follower, 1) == [Entry(following, (edit(b"\x00\x00"),))]

    async def test_j15_deletion_ends_it(self, journal: Journal) -> None:
        position = await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        follower = journal.follow(DOCUMENT, position)
        waiting = asyncio.ensure_future(take(follower, 1))
        await asyncio.sleep(0)
        await journal.directory.delete(DOCUMENT)
        with pytest.raises(DocumentDeletedError):
            await waiting

    async def test_j17_leaving_makes_durable_what_was_appended_before(self, journal: Journal) -> None:
        typist = Typist(1)
        waiting = [journal.append(DOCUMENT, (edit(typist.type("é")),)) for _ in range(500)]
        journal = await self.reopen(journal)
        assert len(await asyncio.gather(*waiting)) == 500
        assert len((await journal.load(DOCUMENT)).entries) == 500

    async def test_a_closed_journal_says_so(self, journal: Journal) -> None:
        await journal.__aexit__(None, None, None)
        for attempt in (journal.append(DOCUMENT, (edit(b"\x00\x00"),)), journal.load(DOCUMENT), journal.healthy()):
            with pytest.raises(JournalUnavailableError):
                await attempt
        await journal.__aenter__()

    async def test_the_counters_count(self, journal: Journal) -> None:
        seconds: list[float] = []
        journal.stats.observe_commit = seconds.append
        waiting = [journal.append(DOCUMENT, (edit(b"\x00\x00"),)) for _ in range(10)]
        assert (journal.stats.queued, journal.stats.queued_bytes) == (10, 20)
        await asyncio.gather(*waiting)
        assert (journal.stats.queued, journal.stats.queued_bytes) == (0, 0)
        assert (journal.stats.appends, journal.stats.append_bytes) == (10, 20)
        assert 1 <= journal.stats.commits == len(seconds) <= 10
        await journal.load(DOCUMENT)
        assert journal.stats.loads == 1
