"""What no longer counts: REV1-REV8 of revocation.py, over replicas, in both dialects, with hooks and rechecks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.unit.sockets.test_connection import OTHER, auth, held_load, hp, hp_update, signed_in
from tests.unit.world import DOCUMENT, Author, Client, World, turns, until, world

from raffia.auth.authorizer import Authorizer
from raffia.auth.hooks import Handshake
from raffia.auth.revocation import RECHECK_KEEP_MS, Judge, RevocationList
from raffia.embed import Raffia
from raffia.errors import JournalUnavailableError, MalformedError, RaffiaError, RevokedError, SignInAgainError
from raffia.journal.passed_time import SETTLED_MS
from raffia.journal.testing.memory import MemoryJournal, MemoryStore
from raffia.settings import load_settings
from raffia.sockets.connection import Connection as SocketConnection
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import MAX_USER, Access, DocumentId, Grant, Revoked

NOW_S = 1_790_000_000.0
SAID = "revoked: access was taken back; sign in again"


class Clock:
    """A clock that is set by tests, and never jumps."""

    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


class Connection:
    """Sessions that are ended when they are judged so."""

    def __init__(self, *grants: Grant, document: DocumentId = DOCUMENT) -> None:
        self.grants = list(grants)
        self.document = document
        self.errors: list[RaffiaError] = []

    def end_those(self, judge: Judge) -> int:
        judged = [(grant, judge(grant, self.document)) for grant in self.grants]
        self.errors += [error for _, error in judged if error is not None]
        self.grants = [grant for grant, error in judged if error is None]
        return len(judged) - len(self.grants)


class Broken(Connection):
    def end_those(self, judge: Judge) -> int:
        raise RuntimeError("a bug")


def grant(user: str | None = "zoë", issued_s: float | None = NOW_S, **claims: object) -> Grant:
    return Grant(Access.EDIT, user, None, claims, issued_s)


class Process:
    """One replica: its list, its way to the store, its connections."""

    def __init__(self, store: MemoryStore, clock: Clock, keep_ms: int | None = None) -> None:
        self.journal = MemoryJournal(
            store, shared=True, now_ms=lambda: int(clock() * 1000), elapsed_ms=lambda: int(clock() * 1000)
        )
        self.list = RevocationList(keep_ms, clock=clock)
        self.connections: list[Connection] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[RevocationList]:
        async with self.journal, self.list.following(self.journal, lambda: self.connections):
            yield self.list


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr("raffia.auth.revocation.REREAD_S", 0.01)
    return Clock()


def refused(revocations: RevocationList, given: Grant, document: DocumentId = DOCUMENT) -> bool:
    try:
        revocations.check(given, document)
    except RevokedError:
        return True
    return False


async def test_rev1_what_was_issued_until_now(clock: Clock) -> None:
    async with Process(MemoryStore(), clock).running() as all_:
        await all_.revoke(Revoked.USER, "zoë")
        for issued_s, expected in ((NOW_S - 1, True), (NOW_S, True), (None, True), (NOW_S + 0.001, False)):
            assert refused(all_, grant(issued_s=issued_s)) is expected
        assert not refused(all_, grant("bo"))
        assert not refused(all_, grant(None))
        assert refused(all_, grant("alias", sub="zoë"))


async def test_rev2_tokens_and_links(clock: Clock) -> None:
    async with Process(MemoryStore(), clock).running() as all_:
        await all_.revoke(Revoked.TOKEN, "t1")
        await all_.revoke(Revoked.LINKS, DOCUMENT)
        assert refused(all_, grant(issued_s=NOW_S + 9, jti="t1"))
        assert not refused(all_, grant(jti="t2"))
        assert refused(all_, grant(lnk="l"))
        assert not refused(all_, grant(lnk="l"), OTHER)
        assert not refused(all_, grant(lnk="l", issued_s=NOW_S + 9))
        assert not refused(all_, grant())


async def test_rev3_a_broken_connection_keeps_no_other_from_being_ended(clock: Clock) -> None:
    process = Process(MemoryStore(), clock)
    process.connections = [Broken(), Connection(grant(), grant("bo"))]
    async with process.running() as all_:
        assert await all_.revoke(Revoked.USER, "zoë") == 1
        assert [type(error) for error in process.connections[1].errors] == [RevokedError]
        assert process.connections[1].grants == [grant("bo")]


async def test_rev5_who_missed_the_message_finds_out(clock: Clock) -> None:
    store = MemoryStore()
    one, two = Process(store, clock), Process(store, clock)
    two.connections = [Connection(grant())]
    async with one.running() as here, two.running():
        two.journal.cut()
        await here.revoke(Revoked.USER, "zoë")
        assert two.connections[0].grants
        two.journal.heal()  # which says nothing of it
        await until(lambda: not two.connections[0].grants)


async def test_rev4_rev5_what_the_store_lacks_is_stored(clock: Clock) -> None:
    store = MemoryStore()
    process = Process(store, clock)
    process.connections = [Connection(grant())]
    async with process.running() as all_:
        store.failing = "the disk is full"
        with pytest.raises(JournalUnavailableError):
            await all_.revoke(Revoked.USER, "zoë")
        assert not process.connections[0].grants
        assert refused(all_, grant())
        assert not store.revocations
        store.failing = None
        await until(lambda: bool(store.revocations))
        store.revocations.clear()  # it has lost them
        store.revoked += 1
        await until(lambda: bool(store.revocations))
    async with Process(store, clock).running() as later:
        assert refused(later, grant())


async def test_rev7_they_are_kept_as_long_as_tokens_live(clock: Clock) -> None:
    store = MemoryStore()
    process = Process(store, clock, keep_ms=60_000)
    async with process.running() as all_:
        await all_.revoke(Revoked.TOKEN, "t")
        await all_.revoke(Revoked.RECHECK_USER, "zoë")
        kept = {one.kind: one.until_ms for one in store.revocations.values()}
        at_ms = int(NOW_S * 1000)
        assert kept == {Revoked.TOKEN: at_ms + 60_000, Revoked.RECHECK_USER: at_ms + RECHECK_KEEP_MS}
        clock.now_s += SETTLED_MS / 1000
        await process.journal.prune()
        assert not store.revocations
    async with Process(store, clock).running() as for_ever:
        await for_ever.revoke(Revoked.TOKEN, "t")
        assert store.revocations[Revoked.TOKEN, "t"].until_ms is None


@pytest.mark.parametrize(
    ("kind", "subject"),
    [(Revoked.USER, ""), (Revoked.USER, "x" * (MAX_USER + 1)), (Revoked.TOKEN, "\ud800"), (Revoked.LINKS, "a b")],
)
async def test_a_subject_that_cannot_be(clock: Clock, kind: Revoked, subject: str) -> None:
    async with Process(MemoryStore(), clock).running() as all_:
        with pytest.raises(MalformedError):
            await all_.revoke(kind, subject)
        assert len(all_) == 0


async def test_rev8_a_recheck_refuses_nobody_who_was_asked_about_later(clock: Clock) -> None:
    process = Process(MemoryStore(), clock)
    process.connections = [Connection(grant(), grant("bo")), Connection(grant("bo"), document=OTHER)]
    async with process.running() as all_:
        assert await all_.revoke(Revoked.RECHECK_USER, "zoë") == 1
        assert await all_.revoke(Revoked.RECHECK_DOCUMENT, OTHER) == 1
        assert [type(error) for error in process.connections[0].errors] == [SignInAgainError]
        all_.check(grant(issued_s=NOW_S + 1), DOCUMENT)
        all_.check(grant(iat=NOW_S), DOCUMENT)  # what a token says is no staler for it
        with pytest.raises(SignInAgainError):  # the hook was asked before, and its answer comes only now
            all_.check(grant(), DOCUMENT)


async def test_a11_grants_of_a_hook_count_from_when_it_was_asked(clock: Clock) -> None:
    revocations = RevocationList(clock=clock)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def hook(handshake: Handshake, token: str | None, document: DocumentId) -> Grant:
        asked.set()
        await answer.wait()
        return Grant(Access.EDIT, "zoë")

    authorizer = Authorizer(load_settings(), hook, clock=clock, revocations=revocations)
    waiting = asyncio.ensure_future(authorizer.grant(Handshake(), "tk", DOCUMENT))
    await asked.wait()
    clock.now_s += 1
    await revocations.revoke(Revoked.USER, "zoë")
    answer.set()
    with pytest.raises(RevokedError):
        await waiting
    clock.now_s += 1
    assert (await authorizer.grant(Handshake(), "tk", DOCUMENT)).issued_s == clock.now_s


async def test_rev8_recheck_of_an_embedder(tmp_path: Path) -> None:
    async def hook(handshake: Handshake, token: str | None, document: DocumentId) -> Grant:
        return Grant(Access.EDIT, "zoë")

    settings = load_settings(data=tmp_path / "data")
    async with Raffia(authorize=hook, settings=settings, journal=MemoryJournal()) as raffia:
        assert await raffia.recheck(user="zoë") == 0
        assert await raffia.recheck(document=DOCUMENT) == 0
        for wrong in ({}, {"user": "a", "document": "b"}, {"document": "../a"}, {"user": ""}):
            with pytest.raises(MalformedError):
                await raffia.recheck(**wrong)


# -- connections


def live_list(w: World) -> RevocationList:
    """The hub's list, as if it followed a journal."""
    w.hub.revocations._connections = lambda: w.hub.connections
    return w.hub.revocations


