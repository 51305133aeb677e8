"""Rooms of several replicas follow one log (LF1-LF5 of the follower, R8, V8)."""

from __future__ import annotations

from time import monotonic
from typing import Any

import pytest
from tests.unit.cluster import Replica, cluster
from tests.unit.world import DOCUMENT, Author, text_of, turns, until

from raffia.crdt.merge import merge
from raffia.journal import Loaded
from raffia.rooms.durable import log_follower as follower_module
from raffia.rooms.durable.loading import build_document, rebuild
from raffia.types import EMPTY_UPDATE, START, Edit, Position
from raffia.wire.lib0 import write_buf


@pytest.fixture(autouse=True)
def no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "SPREAD_S", 0.0)


async def cold(replica: Replica) -> str:
    return text_of(build_document(await replica.journal.load(DOCUMENT), keep_deleted=False).merged())


def text(replica: Replica) -> str:
    return text_of(replica.room.document.merged())


def follower(replica: Replica) -> Any:
    return replica.room._follower


async def mended(*replicas: Replica) -> None:
    """Wait until every room holds the log and the log every room."""
    await until(lambda: all(r.room.is_settled and not r.room._append_queue._held for r in replicas))
    await turns(20)
    await until(lambda: all(r.room.is_settled for r in replicas))


async def test_lf1_an_edit_of_one_replica_reaches_the_readers_of_the_other_by_one_append() -> None:
    async with cluster(3) as (_, (a, b, c)):
        ana, bo, cy = await a.yws(), await b.yws(), await c.yws()
        author = Author(1)
        for letter in ("é", "😀", "x"):
            update = author.type(letter)
            ana.update(update)
            await until(lambda: bool(bo.transport.sent) and bool(cy.transport.sent))
            assert bo.updates() == cy.updates() == [update]
        assert a.journal.stats.appends == 3  # one each
        assert b.journal.stats.appends == c.journal.stats.appends == 0  # R8: never back to the saver
        assert b.metrics.followed_updates == 3
        assert a.metrics.followed_updates == 0  # its own are known by their batch
        assert text(a) == text(b) == text(c) == await cold(a)


async def test_lf2_the_position_follows_the_log_and_no_snapshot_goes_past_what_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with cluster() as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        ana.update(author.type("a"))
        await until(lambda: text(b) == "a")
        first = follower(b).position
        assert first == (await b.journal.load(DOCUMENT)).position
        b.journal.cut()
        ana.update(author.type("é"))
        await a.flushed()
        b.journal.heal()  # a Gap, which loads; the store does not answer yet
        b.journal.connection.is_cut = True
        await until(lambda: follower(b).is_busy)
        assert follower(b).position <= first
        assert text(b) == "a"
        b.journal.connection.is_cut = False
        await until(lambda: text(b) == "aé")
        await until(lambda: not follower(b).is_busy)
        assert follower(b).position == (await b.journal.load(DOCUMENT)).position


async def test_lf3_what_was_missed_in_a_gap_is_read_and_broadcast() -> None:
    async with cluster() as (_, (a, b)):
        ana, bo = await a.yws(), await b.yws()
        author = Author(1)
        b.journal.cut()
        sent = [author.type(letter) for letter in ("a", "é", "c")]
        for update in sent:
            ana.update(update)
            await a.flushed()
        assert bo.updates() == []
        b.journal.heal()
        await until(lambda: bool(bo.transport.sent))
        assert text_of(merge(bo.updates())) == "aéc"
        assert b.metrics.log_gaps == 1
        assert b.metrics.log_resets == 0


async def test_lf4_after_a_loss_replicas_write_again_what_the_log_lacks() -> None:
    async with cluster() as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        for letter in ("a", "é", "c"):
            ana.update(author.type(letter))
            await until(lambda letter=letter: text(b).endswith(letter))  # type: ignore[misc]
        a.store.lose(DOCUMENT, 2)
        assert await cold(a) == "a"
        await mended(a, b)
        assert await cold(a) == text(a) == text(b) == "aéc"
        assert a.metrics.rewritten_bytes + b.metrics.rewritten_bytes > 0
        ana.update(author.type("d"))
        await until(lambda: text(b) == "aécd")
        assert await cold(a) == "aécd"
        position = (await a.journal.load(DOCUMENT)).position
        await until(lambda: follower(a).position == follower(b).position == position)


