"""Rooms: the life of an edit from a session to readers and journal (R1-R7, V1-V6, F1-F3)."""

from __future__ import annotations

import logging
from time import monotonic

import pytest
from pycrdt import Doc, Map
from tests.unit.world import DOCUMENT, READ, Author, Client, World, text_of, turns, until, world

from raffia.crdt.document import Document
from raffia.crdt.merge import merge
from raffia.crdt.update import read_update, write_update
from raffia.errors import CrdtError
from raffia.rooms.fanout import Fanout
from raffia.rooms.outbound.flush import Pacer
from raffia.rooms.presence import room_presence
from raffia.rooms.session import step1_body
from raffia.types import EMPTY_UPDATE, Access, Grant
from raffia.wire import hocuspocus, ywebsocket
from raffia.wire.lib0 import write_buf, write_string
from raffia.wire.messages import Awareness, Step1, Step2, Update
from raffia.wire.transport import Frame


async def test_r2_fan_out_does_not_wait_for_the_journal_and_acknowledgement_does() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        w.store.hold()
        update = Author(1).type("é😀")
        ana.update(update)
        await w.flushed()
        assert bo.updates() == [update]
        assert ana.updates() == []
        w.store.release()
        await w.flushed()
        assert ana.updates() == [update]  # its own update comes back: durable
        assert bo.updates() == []
        assert w.metrics.acks["stored"] == 1


async def test_r3_a_writer_gets_the_parts_of_others() -> None:
    async with world() as w:
        ana, bo, cy = await w.yws(), await w.yws(), await w.yws()
        w.store.hold()
        one, two = Author(1).type("a"), Author(2).type("b")
        ana.update(one)
        bo.update(two)
        await w.flushed()
        assert ana.updates() == [two]
        assert bo.updates() == [one]
        assert [text_of(u) for u in cy.updates()] in (["ab"], ["ba"])  # one update, merged
        w.store.release()


async def test_v2_each_update_is_answered_once_and_in_order() -> None:
    async with world() as w:
        ana = await w.yws()
        author = Author(1)
        sent = [author.type(t) for t in ("a", "é", "c")]
        for update in sent:
            ana.update(update)
        await w.flushed()
        assert ana.updates() == sent
        assert w.metrics.ack_s.count == 3


async def test_v3_a_known_update_is_answered_only_when_what_is_pending_is_durable() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        w.store.hold()
        update = Author(1).type("a")
        ana.update(update)
        bo.update(update)  # known, but only in memory
        await w.flushed()
        bo.update(update)  # known, in flight
        await turns(5)
        assert bo.updates() == [update]  # Ana's, fanned out; no answer yet
        w.store.release()
        await w.flushed()
        assert ana.updates() == [update]
        assert bo.updates() == [update, update]  # two answers


async def test_v4_what_the_journal_refused_is_appended_when_it_is_back() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        author = Author(1)
        w.store.failing = "no space left on device"
        sent = [author.type("a"), author.type("é")]
        ana.update(sent[0])
        await w.flushed()
        ana.update(sent[1])
        await w.flushed()
        assert merge(bo.updates()) == merge(sent)  # people on this replica go on
        assert ana.updates() == []
        assert w.metrics.journal_failures > 0
        w.store.failing = None
        received: list[bytes] = []
        await until(lambda: (received.extend(ana.updates()), len(received) == 2)[1])
        assert received == sent
        loaded = await w.hub.journal.load(DOCUMENT)
        assert [edit.update for entry in loaded.entries for edit in entry.batch] == sent
        assert w.metrics.journal_unsaved_bytes == 0


async def test_v6_past_the_bound_edits_are_refused_with_later() -> None:
    async with world(
        max_unsaved_bytes=2000, max_update_bytes=2000, max_document_bytes=100_000, max_waiting_bytes=2000
    ) as w:
        ana = await w.yws()
        author = Author(1)
        w.store.hold()
        for _ in range(3):
            ana.update(author.type("é" * 400))
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 1013
        assert w.metrics.refusals["journal-unavailable"] == 1
        w.store.release()
        await w.flushed()
        loaded = await w.hub.journal.load(DOCUMENT)
        assert sum(len(entry.batch) for entry in loaded.entries) == 2


