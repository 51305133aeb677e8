"""Connections: what goes wrong on one stays there, order, back-pressure, signing in and out (X1-X4)."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.world import DOCUMENT, EDIT, READ, Author, Client, KeptOutlet, World, text_of, turns, until, world

from raffia.crdt.merge import merge
from raffia.errors import AuthUnavailableError, ForbiddenError, RaffiaError, UnauthenticatedError
from raffia.journal import Loaded
from raffia.rooms.inbound.intake import Intake
from raffia.sockets.connection import READ_AWAY_BYTES, Connection
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import DocumentId, Grant
from raffia.wire import hocuspocus, ywebsocket
from raffia.wire.lib0 import write_buf, write_string
from raffia.wire.messages import Step2

OTHER = DocumentId("notes/2")
STEP1 = b"\x00\x00\x01\x00"
LARGE = "é" * READ_AWAY_BYTES


def hp(address: str, body: bytes) -> bytes:
    return write_string(address) + body


def auth(address: str, token: str = "tk") -> bytes:
    return hp(address, b"\x02\x00" + write_string(token))


def hp_update(address: str, update: bytes) -> bytes:
    return hp(address, b"\x00\x02" + write_buf(update))


def presence(client: int, clock: int, state: str) -> bytes:
    return b"\x01" + write_buf(b"\x01" + bytes([client, clock]) + write_string(state))


class Door:
    """An `authorize` whose answers the test gives, one by one."""

    def __init__(self) -> None:
        self.asked: list[tuple[str | None, DocumentId]] = []
        self.answers: list[asyncio.Future[Grant]] = []

    async def __call__(self, token: str | None, document: DocumentId) -> Grant:
        self.asked.append((token, document))
        answer: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        return await answer

    async def grant(self, number: int, answer: Grant | RaffiaError) -> None:
        future = self.answers[number]
        if not future.done():
            if isinstance(answer, RaffiaError):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        await turns(8)


async def signed_in(w: World, *addresses: str, grant: Grant = EDIT) -> Client:
    client = await w.hocuspocus(grant)
    for address in addresses:
        client.send(auth(address))
        client.send(hp(address, STEP1))
    await until(lambda: sum(b"\x00\x01" in payload for payload in client.transport.sent) >= len(addresses))
    client.transport.take()
    return client


def held_load(w: World, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Keep loads waiting until the event is set."""
    gate, load = asyncio.Event(), w.hub.journal.load

    async def wait_and_load(document: DocumentId) -> Loaded:
        await gate.wait()
        return await load(document)

    monkeypatch.setattr(w.hub.journal, "load", wait_and_load)
    return gate


# -- X1: what goes wrong stays where it is ----------------------------------------------------------------------


async def test_x1_an_exception_in_a_room_closes_that_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        take = Intake.take
        broken = Author(9).type("breaks")

        def take_or_break(intake: Intake, session: object, update: bytes, *args: object, **kwargs: object) -> None:
            if update == broken:
                raise RuntimeError("a bug")
            take(intake, session, update, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(Intake, "take", take_or_break)
        ana.update(broken)
        assert ana.transport.closed == (1011, "internal")
        assert w.metrics.refusals["internal"] == 1
        ana.connection.closed(1011)
        update = Author(2).type("é")
        bo.update(update)
        await w.flushed()
        assert bo.transport.closed is None
        assert bo.updates() == [update]


async def test_x1_what_one_session_did_wrong_does_not_end_the_others_of_its_socket() -> None:
    async with world(max_update_bytes=1024) as w:
        client = await signed_in(w, DOCUMENT, OTHER)
        client.send(hp_update(DOCUMENT, Author(2).type("é" * 1024)))
        assert client.transport.closed is None
        refused, said = client.transport.take()
        assert refused == hocuspocus.sync_status(DOCUMENT, ok=False)
        assert said.startswith(hp(DOCUMENT, b"\x07"))
        assert w.metrics.refusals["too-large"] == 1
        update = Author(1).type("é")
        client.send(hp_update(OTHER, update))
        await w.flushed(OTHER)
        assert client.transport.take() == [hocuspocus.sync_status(OTHER, ok=True)]
        client.send(hp_update(DOCUMENT, update))  # dropped: that session is over; this asks for a new one
        await w.flushed(DOCUMENT)
        assert hocuspocus.sync_status(DOCUMENT, ok=False) not in client.transport.sent


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\x05", 4400),
        (b"", 4400),
        (b"\x00\x02\x05\x01", 4400),
        (b"\x01\x03\x01\x05\x01", 4400),
        (b"\x00\x00\x01\x05", 4400),
    ],
)
async def test_x1_malformed_messages_close_4400(payload: bytes, code: int) -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        ana.send(payload)
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == code
        assert bo.transport.closed is None


