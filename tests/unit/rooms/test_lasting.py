"""What runs for as long as a replica or a room does survives what goes wrong once (HU2, LF4, BS4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.cluster import Replica, cluster
from tests.unit.world import DOCUMENT, Author, text_of, until

from raffia.errors import ForbiddenError, InternalError
from raffia.journal import Gap, Snapshot
from raffia.rooms import pruning
from raffia.rooms.durable import append_queue as append_queue_module
from raffia.rooms.durable import log_follower as follower_module
from raffia.rooms.durable.append_queue import AppendQueue
from raffia.rooms.durable.loading import build_document
from raffia.rooms.metadata import Metadata
from raffia.types import DocumentId, Edit, Position


@pytest.fixture(autouse=True)
def no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "SPREAD_S", 0.0)


async def cold(replica: Replica) -> str:
    return text_of(build_document(await replica.journal.load(DOCUMENT), keep_deleted=False).merged())


async def test_lf4_a_loss_told_in_the_very_turn_in_which_the_log_has_been_read_is_mended_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with cluster() as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        ana.update(author.type("a"))
        await until(lambda: text_of(b.room.document.merged()) == "a")
        room: Any = a.room
        follower = room._follower
        resume = AppendQueue.resume
        told = []

        def resume_and_hear(append_queue: AppendQueue, lacking: Edit | None, covered: int) -> None:
            resume(append_queue, lacking, covered)
            if append_queue is room._append_queue and not told:
                told.append(True)
                # After the task has looked for the last time, before its end is noticed.
                asyncio.get_running_loop().call_soon(follower._heard, Gap(follower._last, follower._last))

        monkeypatch.setattr(AppendQueue, "resume", resume_and_hear)
        follower._heard(Gap(follower._last, follower._last))
        await until(lambda: bool(told))
        ana.update(author.type("é"))
        await until(lambda: room.is_settled, 3.0)
        assert await cold(a) == "aé"


async def test_hu2_a_room_is_closed_whatever_becomes_of_its_last_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(compact_tail_updates=5, room_idle_s=0.001) as (_, (a, _b)):
        ana = await a.yws()
        author = Author(1)
        for letter in "abc":
            ana.update(author.type(letter))
            await a.flushed()

        async def refuse(document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
            raise ForbiddenError(f"there is no document {document}")  # Redis was emptied a moment ago

        monkeypatch.setattr(a.journal, "compact", refuse)
        room: Any = a.room
        await until(lambda: room.is_settled)
        ana.connection.closed(1000)
        await asyncio.sleep(0.002)
        a.hub.tick(asyncio.get_running_loop().time() + 1)
        assert DOCUMENT not in a.hub.rooms
        await until(lambda: not a.hub._closing)
        assert room._presence._relay is None
        assert room._follower._task.done(), "nobody follows for a room that is gone"


async def test_pruning_goes_on_after_any_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "PRUNE_EVERY_S", 0.0)
    async with cluster(1) as (_, (a,)):
        asked = []

        async def prune() -> None:
            asked.append(True)
            await asyncio.sleep(0)
            raise InternalError("one damaged document")

        monkeypatch.setattr(a.journal, "prune", prune)
        await until(lambda: len(asked) > 2, 3.0)


async def test_fl4_a_snapshot_of_a_shared_log_holds_nothing_that_may_never_stand_in_the_log() -> None:
    async with cluster() as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        ana.update(author.type("a"))
        await until(lambda: text_of(b.room.document.merged()) == "a")
        a.store.hold()
        ana.update(author.type("é"))  # were this replica killed now, the other's room would never hear of it
        folder: Any = a.room._compactor
        folder._compacting = True
        folder.start(folder._compact())
        for _ in range(50):
            await asyncio.sleep(0)
        assert await cold(b) == "a"
        a.store.release()
        await until(lambda: a.room.is_settled)
        assert await cold(b) == "aé"
        assert a.metrics.compactions == 1


async def test_fl4_no_snapshot_is_put_in_the_place_of_a_log_that_was_cut_meanwhile() -> None:
    async with cluster() as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        for letter in "ab":
            ana.update(author.type(letter))
            await a.flushed()
        await until(lambda: text_of(b.room.document.merged()) == "ab")
        a.store.hold()
        ana.update(author.type("é"))
        folder: Any = a.room._compactor
        folder._compacting = True
        folder.start(folder._compact())
        await asyncio.sleep(0)
        a.store.lose(DOCUMENT, 1)
        for _ in range(20):
            await asyncio.sleep(0)
        a.store.release()
        await until(lambda: a.room.is_settled and b.room.is_settled)
        assert a.metrics.compactions == 0
        await until(lambda: text_of(b.room.document.merged()) == "abé")
        assert await cold(b) == "abé"


async def test_hu4_a_room_that_cannot_be_closed_does_not_keep_the_process_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with cluster(room_idle_s=0.001, drain_s=0.1, compact_tail_updates=5) as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        for letter in "abc":
            ana.update(author.type(letter))
            await a.flushed()
        room: Any = a.room
        follower, compact = room._follower, a.journal.compact

        async def compact_and_lose(document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
            await compact(document, snapshot, upto)
            a.store.failing = "away"
            a.journal.connection.is_cut = True
            follower._heard(Gap(follower._last, follower._last))  # the log has lost something, and goes away for good

        monkeypatch.setattr(a.journal, "compact", compact_and_lose)
        await until(lambda: room.is_settled)
        ana.connection.closed(1000)
        await asyncio.sleep(0.002)
        a.hub.tick(asyncio.get_running_loop().time() + 1)
        await until(lambda: a.store.failing == "away" and follower.is_busy)
        assert a.hub._closing
        async with asyncio.timeout(3.0):
            await a.hub.__aexit__(None, None, None)
        assert not a.hub._closing
        assert follower._task.done()


async def test_hu2_nobody_follows_for_a_room_that_could_not_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(room_idle_s=0.001) as (_, (a, _b)):
        ana = await a.yws()
        ana.update(Author(1).type("a"))
        await a.flushed()
        room: Any = a.room
        await until(lambda: room.is_settled)

        async def broken(_metadata: Metadata) -> None:
            raise InternalError("the listing holds something else")

        monkeypatch.setattr(Metadata, "close", broken)
        ana.connection.closed(1000)
        await asyncio.sleep(0.002)
        a.hub.tick(asyncio.get_running_loop().time() + 1)
        assert DOCUMENT not in a.hub.rooms
        await until(lambda: not a.hub._closing)
        assert room._presence._relay is None
        assert room._follower._task.done()


async def test_v9_what_has_gathered_while_the_journal_was_away_is_appended_in_bounded_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(append_queue_module, "BATCH_BYTES", 2000)
    async with cluster() as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        a.store.failing = "away"
        sent = [author.type(letter * 600) for letter in "abcdefgh"]
        sent.append(author.type("é" * 3000))  # larger by itself
        sent.append(author.type("z"))
        for update in sent:
            ana.update(update)
            await a.flushed()
        assert a.room._append_queue.unsaved_bytes == sum(map(len, sent))
        a.store.failing = None
        await until(lambda: a.room.is_settled)
        sizes = [sum(len(e.update) for e in entry.batch) for entry in (await a.journal.load(DOCUMENT)).entries]
        groups = (sent[0:3], sent[3:6], sent[6:8], sent[8:9], sent[9:])
        assert sizes == [sum(map(len, group)) for group in groups]
        assert a.metrics.journal_unsaved_bytes == 0
        await until(lambda: text_of(b.room.document.merged()) == text_of(a.room.document.merged()))
        assert ana.updates() == sent, "each is acknowledged once, in order"
        assert text_of(b.room.document.merged()) == await cold(a)
