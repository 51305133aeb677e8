"""The hub: rooms are opened once, evicted when idle, quarantined, replaced when lost, drained (HU1-HU4, V7)."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from contextlib import suppress
from time import monotonic

import pytest
from tests.unit.world import DOCUMENT, EDIT, Author, Client, World, text_of, turns, until, world

from raffia.crdt.document import Document
from raffia.crdt.merge import merge
from raffia.crdt.update import write_update
from raffia.errors import (
    CrdtError,
    DocumentDeletedError,
    DrainingError,
    JournalUnavailableError,
    QuarantinedError,
    TooLargeError,
    UpdateError,
)
from raffia.journal import Entry, Loaded, Snapshot
from raffia.journal.testing.memory import MemoryJournal
from raffia.rooms.durable.loading import build_document
from raffia.rooms.hub import TICK_PARTS
from raffia.rooms.room import Room
from raffia.sockets.connection import Connection
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import START, Batch, DocumentId, Edit, Position

OTHER = DocumentId("notes/2")
LATER_S = 1000.0


async def edited(w: World, document: DocumentId, *texts: str, client: int = 1) -> Author:
    """A document with these texts, durable, and nobody on it."""
    ana = await w.yws(document=document)
    author = Author(client)
    for text in texts:
        ana.update(author.type(text))
    await w.flushed(document)
    assert len(ana.updates()) == len(texts)
    ana.connection.closed(1000)
    await turns(4)
    return author


async def text_in(w: World, document: DocumentId = DOCUMENT) -> str:
    room = await w.hub.open(document)
    try:
        return text_of(room.document.merged())
    finally:
        w.hub.release(room)


# -- HU1 -------------------------------------------------------------------------------------------------------------


async def test_hu1_a_document_is_loaded_once_however_many_ask() -> None:
    async with world() as w:
        rooms = await asyncio.gather(*(w.hub.open(DOCUMENT) for _ in range(20)))
        assert len(set(map(id, rooms))) == 1
        assert rooms[0].holds == 20
        assert w.metrics.rooms_opened == w.metrics.rooms == 1
        for room in rooms:
            w.hub.release(room)
        assert rooms[0].idle_since_s is not None


async def test_hu1_a_load_that_fails_fails_for_all_who_wait_and_the_next_one_tries_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        with monkeypatch.context() as patch:
            patch.setattr(w.hub.journal, "load", _away)
            results = await asyncio.gather(*(w.hub.open(DOCUMENT) for _ in range(5)), return_exceptions=True)
        assert [type(result) for result in results] == [JournalUnavailableError] * 5
        assert w.metrics.rooms == 0
        room = await w.hub.open(DOCUMENT)
        assert room.holds == 1
        w.hub.release(room)


async def _away(_document: DocumentId) -> Loaded:
    await asyncio.sleep(0)
    raise JournalUnavailableError("no route to é")


async def test_hu1_whoever_gives_up_waiting_does_not_disturb_the_others() -> None:
    async with world() as w:
        tasks = [asyncio.create_task(w.hub.open(DOCUMENT)) for _ in range(3)]
        await turns(1)
        tasks[0].cancel()
        rooms = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(rooms[0], asyncio.CancelledError)
        assert w.hub.rooms[DOCUMENT].holds == 2


@pytest.mark.parametrize("wait", range(6))
async def test_hu1_who_is_cancelled_at_any_turn_holds_nothing(wait: int) -> None:
    async with world() as w:
        task = asyncio.create_task(w.hub.open(DOCUMENT))
        await turns(wait)
        if not task.cancel():
            w.hub.release(await task)
        await asyncio.gather(task, return_exceptions=True)
        await turns(6)
        assert all(room.holds == 0 for room in w.hub.rooms.values())


# -- HU2 -------------------------------------------------------------------------------------------------------------


async def test_hu2_an_idle_room_is_closed_and_opens_with_all_that_was_written() -> None:
    async with world() as w:
        await edited(w, DOCUMENT, "é", "😀")
        room = w.hub.rooms[DOCUMENT]
        w.hub.tick(monotonic())
        assert DOCUMENT in w.hub.rooms  # not idle for long enough
        w.hub.tick(monotonic() + LATER_S)
        assert w.hub.rooms == {}
        assert w.metrics.rooms == 0
        assert w.metrics.rooms_evicted == 1
        assert await text_in(w) == "é😀"
        assert w.hub.rooms[DOCUMENT] is not room


async def test_hu2_whoever_comes_while_a_room_closes_waits_and_gets_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(compact_tail_updates=5) as w:
        await edited(w, DOCUMENT, "é", "😀")
        gate, compact = asyncio.Event(), w.hub.journal.compact

        async def slow_compact(document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
            await gate.wait()
            await compact(document, snapshot, upto)

        monkeypatch.setattr(w.hub.journal, "compact", slow_compact)
        old = w.hub.rooms[DOCUMENT]
        w.hub.tick(monotonic() + LATER_S)
        opening = asyncio.create_task(w.hub.open(DOCUMENT))
        await turns(5)
        assert not opening.done()
        gate.set()
        room = await opening
        assert room is not old
        assert text_of(room.document.merged()) == "é😀"
        loaded = await w.hub.journal.load(DOCUMENT)
        assert loaded.snapshot is not None  # left behind for a quick load
        assert loaded.entries == []


async def test_hu2_a_room_that_somebody_uses_is_not_closed() -> None:
    async with world() as w:
        await w.yws()
        w.hub.tick(monotonic() + LATER_S)
        assert DOCUMENT in w.hub.rooms


async def test_hu2_a_room_is_not_closed_while_the_journal_is_away() -> None:
    async with world() as w:
        ana = await w.yws()
        w.store.hold()
        ana.update(Author(1).type("unsaved é"))
        await w.flushed()
        ana.connection.closed(1006)
        await turns(4)
        w.hub.tick(monotonic() + LATER_S)
        assert DOCUMENT in w.hub.rooms
        assert await text_in(w) == "unsaved é"  # it is only here
        w.store.release()
        await turns(8)
        w.hub.tick(monotonic() + LATER_S)
        assert w.hub.rooms == {}
        assert await text_in(w) == "unsaved é"


async def test_hu2_an_edit_in_the_turn_of_the_tick_keeps_the_room() -> None:
    async with world() as w:
        ana = await w.yws()
        ana.update(Author(1).type("é"))
        ana.connection.closed(1006)  # gone before the flush
        w.hub.tick(monotonic() + LATER_S)
        assert DOCUMENT in w.hub.rooms
        await turns(8)
        w.hub.tick(monotonic() + LATER_S)
        await turns(8)
        assert await text_in(w) == "é"


async def test_hu2_memory_is_given_back() -> None:
    async with world() as w:

        async def round_of(count: int) -> int:
            for number in range(count):
                await edited(w, DocumentId(f"d/{number}"), "é" * 10_000)
                w.hub.tick(monotonic() + LATER_S)
                await turns(4)
                w.store.documents.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = await round_of(5)
            after = await round_of(30)
        finally:
            tracemalloc.stop()
        assert w.hub.rooms == {}
        assert after - before < 100_000  # thirty documents of 20 KB


# -- HU3 -------------------------------------------------------------------------------------------------------------


def _gapped() -> bytes:
    author = Author(7)
    author.type("lost")
    return author.type("é")


@pytest.mark.parametrize(
    "loaded",
    [
        Loaded(Snapshot(b"\x00\x00", b""), [], Position(1)),
        Loaded(Snapshot(b"\x00\x00", b"\x01\x00\x00\x00\xff\x00"), [], Position(1)),
        Loaded(Snapshot(b"\x00\x00", b"\x02\x00\x00\x00\x01\x00\x00"), [], Position(1)),
        Loaded(None, [Entry(Position(1), (Edit(None, 0, b"\xff\xff\xff\x7a"),))], Position(1)),
        Loaded(None, [Entry(Position(1), (Edit(None, 0, _gapped()),))], Position(1)),
    ],
    ids=["no index", "index cut short", "index of a newer format", "entry of garbage", "entry with a gap"],
)
async def test_hu3_a_document_that_cannot_be_read_is_quarantined_and_others_are_not(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as w:
        await edited(w, OTHER, "é")
        load = w.hub.journal.load

        async def broken(document: DocumentId) -> Loaded:
            return loaded if document == DOCUMENT else await load(document)

        monkeypatch.setattr(w.hub.journal, "load", broken)
        with pytest.raises(QuarantinedError, match="notes/1"):
            await w.hub.open(DOCUMENT)
        assert w.metrics.quarantined == 1
        client = Client(Connection(w.hub, YWebsocketDialect(DOCUMENT, EDIT)))
        await until(lambda: client.transport.closed is not None)
        assert client.transport.closed == (1011, "quarantined")
        assert await text_in(w, OTHER) == "é"


def test_hu3_whatever_is_stored_it_is_read_or_quarantined() -> None:
    """Every byte of an index changed, cut and added to: nothing but the errors that quarantine."""
    document = Document.from_state(
        merge([Author(1).type("é😀"), Author(2).type("b"), write_update([], [(1, [(0, 1)])])])
    )
    state = document.base or b"\x00\x00"
    index = document.index(state)
    read = 0
    for at in range(len(index)):
        for change in (index[:at], index[:at] + bytes([index[at] ^ 0x01]) + index[at + 1 :], index[:at] + b"\xff" * 9):
            loaded = Loaded(Snapshot(state, change), [], START)
            with suppress(UpdateError, CrdtError, TooLargeError):
                build_document(loaded, keep_deleted=False)
                read += 1
    assert read > 0


async def test_hu3_a_large_document_that_cannot_be_read_is_quarantined_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(worker_threshold_bytes=1024) as w:
        author = Author(7)
        author.type("lost")
        entry = Entry(Position(1), (Edit(None, 0, author.type("é" * 2000)),))

        async def broken(_document: DocumentId) -> Loaded:
            return Loaded(None, [entry], Position(1))

        monkeypatch.setattr(w.hub.journal, "load", broken)
        with pytest.raises(QuarantinedError):
            await w.hub.open(DOCUMENT)


# -- V7: a room that has lost its journal ---------------------------------------------------------------------------


class FailingOnce:
    """A journal whose next append fails in a way that nobody foresaw."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._append = journal.append
        self.fails = True

    def append(self, document: DocumentId, batch: Batch) -> asyncio.Future[Position]:
        if not self.fails:
            return self._append(document, batch)
        self.fails = False
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        future.set_exception(RuntimeError("a bug"))
        return future


