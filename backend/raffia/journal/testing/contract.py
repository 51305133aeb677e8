"""The one contract suite that every journal passes. Import it to test a journal of your own:

    from raffia.journal.testing.contract import Clock, JournalContract

    class TestMine(JournalContract):
        @pytest_asyncio.fixture
        async def journal(self, clock):
            async with MyJournal(now_ms=clock) as journal:
                yield journal

        def fail(self, journal): ...  # from now on nothing can be written
        def mend(self, journal): ...  # and now it can again

It needs pytest and pytest-asyncio, which Raffia itself does not. Tests quote the rules J1-J21 of `protocol`.
"""

# A test's name says what it tests, and random.Random gives seeds here, not secrets:
# ruff: noqa: D102, S311

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from raffia.crdt.merge import merge
from raffia.crdt.squash import squash
from raffia.errors import (
    DocumentDeletedError,
    ForbiddenError,
    InternalError,
    JournalUnavailableError,
    LaterError,
    MalformedError,
)
from raffia.journal.protocol import (
    DAY_MS,
    RETENTION_MS,
    TRASH_MS,
    WINDOW_MS,
    Entry,
    Followed,
    Gap,
    Journal,
    Links,
    Reset,
    Snapshot,
)
from raffia.journal.search import EDITED_MS, Order, Where
from raffia.types import EMPTY_UPDATE, START, Batch, DocumentId, Edit, Position, Revocation, Revoked

DOCUMENT = DocumentId("team:e/notes")
OTHER = DocumentId("team:e/notes-2")
BEGIN_MS = 1_760_000_000_000
DEADLINE_S = 10