async def test_edits_keep_their_author_and_time() -> None:
    async with world() as w:
        ana = await w.yws()
        ana.update(Author(1).type("a"))
        await w.flushed()
        loaded = await w.hub.journal.load(DOCUMENT)
        (edit,) = loaded.entries[0].batch
        assert edit.author == "ana"
        assert edit.time_ms > 1_700_000_000_000


async def test_r4_a_gap_waits_with_its_session_and_the_session_is_asked() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        author = Author(1)
        first, second, third = author.type("a"), author.type("é"), author.type("c")
        ana.update(third)
        await w.flushed()
        assert bo.transport.take() == []
        assert ana.kinds() == ["Step1"]
        assert w.metrics.waiting_updates == 1
        assert w.hub.rooms[DOCUMENT].document.merged() == EMPTY_UPDATE
        ana.update(first)
        ana.update(second)
        await w.flushed()
        assert text_of(merge(bo.updates())) == "aéc"
        assert w.metrics.waiting_updates == w.metrics.waiting_bytes == 0
        assert sorted(ana.updates()) == sorted([first, second, third])  # all three are answered


async def test_r4_one_update_that_never_becomes_ready_holds_back_nothing_else() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        lost = Author(9)
        lost.type("never sent")
        ana.update(lost.type("é"))
        author = Author(1)
        sent = [author.type(t) for t in "abc"]
        for update in sent:
            ana.update(update)
        await w.flushed()
        assert text_of(merge(bo.updates())) == "abc"
        assert [u for u in ana.updates() if u in sent] == sent
        assert w.metrics.waiting_updates == 1


async def test_r4_a_partly_ready_update_is_answered_when_all_of_it_is_durable() -> None:
    async with world() as w:
        ana = await w.yws()
        one, two = Author(1), Author(2)
        missing = two.type("x")
        both = merge([one.type("a"), two.type("y")])
        ana.update(both)
        await w.flushed()
        assert w.metrics.acks["stored"] == 0
        ana.update(missing)
        await w.flushed()
        assert w.metrics.acks["stored"] == 2
        assert both in ana.updates()


async def test_waiting_is_bounded_and_nothing_of_what_is_over_is_answered() -> None:
    async with world(max_waiting_updates=3) as w:
        ana = await w.yws()
        for client in range(20, 24):
            author = Author(client)
            author.type("missing")
            ana.update(author.type("é"))
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 1013
        assert w.metrics.refusals["waiting-full"] == 1
        assert w.metrics.acks["stored"] == 0
        ana.connection.closed(1013)
        assert w.metrics.waiting_updates == w.metrics.waiting_bytes == 0


async def test_r7_malformed_updates_close_4400_and_nobody_else_notices() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        ana.update(bytes.fromhex("ffffff7a"))
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 4400
        assert bo.transport.closed is None
        assert w.metrics.refusals["malformed-update"] == 1


async def test_r7_a_text_frame_gets_a_clear_refusal() -> None:
    async with world() as w:
        ana = await w.yws()
        ana.connection.text("hallo é")
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 4400
        assert "binary" in ana.transport.closed[1]


async def test_documents_have_a_limit() -> None:
    async with world(max_document_bytes=3000, max_update_bytes=3000) as w:
        ana = await w.yws()
        author = Author(1)
        ana.update(author.type("é" * 1000))
        ana.update(author.type("é" * 1000))
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 4413
        await w.flushed()
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == "é" * 1000


FULL = {"max_document_bytes": 100_000, "max_update_bytes": 100_000}


async def filled(w: World, author: Author, pieces: int = 9) -> Client:
    """A writer whose document has room for about 10,000 bytes more."""
    ana = await w.yws()
    for number in range(pieces):
        ana.update(author.type(str(number) * 10_000))
    await w.flushed()
    return ana


