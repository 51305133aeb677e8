"""The budget of connections that have not signed in: byte_budget.py, and X8 of hocuspocus.py."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.lib0 import buf, string
from tests.unit.world import EDIT, Client, World, until, world

from raffia.auth.address_limits import counted
from raffia.errors import ForbiddenError
from raffia.sockets.byte_budget import FREE_BYTES, MESSAGE_BYTES, ByteBudget, ByteShare
from raffia.sockets.connection import Connection
from raffia.sockets.hocuspocus import HocuspocusDialect
from raffia.types import DocumentId, Grant

A, B, LOCAL = "203.0.113.1", "203.0.113.2", "127.0.0.1"


def update(size_bytes: int) -> bytes:
    return b"\x00\x02" + buf(b"x" * size_bytes)


def test_pb1_a_share_holds_messages_and_unfinished_ones() -> None:
    budget = ByteBudget(100_000, 100_000)
    share = ByteShare(budget, counted(A))
    assert share.keep(10_000)
    assert share.unfinished(5_000)
    assert budget.held_bytes == 15_000 - FREE_BYTES
    assert share.unfinished(0)
    assert share.keep(8_000)
    assert budget.held_bytes == 8_000 - FREE_BYTES


@pytest.mark.parametrize("address", [A, LOCAL, ""])
def test_pb2_a_full_budget_leaves_enough_to_sign_in(address: str) -> None:
    budget = ByteBudget(10_000, 10_000)
    assert ByteShare(budget, counted(address)).keep(10_000 + FREE_BYTES)
    other = ByteShare(budget, counted(B))
    assert other.keep(FREE_BYTES)
    assert not other.keep(FREE_BYTES + 1)


def test_pb3_an_address_has_a_part_of_the_budget() -> None:
    budget = ByteBudget(100_000, 10_000)
    first, second = ByteShare(budget, counted("2001:db8::1")), ByteShare(budget, counted("2001:db8::2"))
    assert first.keep(6_000 + FREE_BYTES)
    assert not second.keep(4_001 + FREE_BYTES)
    assert ByteShare(budget, counted("2001:db8:0:1::1")).keep(10_000 + FREE_BYTES)
    assert ByteShare(budget, counted(LOCAL)).keep(50_000)  # counts for the process only


def test_pb4_everything_is_given_back() -> None:
    budget = ByteBudget(100_000, 10_000)
    shares = [ByteShare(budget, counted(address)) for address in (A, A, B, LOCAL)]
    for share in shares:
        share.keep(5_000)
        share.unfinished(6_000)  # not all of them may
    for share in shares:
        share.release()
    assert budget.held_bytes == 0
    assert len(budget) == 0


def connect(w: World, budget: ByteBudget, decided: asyncio.Event, *, deny: bool = False) -> Client:
    """A connection whose sign-ins wait for `decided`."""

    async def ask(token: str | None, document: DocumentId) -> Grant:
        await decided.wait()
        if deny:
            raise ForbiddenError("no access to this document")
        return EDIT

    dialect = HocuspocusDialect(ask, w.hub.settings, ByteShare(budget, counted(A)))
    return Client(Connection(w.hub, dialect))


@pytest.mark.parametrize("ending", ["opened", "denied", "closed"])
async def test_x8_messages_that_wait_count_until_they_are_delivered_or_dropped(ending: str) -> None:
    async with world() as w:
        budget, decided = ByteBudget(), asyncio.Event()
        client = connect(w, budget, decided, deny=ending == "denied")
        client.send(string("a") + b"\x02\x00" + string("token") + string("4.7.0"))
        frames = [string("a") + update(size) for size in (9_000, 0)]
        for frame in frames:
            client.send(frame)
        assert budget.held_bytes == sum(map(len, frames)) + 2 * MESSAGE_BYTES - FREE_BYTES
        if ending == "closed":
            client.connection.closed(1006)
        else:
            decided.set()
        await until(lambda: budget.held_bytes == 0)
        assert len(budget) == 0
        client.connection.closed(1006)


async def test_x8_a_connection_over_the_budget_is_aborted() -> None:
    async with world() as w:
        budget, decided = ByteBudget(50_000, 20_000), asyncio.Event()
        client, other = connect(w, budget, decided), connect(w, budget, decided)
        client.send(string("a") + update(15_000))
        assert client.transport.closed is None
        other.send(string("b") + update(15_000))
        assert other.transport.closed == (1013, "")
        assert w.metrics.refusals["overloaded"] == 1
        other.connection.closed(1013)
        assert client.transport.closed is None
        client.connection.closed(1006)
        assert budget.held_bytes == 0


async def test_x8_the_limit_of_a_message_is_raised_with_the_first_session() -> None:
    async with world() as w:
        decided = asyncio.Event()
        client = connect(w, ByteBudget(), decided)
        assert client.transport.limit_bytes == w.hub.settings.max_preauth_frame_bytes
        client.send(string("a") + b"\x02\x00" + string("token") + string("4.7.0"))
        decided.set()
        await until(lambda: client.transport.limit_bytes == w.hub.settings.max_frame_bytes)
        client.connection.closed(1006)


async def test_a_y_websocket_connection_is_limited_until_it_has_joined() -> None:
    async with world() as w:
        client = await w.yws()
        assert client.transport.limits == [w.hub.settings.max_preauth_frame_bytes, w.hub.settings.max_frame_bytes]
        client.connection.closed(1006)