class Clock:
    """A clock that only moves when told; call it for the time in Unix milliseconds."""

    def __init__(self, now_ms: int = BEGIN_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """The time."""
        return self.now_ms

    def advance(self, by_ms: int) -> None:
        """Move it on."""
        self.now_ms += by_ms


class Typist:
    """Makes real updates: one Yjs client that appends to the text "t", and deletes.

    Args:
        client: its client id, below 128.
    """

    def __init__(self, client: int) -> None:
        self.client = client
        self.clock = 0

    def type(self, text: str) -> bytes:
        """Insert a text behind this client's last one."""
        content = text.encode()
        # A string that is the root type's "t" first child, or stands right of the last character.
        head = b"\x84" + bytes([self.client]) + _varuint(self.clock - 1) if self.clock else b"\x04\x01\x01t"
        update = bytes([1, 1, self.client]) + _varuint(self.clock) + head + _varuint(len(content)) + content + b"\x00"
        self.clock += len(text.encode("utf-16-le")) // 2
        return update

    def delete(self, start: int, length: int) -> bytes:
        """Delete a range of this client's own characters."""
        return bytes([0, 1, self.client, 1]) + _varuint(start) + _varuint(length)


def _varuint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def edit(update: bytes, time_ms: int = BEGIN_MS, author: str | None = "zoë 🦊") -> Edit:
    """An edit with defaults."""
    return Edit(author, time_ms, update)


def canonical(updates: Sequence[bytes]) -> bytes:
    """What updates merge to, in one form: equal bytes mean an equal document, nothing missing, nothing more."""
    return squash(merge(updates)) if updates else EMPTY_UPDATE


def updates_of(entries: Sequence[Entry]) -> list[bytes]:
    """All updates of some entries, in order."""
    return [one.update for entry in entries for one in entry.batch]


async def content(journal: Journal, document: DocumentId = DOCUMENT) -> bytes:
    """The document that `load` gives, in canonical form."""
    loaded = await journal.load(document)
    snapshot = [loaded.snapshot.state] if loaded.snapshot is not None else []
    return canonical([*snapshot, *updates_of(loaded.entries)])


async def take(iterator: AsyncIterator[Followed], count: int) -> list[Followed]:
    """The next items of a follower, with a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(iterator) for _ in range(count)]


class JournalContract:
    """Inherit, override the `journal` fixture, `fail` and `mend`; see the head of this module."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def clock(self) -> Clock:
        """The journal's clock."""
        return Clock()

    @pytest.fixture
    def journal(self, clock: Clock) -> Journal:
        """An entered, empty journal with the default retentions, left after the test."""
        raise NotImplementedError("override the fixture `journal`")

    async def reopen(self, journal: Journal) -> Journal:
        """Leave a journal and enter it again, as after a restart; override it where another object is needed."""
        await journal.__aexit__(None, None, None)
        return await journal.__aenter__()

    def fail(self, journal: Journal) -> None:
        """From now on nothing can be written: a full disk, a server that is away."""
        raise NotImplementedError("override `fail`")

    def mend(self, journal: Journal) -> None:
        """Undo `fail`."""
        raise NotImplementedError("override `mend`")

    # J1-J5: appending and loading

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

    # J6, J7: trouble

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
        # It may hold something twice (J6); what counts is that nothing is missing and nothing is out of order.
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

    # J8: compaction

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

    # J9, J10, J11: history

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

    # J12: versions

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

    # J13: listing

    async def test_j13_the_listing_shows_what_there_is(self, journal: Journal, clock: Clock) -> None:
        typist = Typist(1)
        update = typist.type("é" * 100)
        position = await journal.append(DOCUMENT, (edit(update, BEGIN_MS + 1), edit(typist.type("x"), BEGIN_MS + 5)))
        await journal.directory.set_info(DOCUMENT, title="Über 🦊", kind="board")
        await journal.directory.set_info(OTHER, title=None, kind="document")
        journal = await self.reopen(journal)
        one, two = (await journal.directory.documents()).documents
        assert (one.document, one.title, one.kind) == (DOCUMENT, "Über 🦊", "board")
        assert (one.created_ms, one.updated_ms, one.deleted_ms) == (BEGIN_MS + 1, BEGIN_MS + 5, None)
        assert one.position == position
        assert one.tail_bytes >= len(update)
        assert one.snapshot_bytes == 0
        assert (two.document, two.title, two.position, two.created_ms) == (OTHER, None, START, clock.now_ms)
        await journal.compact(DOCUMENT, Snapshot(b"s" * 1000, b"i" * 24), position)
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert (info.snapshot_bytes, info.tail_bytes) == (1024, 0)
        assert info.history_bytes > 0

    async def test_j13_pages_by_name_and_prefix(self, journal: Journal) -> None:
        names = ["a", "a/1", "a/2", "a-1", "note:1", "note_1", "note.1", "z"]
        for name in names:
            await journal.append(DocumentId(name), (edit(b"\x00\x00"),))
        listed: list[str] = []
        after = ""
        while True:
            page = await journal.directory.documents(after=after, limit=3)
            assert page.total == len(names)
            assert len(page.documents) <= 3
            listed += [info.document for info in page.documents]
            if page.following is None:
                break
            after = page.following
        assert listed == sorted(names)
        assert [info.document for info in (await journal.directory.documents(prefix="a/")).documents] == ["a/1", "a/2"]
        assert (await journal.directory.documents(prefix="a/", after="a/1")).total == 2
        assert [info.document for info in (await journal.directory.documents(prefix="note_")).documents] == ["note_1"]
        for pattern in ("*", "%", "_", "?", "[a-z]", "n*", "note%"):
            assert (await journal.directory.documents(prefix=pattern)).total == 0, pattern

    async def test_j13_schema_and_author_are_listed(self, journal: Journal) -> None:
        await journal.append(DOCUMENT, (edit(b"\x00\x00", author="ana"), edit(b"\x00\x00", author="zoë 🦊")))
        await journal.directory.set_info(DOCUMENT, title="é", kind="document", schema=3)
        journal = await self.reopen(journal)
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert (info.updated_by, info.schema, info.title) == ("zoë 🦊", 3, "é")
        await journal.append(DOCUMENT, (edit(b"\x00\x00", author=None),))
        await journal.directory.set_info(DOCUMENT, title=None, kind="document", schema=None)
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert (info.updated_by, info.schema, info.title) == (None, None, None)

    async def test_js1_newest_first_and_pages_of_it(self, journal: Journal, clock: Clock) -> None:
        names = [DocumentId(f"d/{number:02}") for number in range(7)]
        for number, name in enumerate(names):
            # Two of each time: the cursor has to tell them apart.
            await journal.append(name, (edit(b"\x00\x00", BEGIN_MS + number // 2 * 60_000),))
        await journal.append(names[0], (edit(b"\x00\x00", BEGIN_MS + 3_600_000),))
        wanted = [names[0], *reversed(names[1:])]
        await self._listed(journal, wanted)
        pages, after = [], ""
        while True:
            page = await journal.directory.documents(order="edited", after=after, limit=2)
            assert page.total == len(names)
            pages += [info.document for info in page.documents]
            if page.following is None:
                break
            after = page.following
        assert pages == wanted
        for cursor in ("x", "12", "-5~a", "1e3~a", "9" * 20 + "~a"):
            with pytest.raises(MalformedError):
                await journal.directory.documents(order="edited", after=cursor)
        clock.advance(1000)
        await journal.directory.delete(names[3])
        clock.advance(1000)
        await journal.directory.delete(names[1])
        await self._listed(journal, [name for name in wanted if name not in (names[1], names[3])])
        gone = await journal.directory.documents(order="edited", deleted=True)
        assert [info.document for info in gone.documents] == [names[1], names[3]]
        await journal.directory.restore(names[3])
        await self._listed(journal, [name for name in wanted if name != names[1]])
        journal = await self.reopen(journal)
        await self._listed(journal, [name for name in wanted if name != names[1]])

    @staticmethod
    async def _listed(journal: Journal, wanted: list[DocumentId]) -> None:
        """The order by time may be late (JS1)."""
        async with asyncio.timeout(2 * EDITED_MS / 1000):
            while [info.document for info in (await journal.directory.documents(order="edited")).documents] != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # nothing says when

    @pytest.mark.parametrize("order", ["name", "edited"])
    async def test_js4_search_by_title_kind_and_permission(self, journal: Journal, order: Order) -> None:
        titles = {"a": "Über Füchse 🦊", "b": "ueber", "c/1": "ÜBER ALLES", "c/2": None, "d": "straße", "e": "x%_*"}
        for name, title in titles.items():
            kind = "board" if name == "a" else "document"
            await journal.append(DocumentId(name), (edit(b"\x00\x00"),))
            await journal.directory.set_info(DocumentId(name), title=title, kind=kind)

        async def found(**where: Any) -> set[str]:
            page = await journal.directory.documents(order=order, where=Where(**where))
            assert page.total == len(page.documents)
            assert page.following is None
            return {info.document for info in page.documents}

        assert await found(search="über") == {"a", "c/1"}
        assert await found(search="STRASSE") == {"d"}
        assert await found(search="c/") == {"c/2"}  # by its name: it has no title
        assert await found(search="%") == {"e"}
        assert await found(search="🦊", kind="document") == set()
        assert await found(kind="board") == {"a"}
        assert await found(allowed=lambda name: name.startswith("c/")) == {"c/1", "c/2"}
        assert await found() == set(titles)
        assert {info.document for info in (await journal.directory.documents(order=order, prefix="c/")).documents} == {
            "c/1",
            "c/2",
        }

    @pytest.mark.parametrize("order", ["name", "edited"])
    async def test_js3_one_call_looks_at_so_many(self, journal: Journal, order: Order) -> None:
        for number in range(12):
            await journal.append(DocumentId(f"{number:02}"), (edit(b"\x00\x00", BEGIN_MS + number),))
        seen: list[str] = []
        pages, after = 0, ""
        where = Where(allowed=lambda name: name in {"03", "05", "11"}, most=5)
        while True:
            page = await journal.directory.documents(order=order, where=where, after=after, limit=2)
            pages += 1
            seen += [info.document for info in page.documents]
            if page.following is None:
                break
            after = page.following
        assert sorted(seen) == ["03", "05", "11"]
        assert len(seen) == len(set(seen))
        assert 3 <= pages <= 5

    @pytest.mark.parametrize("order", ["name", "edited"])
    async def test_js2_a_page_ends_with_the_last_that_is_shown(self, journal: Journal, order: Order) -> None:
        for number, name in enumerate(["a/1", "b/secret", "c/secret", "d/secret", "e/1"]):
            await journal.append(DocumentId(name), (edit(b"\x00\x00", BEGIN_MS + number),))
        where = Where(allowed=lambda name: not name.endswith("secret"))
        page = await journal.directory.documents(order=order, where=where, limit=1)
        (shown,) = page.documents
        assert page.following is not None
        assert page.following.endswith(shown.document)
        where = Where(allowed=where.allowed, most=3)  # which ends the page before there is another one
        assert (await journal.directory.documents(order=order, where=where, limit=2)).following == page.following
        where = Where(allowed=where.allowed)
        page = await journal.directory.documents(order=order, where=where, limit=1, after=page.following)
        assert {shown.document, page.documents[0].document} == {"a/1", "e/1"}
        assert page.following is None

    # share links

    async def test_links_are_noted_once_and_reset(self, journal: Journal) -> None:
        await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        assert await journal.links.add(DOCUMENT, "read", 5) == Links(0, 5, None)
        assert await journal.links.add(DOCUMENT, "read", 9) == Links(0, 5, None)
        assert await journal.links.add(DOCUMENT, "edit", 7) == Links(0, 5, 7)
        journal = await self.reopen(journal)
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert info.links == Links(0, 5, 7)
        assert await journal.links.reset(DOCUMENT) == Links(1)
        assert await journal.links.add(DOCUMENT, "edit", 11) == Links(1, None, 11)
        for attempt in (journal.links.add(OTHER, "read", 1), journal.links.reset(OTHER)):
            with pytest.raises(ForbiddenError):
                await attempt
        await journal.directory.delete(DOCUMENT)
        for attempt in (journal.links.add(DOCUMENT, "read", 1), journal.links.reset(DOCUMENT)):
            with pytest.raises(DocumentDeletedError):
                await attempt

    # J14: deletion

    async def test_j14_a_tombstone_is_durable_and_closes_every_way_in(self, journal: Journal, clock: Clock) -> None:
        position = await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        version = await journal.versions.save(DOCUMENT, b"abc", time_ms=5)
        waiting = journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        await journal.directory.delete(DOCUMENT)
        assert await waiting > position  # it was called before
        clock.advance(1000)
        await journal.directory.delete(DOCUMENT)
        for _ in range(2):
            for attempt in (
                journal.append(DOCUMENT, (edit(b"\x00\x00"),)),
                journal.load(DOCUMENT),
                journal.compact(DOCUMENT, Snapshot(b"", b""), position),
                journal.history.at(DOCUMENT, BEGIN_MS),
                journal.history.windows(DOCUMENT),
                journal.versions.all(DOCUMENT),
                journal.versions.get(DOCUMENT, version.id),
                journal.versions.save(DOCUMENT, b"", time_ms=1),
                journal.directory.set_info(DOCUMENT, title="x", kind=None),
                take(journal.follow(DOCUMENT, START), 1),
            ):
                with pytest.raises(DocumentDeletedError):
                    await attempt
            assert (await journal.directory.documents()).documents == []
            (gone,) = (await journal.directory.documents(deleted=True)).documents
            assert (gone.document, gone.deleted_ms) == (DOCUMENT, BEGIN_MS)
            journal = await self.reopen(journal)

    async def test_j14_restored_as_it_was(self, journal: Journal, clock: Clock) -> None:
        typist = Typist(1)
        update = typist.type("né")
        position = await journal.append(DOCUMENT, (edit(update),))
        version = await journal.versions.save(DOCUMENT, b"abc", time_ms=5)
        before = await journal.directory.info(DOCUMENT)
        await journal.directory.delete(DOCUMENT)
        clock.advance(TRASH_MS - 1)
        await journal.prune()
        await journal.directory.restore(DOCUMENT)
        assert await journal.directory.info(DOCUMENT) == before
        assert await content(journal) == canonical([update])
        assert (await journal.versions.get(DOCUMENT, version.id)).state == b"abc"
        assert await journal.append(DOCUMENT, (edit(typist.type("x")),)) > position
        await journal.directory.restore(DOCUMENT)
        with pytest.raises(ForbiddenError):
            await journal.directory.restore(DocumentId("nobody"))

    async def test_j14_the_tombstone_outlives_the_purge(self, journal: Journal, clock: Clock) -> None:
        typist = Typist(1)
        update = typist.type("é" * 1000)
        position = await journal.append(DOCUMENT, (edit(update),))
        await journal.compact(DOCUMENT, Snapshot(update, b"i"), position)
        await journal.append(DOCUMENT, (edit(typist.type("tail")),))
        await journal.versions.save(DOCUMENT, b"abc", time_ms=5)
        await journal.directory.set_info(DOCUMENT, title="secret", kind=None)
        await journal.directory.delete(DOCUMENT)
        clock.advance(TRASH_MS)
        await journal.prune()
        await journal.prune()
        journal = await self.reopen(journal)
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert info.purged
        assert (info.title, info.snapshot_bytes, info.tail_bytes, info.history_bytes) == (None, 0, 0, 0)
        assert (await journal.directory.documents(deleted=True)).documents == []
        with pytest.raises(DocumentDeletedError):
            await journal.directory.restore(DOCUMENT)
        with pytest.raises(DocumentDeletedError):
            await journal.append(DOCUMENT, (edit(typist.type("zombie")),))

    async def test_j14_what_is_restored_while_others_are_purged_stays(self, journal: Journal, clock: Clock) -> None:
        names = [DocumentId(f"n{number:02}") for number in range(30)]
        update = Typist(1).type("é🦊")
        for name in names:
            await journal.append(name, (edit(update),))
            await journal.directory.delete(name)
        clock.advance(TRASH_MS)
        pruning = asyncio.create_task(journal.prune())
        await asyncio.sleep(0)
        restored = []
        for name in reversed(names):
            try:
                await journal.directory.restore(name)
            except DocumentDeletedError:
                continue  # it was too late
            restored.append(name)
        await pruning
        for name in restored:
            loaded = await journal.load(name)
            assert updates_of(loaded.entries) == [update]
            info = await journal.directory.info(name)
            assert info is not None
            assert not info.purged

    async def test_j22_what_is_kept_elsewhere_goes_after_the_purge(self, journal: Journal, clock: Clock) -> None:
        told: list[DocumentId] = []
        failing = {DOCUMENT}

        async def clear(document: DocumentId) -> None:
            info = await journal.directory.info(document)
            assert info is not None
            assert info.purged  # nobody can restore it any more
            told.append(document)
            if document in failing:
                raise LaterError("the store of files is away")

        journal.directory.on_purged(clear)
        for name in (DOCUMENT, OTHER, "living", "restored"):
            await journal.append(DocumentId(name), (edit(b"\x00\x00"),))
            if name != "living":
                await journal.directory.delete(DocumentId(name))
        clock.advance(TRASH_MS - 1)
        await journal.directory.restore(DocumentId("restored"))
        await journal.prune()
        assert told == []
        clock.advance(1)
        await journal.prune()
        assert sorted(told) == sorted((DOCUMENT, OTHER))
        journal = await self.reopen(journal)
        journal.directory.on_purged(clear)
        told.clear()
        failing.clear()
        await journal.prune()
        await journal.prune()
        assert told == [DOCUMENT]

    async def test_j14_what_was_never_there_can_be_deleted(self, journal: Journal) -> None:
        await journal.directory.delete(DocumentId("early"))
        with pytest.raises(DocumentDeletedError):
            await journal.append(DocumentId("early"), (edit(b"\x00\x00"),))

    # J15: following

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

    # J17 and the counters

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
        await journal.revocations.add(Revocation(Revoked.TOKEN, "a", clock.now_ms, clock.now_ms + 1_000))
        await journal.revocations.add(Revocation(Revoked.TOKEN, "b", clock.now_ms, clock.now_ms + 2_000))
        await journal.revocations.add(Revocation(Revoked.TOKEN, "c", clock.now_ms))
        clock.advance(1_000)
        await journal.prune()
        found = await journal.revocations.read()
        assert found is not None
        assert {one.subject for one in found.revocations} == {"b", "c"}

    async def test_j21_nothing_is_revoked_that_is_not_durable(self, journal: Journal, clock: Clock) -> None:
        self.fail(journal)
        with pytest.raises(JournalUnavailableError):
            await journal.revocations.add(Revocation(Revoked.TOKEN, "a", clock.now_ms))
        self.mend(journal)
        await journal.revocations.add(Revocation(Revoked.TOKEN, "b", clock.now_ms))
        found = await journal.revocations.read()
        assert found is not None
        assert "b" in {one.subject for one in found.revocations}

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


class Session:
    """Some people writing one document, and what it was at every moment."""

    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self._chance = chance
        self._clock = clock
        self._typists = [Typist(client) for client in (1, 2, 3)]
        self.updates: list[bytes] = []
        self.positions: list[Position] = []
        self._batches: list[list[tuple[int, bytes]]] = []

    async def append(self, journal: Journal) -> None:
        """One batch of one to three edits, now; sometimes with a clock that is behind."""
        batch = []
        for _ in range(self._chance.randrange(1, 4)):
            typist = self._chance.choice(self._typists)
            if typist.clock > 4 and self._chance.random() < 0.2:
                # A whole "é🦊é": never half a character.
                update = typist.delete(4 * self._chance.randrange(typist.clock // 4), 4)
            else:
                update = typist.type("é🦊é")
            behind_ms = self._chance.choice([0, 0, 0, 15_000])
            batch.append(edit(update, self._clock.now_ms - behind_ms, f"author {typist.client}"))
        self.positions.append(await journal.append(DOCUMENT, tuple(batch)))
        self._batches.append([(one.time_ms, one.update) for one in batch])
        self.updates += [one.update for one in batch]

    async def compact(self, journal: Journal, index: int) -> None:
        """Fold up to one of the batches."""
        updates = [update for batch in self._batches[: index + 1] for _, update in batch]
        await journal.compact(DOCUMENT, Snapshot(canonical(updates), b""), self.positions[index])

    def moments(self) -> list[int]:
        """A time in every window in which something happened, and between."""
        times = {time_ms for batch in self._batches for time_ms, _ in batch if time_ms >= BEGIN_MS}
        return sorted(times | {time_ms + WINDOW_MS // 2 for time_ms in times})

    def until(self, moment_ms: int) -> list[bytes]:
        """What belongs to a moment (J9, J10)."""
        end_ms = moment_ms - moment_ms % WINDOW_MS + WINDOW_MS
        latest_ms, updates = 0, []
        for batch in self._batches:
            for time_ms, update in batch:
                latest_ms = max(latest_ms, time_ms)
                if latest_ms < end_ms:
                    updates.append(update)
        return updates