async def test_v7_after_a_failure_nothing_stands_in_the_log_behind_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        ana = await w.yws()
        assert isinstance(w.hub.journal, MemoryJournal)
        monkeypatch.setattr(w.hub.journal, "append", FailingOnce(w.hub.journal).append)
        author = Author(1)
        sent = [author.type("lost "), author.type("é")]
        ana.update(sent[0])
        room = w.hub.rooms[DOCUMENT]
        room.flush()
        ana.update(sent[1])  # pending while the first one fails
        await turns(8)
        assert ana.transport.closed == (1013, "journal-unavailable")
        ana.connection.closed(1013)
        await turns(8)
        assert (await w.hub.journal.load(DOCUMENT)).entries == []
        assert ana.updates() == []  # nothing of it was acknowledged
        back = await w.yws()  # at once: a room that is lost is not handed out
        assert w.hub.rooms[DOCUMENT] is not room
        back.step2(merge(sent))
        await w.flushed()
        assert len(back.updates()) == 1
        assert await text_in(w) == "lost é"
        assert w.metrics.rooms == 1


async def test_v7_a_deleted_document_ends_its_sessions_and_lives_again_when_restored() -> None:
    async with world() as w:
        ana = await w.yws()
        author = Author(1)
        ana.update(author.type("é"))
        await w.flushed()
        await w.hub.journal.directory.delete(DOCUMENT)
        ana.update(author.type("late"))
        await w.flushed()
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 4404
        with pytest.raises(DocumentDeletedError):
            await w.hub.open(DOCUMENT)
        await w.hub.journal.directory.restore(DOCUMENT)
        assert await text_in(w) == "é"
        ana.connection.closed(4404)  # later than its room was replaced
        await turns(4)
        assert w.hub.rooms[DOCUMENT].holds == 0
        assert w.metrics.rooms == 1


