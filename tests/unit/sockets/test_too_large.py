"""Nobody is locked out of their own document by its size: what is too large is refused once, in band, and is told.

X10 of connection.py, X11 of hocuspocus.py, BA1 of backoff.py, CU1 of catch_up.py.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest
from tests.unit.world import DOCUMENT, EDIT, Author, Client, World, text_of, turns, until, world

from raffia.crdt.update import read_update
from raffia.errors import DrainingError, ForbiddenError, LaterError, TooLargeError
from raffia.rooms import backoff
from raffia.sockets.connection import READ_AWAY_BYTES, Connection
from raffia.sockets.refusals import comes_again, transport_error
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import DocumentId
from raffia.wire import hocuspocus
from raffia.wire.lib0 import write_buf, write_string
from raffia.wire.messages import Update
from raffia.wire.transport import START_BYTES

OTHER = DocumentId("notes/2")
STEP1 = b"\x00\x00\x01\x00"
STEP2, UPDATE, CLOSE = b"\x00\x01", b"\x00\x02", b"\x07"
SIZES = {"max_update_bytes": 20_000, "max_document_bytes": 100_000}


def hp(address: str, body: bytes) -> bytes:
    return write_string(address) + body


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Everything that was logged, fields included."""
    return " ".join(str(vars(record)) for record in caplog.records)


async def signed_in(w: World, *addresses: str, peer: str = "home") -> Client:
    client = await w.hocuspocus(peer=peer)
    for address in addresses:
        client.send(hp(address, b"\x02\x00" + write_string("tk")))
        client.send(hp(address, STEP1))
    await until(lambda: sum(STEP2 in payload for payload in client.transport.sent) >= len(addresses))
    return client


def asked(client: Client, address: str | None = DOCUMENT) -> bool:
    """Whether the client was sent a step 1 since the last `take`."""
    prefix = b"" if address is None else write_string(address)
    return any(payload.startswith(prefix + b"\x00\x00") for payload in client.transport.sent)


def send(client: Client, body: bytes, dialect: str) -> None:
    client.send(hp(DOCUMENT, body) if dialect == "hocuspocus" else body)


# -- a first exchange may be as large as a document --------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
@pytest.mark.parametrize("over_bytes", [-1, 0, 1])
async def test_a_step2_may_be_as_large_as_a_document_and_an_update_may_not(dialect: str, over_bytes: int) -> None:
    author = Author(1)
    author.type("é")
    empty_bytes = len(Author(1).type("é" * 30_000)) - 60_000
    author = Author(1)
    step2 = author.type("x" * (100_000 - empty_bytes + over_bytes))
    assert len(step2) == 100_000 + over_bytes
    async with world(**SIZES) as w:
        client = await (signed_in(w, DOCUMENT) if dialect == "hocuspocus" else w.yws())
        client.transport.take()
        send(client, STEP2 + write_buf(step2), dialect)
        if over_bytes <= 0:
            await until(lambda: bool(w.hub.rooms[DOCUMENT].document.size_bytes > 90_000))
            assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(author.text)
            assert client.transport.closed is None
            assert "too-large" not in w.metrics.refusals
        else:
            await until(lambda: w.metrics.refusals["too-large"] == 1)
            assert not w.hub.rooms[DOCUMENT].document.size_bytes > 10


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
async def test_a_live_update_over_its_limit_is_refused_and_comes_back_in_the_first_exchange(dialect: str) -> None:
    author = Author(1)
    async with world(**SIZES) as w:
        client = await (signed_in(w, DOCUMENT) if dialect == "hocuspocus" else w.yws())
        client.transport.take()
        send(client, UPDATE + write_buf(author.type("é" * 20_000)), dialect)
        await until(lambda: w.metrics.refusals["too-large"] == 1)
        if dialect == "hocuspocus":
            assert client.transport.closed is None
            client.transport.take()
            send(client, b"\x01\x01\x00", dialect)  # whatever its provider sends next, such as presence
            await until(lambda: asked(client))
        else:
            assert client.transport.closed is not None
            client.connection.closed(4413)
            client = await w.yws()
        send(client, STEP2 + write_buf(author.doc.get_update()), dialect)
        await until(lambda: w.hub.rooms[DOCUMENT].document.size_bytes > 40_000)
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(author.text)


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
async def test_a_document_comes_back_although_less_may_be_unsaved_or_wait(dialect: str) -> None:
    """One that waits for another client's part, too: the bounds are for several updates."""
    ana, bo = Author(1), Author(2)
    ana.type("a" * 30_000)
    bo.hear([ana.doc.get_update()])
    bo.type("b" * 30_000)
    both = bo.doc.get_update()
    only_bo = bo.doc.get_update(ana.doc.get_state())
    async with world(**SIZES, max_unsaved_bytes=20_000, max_waiting_bytes=20_000) as w:
        client = await (signed_in(w, DOCUMENT) if dialect == "hocuspocus" else w.yws())
        send(client, STEP2 + write_buf(only_bo), dialect)
        await until(lambda: w.metrics.waiting_updates == 1)
        await w.flushed()
        other = await (signed_in(w, DOCUMENT) if dialect == "hocuspocus" else w.yws())
        send(other, STEP2 + write_buf(ana.doc.get_update()), dialect)
        await until(lambda: w.metrics.waiting_updates == 0)
        await w.flushed()
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == "a" * 30_000 + "b" * 30_000
        assert (client.transport.closed, other.transport.closed) == (None, None)
        assert len(both) > 60_000