async def test_lf4_a_failover_to_an_older_copy_is_mended_too_deletes_included() -> None:
    async with cluster(compact_tail_updates=2) as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        ana.update(author.type("ab"))
        await until(lambda: text(b) == "ab")
        older = a.store.copy(DOCUMENT)
        ana.update(author.delete(0, 1))
        for letter in "cdef":
            ana.update(author.type(letter))
            await a.flushed()
        await until(lambda: a.metrics.compactions + b.metrics.compactions > 0 and text(b) == "bcdef")
        a.store.fail_over(DOCUMENT, older)
        await mended(a, b)
        assert await cold(a) == text(a) == text(b) == "bcdef"


async def test_v8_nobody_is_told_stored_while_the_log_lacks_what_was_seen_of_it() -> None:
    async with cluster() as (_, (a, b)):
        ana, bo = await a.yws(), await b.yws()
        author, other = Author(1), Author(2)
        first = author.type("a")
        ana.update(first)
        await until(lambda: bool(bo.transport.sent))
        ana.transport.take()
        bo.transport.take()
        a.store.failing = "away"
        a.store.lose(DOCUMENT, 1)
        await until(lambda: a.room._append_queue._held and b.room._append_queue._held)
        second = author.type("é")
        ana.update(second)
        bo.update(first)  # known, but not durable any more
        bo.update(other.type("x"))
        await a.flushed()
        await b.flushed()
        assert ana.updates() == []
        assert bo.updates() == []
        assert not a.room.is_settled
        a.store.failing = None
        await mended(a, b)
        told: list[bytes] = []
        await until(lambda: (told.extend(ana.updates()), second in told)[1])
        await until(lambda: text(a) == text(b))
        assert sorted(await cold(a)) == sorted("aéx")
        assert a.metrics.journal_unsaved_bytes == b.metrics.journal_unsaved_bytes == 0


async def test_v8_what_was_queued_behind_the_comparison_is_appended_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster() as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        ana.update(author.type("a"))
        await until(lambda: text(b) == "a")
        reconcile = follower_module.LogFollower._reconcile
        late = author.type("é")

        async def compare_and_edit(self: Any, loaded: Loaded) -> bytes | None:
            lacking = await reconcile(self, loaded)
            if self is follower(a):
                ana.update(late)  # while another process compares
                a.room.flush()
            return lacking

        monkeypatch.setattr(follower_module.LogFollower, "_reconcile", compare_and_edit)
        a.store.lose(DOCUMENT, 1)
        await mended(a, b)
        assert await cold(a) == text(b) == "aé"


async def test_v8_an_append_that_is_refused_leads_to_the_same() -> None:
    async with cluster() as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        ana.update(author.type("a"))
        await until(lambda: text(b) == "a")
        a.store.hold()
        ana.update(author.type("é"))  # called before the loss: must not get behind the gap (J20)
        await a.flushed()
        a.store.lose(DOCUMENT, 1)
        await turns(10)
        a.store.release()
        await mended(a, b)
        assert await cold(a) == text(a) == text(b) == "aé"


async def test_an_answer_that_got_lost_is_no_loss() -> None:
    async with cluster() as (_, (a, b)):
        ana, bo = await a.yws(), await b.yws()
        a.journal.unsure = True
        update = Author(1).type("é")
        ana.update(update)
        await until(lambda: bool(bo.transport.sent))
        assert ana.updates() == []
        a.journal.unsure = False
        await until(lambda: ana.updates() == [update])
        assert await cold(a) == "é"
        assert bo.updates() == [update]  # the second time it was nothing new


def three() -> tuple[bytes, bytes, bytes]:
    author = Author(1)
    one, two, three = (author.type(letter) for letter in ("a", "é", "c"))
    return one, two, three


async def put(replica: Replica, *updates: bytes) -> None:
    """Append as another replica would, without a room."""
    await replica.journal.append(DOCUMENT, tuple(Edit(None, 1, update) for update in updates))


