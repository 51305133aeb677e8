"""Every message of both dialects under every grant: what it changes, and what it gives away."""

from __future__ import annotations

import pytest
from tests.unit.rooms import DOCUMENT, EDIT, Author, Client, World, text_of, turns, until, world
from tests.unit.test_connection import auth, hp, presence

from weft.connection import HocuspocusConnection, YWebsocketConnection
from weft.errors import ForbiddenError
from weft.expiry import Expiry
from weft.types import Access, DocumentId, Grant
from weft.wire.lib0 import write_buf, write_string

SECRET = "geheim-é😀"
NOW_S = 1_790_000_000.0
GRANTS: dict[str, Grant | None] = {
    "none": None,
    "ended": Grant(Access.ADMIN, "zoë", NOW_S),
    "read": Grant(Access.READ, "zoë", NOW_S + 60),
    "comment": Grant(Access.COMMENT, "zoë"),
    "edit": Grant(Access.EDIT, "zoë", NOW_S + 60),
    "admin": Grant(Access.ADMIN, "zoë"),
}
UPDATE = Author(66).type("BÖSE")
MESSAGES = {
    "step1": b"\x00\x00" + write_buf(b"\x00"),
    "step2": b"\x00\x01" + write_buf(UPDATE),
    "update": b"\x00\x02" + write_buf(UPDATE),
    "awareness": presence(66, 1, '{"name":"BÖSE"}'),
    "query": b"\x03",
}
ALL = {
    "y-websocket": MESSAGES | {"status": b"\x66" + write_buf(b"?")},
    "hocuspocus": MESSAGES | {"stateless": b"\x05" + write_string("BÖSE"), "close": b"\x07", "auth": b""},
}
CASES = [(dialect, grant, kind) for dialect, kinds in ALL.items() for grant in GRANTS for kind in kinds]


async def victim(w: World) -> Client[YWebsocketConnection]:
    """Somebody who works on the document and must notice nothing that may not be."""
    client = await w.yws(EDIT)
    client.update(Author(1).type(SECRET))
    client.send(presence(1, 1, '{"name":"' + SECRET + '"}'))
    await w.flushed()
    client.outlet.take()
    return client


@pytest.mark.parametrize(("dialect", "name", "kind"), CASES)
async def test_every_message_under_every_grant(dialect: str, name: str, kind: str) -> None:
    given = GRANTS[name]
    async with world() as w:
        other = await victim(w)
        clock = {"s": NOW_S - 1}
        expiry = Expiry(60, clock=lambda: clock["s"])

        async def ask(token: str | None, document: DocumentId) -> Grant:
            if given is None:
                raise ForbiddenError("no access to this document")
            return given

        if dialect == "y-websocket":
            if given is None:
                return  # there is no connection: refused before the upgrade (tests/integration)
            yws = Client(YWebsocketConnection(w.hub, DOCUMENT, given, expiry))
            await until(lambda: yws.outlet.reading and bool(yws.outlet.sent))
            outlet, send = yws.outlet, yws.send
        else:
            hocus = Client(HocuspocusConnection(w.hub, ask, expiry))
            hocus.send(auth(DOCUMENT))
            await until(lambda: bool(hocus.outlet.sent))
            outlet, send = hocus.outlet, lambda body: hocus.send(hp(DOCUMENT, body))
        joined = outlet.take()
        clock["s"] = NOW_S
        send(ALL[dialect][kind] if kind != "auth" else b"\x02\x00" + write_string("again"))
        await turns(8)
        await w.flushed()
        expiry.tick(NOW_S)
        came = b"".join(outlet.take())

        may_be_here = given is not None and name != "ended"
        may_write = may_be_here and given is not None and given.may_write
        wrote = kind in {"step2", "update"} and may_write
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()).count("BÖSE") == wrote
        seen = b"".join(other.outlet.take())
        assert ("BÖSE".encode() in seen) == (wrote or (kind == "awareness" and may_be_here))
        if kind == "step1":
            assert (SECRET.encode() in came) == may_be_here
        if not may_be_here:
            assert SECRET.encode() not in came
        if dialect == "hocuspocus" and given is None:
            assert SECRET.encode() not in b"".join(joined)
            assert w.metrics.sessions == 1
        if name == "ended" and kind != "close":
            assert (outlet.closed is not None) if dialect == "y-websocket" else (b"\x07" in came)


async def test_who_is_not_let_in_learns_nothing_whatever_is_sent_first() -> None:
    async with world() as w:
        await victim(w)
        expiry = Expiry(60, clock=lambda: NOW_S)

        async def ask(token: str | None, document: DocumentId) -> Grant:
            raise ForbiddenError("no access to this document")

        hocus = Client(HocuspocusConnection(w.hub, ask, expiry))
        for message in MESSAGES.values():
            hocus.send(hp(DOCUMENT, message))
        hocus.send(auth(DOCUMENT))
        for message in MESSAGES.values():
            hocus.send(hp(DOCUMENT, message))
        await turns(10)
        assert SECRET.encode() not in b"".join(hocus.outlet.sent)
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
            yws = Client(YWebsocketConnection(w.hub, DOCUMENT, given, expiry))
            await until(lambda: yws.outlet.closed is not None)
            assert yws.outlet.closed == (4401, "unauthenticated: access has ended; sign in again with a fresh token")
            assert yws.outlet.sent == []
            yws.connection.closed(4401)
        else:
            hocus = Client(HocuspocusConnection(w.hub, ask, expiry))
            hocus.send(auth(DOCUMENT))
            await until(lambda: bool(hocus.outlet.sent))
            (said,) = hocus.outlet.sent
            assert said.startswith(hp(DOCUMENT, b"\x02\x01"))
        assert len(expiry) == 0
        assert w.metrics.sessions == 1
        assert w.hub.rooms[DOCUMENT].holds == 1