# -- messages over the limit of a frame --------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "statuses"), [(STEP2, 1), (UPDATE, 1), (b"\x01", 0)])
async def test_x11_a_message_over_the_limit_ends_its_session_alone(
    body: bytes, statuses: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with world(**SIZES) as w:
        client = await signed_in(w, DOCUMENT, OTHER)
        client.transport.take()
        with caplog.at_level(logging.INFO):
            start = hp(DOCUMENT, body + b"\x80\x80\x80\x10" + bytes(START_BYTES))[:START_BYTES]
            client.connection.oversized(200_000, 104_096, start)
        *refused, said = client.transport.take()
        assert refused == [hocuspocus.sync_status(DOCUMENT, ok=False)] * statuses
        assert said.startswith(hp(DOCUMENT, CLOSE))
        assert b"message of 200000 bytes is over the limit of 104096" in said
        assert client.transport.closed is None
        assert w.metrics.refusals["too-large"] == 1
        assert "200000" in logged(caplog)
        assert not w.hub.rooms[DOCUMENT].sessions
        client.send(hp(OTHER, UPDATE + write_buf(Author(1).type("é"))))
        await w.flushed(OTHER)
        assert client.transport.take() == [hocuspocus.sync_status(OTHER, ok=True)]
        # Another one is on the way already: it is denied in band too, and asks for nothing.
        client.connection.oversized(200_000, 104_096, start)
        (said,) = client.transport.take()
        assert said.startswith(hp(DOCUMENT, CLOSE))
        assert w.metrics.refusals["too-large"] == 2


async def test_x11_a_message_without_an_address_closes_the_socket() -> None:
    async with world(**SIZES) as w:
        client = await signed_in(w, DOCUMENT)
        client.connection.oversized(200_000, 104_096, bytes(START_BYTES))
        assert client.transport.closed is not None
        assert client.transport.closed[0] == 4413
        assert w.metrics.refusals["too-large"] == 1


async def test_x10_messages_over_the_limit_are_charged() -> None:
    async with world(max_bytes_per_s=1000, **SIZES) as w:
        client = await signed_in(w, DOCUMENT)
        client.connection.oversized(200_000, 104_096, hp(DOCUMENT, STEP2))
        assert not client.transport.reading
        assert w.metrics.delays == 1


@pytest.mark.parametrize(
    ("code", "reason"), [(4413, "too-large"), (1009, "too-large"), (1013, "overloaded"), (1002, "malformed-frame")]
)
async def test_x10_what_a_transport_refuses_is_counted_and_logged(
    code: int, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with world() as w:
        client = await w.yws()
        with caplog.at_level(logging.INFO):
            client.connection.refused(code, "something about bytes")
        assert w.metrics.refusals == {reason: 1}
        assert "something about bytes" in logged(caplog)
        assert transport_error(code, "x").reason == reason


async def test_x10_a_close_by_another_asgi_server_is_counted_and_noted(caplog: pytest.LogCaptureFixture) -> None:
    """It refuses a message over its own limit with 1009, and says no more."""
    async with world() as w:
        for _ in range(2):
            client = await w.yws(peer="home", synced=False)
            with caplog.at_level(logging.INFO):
                client.connection.closed(1009)
        assert w.metrics.refusals == {"too-large": 2}
        assert "docs/embedding.md" in logged(caplog)
        assert w.hub.backoff.ask_after_s((DOCUMENT, "ana", "home")) > monotonic()


# -- a refusal that repeats itself -------------------------------------------------------------------------------------


async def lonely(w: World, peer: str) -> Client:
    """A y-websocket client that is sent nothing when it joins."""
    sessions = w.metrics.sessions
    client = Client(Connection(w.hub, YWebsocketDialect(DOCUMENT, EDIT), peer=peer))
    await until(lambda: w.metrics.sessions > sessions)
    await turns(3)
    return client


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
async def test_ba1_who_is_refused_again_and_again_is_asked_later(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads and edits meanwhile, and others are asked at once."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.25)
    address = DOCUMENT if dialect == "hocuspocus" else None

    async def join(w: World, peer: str = "home") -> Client:
        return await (signed_in(w, DOCUMENT, peer=peer) if address else lonely(w, peer))

    async with world(**SIZES) as w:
        for _ in range(2):
            client = await join(w)
            assert asked(client, address)
            client.connection.end(next(iter(w.hub.rooms[DOCUMENT].sessions)), TooLargeError("too large"))
            client.connection.closed(1005)
        client = await join(w)
        assert not asked(client, address)
        send(client, UPDATE + write_buf(Author(1).type("é")), dialect)
        await w.flushed()
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == "é"
        assert asked(await join(w, "elsewhere"), address)
        assert not asked(client, address)
        await until(lambda: asked(client, address))


async def test_cu1_who_has_to_wait_is_not_asked_for_gaps_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_S", 30.0)
    async with world(**SIZES) as w:
        for _ in range(2):
            w.hub.backoff.refused((DOCUMENT, "ana", "home"), monotonic())
        client = await lonely(w, "home")
        author = Author(1)
        author.type("a")
        client.update(author.type("b"))
        await w.flushed()
        assert w.metrics.waiting_updates == 1
        assert client.transport.take() == []
        room = w.hub.rooms[DOCUMENT]
        assert room._catch_up._late_asks
        client.connection.closed(1005)
        assert not room._catch_up._late_asks


def test_ba1_a_restart_is_no_refusal() -> None:
    assert comes_again(TooLargeError("x"))
    assert comes_again(LaterError("x"))
    assert not comes_again(DrainingError("x"))
    assert not comes_again(ForbiddenError("x"))


async def test_two_people_bring_back_the_document_that_they_wrote_together() -> None:
    """R9: each holds structs of the other, who is there too, so these wait; no bound refuses them for that."""
    ana, bo = Author(1), Author(2)
    for _ in range(30):
        ana.hear([bo.doc.get_update()])
        ana.type("a" * 1000)
        bo.hear([ana.doc.get_update()])
        bo.type("b" * 1000)
    ana.hear([bo.doc.get_update()])
    async with world(**SIZES, max_waiting_bytes=20_000, max_unsaved_bytes=20_000) as w:
        clients = [await w.yws(replace(EDIT, user=user)) for user in ("ana", "bo")]
        for client, author, number in zip(clients, (ana, bo), (1, 2), strict=True):
            state = b"\x01" + bytes([number, 1]) + write_string('{"user":1}')
            client.send(b"\x01" + write_buf(state))
            assert str(author.text) == str(ana.text)
        for client in clients:
            client.step2(ana.doc.get_update())
        await until(lambda: text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(ana.text))
        await w.flushed()
        assert [client.transport.closed for client in clients] == [None, None]
        assert not w.metrics.refusals


async def test_x9_what_is_on_the_way_when_a_session_ends_does_not_end_the_socket() -> None:
    """More than a document may keep before sign-in: it is dropped, and asked for when the session is open again."""
    author = Author(1)
    async with world(**SIZES, preauth_bytes=1000) as w:
        client = await signed_in(w, DOCUMENT, OTHER)
        client.send(hp(DOCUMENT, UPDATE + write_buf(author.type("é" * 20_000))))
        await until(lambda: w.metrics.refusals["too-large"] == 1)
        client.transport.take()
        for text in ("a", "b" * 10_000, "c" * 10_000, "d"):
            client.send(hp(DOCUMENT, UPDATE + write_buf(author.type(text))))
        await until(lambda: asked(client))
        assert client.transport.closed is None
        client.send(hp(DOCUMENT, STEP2 + write_buf(author.doc.get_update())))
        await until(lambda: text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(author.text))
        assert len(w.hub.rooms[OTHER].sessions) == 1
        assert w.metrics.waiting_updates == 0
        # S8: the provider counts the one that was refused and the four that followed.
        await w.flushed()
        assert client.transport.sent.count(hocuspocus.sync_status(DOCUMENT, ok=True)) == 5


async def test_s8_what_was_refused_is_settled_only_by_an_answer_that_came_later() -> None:
    author = Author(1)
    async with world(**SIZES) as w:
        client = await signed_in(w, DOCUMENT)
        client.send(hp(DOCUMENT, UPDATE + write_buf(author.type("é" * 20_000))))
        await until(lambda: w.metrics.refusals["too-large"] == 1)
        client.transport.take()
        client.send(hp(DOCUMENT, b"\x01\x01\x00"))
        await until(lambda: asked(client))
        w.store.hold()
        client.send(hp(DOCUMENT, STEP2 + write_buf(author.doc.get_update())))
        await until(lambda: w.hub.rooms[DOCUMENT].document.size_bytes > 40_000)
        client.transport.take()
        client.send(hp(DOCUMENT, UPDATE + write_buf(author.type("x" * 30_000))))
        await until(lambda: w.metrics.refusals["too-large"] == 2)
        w.store.release()
        await w.flushed()
        assert hocuspocus.sync_status(DOCUMENT, ok=True) not in client.transport.take()  # that session has ended
        client.send(hp(DOCUMENT, b"\x01\x01\x00"))
        await until(lambda: asked(client))
        client.send(hp(DOCUMENT, STEP2 + write_buf(author.doc.get_update())))
        await until(lambda: w.hub.rooms[DOCUMENT].document.size_bytes > 70_000)
        await w.flushed()
        assert client.transport.sent.count(hocuspocus.sync_status(DOCUMENT, ok=True)) == 2


async def test_s1_a_first_sign_in_keeps_no_more_than_before() -> None:
    async with world(**SIZES, preauth_bytes=1000) as w:
        client = await w.hocuspocus()
        client.send(hp(DOCUMENT, UPDATE + write_buf(Author(1).type("a" * 10_000))))
        assert client.transport.closed is not None
        assert client.transport.closed[0] == 1013


async def test_s8_what_waited_behind_a_large_update_is_settled_too() -> None:
    author = Author(1)
    async with world(**SIZES) as w:
        client = await signed_in(w, DOCUMENT)
        client.send(hp(DOCUMENT, STEP2 + write_buf(author.type("x" * 200_000))))  # read elsewhere, and refused
        for text in ("a", "b" * 15_000, "c"):
            client.send(hp(DOCUMENT, UPDATE + write_buf(author.type(text))))
        await until(lambda: w.metrics.refusals["too-large"] == 1)
        author.delete(0, 200_000)
        client.transport.take()
        client.send(hp(DOCUMENT, b"\x01\x01\x00"))
        await until(lambda: asked(client))
        client.send(hp(DOCUMENT, STEP2 + write_buf(author.doc.get_update())))
        await until(lambda: text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(author.text))
        await w.flushed()
        assert client.transport.sent.count(hocuspocus.sync_status(DOCUMENT, ok=True)) == 4


@pytest.mark.parametrize("returned", [False, True], ids=["it returns later", "it returns meanwhile"])
@pytest.mark.parametrize("readable", [True, False], ids=["readable", "unreadable"])
async def test_s8_an_update_that_was_being_read_when_its_session_ended_is_counted(
    readable: bool, returned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another update of the session, which waited for a fold, was refused meanwhile; the provider still counts both."""
    author = Author(1)
    async with world() as w:
        client = await signed_in(w, DOCUMENT)
        gate = asyncio.Event()
        run = w.hub.workers.run

        async def wait_and_run(work: Any, *args: Any, **named: Any) -> Any:
            if work is read_update:
                await gate.wait()
            return await run(work, *args, **named)

        monkeypatch.setattr(w.hub.workers, "run", wait_and_run)
        large = author.type("é" * READ_AWAY_BYTES)
        client.send(hp(DOCUMENT, UPDATE + write_buf(large if readable else large[:-5])))
        client.send(hp(DOCUMENT, UPDATE + write_buf(author.type("behind it"))))
        (session,) = w.hub.rooms[DOCUMENT].sessions
        w.hub.rooms[DOCUMENT].refuse(session, Update(b"\x00\x00"))
        client.connection.end(session, TooLargeError("the document is full"))
        client.transport.take()
        if returned:
            client.send(hp(DOCUMENT, b"\x01\x01\x00"))
            await turns(20)
        gate.set()
        await until(lambda: client.connection._held is None)
        if not returned:
            client.send(hp(DOCUMENT, b"\x01\x01\x00"))
        await until(lambda: asked(client))
        client.send(hp(DOCUMENT, STEP2 + write_buf(author.doc.get_update())))
        await until(lambda: text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(author.text))
        await w.flushed()
        assert client.transport.sent.count(hocuspocus.sync_status(DOCUMENT, ok=True)) == 3