@pytest.mark.parametrize("threshold", [1 << 20, 4096])
async def test_ov2_whoever_filled_a_document_gets_in_after_deleting(threshold: int) -> None:
    """The deletes come with what was refused, in one step 2."""
    async with world(**FULL, worker_threshold_bytes=threshold) as w:
        author = Author(1)
        ana = await filled(w, author)
        ana.update(author.type("x" * 20_000))
        await until(lambda: ana.transport.closed is not None)
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 4413
        assert "delete something" in ana.transport.closed[1]
        ana.connection.closed(4413)
        author.delete(0, 80_000)
        again = await w.hocuspocus()
        again.send(hp(DOCUMENT, b"\x02\x00\x00"))
        await until(lambda: bool(again.transport.sent))
        again.transport.take()
        again.send(hp(DOCUMENT, b"\x00\x01" + write_buf(author.doc.get_update())))
        await until(lambda: hocuspocus.sync_status(DOCUMENT, ok=True) in again.transport.sent)
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(author.text) == "8" * 10_000 + "x" * 20_000
        assert again.transport.closed is None


async def test_ov1_deletes_are_taken_even_if_the_rest_is_refused() -> None:
    async with world(**FULL) as w:
        author = Author(1)
        ana = await filled(w, author)
        await w.yws()
        bo = Author(2)
        bo.hear([author.doc.get_update()])
        bo.delete(0, 10_000)
        bo.type("y" * 50_000)
        late = await w.hocuspocus()
        late.send(hp(DOCUMENT, b"\x02\x00\x00"))
        await until(lambda: bool(late.transport.sent))
        ana.transport.take()
        known = w.hub.rooms[DOCUMENT].document.state_vector()
        late.send(hp(DOCUMENT, b"\x00\x01" + write_buf(bo.doc.get_update(known))))
        await until(lambda: hocuspocus.sync_status(DOCUMENT, ok=False) in late.transport.sent)
        await w.flushed()
        (step,) = ana.updates()
        assert not read_update(step).sections
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(author.text)[10_000:]
        assert w.metrics.refusals["too-large"] == 1
        # What is left counts, not what was deleted: there is room for the deleted part again.
        ana.update(author.type("z" * 15_000))
        await w.flushed()
        assert ana.transport.closed is None


async def test_ov1_a_full_document_is_emptied_live() -> None:
    async with world(**FULL) as w:
        author = Author(1)
        ana = await filled(w, author)
        for _ in range(8000):
            ana.update(author.delete(0, 5))
            ana.update(author.delete(5, 10))
        await w.flushed()
        assert ana.transport.closed is None
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(author.text)


async def test_ov2_a_full_document_is_folded_once_and_not_for_each_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(**FULL, compact_tail_bytes=10**7, compact_tail_updates=10**6) as w:
        author = Author(1)
        await filled(w, author)
        runs = []
        run = w.hub.workers.run_job
        monkeypatch.setattr(
            w.hub.workers,
            "run_job",
            lambda job, work, *a, **k: (runs.append(work.__name__), run(job, work, *a, **k))[1],
        )
        for _ in range(5):
            bo = await w.yws()
            bo.update(Author(2).type("y" * 30_000))
            await until(lambda bo=bo: bo.transport.closed is not None)  # type: ignore[misc]
            bo.connection.closed(4413)
        assert runs == ["run_fold"]