async def test_rev3_rev8_both_dialects() -> None:
    async with world() as w:
        revocations = live_list(w)
        plain, bo = await w.yws(grant()), await w.yws(grant("bo"))
        hocus, again = await signed_in(w, DOCUMENT, OTHER, grant=grant()), await signed_in(w, DOCUMENT, grant=grant())
        await until(lambda: len(hocus.connection._dialect.sessions()) == 2)
        again.transport.take()
        assert await revocations.revoke(Revoked.RECHECK_DOCUMENT, OTHER) == 1
        assert hocus.transport.closed == (1012, "sign-in-again")  # the provider connects again with all its documents
        hocus.connection.closed(1012)
        assert await revocations.revoke(Revoked.USER, "zoë") == 2
        assert plain.transport.closed == (4401, SAID)
        assert again.transport.closed is None
        denied, closed = again.transport.take()
        assert SAID.encode() in denied
        assert closed.startswith(hp(DOCUMENT, b"\x07"))
        again.send(hp_update(DOCUMENT, Author(9).type("zu spät")))
        await w.flushed()
        assert bo.transport.closed is None
        assert not bo.updates()
        assert w.metrics.refusals["revoked"] == 2


async def test_rev3_what_is_revoked_while_the_document_loads_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        authorizer = held_load(w, monkeypatch)
        plain = Client(SocketConnection(w.hub, YWebsocketDialect(DOCUMENT, grant())))
        hocus = await w.hocuspocus(grant())
        hocus.send(auth(DOCUMENT))
        await turns(8)
        await live_list(w).revoke(Revoked.USER, "zoë")
        authorizer.set()
        await until(lambda: plain.transport.closed is not None and bool(hocus.transport.sent))
        assert plain.transport.closed == (4401, SAID)
        (denied,) = hocus.transport.take()
        assert SAID.encode() in denied
        assert not w.hub.rooms[DOCUMENT].sessions
