"""Every message of both dialects under every grant: what it changes, and what it gives away."""

from __future__ import annotations

import pytest
from tests.unit.sockets.test_connection import auth, hp, presence
from tests.unit.world import DOCUMENT, EDIT, Author, Client, World, text_of, turns, until, world

from raffia.errors import ForbiddenError, RevokedError
from raffia.sockets.connection import Connection
from raffia.sockets.expiry import Expiry
from raffia.sockets.hocuspocus import HocuspocusDialect
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import Access, DocumentId, Grant
from raffia.wire.lib0 import write_buf, write_string

SECRET = "geheim-é😀"
NOW_S = 1_790_000_000.0
GRANTS: dict[str, Grant | None] = {
    "none": None,
    "ended": Grant(Access.ADMIN, "zoë", NOW_S),
    "read": Grant(Access.READ, "zoë", NOW_S + 60),
    "comment": Grant(Access.COMMENT, "zoë"),
    "edit": Grant(Access.EDIT, "zoë", NOW_S + 60),
    "admin": Grant(Access.ADMIN, "zoë"),
    "revoked": Grant(Access.ADMIN, "zoë"),
    "demoted": Grant(Access.ADMIN, "zoë"),
    "promoted": Grant(Access.READ, "zoë"),
    "taken back": Grant(Access.ADMIN, "zoë"),
}
# What a fresh token says before the message comes; Hocuspocus only. None: it does not name the document any more.
FRESH = {"demoted": Grant(Access.COMMENT, "zoë"), "promoted": Grant(Access.EDIT, "zoë"), "taken back": None}
OUT = {"none", "ended", "revoked", "taken back"}
WRITERS = {"edit", "admin", "promoted"}
UPDATE = Author(66).type("BÖSE")
VICTIM = Author(1)
VICTIMS_UPDATE = VICTIM.type(SECRET)
ERASE = VICTIM.delete(0, len(SECRET))
MESSAGES = {
    "step1": b"\x00\x00" + write_buf(b"\x00"),
    "step2": b"\x00\x01" + write_buf(UPDATE),
    "update": b"\x00\x02" + write_buf(UPDATE),
    "erase": b"\x00\x02" + write_buf(ERASE),
    "erase by step2": b"\x00\x01" + write_buf(ERASE),
    "awareness": presence(66, 1, '{"name":"BÖSE"}'),
    "foreign awareness": presence(1, 9, '{"name":"BÖSE"}'),
    "query": b"\x03",
    "unknown": b"\x0b" + write_string("BÖSE"),
}
ALL = {
    "y-websocket": MESSAGES | {"status": b"\x66" + write_buf(b"?")},
    "hocuspocus": MESSAGES
    | {
        "stateless": b"\x05" + write_string("BÖSE"),
        "broadcast": b"\x06" + write_string("BÖSE"),
        "close": b"\x07",
        "auth": b"",
    },
}
CASES = [
    (dialect, grant, kind)
    for dialect, kinds in ALL.items()
    for grant in GRANTS
    for kind in kinds
    if dialect == "hocuspocus" or grant not in FRESH
]


async def victim(w: World) -> Client:
    """Somebody who works on the document and must notice nothing that may not be."""
    client = await w.yws(EDIT)
    client.update(VICTIMS_UPDATE)
    client.send(presence(1, 1, '{"name":"' + SECRET + '"}'))
    await w.flushed()
    client.transport.take()
    return client


