"""Connections that wait for their turns: X13 of connection.py, TU8 and TU9 of turns.py, and what is read where."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.lib0 import insert
from tests.unit.sockets.test_connection import STEP1, auth, hp
from tests.unit.world import DOCUMENT, EDIT, READ, Author, KeptOutlet, World, text_of, turns, until, world
from tools.attacks.crafted import many_clients

from raffia.crdt.document import Document
from raffia.crdt.update import read_update
from raffia.errors import RevokedError
from raffia.rooms import room as room_module
from raffia.rooms.inbound.intake import Intake
from raffia.rooms.turns import OPENINGS, OPENINGS_PER_S, SLICE_S
from raffia.runtime.jobs import Job
from raffia.sockets.connection import Connection
from raffia.sockets.expiry import Expiry
from raffia.sockets.hocuspocus import HocuspocusDialect
from raffia.sockets.task_turn import TaskTurn
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import Access, DocumentId, Grant
from raffia.wire.lib0 import write_buf

COST_S = 3 * SLICE_S  # more than what may be done at once


class Meter:
    """A clock that only messages move."""

    def __init__(self, w: World) -> None:
        self.now_s = 1000.0
        w.hub.turns.clock = w.hub.turns._cpu = lambda: self.now_s


class Reading(KeptOutlet):
    """A transport that asks for turns, as real ones do; every message costs `COST_S`."""

    def __init__(self, meter: Meter, connection: Connection) -> None:
        super().__init__()
        self.meter = meter
        self.connection = connection
        self.unread: deque[bytes] = deque()
        connection.opened(self)

    def arrive(self, *payloads: bytes) -> None:
        self.unread.extend(payloads)
        self._deliver()

    def resume_reading(self) -> None:
        super().resume_reading()
        asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        turn = self.connection.turn
        if not self.unread or not self.reading or self.closed or not turn.begin():
            return
        while self.unread and self.reading and not self.closed:
            self.connection.message(self.unread.popleft())
            self.meter.now_s += COST_S
            turn.check()
        turn.end()

    def updates(self, *updates: bytes) -> None:
        self.arrive(*(b"\x00\x02" + write_buf(update) for update in updates))


@asynccontextmanager
async def metered() -> AsyncIterator[tuple[World, Meter]]:
    async with world() as w:
        yield w, Meter(w)


async def joined(
    w: World, meter: Meter, grant: Grant = EDIT, expiry: Expiry | None = None, address: str | None = None
) -> Reading:
    dialect = YWebsocketDialect(DOCUMENT, grant)
    client = Reading(meter, Connection(w.hub, dialect, expiry, address=address))
    await until(lambda: bool(dialect.sessions()))
    return client


async def heavy(w: World, meter: Meter, grant: Grant = EDIT, expiry: Expiry | None = None) -> tuple[Reading, Author]:
    """One whose messages wait, because it has sent many."""
    client, author = await joined(w, meter, grant, expiry), Author(7)
    client.updates(*(author.type("x") for _ in range(10)))
    assert client.unread
    assert client.connection.turn.waits
    return client, author


async def test_x13_what_waits_is_handled_in_order_and_acknowledged() -> None:
    async with metered() as (w, meter):
        client, author = await heavy(w, meter)
        last = author.type("!")
        client.updates(last)
        await until(lambda: not client.unread)
        await w.flushed()
        await until(lambda: any(last in payload for payload in client.sent))  # its echo: durable
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == "x" * 10 + "!"
        assert w.metrics.turns_waited > 0
        assert w.metrics.turns_waiting == 0
        assert w.metrics.delays == 0


async def test_x13_others_are_read_meanwhile_and_who_waits_gets_their_updates() -> None:
    async with metered() as (w, meter):
        slow = await joined(w, meter)
        slow.arrive(STEP1)
        bo = await joined(w, meter, Grant(Access.EDIT, user="bo"))
        author = Author(7)
        slow.updates(*(author.type("x") for _ in range(50)))
        assert slow.connection.turn.waits
        update = Author(8).type("é")
        bo.updates(update)
        assert not bo.unread  # at once
        w.hub.rooms[DOCUMENT].flush()
        assert slow.unread
        assert any(update in payload for payload in slow.sent)


async def test_x13_who_is_revoked_while_messages_wait_has_none_of_them_taken() -> None:
    async with metered() as (w, meter):
        client, _ = await heavy(w, meter)
        before = text_of(w.hub.rooms[DOCUMENT].document.merged())
        assert client.connection.end_those(lambda _grant, _document: RevokedError("revoked")) == 1
        assert client.closed is not None
        client.connection.closed(client.closed[0])
        await turns(20)
        assert DOCUMENT not in w.hub.rooms or text_of(w.hub.rooms[DOCUMENT].document.merged()) == before
        assert w.metrics.turns_waiting == 0


async def test_x13_a_grant_that_ends_while_messages_wait_ends_before_them() -> None:
    now_s = 500.0
    async with metered() as (w, meter):
        expiry = Expiry(clock=lambda: now_s)
        client, _ = await heavy(w, meter, Grant(Access.EDIT, "ana", expires_s=600.0), expiry)
        before = text_of(w.hub.rooms[DOCUMENT].document.merged())
        now_s = 601.0
        await until(lambda: client.closed is not None)
        assert client.closed is not None
        assert client.closed[0] == 4401
        assert text_of(w.hub.rooms[DOCUMENT].document.merged()) == before


async def test_x13_a_connection_that_closes_while_it_waits_is_forgotten() -> None:
    async with metered() as (w, meter):
        client, _ = await heavy(w, meter)
        client.connection.closed(1006)
        await turns(20)
        assert w.metrics.turns_waiting == 0
        assert client.connection.turn.principal.lanes == 0


async def test_x13_a_user_pays_on_all_sockets_and_a_stranger_by_address() -> None:
    async with metered() as (w, meter):
        address = "203.0.113.0"
        ana, again = [await joined(w, meter, address=address) for _ in range(2)]
        bo = await joined(w, meter, READ, address=address)
        assert ana.connection.turn.principal is again.connection.turn.principal
        assert bo.connection.turn.principal is not ana.connection.turn.principal
        link = Grant(Access.READ, claims={"lnk": "x", "jti": "one"})
        two, three = [await joined(w, meter, link, address=address) for _ in range(2)]
        assert two.connection.turn.principal is three.connection.turn.principal
        anonymous, other = [await joined(w, meter, Grant(Access.READ), address=address) for _ in range(2)]
        assert anonymous.connection.turn.principal is other.connection.turn.principal
        assert anonymous.connection.turn.principal is not two.connection.turn.principal
        local, near = [await joined(w, meter, Grant(Access.READ)) for _ in range(2)]
        assert local.connection.turn.principal is not near.connection.turn.principal


async def test_x13_the_address_pays_until_somebody_has_signed_in() -> None:
    async with metered() as (w, meter):

        async def admit(_token: str | None, _document: DocumentId) -> Grant:
            return EDIT

        connection = Connection(w.hub, HocuspocusDialect(admit, w.hub.settings), address="203.0.113.0")
        client = Reading(meter, connection)
        assert connection.turn.principal.name == "address 203.0.113.0"
        client.arrive(auth(DOCUMENT), hp(DOCUMENT, STEP1))
        await until(lambda: len(client.sent) > 1)
        assert connection.turn.principal.name == "user ana"


async def test_tu1_a_flush_is_charged_to_its_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with metered() as (w, meter):
        ana, bo = await joined(w, meter), await joined(w, meter, Grant(Access.EDIT, user="bo"))
        room = w.hub.rooms[DOCUMENT]
        ana.updates(Author(3).type("é"))
        costs = [client.connection.turn.principal.paid_s for client in (ana, bo)]
        monkeypatch.setattr(Document, "pack", lambda _: setattr(meter, "now_s", meter.now_s + 0.003))
        room.flush()
        after = [client.connection.turn.principal.paid_s for client in (ana, bo)]
        assert after[0] >= costs[0] + 0.003
        assert after[1] == costs[1]


async def test_tu8_a_task_waits_for_its_turn() -> None:
    async with metered() as (w, meter):
        client, _ = await heavy(w, meter)
        w.hub.turns.left_s = -1.0
        done: list[str] = []

        async def wait() -> None:
            await TaskTurn(w.hub.turns, client.connection.turn.principal).wait()
            done.append("task")

        task = asyncio.create_task(wait())
        await turns(1)
        assert not done
        await until(task.done)
        assert done == ["task"]
        light = w.hub.turns.principal("bo")
        await TaskTurn(w.hub.turns, light).wait()


async def test_tu8_a_cancelled_task_waits_no_more() -> None:
    async with metered() as (w, meter):
        client, _ = await heavy(w, meter)
        principal = client.connection.turn.principal
        w.hub.turns.left_s = -1.0
        lanes = principal.lanes
        task = asyncio.create_task(TaskTurn(w.hub.turns, principal).wait())
        await turns(1)
        task.cancel()
        await turns(50)
        assert task.cancelled()
        assert principal.lanes == lanes


async def test_tu8_steps_of_a_task_are_charged_and_errors_pass() -> None:
    async with metered() as (w, meter):
        client = await joined(w, meter)
        principal = client.connection.turn.principal
        before_s = principal.paid_s

        async def work() -> str:
            meter.now_s += 0.001
            await asyncio.sleep(0)
            try:
                await asyncio.wait_for(asyncio.Event().wait(), 0.001)
            except TimeoutError:
                meter.now_s += 0.002
                return "late"
            return "early"

        assert await w.hub.turns.metered(client.connection.turn, work()) == "late"
        assert principal.paid_s - max(before_s, 1000.0) >= 0.003

        async def fail() -> None:
            await asyncio.sleep(0)
            raise KeyError("é")

        with pytest.raises(KeyError):
            await w.hub.turns.metered(client.connection.turn, fail())


async def test_tu9_opening_documents_has_a_pace() -> None:
    async with metered() as (w, meter):
        principal = w.hub.turns.principal("ana")
        assert not any(w.hub.turns.opening_wait_s(principal) for _ in range(OPENINGS))
        waits = [w.hub.turns.opening_wait_s(principal) for _ in range(3)]
        assert waits == pytest.approx([number / OPENINGS_PER_S for number in (1, 2, 3)])
        meter.now_s += 1.0
        assert w.hub.turns.opening_wait_s(principal) == 0.0


async def test_an_update_that_costs_much_by_its_shape_is_read_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        ana = await w.yws()
        run, away = w.hub.workers.run_job, []

        async def noted(job: Job, work: Any, update: bytes, **more: Any) -> Any:
            if work is read_update:
                away.append(update)
            return await run(job, work, update, **more)

        monkeypatch.setattr(w.hub.workers, "run_job", noted)
        text, costly = insert(3, 0, "é" * 10_000, None), many_clients(2**25, 20_000)
        ana.update(text)
        assert ana.transport.reading
        ana.update(costly)
        assert not ana.transport.reading
        ana.update(Author(9).type("!"))  # waits behind it (X2)
        await until(lambda: ana.transport.reading)
        assert away == [costly]
        clocks = w.hub.rooms[DOCUMENT].document.clocks
        assert len(clocks) == 2 + 20_000 // 11
        assert clocks[9] == 1


async def test_r6_a_readers_news_are_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        known = Author(2).type("é" * 2000)
        (await w.yws()).update(known)
        bo = await w.yws(READ)
        before = w.hub.rooms[DOCUMENT].document.version

        def never(*_: object, **__: object) -> None:
            raise AssertionError("it was read")

        with monkeypatch.context() as patched:
            patched.setattr(room_module, "read_update", never)
            patched.setattr(Intake, "take", never)
            bo.update(many_clients(2**25, 20_000))
            bo.update(Author(3).type("é"))
        assert w.metrics.refusals["read-only"] == 2
        assert w.metrics.acks["refused"] == 2
        bo.update(known)  # what everybody knows is no news
        await w.flushed()
        assert w.metrics.refusals["read-only"] == 2
        assert bo.transport.closed is None
        assert w.hub.rooms[DOCUMENT].document.version == before