async def test_x1_a_large_malformed_update_is_refused_like_a_small_one() -> None:
    async with world() as w:
        client = await signed_in(w, DOCUMENT)
        update = Author(1).type(LARGE)
        client.send(hp_update(DOCUMENT, update[:-1] + b"\x07"))
        await until(lambda: client.transport.closed is not None)
        assert client.transport.closed is not None
        assert client.transport.closed[0] == 4400
        assert client.transport.take() == [hocuspocus.sync_status(DOCUMENT, ok=False)]


async def test_x4_text_is_refused() -> None:
    async with world() as w:
        client = await w.hocuspocus()
        client.connection.text("é")
        assert client.transport.closed == (4400, "malformed: received a text frame of 1 characters; send binary frames")


# -- X2: order ----------------------------------------------------------------------------------------------------


async def test_x2_messages_stay_in_order_while_a_large_one_is_read_elsewhere() -> None:
    async with world() as w:
        ana, bo = await w.yws(), await w.yws()
        author = Author(1)
        sent = [author.type("a"), author.type(LARGE), author.type("b"), author.type(LARGE), author.type("c😀")]
        for update in sent:  # all in one turn: also what the socket had read already keeps its place
            ana.update(update)
        assert not ana.transport.reading
        received: list[bytes] = []
        await until(lambda: (received.extend(ana.updates()), len(received) >= 5)[1])
        assert received == sent
        assert w.metrics.waiting_updates == 0
        assert text_of(merge(bo.updates())) == str(author.text)
        assert ana.transport.reading


async def test_x2_a_socket_that_drains_is_not_read_before_the_large_update_is() -> None:
    async with world() as w:
        ana = await w.yws()
        ana.update(Author(1).type(LARGE))
        ana.congest()
        ana.drain()
        assert not ana.transport.reading
        await until(lambda: ana.transport.reading)
        await w.flushed()
        assert len(ana.updates()) == 1


async def test_x2_what_came_before_the_session_was_open_keeps_its_order() -> None:
    async with world(preauth_bytes=4 * len(LARGE)) as w:
        client = await w.hocuspocus()
        author = Author(1)
        client.send(auth(DOCUMENT))
        client.send(hp(DOCUMENT, STEP1))
        for text in ("a", LARGE, "b"):
            client.send(hp_update(DOCUMENT, author.type(text)))
        status = hocuspocus.sync_status(DOCUMENT, ok=True)
        await until(lambda: client.transport.sent.count(status) == 3)
        assert client.transport.closed is None
        step1s = [payload for payload in client.transport.sent if payload.startswith(hp(DOCUMENT, b"\x00\x00"))]
        assert len(step1s) == 1  # nothing had to wait for what it refers to
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == str(author.text)


async def test_x2_a_connection_that_closes_while_a_large_update_is_read_leaves_nothing() -> None:
    async with world() as w:
        ana = await w.yws()
        ana.update(Author(1).type(LARGE))
        ana.update(Author(2).type("after"))
        await turns(3)
        ana.connection.closed(1006)
        await turns(8)
        assert not ana.transport.reading
        assert w.metrics.sessions == 0
        assert w.hub.rooms[DOCUMENT].holds == 0


# -- X3: back-pressure ----------------------------------------------------------------------------------------------


async def test_x3_who_does_not_read_is_not_read() -> None:
    async with world() as w:
        for client in (await w.yws(), await signed_in(w, OTHER)):
            client.congest()
            assert not client.transport.reading
            client.drain()
            assert client.transport.reading


