"""Long work: folds, snapshots, the state of large documents (L1-L5), off the loop from 64 KiB on here."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from pycrdt import Doc, Map
from tests.unit.world import DOCUMENT, EDIT, READ, Author, Client, World, text_of, turns, until, world

from raffia.crdt import quick
from raffia.crdt.merge import merge
from raffia.crdt.quick import is_quick
from raffia.crdt.update import read_update, write_state_vector, write_update
from raffia.errors import InternalError, JournalUnavailableError
from raffia.journal import Snapshot
from raffia.rooms.durable import compactor as compactor_module
from raffia.rooms.durable.compactor import Compactor
from raffia.rooms.durable.loading import build_document
from raffia.runtime.jobs import Job
from raffia.runtime.workers import Workers
from raffia.sockets.connection import Connection
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import DocumentId, Position
from raffia.wire import hocuspocus, ywebsocket
from raffia.wire.lib0 import write_buf, write_string
from raffia.wire.messages import Step2, Update

KIB = 1024
THRESHOLD = 64 * KIB
STEP1 = b"\x00\x00\x01\x00"


class Gate:
    """Lets long work begin one by one, when the test says so; it is done here instead of in another process."""

    def __init__(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting: list[tuple[str, asyncio.Event]] = []
        monkeypatch.setattr(w.hub.workers, "run", self.run)
        monkeypatch.setattr(w.hub.workers, "run_job", self.run_job)

    async def run(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        event = asyncio.Event()
        self.waiting.append((work.__name__, event))
        await event.wait()
        return work(*args, **kwargs)

    async def run_job(self, _job: Job, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return await self.run(work, *args, **kwargs)

    @property
    def names(self) -> list[str]:
        return [name for name, event in self.waiting if not event.is_set()]

    async def let(self, name: str) -> None:
        """Let the oldest piece of work of this name begin; it is done when this returns."""
        await until(lambda: name in self.names)
        next(event for other, event in self.waiting if other == name and not event.is_set()).set()
        await turns(6)


def received(client: Client) -> list[bytes]:
    """Steps 2 and updates that came since the last call, in order."""
    messages = [ywebsocket.decode(payload) for payload in client.transport.take()]
    return [message.update for message in messages if isinstance(message, Step2 | Update)]


async def typed(w: World, author: Author, size: int, *, piece: int = 20_000) -> Client:
    """A writer whose text has this many letters, in pieces small enough to be read at once."""
    ana = await w.yws()
    for _ in range(size // piece):
        ana.update(author.type("x" * piece))
    await w.flushed()
    ana.transport.take()
    return ana


async def settled(w: World) -> None:
    await until(lambda: w.hub.rooms[DOCUMENT].is_settled)


# -- newcomers to large documents -----------------------------------------------------------------------------------


async def test_l1_a_newcomer_to_a_large_document_gets_all_of_it_while_edits_go_on() -> None:
    async with world(worker_threshold_bytes=THRESHOLD) as w:
        author = Author(1)
        ana = await typed(w, author, 200_000)
        late = await w.yws(synced=False)
        late.transport.take()
        late.send(STEP1)
        for word in ("é", "😀", "end"):
            ana.update(author.type(word))
            await w.flushed()
        await until(lambda: any(isinstance(ywebsocket.decode(p), Step2) for p in late.transport.sent))
        ana.update(author.type("!"))
        await w.flushed()
        got = received(late)
        assert text_of(got[0]).startswith("xxx")  # no editor finds an empty document at its first step 2
        assert text_of(merge(got)) == str(author.text)


async def test_l1_a_client_that_has_most_of_a_large_document_gets_what_it_lacks() -> None:
    async with world(worker_threshold_bytes=THRESHOLD) as w:
        author = Author(1)
        ana = await typed(w, author, 200_000)
        kept = w.hub.rooms[DOCUMENT].document.merged()
        has = write_state_vector(w.hub.rooms[DOCUMENT].document.clocks)
        ana.update(author.type("é😀"))
        await w.flushed()
        late = await w.yws(synced=False)
        late.transport.take()
        late.send(b"\x00\x00" + write_buf(has))
        await until(lambda: bool(late.transport.sent))
        got = received(late)
        assert sum(map(len, got)) < 1000
        assert text_of(merge([kept, *got])) == str(author.text)


async def test_l1_folds_that_finish_while_a_state_is_computed_take_nothing_out_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(worker_threshold_bytes=THRESHOLD, compact_tail_updates=10**6) as w:
        author = Author(1)
        ana = await typed(w, author, 200_000)
        room = w.hub.rooms[DOCUMENT]
        gate = Gate(w, monkeypatch)
        has = write_state_vector(room.document.clocks)
        kept = room.document.merged()

        async def fold_meanwhile(word: str) -> None:
            ana.update(author.type(word))
            await w.flushed()
            other = await w.yws(synced=False)
            ana.update(author.delete(0, 1))
            other.send(STEP1)  # deletes are folded away for a newcomer
            await gate.let("run_fold")
            other.connection.closed(1000)

        await fold_meanwhile("zero ")
        late = await w.yws(synced=False)
        late.transport.take()
        late.send(b"\x00\x00" + write_buf(has))
        await until(lambda: "run_state" in gate.names)
        await fold_meanwhile("one é ")
        await gate.let("run_state")
        await fold_meanwhile("two 😀 ")
        while not late.transport.sent:
            await gate.let("run_state")
        got = received(late)
        assert text_of(merge([kept, *got])) == str(author.text)


async def test_l3_the_first_step_2_holds_everything_that_was_acknowledged_before() -> None:
    async with world(worker_threshold_bytes=THRESHOLD, compact_tail_updates=10**6, compact_tail_bytes=10**7) as w:
        author = Author(1)
        ana = await typed(w, author, 200_000)
        (await w.yws()).connection.closed(1000)  # folds: the base is large from here on
        for number in range(20):
            ana.update(author.type(f"é{number}"))
            await w.flushed()
            for state_vector in (b"\x00", write_state_vector({1: 150_000})):
                late = await w.yws(synced=False)
                late.transport.take()
                late.send(b"\x00\x00" + write_buf(state_vector))
                await until(lambda late=late: bool(late.transport.sent))  # type: ignore[misc]
                got = received(late)
                assert read_update(got[0]).sections[0].end == len(str(author.text).encode("utf-16-le")) // 2
                late.connection.closed(1000)


async def test_l5_newcomers_to_a_large_document_share_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(worker_threshold_bytes=THRESHOLD, compact_tail_updates=10**6, compact_tail_bytes=10**7) as w:
        author = Author(1)
        ana = await typed(w, author, 200_000)
        await w.yws()
        gate = Gate(w, monkeypatch)
        tick = Compactor.tick
        monkeypatch.setattr(Compactor, "tick", lambda _compactor, _now_s: None)  # it drops what is kept

        async def come() -> Client:
            ana.update(author.type("é"))
            await w.flushed()
            late = await w.yws(synced=False)
            late.transport.take()
            late.send(STEP1)
            await turns(3)
            return late

        first = await come()
        others = [await come() for _ in range(5)]
        await gate.let("run_state")
        assert text_of(merge(received(first))) == str(author.text)
        assert not any(late.transport.sent for late in others)
        await gate.let("run_state")
        for late in others:
            (step2,) = received(late)
            assert text_of(step2) == str(author.text)
        again = await w.yws(synced=False)
        again.send(STEP1)
        await until(lambda: any(isinstance(ywebsocket.decode(p), Step2) for p in again.transport.sent))
        assert len(gate.waiting) == 2
        compactor = w.hub.rooms[DOCUMENT]._compactor
        tick(compactor, monotonic())
        assert not compactor._large_states._kept


async def test_l3_deleted_text_of_a_large_document_is_not_in_what_a_newcomer_gets() -> None:
    async with world(worker_threshold_bytes=THRESHOLD) as w:
        author = Author(1)
        ana = await typed(w, author, 100_000)
        ana.update(author.type("the secret word"))
        ana.update(author.delete(100_004, 100_010))
        late = await w.yws(synced=False)
        late.transport.take()
        late.send(STEP1)
        await until(lambda: bool(late.transport.sent))
        await settled(w)
        assert b"secret" not in b"".join(late.transport.sent)
        assert text_of(merge(received(late))) == str(author.text)


async def test_l3_a_tail_that_was_given_before_a_fold_is_not_given_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(worker_threshold_bytes=THRESHOLD, compact_tail_updates=10**6, compact_tail_bytes=10**7) as w:
        author = Author(1)
        ana = await typed(w, author, 100_000)
        await (await w.hub.open(DOCUMENT)).settled()
        first = await w.yws()  # folds: the base is large from here on
        room = w.hub.rooms[DOCUMENT]
        assert len(room.document.base) > THRESHOLD
        gate = Gate(w, monkeypatch)
        first.send(b"\x00\x00" + write_buf(write_state_vector({1: 60_000})))
        await until(lambda: gate.names == ["run_state"])
        ana.update(author.type("the secret word"))
        ana.update(author.delete(100_004, 100_010))
        await w.flushed()
        await gate.let("run_state")
        assert first.transport.sent
        late = await w.yws(synced=False)
        late.transport.take()
        late.send(STEP1)
        await gate.let("run_fold")
        await until(lambda: bool(late.transport.sent))
        assert b"secret" not in b"".join(late.transport.sent)
        assert text_of(merge(received(late))) == str(author.text)
        w.hub.release(room)


async def test_l2_newcomers_that_come_while_a_fold_runs_share_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(worker_threshold_bytes=THRESHOLD, compact_tail_updates=10**6) as w:
        author = Author(1)
        ana = await typed(w, author, 100_000)
        gate = Gate(w, monkeypatch)
        late = [await w.yws(synced=False) for _ in range(6)]
        ana.update(author.delete(0, 1))
        late[0].send(STEP1)
        await until(lambda: gate.names == ["run_fold"])
        ana.update(author.type("after é"))
        ana.update(author.delete(0, 1))
        for client in late[1:]:
            client.transport.take()
            client.send(STEP1)
        await turns(5)
        assert gate.names == ["run_fold"]
        await gate.let("run_fold")
        assert sorted(gate.names) == ["run_fold", "run_state"]  # the first one waits for what came after its fold
        await gate.let("run_fold")
        await gate.let("run_state")
        assert len(gate.waiting) == 3
        for client in late:
            assert text_of(merge(received(client))) == str(author.text)


@pytest.mark.parametrize("ends_first", [False, True], ids=["while it folds", "when the fold has ended"])
async def test_l2_a_fold_whose_callers_have_all_left_keeps_nobody_waiting(
    ends_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the next compaction nor the end of the room: both would keep the event loop busy for ever."""
    async with world(worker_threshold_bytes=THRESHOLD, compact_tail_updates=10**6) as w:
        author = Author(1)
        ana = await typed(w, author, 100_000)
        ana.update(author.delete(0, 1))
        await w.flushed()
        compactor = w.hub.rooms[DOCUMENT]._compactor
        gate = Gate(w, monkeypatch)
        caller = asyncio.create_task(compactor._folded(anyway=True))
        await until(lambda: gate.names == ["run_fold"])
        caller.cancel()
        await turns(3)
        assert caller.cancelled()
        if ends_first:
            await gate.let("run_fold")
            await turns(3)
            assert not compactor.is_busy
        else:
            assert compactor.is_busy
        ana.update(author.type("é"))
        await w.flushed()
        compacting = asyncio.create_task(compactor._compact())
        closing = asyncio.create_task(compactor.close())
        while not (compacting.done() and closing.done()):
            if "run_fold" in gate.names:
                await gate.let("run_fold")
            await turns(1)
        await compacting
        assert not compactor.is_busy
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(author.text)