async def test_r8_what_the_log_holds_too_early_waits_and_a_session_can_bring_what_it_waits_for() -> None:
    async with cluster() as (_, (a, _)):
        one, two, third = three()
        await put(a, third)
        ana = await a.yws()
        bo = await a.yws()
        assert text(a) == ""
        assert len(a.room._intake.early_entries.pieces) == 1
        assert follower(a).position == START  # no snapshot covers it
        ana.update(merge([one, two]))
        await until(lambda: text(a) == "aéc")
        assert a.room._intake.early_entries.pieces == []
        await a.flushed()
        assert text_of(merge(bo.updates())) == "aéc"
        await mended(a)
        assert await cold(a) == "aéc"
        assert follower(a).position == (await a.journal.load(DOCUMENT)).position
        assert [len(entry.batch) for entry in (await a.journal.load(DOCUMENT)).entries] == [1, 1]


async def test_r8_what_waits_in_a_session_is_freed_by_what_was_held_back() -> None:
    async with cluster() as (_, (a, b)):
        one, two, third = three()
        ana = await a.yws()
        await put(b, two)
        await until(lambda: len(a.room._intake.early_entries.pieces) == 1)
        ana.update(third)  # waits for the second, which waits for the first
        assert a.metrics.waiting_updates == 1
        await put(b, one)
        await until(lambda: text(a) == "aéc")
        assert a.metrics.waiting_updates == 0
        await mended(a)
        assert third in ana.updates()  # answered
        assert await cold(a) == "aéc"


async def test_r8_each_reading_of_the_log_brings_again_what_waits_and_it_is_kept_once() -> None:
    async with cluster() as (_, (a, b)):
        one, two, third = three()
        await a.yws()
        await put(b, third)
        await until(lambda: len(a.room._intake.early_entries.pieces) == 1)
        for _ in range(3):
            a.journal.heal()  # a gap that is none
            a.journal._readers.miss(DOCUMENT, Position(follower(a)._last + 1))
            await until(lambda: follower(a).is_busy)
            await until(lambda: not follower(a).is_busy)
        assert len(a.room._intake.early_entries.pieces) == 1
        await put(b, one, two)
        await until(lambda: text(a) == "aéc")
        assert a.room._intake.early_entries.pieces == []


async def test_r8_what_was_held_back_when_the_log_was_cut_is_appended_once_it_is_ready() -> None:
    async with cluster() as (_, (a, b)):
        one, two, third = three()
        ana = await a.yws()
        await put(b, third)
        await until(lambda: len(a.room._intake.early_entries.pieces) == 1)
        a.store.lose(DOCUMENT, 1)  # its last copy is in this room now
        await until(lambda: a.room._append_queue._held)
        await mended(a)
        assert len(a.room._intake.early_entries.pieces) == 1
        room = a.room
        ana.connection.closed(1001)
        a.hub.tick(monotonic() + 3600)
        assert a.hub.rooms[DOCUMENT] is room  # idle, but closing it would lose the last copy
        ana = await a.yws()
        ana.update(merge([one, two]))
        await until(lambda: text(a) == "aéc")
        await mended(a)
        assert await cold(a) == "aéc"


async def test_r8_a_reader_of_the_log_that_comes_while_something_waits_is_given_what_is_ready() -> None:
    one, _, third = three()
    document, waiting = rebuild(Loaded(None, [], START), keep_deleted=False)
    assert (document.merged(), waiting) == (EMPTY_UPDATE, None)
    async with cluster() as (_, (a, _)):
        await put(a, one)
        await put(a, third)
        document, waiting = rebuild(await a.journal.load(DOCUMENT), keep_deleted=False)
        assert text_of(document.merged()) == "a"
        assert waiting is not None


async def test_lf2_an_entry_that_cannot_be_read_is_left_out_and_no_snapshot_covers_it() -> None:
    async with cluster() as (_, (a, b)):
        one, two, third = three()
        await a.yws()
        await put(b, one)
        await until(lambda: text(a) == "a")
        before = follower(a).position
        await put(b, b"\xff\xff")
        await put(b, third)
        await put(b, two)
        await until(lambda: text(a) == "aéc")
        assert a.metrics.log_unreadable == 1
        assert a.room._intake.early_entries.pieces == []
        assert follower(a).position == before


async def test_a_snapshot_of_a_log_that_was_cut_meanwhile_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster() as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        for letter in "abc":
            ana.update(author.type(letter))
            await a.flushed()
        snapshots: list[Any] = []
        compact = a.journal.compact

        async def lose_first(document: Any, snapshot: Any, upto: Position) -> None:
            a.store.lose(DOCUMENT, 2)
            snapshots.append(upto)
            await compact(document, snapshot, upto)

        monkeypatch.setattr(a.journal, "compact", lose_first)
        await a.room._compactor._compact()
        assert len(snapshots) == 1
        assert (await a.journal.load(DOCUMENT)).snapshot is None
        await mended(a, b)
        assert await cold(a) == text(a) == text(b) == "abc"
        assert a.room._append_queue.folded == START  # so that the next one is not taken for old