async def test_x3_a_catch_up_that_congests_again_keeps_the_reader_aside() -> None:
    async with world() as w:
        ana, slow = await w.yws(), await w.yws()
        author = Author(1)
        slow.congest()
        slow.transport.high_bytes = 5000
        ana.update(author.type("é" * 4000))
        await w.flushed()
        slow.drain()
        seen = slow.updates()
        assert len(seen) == 1
        assert slow.transport.congested
        assert not slow.transport.reading
        for _ in range(10):
            ana.update(author.type("more "))
            await w.flushed()
        assert slow.transport.sent == []  # F2: what it misses does not pile up
        assert w.metrics.slow_readers == 1
        slow.drain()
        seen += slow.updates()
        assert len(seen) == 2
        assert text_of(merge(seen)) == str(author.text)
        assert slow.transport.reading
        assert w.metrics.slow_readers == 0


# -- opening and closing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
async def test_closing_while_the_document_is_loaded_leaves_no_hold(
    dialect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as w:
        gate = held_load(w, monkeypatch)
        if dialect == "hocuspocus":
            client: Client = await w.hocuspocus()
            client.send(auth(DOCUMENT))
        else:
            client = Client(Connection(w.hub, YWebsocketDialect(DOCUMENT, EDIT)))
        await turns(3)
        client.connection.closed(1006)
        gate.set()
        await until(lambda: DOCUMENT in w.hub.rooms)
        await turns(5)
        room = w.hub.rooms[DOCUMENT]
        assert room.holds == 0
        assert room.idle_since_s is not None
        assert len(room.sessions) == 0
        assert client.transport.sent == []
        assert not w.hub.connections


@pytest.mark.parametrize("wait", range(8))
async def test_closing_at_any_turn_of_opening_leaves_no_hold(wait: int) -> None:
    async with world() as w:
        client = Client(Connection(w.hub, YWebsocketDialect(DOCUMENT, EDIT)))
        await turns(wait)
        client.connection.closed(1006)
        await turns(12)
        assert w.metrics.sessions == 0
        assert all(room.holds == 0 for room in w.hub.rooms.values())


async def test_a_connection_that_was_never_opened_may_be_closed() -> None:
    async with world() as w:
        connection = Connection(w.hub, YWebsocketDialect(DOCUMENT, EDIT))
        connection.closed(1006)
        connection.opened(KeptOutlet())
        await turns(5)
        assert not w.hub.connections
        assert not w.hub.rooms


async def test_a_full_document_refuses_with_later_and_keeps_no_hold() -> None:
    async with world(max_sessions_per_document=1) as w:
        first = await w.yws()
        second = Client(Connection(w.hub, YWebsocketDialect(DOCUMENT, EDIT)))
        await until(lambda: second.transport.closed is not None)
        assert second.transport.closed == (1013, "full")
        second.connection.closed(1013)
        assert w.hub.rooms[DOCUMENT].holds == 1
        assert first.transport.closed is None


# -- signing in (Hocuspocus) ----------------------------------------------------------------------------------------


async def test_a_denied_document_leaves_the_others_and_may_be_asked_for_again() -> None:
    async with world() as w:
        door = Door()
        client = await w.hocuspocus(ask=door)
        client.send(auth(DOCUMENT, "good"))
        client.send(auth(OTHER, "bad"))
        await turns(3)
        await door.grant(1, ForbiddenError("no"))
        assert client.transport.take() == [hocuspocus.denied(OTHER, "forbidden: no")]
        await door.grant(0, EDIT)
        await until(lambda: bool(client.transport.sent))
        assert client.transport.take() == [hocuspocus.authenticated(DOCUMENT, read_only=False)]
        client.send(hp(OTHER, STEP1))
        client.send(auth(OTHER, "better"))
        await turns(3)
        await door.grant(2, READ)
        await until(lambda: bool(client.transport.sent))
        assert client.transport.take() == [hocuspocus.authenticated(OTHER, read_only=True)]
        assert [token for token, _ in door.asked] == ["good", "bad", "better"]
        assert client.transport.closed is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UnauthenticatedError("expired"), "unauthenticated: expired"),
        (AuthUnavailableError("db at 10.0.0.3 is away"), "auth-unavailable"),
    ],
)
async def test_denials_say_why_and_whether_later_helps(error: RaffiaError, said: str) -> None:
    async with world() as w:
        door = Door()
        client = await w.hocuspocus(ask=door)
        client.send(auth(DOCUMENT))
        await turns(3)
        await door.grant(0, error)
        assert client.transport.take() == [hocuspocus.denied(DOCUMENT, said)]
        assert client.transport.closed is None