# -- HU4 -------------------------------------------------------------------------------------------------------------


async def test_hu4_everything_is_durable_before_anybody_is_closed() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws(document=OTHER)
        w.store.hold()
        mine, theirs = Author(1).type("é"), Author(2).type("b")
        ana.update(mine)
        bo.update(theirs)
        draining = asyncio.create_task(w.hub.drain(10))
        await turns(8)
        assert ana.transport.closed is bo.transport.closed is None
        with pytest.raises(DrainingError):
            await w.hub.open(DOCUMENT)
        late = Client(Connection(w.hub, YWebsocketDialect(DOCUMENT, EDIT)))
        await turns(4)
        assert late.transport.closed == (1012, "draining")
        w.store.release()
        await draining
        assert ana.transport.closed == bo.transport.closed == (1012, "draining")
        assert ana.updates() == [mine]  # acknowledged before the close
        assert bo.updates() == [theirs]


async def test_hu4_a_journal_that_stays_away_does_not_keep_the_process() -> None:
    async with world(drain_s=0.05) as w:
        ana = await w.yws()
        w.store.hold()
        ana.update(Author(1).type("é"))
        await w.hub.drain(0.05)
        assert ana.transport.closed == (1012, "draining")
        assert ana.updates() == []


async def test_hu4_leaving_the_hub_saves_what_is_pending_and_leaves_no_task() -> None:
    async with world() as w:
        ana = await w.yws()
        ana.update(Author(1).type("é"))
        before = asyncio.all_tasks()
        store = w.store
    (entry,) = store.documents[DOCUMENT].entries
    assert text_of(entry.batch[0].update) == "é"
    assert w.metrics.rooms == 0
    await turns(3)
    assert asyncio.all_tasks() <= before