async def test_ov3_held_updates_are_bounded_and_leave_with_their_session(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(**FULL) as w:
        author = Author(1)
        await filled(w, author)
        overflow = w.hub.rooms[DOCUMENT]._intake._overflow
        clients = [await w.yws() for _ in range(4)]
        for number, client in enumerate(clients):
            client.update(Author(2 + number).type("y" * 30_000))
        assert 90_000 < overflow.size_bytes <= 100_000
        assert [client.transport.closed is None for client in clients] == [True, True, True, False]
        for client in clients:
            client.connection.closed(1005)
        assert overflow.size_bytes == 0


async def test_r5_a_session_reads_only_after_it_has_been_given_the_state() -> None:
    async with world() as w:
        ana = await w.yws()
        late = await w.yws(synced=False)
        assert late.kinds() == ["Step1"]
        update = Author(1).type("é")
        ana.update(update)
        await w.flushed()
        assert late.transport.take() == []
        late.send(b"\x00\x00\x01\x00")
        (step2,) = [ywebsocket.decode(p) for p in late.transport.take()]
        assert isinstance(step2, Step2)
        assert step2.update == update


async def test_the_state_includes_what_is_pending() -> None:
    async with world() as w:
        ana, late = await w.yws(), await w.yws(synced=False)
        late.transport.take()
        ana.update(Author(1).type("é"))
        late.send(b"\x00\x00\x01\x00")  # in the same turn, before the flush
        step2 = ywebsocket.decode(late.transport.take()[-1])
        assert isinstance(step2, Step2)
        assert text_of(step2.update) == "é"


async def test_step1_is_rate_limited() -> None:
    async with world(max_step1_per_s=3) as w:
        ana = await w.yws()
        for _ in range(3):
            ana.send(b"\x00\x00\x01\x00")
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 1013
        assert w.metrics.refusals["too-fast"] == 1


async def test_deleted_text_is_not_in_what_a_newcomer_gets() -> None:
    async with world() as w:
        ana = await w.yws()
        author = Author(1)
        ana.update(author.type("the secret word"))
        ana.update(author.delete(4, 10))
        newcomer = await w.yws(synced=False)
        newcomer.transport.take()
        newcomer.send(b"\x00\x00\x01\x00")
        assert b"secret" not in b"".join(newcomer.transport.sent)
        step2 = ywebsocket.decode(newcomer.transport.sent[-1])
        assert isinstance(step2, Step2)
        assert text_of(step2.update) == "the  word"


# -- readers ------------------------------------------------------------------------------------------------------


def hp(address: str, body: bytes) -> bytes:
    return write_string(address) + body


async def test_r6_a_reader_is_refused_what_is_new_and_told_stored_for_what_is_known() -> None:
    async with world() as w:
        writer = await w.yws()
        update = Author(1).type("é")
        writer.update(update)
        await w.flushed()
        reader = await w.hocuspocus(READ)
        reader.send(hp(DOCUMENT, b"\x02\x00\x00"))
        await until(lambda: bool(reader.transport.sent))
        assert reader.transport.take() == [hocuspocus.authenticated(DOCUMENT, read_only=True)]
        reader.send(hp(DOCUMENT, b"\x00\x02" + write_buf(update)))
        reader.send(hp(DOCUMENT, b"\x00\x02" + write_buf(Author(2).type("no"))))
        assert reader.transport.take() == [
            hocuspocus.sync_status(DOCUMENT, ok=True),
            hocuspocus.sync_status(DOCUMENT, ok=False),
        ]
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == "é"
        assert reader.transport.closed is None


async def test_r6_a_reader_may_send_deletes_that_the_content_implies() -> None:
    async with world() as w:
        writer = await w.yws()
        docs: list[Doc[Map[int]]] = [Doc(client_id=1), Doc(client_id=2)]
        for number, doc in enumerate(docs):
            doc.get("m", type=Map)["key"] = number  # concurrent sets of one key: the loser is deleted by every editor
            writer.update(doc.get_update())
        await w.flushed()
        editor: Doc[Map[int]] = Doc()
        editor.apply_update(w.hub.rooms[DOCUMENT].document.merged())
        implied = editor.get_update(editor.get_state())
        assert read_update(implied).deletes
        reader = await w.hocuspocus(READ)
        reader.send(hp(DOCUMENT, b"\x02\x00\x00"))
        await until(lambda: bool(reader.transport.sent))
        reader.transport.take()
        reader.send(hp(DOCUMENT, b"\x00\x01" + write_buf(implied)))
        await until(lambda: bool(reader.transport.sent))
        assert reader.transport.take() == [hocuspocus.sync_status(DOCUMENT, ok=True)]
        reader.send(hp(DOCUMENT, b"\x00\x01" + write_buf(write_update([], [(1, [(0, 1)]), (2, [(0, 1)])]))))
        await until(lambda: bool(reader.transport.sent))
        assert reader.transport.take() == [hocuspocus.sync_status(DOCUMENT, ok=False)]


# -- slow readers -------------------------------------------------------------------------------------------------


async def test_f2_a_slow_reader_gets_one_update_when_it_has_caught_up() -> None:
    async with world() as w:
        ana, slow = await w.yws(), await w.yws()
        author = Author(1)
        ana.update(author.type("before "))
        await w.flushed()
        seen = slow.updates()
        slow.congest()
        assert w.metrics.slow_readers == 1
        for n in range(50):
            ana.update(author.type(f"é{n} "))
            await w.flushed()
        ana.update(author.delete(0, 7))
        await w.flushed()
        assert slow.transport.sent == []
        assert not slow.transport.reading  # X3
        slow.drain()
        missed = slow.updates()
        assert len(missed) == 1
        assert text_of(merge(seen + missed)) == str(author.text)
        assert w.metrics.slow_readers == 0
        ana.update(author.type("after"))
        await w.flushed()
        assert len(slow.updates()) == 1  # it reads again


async def test_f2_statuses_of_a_slow_reader_are_counted_and_never_collapsed() -> None:
    async with world() as w:
        client = await w.hocuspocus()
        client.send(hp(DOCUMENT, b"\x02\x00\x00"))
        client.send(hp(DOCUMENT, b"\x00\x00\x01\x00"))
        await until(lambda: len(client.transport.sent) >= 3)
        client.transport.take()
        author = Author(1)
        w.store.hold()
        for t in "abc":
            client.send(hp(DOCUMENT, b"\x00\x02" + write_buf(author.type(t))))
        client.congest()
        w.store.release()
        await w.flushed()
        assert client.transport.sent == []
        client.drain()
        assert client.transport.take().count(hocuspocus.sync_status(DOCUMENT, ok=True)) == 3


async def test_f2_a_slow_writer_is_not_told_saved_by_its_catch_up() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        w.store.hold()
        own, other = Author(1), Author(2)
        mine = own.type("mine")
        ana.update(mine)
        ana.congest()
        bo.update(other.type("theirs"))
        await w.flushed()
        ana.drain()
        (missed,) = ana.updates()
        assert {section.client for section in read_update(missed).sections} == {2}
        w.store.release()
        await w.flushed()
        assert ana.updates() == [mine]


async def test_f2_a_slow_writer_gets_what_others_write_under_client_ids_that_it_sent_once() -> None:
    """A step 2 passes structs of other clients on: that does not make them its own for ever."""
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        own, other = Author(1), Author(2)
        first = other.type("theirs, offline ")
        ana.step2(first)
        await w.flushed()
        seen = [first, *ana.updates()]
        w.store.hold()
        mine = own.type("mine")
        ana.update(mine)  # is not durable, so its echo must not come with the catch-up
        ana.congest()
        bo.update(other.type("and more é😀"))
        await w.flushed()
        ana.drain()
        seen += ana.updates()
        assert text_of(merge(seen)) == "theirs, offline and more é😀"
        w.store.release()
        await w.flushed()
        assert ana.updates() == [mine]


async def test_f2_what_a_slow_writer_sends_meanwhile_is_not_in_its_catch_up() -> None:
    """A large update that was being read in another process when its writer fell behind."""
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        w.store.hold()
        ana.congest()
        mine = Author(1).type("mine")
        ana.update(mine)
        bo.update(Author(2).type("theirs"))
        await w.flushed()
        ana.drain()
        (missed,) = ana.updates()
        assert {section.client for section in read_update(missed).sections} == {2}
        w.store.release()
        await w.flushed()
        assert ana.updates() == [mine]


async def test_r2_a_broadcast_that_fails_does_not_keep_edits_from_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the document but not in the log would be a gap in front of all that refers to it."""
    async with world() as w:
        ana, _ = await w.yws(), await w.yws()
        room = w.hub.rooms[DOCUMENT]
        author = Author(1)
        ana.update(author.type("é"))
        with monkeypatch.context() as patch:
            patch.setattr(Fanout, "broadcast", _broken)
            with pytest.raises(RuntimeError):
                room.flush()
        ana.update(author.type("after"))
        await w.flushed()
        loaded = await w.hub.journal.load(DOCUMENT)
        kept = [edit.update for entry in loaded.entries for edit in entry.batch]
        assert text_of(merge(kept)) == "éafter"
        assert len(ana.updates()) == 2


def _broken(*_args: object) -> int:
    raise RuntimeError("a bug")


# -- presence -----------------------------------------------------------------------------------------------------


def presence(client: int, clock: int, state: str) -> bytes:
    return b"\x01" + write_buf(b"\x01" + bytes([client, clock]) + write_string(state))


async def test_presence_appears_for_all_and_goes_with_its_session() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        ana.send(presence(5, 1, '{"user":{"name":"Ana é"}}'))
        await w.flushed()
        assert bo.transport.take() == [presence(5, 1, '{"user":{"name":"Ana é"}}')]
        late = await w.yws(synced=False)
        assert late.kinds() == ["Step1", "Awareness"]
        ana.connection.closed(1001)
        await w.flushed()
        (gone,) = [ywebsocket.decode(p) for p in bo.transport.take()]
        assert isinstance(gone, Awareness)
        assert gone.payload.endswith(write_string("null"))


async def test_presence_that_comes_between_joining_and_reading_is_not_missed() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws(synced=False)
        bo.transport.take()
        ana.send(presence(5, 1, '{"user":{"name":"Ana é"}}'))
        await w.flushed()
        assert bo.transport.take() == []
        bo.send(step1_body(b"\x00"))
        assert presence(5, 1, '{"user":{"name":"Ana é"}}') in bo.transport.take()


async def test_presence_states_between_two_flushes_are_one_message() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        for clock in range(1, 6):
            ana.send(presence(5, clock, f'{{"x":{clock}}}'))
        await w.flushed()
        assert bo.transport.take() == [presence(5, 5, '{"x":5}')]


async def test_of_too_much_presence_the_last_state_arrives() -> None:
    async with world(max_presence_per_s=5) as w:
        ana, bo = await w.yws(), await w.yws()
        for clock in range(1, 10):
            ana.send(presence(5, clock, f'{{"x":{clock}}}'))
        await w.flushed()
        assert bo.transport.take() == [presence(5, 5, '{"x":5}')]
        await until(lambda: presence(5, 9, '{"x":9}') in bo.transport.sent)
        assert bo.transport.take() == [presence(5, 9, '{"x":9}')]
        assert w.metrics.presence_dropped == 3
        assert ana.transport.closed is None


async def test_a_state_that_waited_is_not_sent_after_its_removal() -> None:
    async with world(max_presence_per_s=5) as w:
        ana, bo, cy = await w.yws(), await w.yws(), await w.yws()
        for clock in range(1, 10):
            ana.send(presence(5, clock, "{}"))
        ana.send(presence(5, 10, "null"))
        for clock in range(1, 10):
            cy.send(presence(6, clock, f'{{"x":{clock}}}'))
        await until(lambda: presence(6, 9, '{"x":9}') in bo.transport.sent)
        assert not any(message.startswith(b"\x01") and b"\x05\x09" in message for message in bo.transport.take())


async def test_a_state_that_waited_and_cannot_be_read_ends_its_session() -> None:
    async with world(max_presence_per_s=1) as w:
        ana, bo = await w.yws(), await w.yws()
        ana.send(presence(5, 1, "{}"))
        ana.send(presence(5, 2, "[1"))
        bo.transport.take()
        await until(lambda: ana.transport.closed is not None)
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 4400


async def test_waiting_states_of_a_session_that_leaves_are_forgotten() -> None:
    async with world(max_presence_per_s=5) as w:
        ana, _ = await w.yws(), await w.yws()
        for clock in range(1, 10):
            ana.send(presence(5, clock, "{}"))
        ana.connection.closed(1005)
        assert not w.hub.rooms[DOCUMENT]._presence._late


async def test_presence_that_is_too_large_ends_no_session(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "raffia")
    async with world(max_presence_bytes=1024) as w:
        ana, bo = await w.yws(), await w.yws()
        large = '{"avatar":"' + "é" * 1024 + '"}'
        for clock in (1, 2):
            ana.send(presence(5, clock, large))
        update = Author(1).type("é")
        ana.update(update)
        ana.send(presence(5, 3, "{}"))
        await w.flushed()
        assert ana.transport.closed is None
        assert bo.transport.take() == [b"\x00\x02" + write_buf(update), presence(5, 3, "{}")]
        assert w.metrics.refusals["presence-too-large"] == w.metrics.presence_dropped == 2
        assert len([r for r in caplog.records if r.message.startswith("presence dropped")]) == 1  # one for a session


async def test_a_client_that_returns_sees_the_others_at_once() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        ana.send(presence(5, 3, "{}"))
        await w.flushed()
        bo.send(presence(6, 2, '{"user":"Bo é"}'))
        await w.flushed()
        (known,) = [entry for entry in w.hub.rooms[DOCUMENT]._presence.table._live.values() if entry.client == 6]
        ana.connection.closed(1006)
        await w.flushed()
        bo.transport.take()
        again = await w.yws(synced=False)
        again.send(step1_body(b"\x00"))
        again.send(presence(5, 3, "{}"))
        await w.flushed()
        assert any(presence(6, known.clock + 1, '{"user":"Bo é"}')[3:] in said for said in again.transport.take())
        assert len(bo.transport.take()) == 1  # one message, in which nobody disappears


async def test_everybody_is_announced_again_only_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room_presence, "WELCOME_PAUSE_S", 0.1)
    async with world() as w:
        bo = await w.yws()
        bo.send(presence(6, 2, "{}"))
        table = w.hub.rooms[DOCUMENT]._presence.table
        for _ in range(20):
            ana = await w.yws()
            ana.send(presence(5, 3, "{}"))
            await w.flushed()
            ana.connection.closed(1006)
            await w.flushed()
        clock = table._live[6].clock
        assert clock < 10
        await until(lambda: table._live[6].clock > clock)  # for the last one, when it may
        assert not table.has_returned


async def test_a_quiet_client_stays_present_while_its_socket_answers() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        ana.send(presence(5, 3, "{}"))
        await w.flushed()
        room = w.hub.rooms[DOCUMENT]
        bo.transport.take()
        now_s = monotonic()

        async def heard_after(seconds: float) -> list[bytes]:
            room.tick(now_s + seconds)
            await w.flushed()
            return [said for said in bo.transport.take() if said != b"\x01\x01\x00"]

        assert await heard_after(16) == []
        assert ana.transport.is_answered
        assert await heard_after(18) == []
        assert not ana.transport.is_answered
        ana.transport.is_answered = True  # a pong
        assert await heard_after(23) == [presence(5, 4, "{}")]
        assert await heard_after(39) == []
        assert await heard_after(41) == []
        assert not ana.transport.is_answered  # this time it says nothing
        assert await heard_after(46) == []
        assert await heard_after(51) == []
        assert await heard_after(54) == [presence(5, 4, "null")]
        assert w.metrics.presence_renewed == 1
        ana.send(presence(5, 4, '{"back":1}'))  # its own clock: it has read nothing meanwhile
        await w.flushed()
        assert bo.transport.take() == [presence(5, 5, '{"back":1}')]


async def test_silent_connections_are_kept_alive_and_busy_ones_are_not_bothered() -> None:
    async with world(keepalive_s=15) as w:
        ana = await w.yws()
        room = w.hub.rooms[DOCUMENT]
        (session,) = room.sessions
        room.tick(session.last_sent_s + 14)
        assert ana.transport.take() == []
        room.tick(session.last_sent_s + 16)
        assert ana.transport.take() == [b"\x01\x01\x00"]


# -- y-sweet's sync status ------------------------------------------------------------------------------------------


async def test_a_sync_status_request_comes_back_once_earlier_updates_are_durable() -> None:
    async with world() as w:
        ana = await w.yws()
        w.store.hold()
        update = Author(1).type("é")
        ana.update(update)
        ana.send(b"\x66\x02\x01\x02")
        await w.flushed()
        assert ana.transport.take() == []
        w.store.release()
        await w.flushed()
        assert ana.transport.take() == [b"\x00\x02" + write_buf(update), b"\x66\x02\x01\x02"]


# -- fan-out --------------------------------------------------------------------------------------------------------


async def test_f1_a_body_is_framed_once_for_all_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[Frame] = []
    async with world() as w:
        clients = [await w.yws() for _ in range(5)]
        for client in clients:
            monkeypatch.setattr(client.transport, "write", frames.append)
        room = w.hub.rooms[DOCUMENT]
        for session in room.sessions:  # readers' writes are bound when they start to read
            room._fanout.start(session)
        clients[0].update(Author(1).type("é"))
        await w.flushed()
        assert len(frames) == 4
        assert len({id(frame) for frame in frames}) == 1


@pytest.mark.parametrize(
    ("took_s", "factor", "max_s", "wait_s"),
    [(0.001, 4, 0.008, 0.004), (0.010, 4, 0.008, 0.008), (0.001, 0, 0.008, 0.0), (0.0, 4, 0.008, 0.0)],
)
def test_f3_the_pacer_waits_in_proportion_and_never_longer_than_its_bound(
    took_s: float, factor: float, max_s: float, wait_s: float
) -> None:
    pacer = Pacer(factor, max_s)
    assert pacer.delay(50.0) == 0.0
    pacer.flushed(100.0, 100.0 + took_s)
    assert pacer.delay(100.0 + took_s) == pytest.approx(wait_s)
    assert pacer.delay(200.0) == 0.0


async def test_a_room_opens_with_step1() -> None:
    async with world() as w:
        ana = await w.yws(synced=False)
        (first,) = [ywebsocket.decode(p) for p in ana.transport.take()]
        assert isinstance(first, Step1)
        assert first.sv == b"\x00"


# -- what waits -----------------------------------------------------------------------------------------------------


async def test_a_sync_status_request_waits_for_what_waits() -> None:
    async with world() as w:
        ana = await w.yws()
        author = Author(1)
        missing, late = author.type("a"), author.type("é")
        ana.update(late)
        ana.send(b"\x66\x01\x07")
        await w.flushed()
        assert b"\x66\x01\x07" not in ana.transport.take()  # a crash now would lose the edit
        ana.update(missing)
        await w.flushed()
        sent = ana.transport.take()
        assert sent[-1] == b"\x66\x01\x07"
        assert len([p for p in sent if isinstance(ywebsocket.decode(p), Update)]) == 2


async def test_q5_a_session_that_lost_its_right_is_refused_what_waited() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        author = Author(1)
        missing, late = author.type("a"), author.type("é")
        ana.update(late)
        session = next(iter(w.hub.rooms[DOCUMENT].sessions))
        session.grant = READ
        bo.update(missing)
        await w.flushed()
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == "a"
        assert w.metrics.refusals["read-only"] == 1
        assert w.metrics.waiting_updates == w.metrics.waiting_bytes == 0


async def test_q5_what_waited_keeps_its_author() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws(Grant(Access.EDIT, user="bo"))
        author, other = Author(1), Author(2)
        missing = other.type("a")
        author.hear([missing])
        late = author.type("é")
        ana.update(late)
        bo.update(missing)
        await w.flushed()
        loaded = await w.hub.journal.load(DOCUMENT)
        assert [edit.author for entry in loaded.entries for edit in entry.batch] == ["bo", "ana"]


async def test_q3_an_update_with_too_many_needs_is_refused() -> None:
    async with world() as w:
        ana = await w.yws()
        ana.update(write_update([], [(client, [(0, 1)]) for client in range(1, 300)]))
        await until(lambda: ana.transport.closed is not None)
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 1013


async def test_q1_an_edit_looks_only_at_what_waits_for_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        for client in range(100, 150):
            stranger = Author(client)
            stranger.type("missing")
            ana.update(stranger.type("é"))
        room = w.hub.rooms[DOCUMENT]
        admitted: list[bytes] = []
        admit = room.document.admit
        monkeypatch.setattr(
            Document, "admit", lambda _, update, facts: (admitted.append(update), admit(update, facts))[1]
        )
        sent = Author(1).type("x")
        bo.update(sent)
        assert admitted == [sent]


async def test_updates_that_cannot_be_merged_reach_readers_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        ana, bo, cy = await w.yws(), await w.yws(), await w.yws()

        def cannot(_updates: object) -> bytes:
            raise CrdtError("cannot merge updates")

        one, two = Author(1).type("a"), Author(2).type("é")
        ana.update(one)
        bo.update(two)
        monkeypatch.setattr("raffia.rooms.outbound.flush.merge", cannot)
        await w.flushed()
        assert cy.updates() == [one, two]
        loaded = await w.hub.journal.load(DOCUMENT)
        assert sum(len(entry.batch) for entry in loaded.entries) == 2


async def test_f2_a_slow_reader_learns_who_has_left_meanwhile() -> None:
    async with world() as w:
        ana, slow = await w.yws(), await w.yws()
        ana.send(presence(5, 1, '{"name":"é"}'))
        await w.flushed()
        slow.transport.take()
        slow.congest()
        ana.connection.closed(1001)
        await w.flushed()
        slow.drain()
        (gone,) = [m for m in map(ywebsocket.decode, slow.transport.take()) if isinstance(m, Awareness)]
        assert gone.payload.endswith(write_string("null"))
