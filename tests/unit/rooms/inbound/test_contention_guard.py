"""What takes editors too long is kept out of a document: CO1-CO5 of contention_guard.py."""

from __future__ import annotations

import pytest
from tests.support.lib0 import string, varuint
from tests.unit.crdt.hostile import SHAPES
from tests.unit.world import DOCUMENT, Author, Client, World, text_of, until, world
from tools.attacks.crafted import LEFT, RIGHT, TEXT, one_place, root, sections

from raffia.crdt import contention as contention_module
from raffia.crdt.contention import contention
from raffia.crdt.merge import merge
from raffia.rooms.inbound import contention_guard
from raffia.wire.lib0 import write_buf

STEP2 = b"\x00\x01"


def anchor(count: int) -> bytes:
    return b"\x01\x01\x01\x00" + bytes([TEXT]) + root() + string("a" * count) + b"\x00"


def conflicting(first: int, count: int) -> bytes:
    """So many clients who insert left of one character of the anchor each."""
    return sections(
        {9000 - at: bytes([TEXT | RIGHT]) + b"\x01" + varuint(at) + b"\x01x" for at in range(first, first + count)}
    )


async def ended(client: Client) -> tuple[int, str]:
    """The close code, and the first word of the reason."""
    await until(lambda: client.transport.closed is not None)
    assert client.transport.closed is not None
    code, reason = client.transport.closed
    return code, reason.partition(":")[0]


def parts(w: World) -> list[bytes]:
    document = w.hub.rooms[DOCUMENT].document
    return [document.base, *document.tail]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("is_step2", [True, False])
async def test_co1_a_hostile_update_is_refused_as_a_whole(name: str, *, is_step2: bool) -> None:
    async with world() as w:
        ana, eve = await w.yws(), await w.yws()
        ana.update(Author(1).type("honest"))
        await w.flushed()
        before = w.hub.rooms[DOCUMENT].document.version
        update = SHAPES[name](4000)
        eve.send((STEP2 if is_step2 else b"\x00\x02") + write_buf(update))
        assert await ended(eve) == (4413, "too-contended")
        assert w.hub.rooms[DOCUMENT].document.version == before
        assert ana.transport.closed is None


async def test_co1_an_honest_import_of_very_many_authors_is_taken() -> None:
    async with world() as w:
        ana = await w.yws()
        ana.send(STEP2 + write_buf(one_place(10_000)))
        await until(lambda: len(w.hub.rooms[DOCUMENT].document.clocks) == 10_000)
        ana.update(Author(1).type("x"))
        await w.flushed()
        assert ana.transport.closed is None


async def test_co1_an_update_that_waited_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its origins were not there when it was weighed."""
    async with world() as w:
        ana, eve = await w.yws(), await w.yws()
        structs = b"".join(bytes([TEXT | RIGHT]) + b"\x01" + varuint(at) + b"\x01x" for at in range(600))
        eve.update(b"\x01" + varuint(600) + b"\x09\x00" + structs + b"\x00")
        await until(lambda: w.hub.metrics.waiting_updates == 1)
        ana.update(anchor(600))
        assert await ended(eve) == (1013, "overloaded")
        assert w.hub.metrics.waiting_updates == 0
        assert len(w.hub.rooms[DOCUMENT].document.clocks) == 1
        assert ana.transport.closed is None


async def test_co2_a_small_update_that_waited_is_taken_while_others_are_unweighed() -> None:
    async with world() as w:
        ana, ben = await w.yws(), await w.yws()
        ben.update(conflicting(0, 3))
        await until(lambda: w.hub.metrics.waiting_updates == 1)
        guard = w.hub.rooms[DOCUMENT]._intake.contention
        guard._unweighed = guard._may_be
        ana.update(anchor(3))
        await until(lambda: len(w.hub.rooms[DOCUMENT].document.clocks) == 4)
        assert ben.transport.closed is None


async def test_co2_many_small_updates_are_weighed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contention_module, "MAX_STEPS", 20_000)
    monkeypatch.setattr(contention_module, "STEPS_PER_STRUCT", 0)
    async with world() as w:
        ana, eve = await w.yws(), await w.yws()
        ana.update(anchor(3000))
        sent = 0
        while eve.transport.closed is None and sent < 3000:
            eve.update(conflicting(sent, 1))
            sent += 1
            if sent % 100 == 0:
                await w.flushed()
        assert await ended(eve) == (4413, "too-contended")
        # Those that were taken before do no harm: as many as may be unweighed, beyond the limit.
        found = contention(parts(w))
        assert found.structs < 2 * (contention_guard.MOST + 300)
        ana.update(b"\x00\x01\x01\x01\x00\x01")  # deletes are taken, insertions are not
        await w.flushed()
        assert ana.transport.closed is None
        ana.update(Author(7).type("x"))
        assert await ended(ana) == (4413, "too-contended")


async def test_co2_typing_is_not_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    weighed: list[int] = []
    monkeypatch.setattr(contention_guard.ContentionGuard, "_weigh_soon", lambda _guard: weighed.append(1))
    async with world() as w:
        author, ana = Author(1), await w.yws()
        for _ in range(2000):
            ana.update(author.type("x"))
        await w.flushed()
        assert weighed == []


async def test_co3_the_longer_a_sequence_the_fewer_are_unweighed() -> None:
    async with world() as w:
        ana = await w.yws()
        chain = b"".join(
            bytes([TEXT | (LEFT if at else 0)]) + (varuint(1) + varuint(at - 1) if at else root()) + b"\x01a"
            for at in range(5000)
        )
        ana.update(b"\x01" + varuint(5000) + b"\x01\x00" + chain + b"\x00")
        ana.send(STEP2 + write_buf(one_place(600)))
        guard = w.hub.rooms[DOCUMENT]._intake.contention
        await until(lambda: guard._may_be < contention_guard.MOST)
        assert guard._may_be == 2 * contention_guard.MAX_STEPS // 5600


async def test_co4_a_document_that_got_better_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        ana, ben = await w.yws(), await w.yws()
        author = Author(1)
        ana.update(author.type("x"))
        await w.flushed()
        guard = w.hub.rooms[DOCUMENT]._intake.contention
        guard.is_full = True
        ben.update(Author(2).type("y"))
        assert await ended(ben) == (4413, "too-contended")
        await until(lambda: not guard.is_full)
        ana.update(author.type("z"))
        await w.flushed()
        assert ana.transport.closed is None


async def test_co4_the_deletes_of_what_is_refused_are_taken() -> None:
    async with world() as w:
        author, ben = Author(1), await w.yws()
        first = author.type("one two")
        ben.update(first)
        await w.flushed()
        w.hub.rooms[DOCUMENT]._intake.contention.is_full = True
        author.delete(0, 4)
        author.type("three")
        ben.send(STEP2 + write_buf(author.doc.get_update()))
        assert await ended(ben) == (4413, "too-contended")
        assert text_of(merge(parts(w))) == "two"