async def test_hu4_who_waits_for_a_room_while_the_process_drains_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        gate, load = asyncio.Event(), w.hub.journal.load

        async def slow(document: DocumentId) -> Loaded:
            await gate.wait()
            return await load(document)

        monkeypatch.setattr(w.hub.journal, "load", slow)
        opening = asyncio.create_task(w.hub.open(DOCUMENT))
        await turns(2)
        await w.hub.drain(1)
        gate.set()
        with pytest.raises(DrainingError):
            await opening
        assert w.hub.rooms[DOCUMENT].holds == 0


async def test_ticks_look_at_a_part_of_the_rooms_at_a_time_and_at_all_of_them_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world() as w:
        rooms = [await w.hub.open(DocumentId(f"notes/{number}")) for number in range(25)]
        looked_at: list[list[Room]] = []
        monkeypatch.setattr(Room, "tick", lambda room, _now_s: looked_at[-1].append(room))
        for part in range(TICK_PARTS):
            looked_at.append([])
            w.hub.tick(monotonic(), part)
        assert max(map(len, looked_at)) == 3
        assert sorted(id(room) for part in looked_at for room in part) == sorted(map(id, rooms))
        for room in rooms:
            w.hub.release(room)


async def test_hu1_a_load_that_fails_after_everybody_has_left_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with world() as w:
        asked, answer = asyncio.Event(), asyncio.Event()

        async def load(_document: DocumentId) -> Loaded:
            asked.set()
            await answer.wait()
            raise JournalUnavailableError("away")

        monkeypatch.setattr(w.hub.journal, "load", load)
        opening = asyncio.create_task(w.hub.open(DOCUMENT))
        await asked.wait()
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        answer.set()
        await turns(5)
        gc.collect()
    assert failures == []


# -- deletion -------------------------------------------------------------------------------------------------------


async def test_hu5_a_document_that_is_deleted_while_it_is_opened_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        await edited(w, DOCUMENT, "é🦊")
        w.hub.evict_idle(monotonic() + LATER_S)
        await until(lambda: not w.hub._closing)
        read, go_on = asyncio.Event(), asyncio.Event()
        real = w.hub.journal.load

        async def load(document: DocumentId) -> Loaded:
            loaded = await real(document)
            read.set()
            await go_on.wait()
            return loaded

        monkeypatch.setattr(w.hub.journal, "load", load)
        for is_restored in (False, True):
            read.clear()
            go_on.clear()
            opening = asyncio.create_task(w.hub.open(DOCUMENT))
            await read.wait()
            await w.hub.journal.directory.delete(DOCUMENT)
            w.hub.deleted(DOCUMENT)
            if is_restored:
                await w.hub.journal.directory.restore(DOCUMENT)
                go_on.set()
                room = await opening
                assert text_of(room.document.merged()) == "é🦊"
                w.hub.release(room)
            else:
                go_on.set()
                with pytest.raises(DocumentDeletedError):
                    await opening
                await w.hub.journal.directory.restore(DOCUMENT)