async def test_a_room_that_closes_while_the_log_is_cut_brings_back_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster() as (_, (a, _)):
        ana = await a.yws()
        ana.update(Author(1).type("aé"))
        await a.flushed()
        room = a.room
        close = room._compactor.close

        async def lose_and_close() -> None:
            await close()
            a.store.lose(DOCUMENT, 1)
            await until(lambda: room._append_queue._held)

        monkeypatch.setattr(type(room._compactor), "close", lambda _self: lose_and_close())
        ana.connection.closed(1000)
        a.hub._evict(DOCUMENT, room)
        await until(lambda: not a.hub._closing)
        assert await cold(a) == "aé"


async def test_lf5_a_deleted_document_ends_the_rooms_of_all_replicas() -> None:
    async with cluster() as (_, (a, b)):
        ana, bo = await a.yws(), await b.yws()
        ana.update(Author(1).type("a"))
        await until(lambda: text(b) == "a")
        b.store.hold()
        bo.update(Author(2).type("é"))
        await b.flushed()
        await a.journal.directory.delete(DOCUMENT)
        await until(lambda: ana.transport.closed is not None and bo.transport.closed is not None)
        assert ana.transport.closed is not None
        assert bo.transport.closed is not None
        assert {ana.transport.closed[0], bo.transport.closed[0]} == {4404}
        assert b.metrics.journal_unsaved_bytes == 0  # given up with the room


async def test_lf5_a_room_that_is_lost_while_it_holds_can_be_closed() -> None:
    async with cluster() as (_, (a, _)):
        ana = await a.yws()
        ana.update(Author(1).type("a"))
        await a.flushed()
        room = a.room
        a.store.failing = "away"
        room._append_queue.hold()
        ana.update(Author(2).type("é"))
        await a.flushed()
        room._append_queue.lose(follower_module.QuarantinedError("unreadable"))
        assert room.is_settled
        assert a.metrics.journal_unsaved_bytes == 0


async def test_folded_elsewhere_is_not_folded_here_too() -> None:
    async with cluster(compact_tail_updates=4) as (_, (a, b)):
        ana, _ = await a.yws(), await b.yws()
        author = Author(1)
        for letter in "abcdefghijklmnop":
            ana.update(author.type(letter))
            await a.flushed()
            await until(lambda letter=letter: text(b).endswith(letter))  # type: ignore[misc]
        await until(lambda: a.metrics.compactions + b.metrics.compactions > 0)
        await mended(a, b)
        assert await cold(a) == "abcdefghijklmnop"
        folded = a.store.documents[DOCUMENT].folded.upto
        await until(lambda: a.room._append_queue.folded == b.room._append_queue.folded == folded)


async def test_ow1_who_brings_back_somebody_elses_first_structs_does_not_own_the_id() -> None:
    async with cluster() as (_, (a, _)):
        ana = await a.yws()
        ana.step2(Author(7).type("a"))
        assert a.room._intake.owners.owner(7) is None
        ana.update(Author(8).type("é"))
        assert a.room._intake.owners.owner(8) == "ana"


async def test_r2_a_client_that_writes_before_it_reads_is_not_told_so_by_the_state() -> None:
    async with cluster(1, worker_threshold_bytes=4096) as (_, (a,)):
        big = Author(9)
        await put(a, big.type("x" * 6000))
        ana = await a.yws(synced=False)
        await until(lambda: bool(ana.transport.sent))
        a.store.hold()
        ana.send(b"\x00\x00" + write_buf(b"\x00"))
        await turns(5)
        update = Author(1).type("é")
        ana.update(update)  # into the tail, while the state is computed elsewhere
        await until(lambda: a.room.sessions is not None and next(iter(a.room.sessions)).reading)
        kinds = ana.transport.take()
        assert b"\x00\x02" + write_buf(update) not in kinds
        assert any(payload[:2] == b"\x00\x01" and update in payload for payload in kinds)
        a.store.release()
        await until(lambda: b"\x00\x02" + write_buf(update) in ana.transport.sent)