async def test_a_document_that_no_document_may_be_called_is_denied() -> None:
    async with world() as w:
        client = await w.hocuspocus()
        client.send(auth("../é"))
        await until(lambda: bool(client.transport.sent))
        assert client.transport.take()[0].startswith(hp("../é", b"\x02\x01"))
        assert not w.hub.rooms


async def test_s5_who_is_denied_without_a_token_is_not_told_before_its_auth() -> None:
    async with world() as w:
        door = Door()
        client = await w.hocuspocus(ask=door)
        client.send(hp(DOCUMENT, STEP1))
        await turns(3)
        await door.grant(0, UnauthenticatedError("sign in"))
        assert client.transport.take() == []
        client.send(auth(DOCUMENT))
        await turns(3)
        await door.grant(1, EDIT)
        await until(lambda: len(client.transport.sent) == 3)
        assert client.transport.sent[0] == hocuspocus.authenticated(DOCUMENT, read_only=False)


@pytest.mark.parametrize("answer_old_first", [True, False])
async def test_s5_an_auth_that_comes_while_it_is_asked_without_a_token_counts(answer_old_first: bool) -> None:
    async with world() as w:
        door = Door()
        client = await w.hocuspocus(ask=door)
        client.send(hp(DOCUMENT, presence(5, 1, "{}")))
        await turns(3)
        client.send(auth(DOCUMENT))
        await turns(3)
        if answer_old_first:
            await door.grant(0, UnauthenticatedError("sign in"))
        await door.grant(1, EDIT)
        await until(lambda: bool(client.transport.sent))
        await door.grant(0, UnauthenticatedError("sign in"))
        assert client.transport.take()[0] == hocuspocus.authenticated(DOCUMENT, read_only=False)
        assert door.asked == [(None, DOCUMENT), ("tk", DOCUMENT)]


@pytest.mark.parametrize("answer", [EDIT, ForbiddenError("no")])
async def test_s4_a_decision_about_a_session_that_is_over_does_not_touch_the_next(answer: Grant | RaffiaError) -> None:
    """A page that is mounted twice: sign in, CLOSE, sign in, all on one socket."""
    async with world() as w:
        door = Door()
        client = await w.hocuspocus(ask=door)
        client.send(auth(DOCUMENT, "first"))
        await turns(3)
        client.send(hp(DOCUMENT, b"\x07"))
        client.send(auth(DOCUMENT, "second"))
        await turns(3)
        await door.grant(0, answer)
        assert client.transport.take() == []
        await door.grant(1, READ)
        await until(lambda: bool(client.transport.sent))
        assert client.transport.take() == [hocuspocus.authenticated(DOCUMENT, read_only=True)]
        assert w.metrics.sessions == 1
        client.connection.closed(1000)
        assert w.hub.rooms[DOCUMENT].holds == 0


async def test_a_grant_may_become_read_only_while_the_session_goes_on() -> None:
    async with world() as w:
        door = Door()
        client = await w.hocuspocus(ask=door)
        client.send(auth(DOCUMENT))
        await turns(3)
        await door.grant(0, EDIT)
        await until(lambda: bool(client.transport.sent))
        author = Author(1)
        client.transport.take()
        client.send(hp_update(DOCUMENT, author.type("é")))
        await w.flushed()
        client.send(auth(DOCUMENT, "demoted"))
        await turns(3)
        await door.grant(1, READ)
        client.send(hp_update(DOCUMENT, author.type("no")))
        await w.flushed()
        assert client.transport.take() == [
            hocuspocus.sync_status(DOCUMENT, ok=True),
            hocuspocus.authenticated(DOCUMENT, read_only=True),
            hocuspocus.sync_status(DOCUMENT, ok=False),
        ]
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == "é"


