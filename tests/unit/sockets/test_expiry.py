"""Sessions that end with their grants: EX1-EX5 of expiry.py, by themselves and in both dialects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.unit.sockets.test_connection import LARGE, OTHER, Door, auth, hp, hp_update
from tests.unit.world import DOCUMENT, EDIT, Author, Client, World, text_of, until, world

from raffia.errors import AuthUnavailableError, RaffiaError, UnauthenticatedError
from raffia.rooms.session import Session
from raffia.sockets.connection import Connection
from raffia.sockets.expiry import AGAIN_S, MAX_AT_ONCE, Expiry
from raffia.sockets.hocuspocus import HocuspocusDialect
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import Access, Grant
from raffia.wire import hocuspocus
from raffia.wire.lib0 import write_buf

NOW_S = 1_790_000_000.0


class Clock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


class Holder:
    """A connection that writes down what it is told."""

    def __init__(self) -> None:
        self.ended: list[tuple[Session, RaffiaError]] = []
        self.asked: list[Session] = []
        self.breaks = False

    def end(self, session: Session, error: RaffiaError) -> None:
        if self.breaks:
            raise RuntimeError("a bug")
        self.ended.append((session, error))

    def ask_token(self, session: Session) -> None:
        if self.breaks:
            raise RuntimeError("a bug")
        self.asked.append(session)


def grant(ends_in_s: float | None, access: Access = Access.EDIT) -> Grant:
    return Grant(access, "zoë😀", None if ends_in_s is None else NOW_S + ends_in_s)


def session(ends_in_s: float | None, *, dialect: str = "hocuspocus") -> Session:
    return Session(DOCUMENT, grant(ends_in_s), object(), address=DOCUMENT if dialect == "hocuspocus" else None)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def expiry(clock: Clock) -> Expiry:
    return Expiry(60, clock=clock, chance=lambda: 0.0)


# -- by itself


def test_ex1_ends_when_it_is_over_and_not_before(expiry: Expiry) -> None:
    holder = Holder()
    first, second = session(100.5, dialect="y-websocket"), session(101.0, dialect="y-websocket")
    expiry.watch(first, holder)
    expiry.watch(second, holder)
    assert expiry.tick(NOW_S + 100.4) == 0
    assert expiry.tick(NOW_S + 101) == 2
    assert [(item, type(error)) for item, error in holder.ended] == [
        (first, UnauthenticatedError),
        (second, UnauthenticatedError),
    ]
    assert len(expiry) == 0
    assert expiry.tick(NOW_S + 1000) == 0


def test_ex1_what_has_ended_already_ends_with_the_next_tick(expiry: Expiry) -> None:
    holder = Holder()
    expiry.watch(session(-5), holder)
    assert expiry.tick(NOW_S) == 1


def test_ex4_without_an_end_nothing_is_kept(expiry: Expiry) -> None:
    holder = Holder()
    endless, ending = session(None), session(10)
    expiry.watch(endless, holder)
    assert len(expiry) == 0
    expiry.watch(ending, holder)
    assert len(expiry) == 1
    ending.grant = EDIT
    expiry.watch(ending, holder)
    assert len(expiry) == 0
    expiry.watch(session(10), holder)
    expiry.forget(endless)
    assert len(expiry) == 1
    assert expiry.tick(NOW_S + 100) == 1


def test_forgotten_sessions_are_left_alone_and_let_go(expiry: Expiry) -> None:
    holder = Holder()
    sessions = [session(100) for _ in range(10)]
    for item in sessions:
        expiry.watch(item, holder)
        expiry.forget(item)
        expiry.forget(item)
    assert len(expiry) == 0
    assert not any(expiry._buckets.values())
    assert expiry.tick(NOW_S + 1000) == 0
    assert not expiry._buckets
    assert not holder.ended
    assert not holder.asked


def test_ex2_a_client_is_asked_once_in_time(expiry: Expiry) -> None:
    holder = Holder()
    long, short, other = session(600), session(40), session(600, dialect="y-websocket")
    for item in (long, short, other):
        expiry.watch(item, holder)
    expiry.tick(NOW_S + 19)
    assert holder.asked == []
    expiry.tick(NOW_S + 20)  # half of the time that was left
    assert holder.asked == [short]
    assert expiry.tick(NOW_S + 41) == 1
    expiry.tick(NOW_S + 539)
    assert holder.asked == [short]
    expiry.tick(NOW_S + 540)
    expiry.tick(NOW_S + 599)
    assert holder.asked == [short, long]
    assert expiry.tick(NOW_S + 600) == 2


def test_ex2_many_are_not_asked_together(clock: Clock) -> None:
    chances = iter([0.0, 0.5, 0.999])
    expiry = Expiry(60, clock=clock, chance=lambda: next(chances))
    holder = Holder()
    for _ in range(3):
        expiry.watch(session(600), holder)
    asked = []
    for second in (540, 555, 570):
        expiry.tick(NOW_S + second)
        asked.append(len(holder.asked))
    assert asked == [1, 2, 3]


def test_ex2_the_same_token_again_is_not_asked_about_again(expiry: Expiry, clock: Clock) -> None:
    holder = Holder()
    item = session(600)
    expiry.watch(item, holder)
    clock.now_s += 540
    expiry.tick(clock.now_s)
    item.grant = grant(600)
    expiry.watch(item, holder)
    clock.now_s += 30
    expiry.tick(clock.now_s)
    assert len(holder.asked) == 1
    item.grant = grant(1200)
    expiry.watch(item, holder)
    clock.now_s = NOW_S + 1139
    assert expiry.tick(clock.now_s) == 0
    clock.now_s += 1
    expiry.tick(clock.now_s)
    assert len(holder.asked) == 2
    clock.now_s = NOW_S + 1200
    assert expiry.tick(clock.now_s) == 1


def test_ex3_undecided_is_asked_again_and_at_the_end_it_is_later(expiry: Expiry, clock: Clock) -> None:
    holder = Holder()
    item = session(100)
    expiry.watch(item, holder)
    for number in range(1, 5):
        clock.now_s = NOW_S + 50 + (number - 1) * AGAIN_S
        expiry.tick(clock.now_s)
        assert len(holder.asked) == number
        expiry.undecided(item)
    clock.now_s = NOW_S + 100
    expiry.tick(clock.now_s)
    ((_, error),) = holder.ended
    assert isinstance(error, AuthUnavailableError)
    assert error.close_code == 1013
    expiry.undecided(item)  # it has gone


def test_ex3_a_decision_afterwards_counts(expiry: Expiry, clock: Clock) -> None:
    holder = Holder()
    item = session(100)
    expiry.watch(item, holder)
    expiry.undecided(item)
    item.grant = grant(200)
    expiry.watch(item, holder)
    clock.now_s = NOW_S + 200
    expiry.tick(clock.now_s)
    expiry.tick(clock.now_s)
    assert [type(error) for _, error in holder.ended] == [UnauthenticatedError]


def test_ex4_a_tick_is_bounded_and_the_next_one_goes_on(expiry: Expiry) -> None:
    holder = Holder()
    for _ in range(2 * MAX_AT_ONCE + 5):
        expiry.watch(session(100, dialect="y-websocket"), holder)
    ended = []
    while expiry.has_more(NOW_S + 100):
        ended.append(expiry.tick(NOW_S + 100))
    assert ended == [MAX_AT_ONCE, MAX_AT_ONCE, 5]
    assert expiry.tick(NOW_S + 100) == 0
    assert not expiry._buckets
    assert not expiry._due


async def test_ex4_what_a_tick_leaves_does_not_wait_for_the_next_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, holder = Clock(), Holder()
    expiry = Expiry(60, clock=clock)
    for _ in range(5 * MAX_AT_ONCE):
        expiry.watch(session(100, dialect="y-websocket"), holder)
    clock.now_s += 101
    monkeypatch.setattr("raffia.sockets.expiry.TICK_S", 3600)
    async with expiry.running():
        await until(lambda: len(holder.ended) == 5 * MAX_AT_ONCE)
    assert len(expiry) == 0


def test_one_that_breaks_keeps_nobody_else(expiry: Expiry, caplog: pytest.LogCaptureFixture) -> None:
    broken, holder = Holder(), Holder()
    broken.breaks = True
    for item in (broken, holder, broken):
        expiry.watch(session(100), item)
    expiry.tick(NOW_S + 60)
    assert len(holder.asked) == 1
    assert expiry.tick(NOW_S + 100) == 3
    assert len(holder.ended) == 1
    assert caplog.text.count("a bug") >= 4


def test_an_end_that_brings_others_is_no_trouble(expiry: Expiry) -> None:
    class Brings(Holder):
        def end(self, item: Session, error: RaffiaError) -> None:
            super().end(item, error)
            if len(self.ended) < 5:
                expiry.watch(session(-1000 + len(self.ended)), self)

    holder = Brings()
    expiry.watch(session(1), holder)
    assert expiry.tick(NOW_S + 1) == 5
    assert len(expiry) == 0
    assert not expiry._due


# -- y-websocket


@asynccontextmanager
async def timed(clock: Clock) -> AsyncIterator[tuple[World, Expiry]]:
    async with world() as w:
        yield w, Expiry(60, clock=clock, chance=lambda: 0.0)


async def yws(w: World, expiry: Expiry, given: Grant) -> Client:
    client = Client(Connection(w.hub, YWebsocketDialect(DOCUMENT, given), expiry))
    await until(lambda: client.transport.reading and bool(client.transport.sent))
    return client


async def test_ex1_yws_ends_with_4401_and_others_go_on(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        ending, staying = await yws(w, expiry, grant(100)), await yws(w, expiry, EDIT)
        clock.now_s += 100
        expiry.tick(clock.now_s)
        assert ending.transport.closed == (
            4401,
            "unauthenticated: access has expired; sign in again with a fresh token",
        )
        ending.connection.closed(4401)
        assert staying.transport.closed is None
        assert w.metrics.sessions == 1
        assert w.metrics.refusals["unauthenticated"] == 1


async def test_ex1_yws_nothing_is_taken_from_the_very_moment(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        ana = await yws(w, expiry, grant(100))
        author = Author(1)
        ana.update(author.type("é"))
        await w.flushed()
        clock.now_s += 99.999
        ana.update(author.type("😀"))
        clock.now_s += 0.001
        ana.update(author.type("zu spät"))
        await w.flushed()
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 4401
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == "é😀"


@pytest.mark.parametrize("message", [b"\x00\x00\x01\x00", b"\x01\x01\x00", b"\x03", b"\x66\x01x"])
async def test_ex1_yws_nothing_is_answered_either(clock: Clock, message: bytes) -> None:
    async with timed(clock) as (w, expiry):
        ana = await yws(w, expiry, grant(100, Access.READ))
        ana.transport.take()
        clock.now_s += 100
        ana.send(message)
        assert ana.transport.closed is not None
        assert ana.transport.take() == []


async def test_ex1_hocuspocus_what_comes_too_late_is_answered_with_no(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        talk = Talk(w, expiry)
        await talk.join(grant(100))
        clock.now_s += 100
        talk.client.send(hp_update(DOCUMENT, Author(1).type("zu spät")))
        reason = "unauthenticated: access has expired; sign in again with a fresh token"
        assert talk.take()[-3:] == [
            hocuspocus.sync_status(DOCUMENT, ok=False),
            hocuspocus.denied(DOCUMENT, reason),
            hocuspocus.close(DOCUMENT, reason),
        ]


async def test_x5_what_is_read_elsewhere_counts_when_it_has_been_read(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        ana = await yws(w, expiry, grant(100))
        ana.update(Author(1).type(LARGE))
        clock.now_s += 100
        await until(lambda: ana.transport.closed is not None)
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 4401
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == ""


async def test_a_connection_that_goes_is_forgotten(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        ana = await yws(w, expiry, grant(100))
        assert len(expiry) == 1
        ana.connection.closed(1000)
        assert len(expiry) == 0


# -- Hocuspocus


class Talk:
    """One Hocuspocus connection whose answers the test gives."""

    def __init__(self, w: World, expiry: Expiry) -> None:
        self.w = w
        self.door = Door()
        self.client = Client(Connection(w.hub, HocuspocusDialect(self.door, w.hub.settings), expiry))

    async def auth(self, answer: Grant | RaffiaError, address: str = DOCUMENT) -> None:
        number = len(self.door.asked)
        self.client.send(auth(address, f"token-{number}"))
        await until(lambda: len(self.door.asked) > number)
        await self.door.grant(number, answer)

    async def join(self, answer: Grant, address: str = DOCUMENT) -> None:
        await self.auth(answer, address)
        await until(lambda: bool(self.client.transport.take()))

    def take(self) -> list[bytes]:
        return self.client.transport.take()


async def test_ex1_hocuspocus_ends_that_document_alone(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        talk = Talk(w, expiry)
        await talk.join(grant(100))
        await talk.join(EDIT, OTHER)
        clock.now_s += 100
        expiry.tick(clock.now_s)
        said = hocuspocus.close(DOCUMENT, "unauthenticated: access has expired; sign in again with a fresh token")
        assert talk.take()[-1] == said
        assert talk.client.transport.closed is None
        talk.client.send(hp_update(OTHER, Author(1).type("é")))
        await w.flushed(OTHER)
        assert talk.take() == [hocuspocus.sync_status(OTHER, ok=True)]
        await talk.join(grant(200))  # and back with a fresh token
        assert len(expiry) == 1


async def test_ex1_hocuspocus_what_is_sent_after_the_end_is_dropped_and_keeps_nobody(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        talk = Talk(w, expiry)
        await talk.join(grant(100))
        await talk.join(EDIT, OTHER)
        clock.now_s += 100
        expiry.tick(clock.now_s)
        asked = len(talk.door.asked)
        author = Author(1)
        for _ in range(20):  # far more than may wait before a session is let in
            talk.client.send(hp_update(DOCUMENT, author.type(LARGE)))
        assert len(talk.door.asked) == asked
        assert talk.client.transport.closed is None
        assert w.metrics.sessions == 1
        talk.take()
        await talk.join(grant(200))
        talk.client.send(hp_update(DOCUMENT, Author(2).type("é")))
        await w.flushed()
        assert talk.take() == [hocuspocus.sync_status(DOCUMENT, ok=True)]


async def test_ex2_a_fresh_token_in_time_and_nobody_notices(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        talk = Talk(w, expiry)
        await talk.join(grant(600))
        clock.now_s += 540
        expiry.tick(clock.now_s)
        assert talk.take() == [hp(DOCUMENT, b"\x02\x00")]
        await talk.auth(grant(1200))
        assert talk.take() == []
        clock.now_s = NOW_S + 700
        assert expiry.tick(clock.now_s) == 0
        talk.client.send(hp_update(DOCUMENT, Author(1).type("é")))
        await w.flushed()
        assert talk.take() == [hocuspocus.sync_status(DOCUMENT, ok=True)]


async def test_x6_a_bad_fresh_token_ends_the_session(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        talk = Talk(w, expiry)
        await talk.join(grant(600))
        await talk.auth(UnauthenticatedError("not good"))
        reason = "unauthenticated: not good"
        assert talk.take() == [hocuspocus.denied(DOCUMENT, reason), hocuspocus.close(DOCUMENT, reason)]
        assert len(expiry) == 0
        assert w.metrics.sessions == 0


async def test_x6_a_fresh_token_that_nobody_can_decide_about_changes_nothing(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        talk = Talk(w, expiry)
        await talk.join(grant(600))
        clock.now_s += 540
        expiry.tick(clock.now_s)
        talk.take()
        await talk.auth(AuthUnavailableError("away"))
        assert talk.take() == []
        assert w.metrics.refusals["auth-unavailable"] == 1
        talk.client.send(hp_update(DOCUMENT, Author(1).type("é")))
        await w.flushed()
        assert talk.take() == [hocuspocus.sync_status(DOCUMENT, ok=True)]
        clock.now_s += AGAIN_S
        expiry.tick(clock.now_s)
        assert talk.take() == [hocuspocus.ask_token(DOCUMENT)]
        await talk.auth(AuthUnavailableError("away"))
        clock.now_s = NOW_S + 600
        expiry.tick(clock.now_s)
        expiry.tick(clock.now_s)
        assert talk.client.transport.closed == (1013, "auth-unavailable")  # the provider comes back by itself


async def test_ex3_who_writes_at_the_end_is_told_later_too(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        talk = Talk(w, expiry)
        await talk.join(grant(600))
        await talk.auth(AuthUnavailableError("away"))
        clock.now_s += 600
        talk.client.send(hp_update(DOCUMENT, Author(1).type("zu spät")))
        assert talk.client.transport.closed == (1013, "auth-unavailable")
        assert talk.take()[-1] == hocuspocus.sync_status(DOCUMENT, ok=False)
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == ""


async def test_x6_rights_change_with_the_next_message_and_are_said(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        talk = Talk(w, expiry)
        await talk.join(grant(600))
        author = Author(1)
        talk.client.send(hp_update(DOCUMENT, author.type("é")))
        await w.flushed()
        talk.take()
        await talk.auth(grant(600, Access.READ))
        talk.client.send(hp_update(DOCUMENT, author.type("nein")))
        talk.client.send(hp(DOCUMENT, b"\x00\x01" + write_buf(Author(2).type("auch nicht"))))
        await w.flushed()
        assert talk.take() == [
            hocuspocus.authenticated(DOCUMENT, read_only=True),
            hocuspocus.sync_status(DOCUMENT, ok=False),
            hocuspocus.sync_status(DOCUMENT, ok=False),
        ]
        await talk.auth(grant(600, Access.COMMENT))
        assert talk.take() == []  # still no right to write
        await talk.auth(grant(600, Access.ADMIN))
        assert talk.take() == [hocuspocus.authenticated(DOCUMENT, read_only=False)]
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == "é"


async def test_x5_a_downgrade_counts_for_what_is_being_read_elsewhere(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        talk = Talk(w, expiry)
        await talk.join(grant(600))
        number = len(talk.door.asked)
        talk.client.send(auth(DOCUMENT, "fresh"))
        await until(lambda: len(talk.door.asked) > number)
        talk.client.send(hp_update(DOCUMENT, Author(1).type(LARGE)))
        await talk.door.grant(number, grant(600, Access.READ))
        await until(lambda: hocuspocus.sync_status(DOCUMENT, ok=False) in talk.client.transport.sent)
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == ""


async def test_a_session_that_left_while_its_token_was_decided_is_not_watched(clock: Clock) -> None:
    async with timed(clock) as (w, expiry):
        talk = Talk(w, expiry)
        await talk.join(grant(600))
        number = len(talk.door.asked)
        talk.client.send(auth(DOCUMENT, "fresh"))
        await until(lambda: len(talk.door.asked) > number)
        talk.client.send(hp(DOCUMENT, b"\x07"))
        await talk.door.grant(number, grant(1200))
        assert len(expiry) == 0
        assert w.metrics.sessions == 0
