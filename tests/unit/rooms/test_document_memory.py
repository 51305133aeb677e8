"""DM1-DM3, HU6, HU7: memory of all open documents together, and how many empty ones a person may open."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest
from tests.support.lib0 import buf
from tests.unit.world import until, world

from raffia.errors import RoomFullError, TooFastError
from raffia.journal.testing.contract import Typist
from raffia.rooms import hub as module
from raffia.rooms.document_memory import FACTOR, ROOM_BYTES, SMALL_BYTES, DocumentMemory, RoomMemory
from raffia.runtime.memory import available_bytes
from raffia.types import Access, DocumentId, Grant

MIB = 1024 * 1024
EDIT = Grant(Access.EDIT, "mallory", None, {})


def test_dm1_rooms_count_and_give_back() -> None:
    memory = DocumentMemory(10 * MIB)
    one, two = RoomMemory(memory), RoomMemory(memory)
    one.has(MIB)
    two.has(0)
    assert memory.used_bytes == 2 * ROOM_BYTES + FACTOR * MIB
    one.has(0)
    one.close()
    one.close()
    two.close()
    assert memory.used_bytes == 0


def test_dm3_small_documents_have_the_last_quarter() -> None:
    memory = DocumentMemory(8 * MIB)
    room = RoomMemory(memory)
    room.has(3 * MIB)
    assert not memory.fits(SMALL_BYTES + 1)
    assert memory.fits(SMALL_BYTES)
    with pytest.raises(RoomFullError, match=r"6 MiB of the 8 MiB.*RAFFIA_MAX_OPEN_DOCUMENTS_BYTES.*try again later"):
        memory.check(MIB)
    room.has(4 * MIB)
    with pytest.raises(RoomFullError):
        memory.check(1)


def sent(update: bytes) -> bytes:
    return b"\x00\x02" + buf(update)


async def test_dm2_edits_are_refused_and_deleting_is_not() -> None:
    async with world(max_open_documents_bytes=2 * MIB) as w:
        typist = Typist(1)
        filler = await w.yws(EDIT)
        for _ in range(24):  # three quarters of a MiB and twice that in memory
            filler.send(sent(typist.type("x" * 30_000)))
        await until(lambda: w.hub.memory.used_bytes > 1_440_000)
        other = await w.yws(EDIT, DocumentId("other"))
        other.send(sent(Typist(2).type("hello")))  # small: in the last quarter
        await until(lambda: w.hub.rooms[DocumentId("other")].document.size_bytes > 2)
        assert filler.transport.closed is None
        for _ in range(14):
            filler.send(sent(typist.type("x" * 30_000)))
        assert filler.transport.closed is not None
        assert filler.transport.closed[0] == 1013
        assert w.hub.memory.used_bytes <= 2 * MIB
        cleaner = await w.yws(EDIT)
        cleaner.send(sent(typist.delete(0, 30_000)))
        assert cleaner.transport.closed is None
        assert other.transport.closed is None


async def test_dm2_unused_documents_are_closed_first_then_opening_is_refused() -> None:
    async with world(max_open_documents_bytes=3 * ROOM_BYTES + 10_000, room_idle_s=600) as w:
        rooms = [await w.hub.open(DocumentId(f"d{number}")) for number in range(3)]
        with pytest.raises(RoomFullError):
            await w.hub.open(DocumentId("d3"))
        w.hub.release(rooms[0])
        room = await w.hub.open(DocumentId("d3"))
        assert set(w.hub.rooms) == {"d1", "d2", "d3"}
        assert w.hub.memory.used_bytes == 3 * ROOM_BYTES + 2 * FACTOR * 0 + sum(
            FACTOR * one.document.size_bytes for one in w.hub.rooms.values()
        )
        for one in (*rooms[1:], room):
            w.hub.release(one)
        w.hub.evict_idle(monotonic() + 1000)
        assert w.hub.memory.used_bytes == 0


async def test_hu6_many_unused_documents_are_closed_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MANY_IDLE", 10)
    async with world(room_idle_s=100) as w:
        for number in range(40):
            w.hub.release(await w.hub.open(DocumentId(f"d{number}")))
        now_s = monotonic()
        w.hub.evict_idle(now_s + 24)
        assert len(w.hub.rooms) == 40
        w.hub.evict_idle(now_s + 26)  # a quarter of the time
        assert len(w.hub.rooms) == 0


async def test_hu7_a_person_opens_so_many_empty_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPENINGS", 3)
    monkeypatch.setattr(module, "OPENINGS_PER_S", 0.001)
    async with world() as w:
        for number in range(3):
            await w.hub.open_for("user mallory", DocumentId(f"d{number}"))
        with pytest.raises(TooFastError, match="empty documents"):
            await w.hub.open_for("user mallory", DocumentId("d3"))
        await w.hub.open_for("user mallory", DocumentId("d0"))  # it is open
        await w.hub.open_for("user vera", DocumentId("d3"))
        for number in range(5):
            await w.hub.open_for(None, DocumentId(f"local{number}"))
        assert "d3" in w.hub.rooms


async def test_hu7_documents_with_content_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPENINGS", 2)
    monkeypatch.setattr(module, "OPENINGS_PER_S", 0.001)
    async with world() as w:
        for number in range(6):
            client = await w.yws(
                EDIT if number == 0 else Grant(Access.EDIT, f"p{number}", None, {}), DocumentId(f"d{number}")
            )
            client.send(sent(Typist(number + 1).type("hello")))
            await w.flushed(DocumentId(f"d{number}"))
            client.connection.closed(1000)
        w.hub.evict_idle(monotonic() + 1000)
        await until(lambda: not w.hub.rooms and not w.hub._closing)
        for number in range(6):
            await w.hub.open_for("user vera", DocumentId(f"d{number}"))


def test_the_memory_of_a_control_group(tmp_path: Path) -> None:
    machine = available_bytes(tmp_path)
    assert machine > 64 * MIB
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path) == machine
    (tmp_path / "memory.max").write_text(f"{64 * MIB}\n")
    assert available_bytes(tmp_path) == 64 * MIB
    (tmp_path / "memory.max").unlink()
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text(f"{32 * MIB}\n")
    assert available_bytes(tmp_path) == 32 * MIB
