"""What is quick: QK1-QK3 of crdt/quick.py, and that work on the rest leaves the event loop (ED2, MI2, L1)."""

from __future__ import annotations

from functools import partial

import pytest
from tests.unit.rooms.durable.test_states import Counted
from tests.unit.world import DOCUMENT, Author, until, world
from tools.attacks.crafted import one_place

from raffia.crdt.document import Document
from raffia.crdt.meta import set_meta
from raffia.crdt.quick import QUICK_BYTES, QUICK_CLIENTS, QUICK_DOC_BYTES, is_quick
from raffia.crdt.ranges import IdRanges
from raffia.rooms import editing


def test_qk2_the_bounds() -> None:
    assert is_quick(Document())
    assert is_quick(Document(b"x" * QUICK_BYTES))
    assert not is_quick(Document(b"x" * (QUICK_BYTES + 1)))
    clients = dict.fromkeys(range(QUICK_CLIENTS + 1), 1)
    assert not is_quick(Document(b"x", clients))
    assert not is_quick(Document(b"x", deletes=IdRanges([(client, [(0, 1)]) for client in clients])))
    assert not is_quick(Document(b"x", deletes=IdRanges([(1, [(2 * at, 2 * at + 1) for at in range(2001)])])))


def test_qk3_a_doc_is_loaded_only_for_very_small_ones() -> None:
    assert is_quick(Document(b"x" * QUICK_DOC_BYTES), loads_doc=True)
    assert not is_quick(Document(b"x" * (QUICK_DOC_BYTES + 1)), loads_doc=True)


@pytest.mark.parametrize("content", [one_place(2000), one_place(600)])
async def test_ed2_a_small_document_of_many_clients_is_renamed_in_a_worker(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as w:
        ana = await w.yws()
        ana.update(content)  # it is weighed in a worker first
        await until(lambda: len(w.hub.rooms[DOCUMENT].document.clocks) > QUICK_CLIENTS)
        room = await w.hub.open(DOCUMENT)
        await room.settled()
        jobs = Counted(w, monkeypatch)
        await editing.change(w.hub, DOCUMENT, partial(set_meta, fields={"title": "é"}), author="ana")
        assert {"set_meta", "read_meta"} <= set(jobs.names)
        w.hub.release(room)


async def test_ed2_an_honest_small_document_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        ana = await w.yws()
        ana.update(Author(1).type("x" * 10_000))
        await w.flushed()
        jobs = Counted(w, monkeypatch)
        await editing.change(w.hub, DOCUMENT, partial(set_meta, fields={"title": "é"}), author="ana")
        assert jobs.names == []