@pytest.mark.parametrize(("dialect", "name", "kind"), CASES)
async def test_every_message_under_every_grant(dialect: str, name: str, kind: str) -> None:
    given = GRANTS[name]
    async with world() as w:
        other = await victim(w)
        clock = {"s": NOW_S - 1}
        expiry = Expiry(60, clock=lambda: clock["s"])

        async def ask(token: str | None, document: DocumentId) -> Grant:
            answer = FRESH[name] if token == "fresh" else given
            if answer is None:
                raise ForbiddenError("no access to this document")
            return answer

        connection: Connection
        if dialect == "y-websocket":
            if given is None:
                return  # there is no connection: refused before the upgrade (tests/attacks/test_doors.py)
            yws = Client(Connection(w.hub, YWebsocketDialect(DOCUMENT, given), expiry))
            await until(lambda: yws.transport.reading and bool(yws.transport.sent))
            transport, send, connection = yws.transport, yws.send, yws.connection
        else:
            hocus = Client(Connection(w.hub, HocuspocusDialect(ask, w.hub.settings), expiry))
            hocus.send(auth(DOCUMENT))
            await until(lambda: bool(hocus.transport.sent))
            transport, send, connection = hocus.transport, lambda body: hocus.send(hp(DOCUMENT, body)), hocus.connection
        joined = transport.take()
        clock["s"] = NOW_S
        if name == "revoked":
            assert connection.end_those(lambda grant, document: RevokedError("access was taken back")) == 1
        elif name in FRESH:
            send(b"\x02\x00" + write_string("fresh"))
            await turns(8)
        if transport.closed is not None:
            connection.closed(transport.closed[0])  # as outlets do in the next turn; they deliver nothing from then on
            assert transport.closed[0] == 4401
            assert w.metrics.sessions == 1
            return
        send(ALL[dialect][kind] if kind != "auth" else b"\x02\x00" + write_string("again"))
        await turns(8)
        if name == "read" and kind.startswith("erase"):
            await until(lambda: w.metrics.acks["refused"] > 0)  # asked about in another process
        await w.flushed()
        expiry.tick(NOW_S)
        came = b"".join(transport.take())

        may_be_here = name not in OUT
        wrote = kind in {"step2", "update"} and name in WRITERS
        erased = kind.startswith("erase") and name in WRITERS
        text = text_of(w.hub.rooms[DOCUMENT].document.merged())
        assert text.count("BÖSE") == wrote
        assert (SECRET in text) == (not erased)
        seen = b"".join(other.transport.take())
        assert ("BÖSE".encode() in seen) == (wrote or (kind == "awareness" and may_be_here))
        assert other.transport.closed is None
        if kind == "step1":
            assert (SECRET.encode() in came) == may_be_here
        if not may_be_here:
            assert SECRET.encode() not in came
        if dialect == "hocuspocus" and given is None:
            assert SECRET.encode() not in b"".join(joined)
        if not may_be_here and kind != "auth":
            assert w.metrics.sessions == 1 + (dialect == "y-websocket")  # that one goes with its socket
        if name in {"ended", "revoked"} and kind not in {"close", "unknown", "broadcast"}:
            assert (transport.closed is not None) if dialect == "y-websocket" else (b"\x07" in came)
        if kind in {"unknown", "broadcast"}:
            assert transport.closed is not None


async def test_who_is_not_let_in_learns_nothing_whatever_is_sent_first() -> None:
    async with world() as w:
        await victim(w)
        expiry = Expiry(60, clock=lambda: NOW_S)

        async def ask(token: str | None, document: DocumentId) -> Grant:
            raise ForbiddenError("no access to this document")

        hocus = Client(Connection(w.hub, HocuspocusDialect(ask, w.hub.settings), expiry))
        for message in MESSAGES.values():
            hocus.send(hp(DOCUMENT, message))
        hocus.send(auth(DOCUMENT))
        for message in MESSAGES.values():
            hocus.send(hp(DOCUMENT, message))
        await turns(10)
        assert SECRET.encode() not in b"".join(hocus.transport.sent)
        assert w.metrics.sessions == 1
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == SECRET


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
async def test_a_grant_that_ends_while_the_document_is_loaded_opens_nothing(dialect: str) -> None:
    ended = GRANTS["ended"]
    assert ended is not None
    given = ended

    async def ask(token: str | None, document: DocumentId) -> Grant:
        return given

    async with world() as w:
        await victim(w)
        expiry = Expiry(60, clock=lambda: NOW_S)
        if dialect == "y-websocket":
            yws = Client(Connection(w.hub, YWebsocketDialect(DOCUMENT, given), expiry))
            await until(lambda: yws.transport.closed is not None)
            assert yws.transport.closed == (
                4401,
                "unauthenticated: access has expired; sign in again with a fresh token",
            )
            assert yws.transport.sent == []
            yws.connection.closed(4401)
        else:
            hocus = Client(Connection(w.hub, HocuspocusDialect(ask, w.hub.settings), expiry))
            hocus.send(auth(DOCUMENT))
            await until(lambda: bool(hocus.transport.sent))
            (said,) = hocus.transport.sent
            assert said.startswith(hp(DOCUMENT, b"\x02\x01"))
        assert len(expiry) == 0
        assert w.metrics.sessions == 1
        assert w.hub.rooms[DOCUMENT].holds == 1