async def test_l1_a_document_that_shrinks_while_it_is_folded_elsewhere_is_not_folded_here_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(compact_tail_updates=10**6, compact_tail_bytes=10**7) as w:
        author = Author(1)
        ana = await typed(w, author, 20_000)
        for _ in range(60):
            ana.update(author.type("y" * 100))
            ana.update(author.delete(20_000, 20_100))
        await w.flushed()
        room = w.hub.rooms[DOCUMENT]
        assert not is_quick(room.document)
        gate = Gate(w, monkeypatch)
        first, second = await w.yws(synced=False), await w.yws(synced=False)
        for client in (first, second):
            client.transport.take()
        first.send(STEP1)
        await until(lambda: gate.names == ["run_fold"])
        ana.update(author.type("é"))
        ana.update(author.delete(0, 1))
        # Packing the tail makes documents smaller; here the bound goes up instead.
        monkeypatch.setattr(quick, "QUICK_BYTES", 10**6)
        second.send(STEP1)
        while not (first.transport.sent and second.transport.sent):
            await gate.let("run_fold")
        assert first.transport.closed is second.transport.closed is None
        for client in (first, second):
            assert text_of(merge(received(client))) == str(author.text)


async def test_a_newcomer_whose_state_cannot_be_computed_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Providers ask for the state once: without an answer they would wait for ever."""
    async with world(worker_threshold_bytes=THRESHOLD) as w:
        author = Author(1)
        ana = await typed(w, author, 100_000)
        ana.update(author.delete(0, 1))

        async def die(*_args: object, **_kwargs: object) -> bytes:
            raise InternalError("two worker processes died over run_fold")

        with monkeypatch.context() as patch:
            patch.setattr(w.hub.workers, "run_job", die)
            late = await w.yws(synced=False)
            late.send(STEP1)
            await until(lambda: late.transport.closed is not None)
        assert late.transport.closed == (1011, "internal")
        assert ana.transport.closed is None
        late.connection.closed(1011)
        again = await w.yws()  # the document goes on
        assert again.transport.closed is None


async def test_a_reader_whose_deletes_cannot_be_checked_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        writer = await w.yws()
        doc: Doc[Map[int]] = Doc(client_id=1)
        doc.get("m", type=Map)["key"] = 1
        writer.update(doc.get_update())
        await w.flushed()

        async def die(*_args: object, **_kwargs: object) -> bool:
            raise InternalError("two worker processes died over implied_deletes")

        monkeypatch.setattr(w.hub.workers, "run_job", die)
        reader = await w.hocuspocus(READ)
        reader.send(write_string(DOCUMENT) + b"\x02\x00\x00")
        await until(lambda: bool(reader.transport.sent))
        reader.transport.take()
        reader.send(write_string(DOCUMENT) + b"\x00\x01" + write_buf(bytes.fromhex("0001010100" + "01")))
        await until(lambda: bool(reader.transport.sent))
        assert reader.transport.take() == [hocuspocus.sync_status(DOCUMENT, ok=False)]


async def test_l5_equal_state_vectors_are_answered_from_one_computation(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        author = Author(1)
        ana = await typed(w, author, 20_000)
        room = w.hub.rooms[DOCUMENT]
        has = write_state_vector(dict(room.document.clocks))
        ana.update(author.type("é"))
        await w.flushed()
        computed: list[bytes] = []
        since = type(room.document).since

        def counted(document: Any, state_vector: bytes) -> bytes:
            computed.append(state_vector)
            return since(document, state_vector)

        monkeypatch.setattr(type(room.document), "since", counted)
        for _ in range(5):
            late = await w.yws(synced=False)
            late.send(b"\x00\x00" + write_buf(has))
        assert computed == [has]


# -- snapshots ------------------------------------------------------------------------------------------------------


async def test_l4_the_log_is_folded_into_a_snapshot_when_it_has_grown() -> None:
    async with world(compact_tail_updates=20) as w:
        ana = await w.yws()
        author = Author(1)
        for number in range(19):
            ana.update(author.type(f"é{number} "))
            await w.flushed()
        assert w.metrics.compactions == 0
        ana.update(author.type("the twentieth 😀"))
        await w.flushed()
        await settled(w)
        assert w.metrics.compactions == 1
        loaded = await w.hub.journal.load(DOCUMENT)
        assert loaded.snapshot is not None
        assert loaded.entries == []
        assert text_of(loaded.snapshot.state) == str(author.text)


@pytest.mark.parametrize("threshold", [THRESHOLD, 1024 * KIB])
async def test_l4_snapshot_and_tail_reload_to_what_is_live(threshold: int) -> None:
    async with world(worker_threshold_bytes=threshold, compact_tail_updates=50, compact_tail_bytes=20_000) as w:
        rng = random.Random(7)
        authors, clients = [Author(1), Author(2)], [await w.yws(), await w.yws()]
        for number in range(400):
            who = number % 2
            author = authors[who]
            length = len(str(author.text))
            if length > 50 and rng.random() < 0.3:
                start = rng.randrange(length - 10)
                update = author.delete(start, start + 5)
            else:
                update = author.type(rng.choice(["word ", "é", "x" * 600]))
            clients[who].update(update)
            authors[1 - who].hear([update])
            if rng.random() < 0.2:
                await w.flushed()
        await w.flushed()
        await settled(w)
        assert w.metrics.compactions > 1
        room = w.hub.rooms[DOCUMENT]
        loaded = await w.hub.journal.load(DOCUMENT)
        assert loaded.snapshot is not None
        cold = build_document(loaded, keep_deleted=False)
        assert cold.clocks == room.document.clocks
        assert cold.deletes == room.document.deletes
        assert reencoded(cold.merged()) == reencoded(room.document.merged())
        assert text_of(cold.merged()) == str(authors[0].text) == str(authors[1].text)


def reencoded(update: bytes) -> bytes:
    doc: Doc[Map[int]] = Doc()
    doc.apply_update(update)
    return doc.get_update()


async def test_l4_edits_that_come_while_a_snapshot_is_made_stay_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(worker_threshold_bytes=THRESHOLD, compact_tail_bytes=50_000) as w:
        author = Author(1)
        gate = Gate(w, monkeypatch)
        ana = await typed(w, author, 60_000)
        await until(lambda: gate.names == ["run_fold"])
        ana.update(author.type("meanwhile é"))
        ana.update(author.delete(0, 3))
        await w.flushed()
        await gate.let("run_fold")
        await settled(w)
        loaded = await w.hub.journal.load(DOCUMENT)
        assert loaded.snapshot is not None
        assert loaded.entries
        assert text_of(build_document(loaded, keep_deleted=False).merged()) == str(author.text)
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(author.text)


async def test_l4_a_snapshot_that_the_journal_does_not_take_costs_nothing_and_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with world(compact_tail_updates=10) as w:
        ana = await w.yws()
        author = Author(1)
        tried = 0

        async def refuse(_document: DocumentId, _snapshot: Snapshot, _upto: Position) -> None:
            nonlocal tried
            tried += 1
            raise JournalUnavailableError("no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(w.hub.journal, "compact", refuse)
            for _ in range(40):
                ana.update(author.type("é"))
                await w.flushed()
        assert tried == 1  # not at every flush
        assert len(ana.updates()) == 40  # acknowledging goes on
        start_s = monotonic()
        monkeypatch.setattr(compactor_module, "monotonic", lambda: start_s + 60)
        ana.update(author.type("😀"))
        await w.flushed()
        await settled(w)
        loaded = await w.hub.journal.load(DOCUMENT)
        assert loaded.snapshot is not None
        assert text_of(loaded.snapshot.state) == str(author.text)


@pytest.mark.parametrize("updates", [2000, 4000])
async def test_l4_the_cost_of_folding_stays_flat_as_the_document_grows(
    updates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(compact_tail_updates=50, compact_tail_bytes=2000, worker_threshold_bytes=10**8) as w:
        monkeypatch.setattr(quick, "QUICK_BYTES", 10**8)
        ana = await w.yws()
        author = Author(1)
        written: list[int] = []
        compact = w.hub.journal.compact

        async def counted(document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
            written.append(len(snapshot.state))
            await compact(document, snapshot, upto)

        monkeypatch.setattr(w.hub.journal, "compact", counted)
        sent = 0
        for number in range(updates):
            update = author.type(f"{number:07d} é ")
            sent += len(update)
            ana.update(update)
            if number % 10 == 9:
                await w.flushed()
        await settled(w)
        assert len(written) < 30  # grows with the logarithm: by half of the document each
        assert sum(written) < 4 * sent  # bytes folded per byte sent


async def test_a_room_that_is_given_up_stops_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(worker_threshold_bytes=THRESHOLD, compact_tail_bytes=50_000) as w:
        gate = Gate(w, monkeypatch)
        await typed(w, Author(1), 60_000)
        await until(lambda: gate.names == ["run_fold"])
        room = w.hub.rooms[DOCUMENT]
        await room.abandon()
        assert not room.document.base[2:]  # the fold has not been taken
        assert (await w.hub.journal.load(DOCUMENT)).snapshot is None


async def test_a_connection_may_close_while_its_state_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(worker_threshold_bytes=THRESHOLD) as w:
        author = Author(1)
        ana = await typed(w, author, 100_000)
        ana.update(author.delete(0, 1))
        gate = Gate(w, monkeypatch)
        late = Client(Connection(w.hub, YWebsocketDialect(DOCUMENT, EDIT)))
        await until(lambda: bool(late.transport.sent))
        late.transport.take()
        late.send(STEP1)
        await until(lambda: "run_fold" in gate.names)
        late.connection.closed(1006)
        while gate.names:
            await gate.let("run_fold")
        await settled(w)
        assert late.transport.sent == []
        assert read_update(w.hub.rooms[DOCUMENT].document.base).deletes


async def test_l6_readers_questions_share_one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        writer = await w.yws()
        docs: list[Doc[Map[int]]] = [Doc(client_id=1), Doc(client_id=2)]
        for number, doc in enumerate(docs):
            doc.get("m", type=Map)["key"] = number
            writer.update(doc.get_update())
        writer.update(Author(7).type("é" * 20))
        await w.flushed()
        jobs: list[str] = []
        run = Workers.run

        async def counted(self: Workers, work: Any, *args: Any, **kwargs: Any) -> Any:
            jobs.append(work.__name__)
            return await run(self, work, *args, **kwargs)

        monkeypatch.setattr(Workers, "run", counted)
        reader = await w.yws(READ)
        for clock in range(20):
            reader.update(write_update([], [(7, [(clock, clock + 1)])]))
        reader.update(write_update([], [(1, [(0, 1)])]))
        await until(lambda: w.metrics.acks["refused"] == 20 and w.metrics.refusals["read-only"] == 20)
        assert jobs.count("implied_deletes") <= 2
        reader.update(write_update([], [(7, [(3, 4)])]))  # nothing has changed: known to be no, at once
        assert w.metrics.acks["refused"] == 21
        assert jobs.count("implied_deletes") <= 2