async def test_s4_the_latest_renewal_counts_however_late_the_others_are_decided() -> None:
    async with world() as w:
        door = Door()
        client = await w.hocuspocus(ask=door)
        client.send(auth(DOCUMENT))
        await turns(3)
        await door.grant(0, EDIT)
        await until(lambda: bool(client.transport.sent))
        client.send(auth(DOCUMENT, "still an editor"))
        client.send(auth(DOCUMENT, "reader by now"))
        await turns(3)
        await door.grant(len(door.answers) - 1, READ)
        await door.grant(1, EDIT)
        (session,) = w.hub.rooms[DOCUMENT].sessions
        assert session.grant is READ


async def test_a_renewal_that_fails_ends_that_document_alone() -> None:
    async with world() as w:
        door = Door()
        client = await w.hocuspocus(ask=door)
        for number, document in enumerate((DOCUMENT, OTHER)):
            client.send(auth(document))
            await turns(3)
            await door.grant(number, EDIT)
        await until(lambda: len(client.transport.sent) == 2)
        client.transport.take()
        client.send(auth(DOCUMENT, "revoked"))
        await turns(3)
        await door.grant(2, UnauthenticatedError("revoked"))
        reason = "unauthenticated: revoked"
        assert client.transport.take() == [hocuspocus.denied(DOCUMENT, reason), hocuspocus.close(DOCUMENT, reason)]
        assert client.transport.closed is None
        assert w.hub.rooms[DOCUMENT].holds == 0
        assert w.hub.rooms[OTHER].holds == 1


async def test_who_does_not_sign_in_in_time_is_told_later() -> None:
    async with world(preauth_s=0.01) as w:
        client = await w.hocuspocus()
        await until(lambda: client.transport.closed is not None)
        assert client.transport.closed == (1013, "overloaded")


async def test_a_client_that_closes_a_document_gives_its_hold_back_and_takes_its_presence_along() -> None:
    async with world() as w:
        client = await signed_in(w, DOCUMENT + "\0one", DOCUMENT + "\0two")
        client.send(hp(DOCUMENT + "\0one", presence(5, 1, "{}")))
        await w.flushed()
        assert w.hub.rooms[DOCUMENT].holds == 2
        client.transport.take()
        client.send(hp(DOCUMENT + "\0one", b"\x07"))
        await w.flushed()
        assert w.hub.rooms[DOCUMENT].holds == 1
        (gone,) = client.transport.take()
        assert gone.startswith(hp(DOCUMENT + "\0two", b"\x01"))
        assert gone.endswith(write_string("null"))


# -- what a y-websocket client is told ------------------------------------------------------------------------------


async def test_s2_a_step2_that_answers_the_first_step1_comes_back_also_after_another_was_asked() -> None:
    async with world() as w:
        ana = await w.yws()
        gap, author = Author(9), Author(1)
        gap.type("never sent")
        ana.update(gap.type("é"))  # waits: the server asks with a step 1 of its own
        update = author.type("offline edit")
        ana.step2(update)
        await w.flushed()
        assert ana.updates() == [update]


async def test_a_step2_is_what_a_newcomer_gets_first_on_either_dialect() -> None:
    async with world() as w:
        ana = await w.yws()
        update = Author(1).type("é")
        ana.update(update)
        await w.flushed()
        late = await w.yws(synced=False)
        late.transport.take()
        late.send(STEP1)
        (step2,) = [ywebsocket.decode(payload) for payload in late.transport.take()]
        assert step2 == Step2(update)


async def test_s1_an_editor_may_ask_for_more_documents_at_once_than_may_wait() -> None:
    async with world(preauth_documents=10) as w:
        client = await w.hocuspocus()
        names = [f"notes/{number}" for number in range(60)]
        for name in names:
            await until(lambda: client.transport.reading)
            client.send(hocuspocus.prefix(name) + b"\x02\x00\x00")
        await until(lambda: len(client.transport.sent) >= len(names))
        assert client.transport.closed is None
        assert sorted(client.transport.take()) == sorted(hocuspocus.authenticated(n, read_only=False) for n in names)
        await until(lambda: client.transport.reading)
