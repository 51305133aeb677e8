"""`raffia.document(id)` on a memory journal: reading, editing, changes, sessions, closing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text
from tests.unit.world import DOCUMENT, READ, Author, World, text_of, until, world

from raffia.crdt.merge import merge
from raffia.documents.changes import Change
from raffia.documents.host_document import HostDocument, SessionInfo
from raffia.documents.origins import Origins
from raffia.errors import DocumentDeletedError, DrainingError, MalformedError, TooLargeError
from raffia.types import START, Access, Grant


def document(world: World) -> HostDocument:
    return HostDocument(DOCUMENT, lambda: world.hub, Origins())


def typing(text: str) -> Callable[[Doc[Any]], None]:
    def fn(doc: Doc[Any]) -> None:
        kept = doc.get("t", type=Text)
        kept += text

    return fn


async def test_a_missing_document_is_empty_and_reading_it_creates_nothing() -> None:
    async with world() as w:
        contents = await document(w).read()
        assert (contents.update, contents.position, await contents.json()) == (b"\x00\x00", START, {})
        assert await w.hub.journal.directory.info(DOCUMENT) is None


async def test_hd3_an_edit_is_durable_and_has_its_author() -> None:
    async with world() as w:
        assert await document(w).edit(lambda doc: typing("hi 🦊")(doc) or "result", user="bot") == "result"
        (entry,) = (await w.hub.journal.load(DOCUMENT)).entries
        assert [(edit.author, text_of(edit.update)) for edit in entry.batch] == [("bot", "hi 🦊")]
        contents = await document(w).read()
        assert await contents.text("t") == "hi 🦊"
        assert await contents.json() == {"t": "hi 🦊"}


async def test_hd3_while_the_journal_is_held_an_edit_has_not_returned() -> None:
    async with world() as w:
        w.store.hold()
        edit = asyncio.create_task(document(w).edit(typing("x")))
        await until(lambda: DOCUMENT in w.hub.rooms and not w.hub.rooms[DOCUMENT].is_settled)
        assert not edit.done()
        w.store.release()
        await edit


async def test_hd3_an_edit_that_changes_nothing_writes_nothing() -> None:
    async with world() as w:
        assert await document(w).edit(lambda doc: len(str(doc.get("t", type=Text)))) == 0
        assert (await w.hub.journal.load(DOCUMENT)).entries == []


async def test_ed1_clients_get_the_edit_at_once() -> None:
    async with world() as w:
        client = await w.yws(READ)
        await document(w).edit(typing("news"))
        assert text_of(merge(client.updates())) == "news"


async def test_hd2_what_fn_raises_is_raised_and_nothing_is_edited() -> None:
    def fn(doc: Doc[Any]) -> None:
        typing("half")(doc)
        raise LookupError("of the host")

    async with world() as w:
        with pytest.raises(LookupError, match="of the host"):
            await document(w).edit(fn)
        assert await (await document(w).read()).json() == {}


async def test_hd2_fn_must_not_be_async() -> None:
    async def fn(doc: Doc[Any]) -> None: ...

    async with world() as w:
        with pytest.raises(TypeError, match="must not be async"):
            await document(w).edit(fn)


async def test_hd2_a_closure_edits_a_large_document() -> None:
    """A3 of what embedders met: above 24 KiB the work had to be picklable."""
    async with world() as w:
        count = 60_000
        await document(w).edit(typing("ü" * count))
        assert len((await document(w).read()).update) > 100_000
        await document(w).edit(lambda doc: typing(f"end{count}")(doc))  # noqa: PLW0108 - a closure
        assert (await (await document(w).read()).text("t")).endswith("üend60000")


async def test_hd1_an_edit_may_be_larger_than_a_clients_message() -> None:
    async with world(max_update_bytes=64 * 1024) as w:
        await document(w).edit(typing("y" * 200_000))
        assert len(await (await document(w).read()).text("t")) == 200_000


async def test_hd1_a_full_document_refuses_an_edit_and_takes_a_deletion() -> None:
    def clear(doc: Doc[Any]) -> None:
        doc.get("t", type=Text).clear()

    async with world(max_document_bytes=65_536, max_update_bytes=65_536) as w:
        await document(w).edit(typing("z" * 65_000))
        with pytest.raises(TooLargeError):
            await document(w).edit(typing("z" * 5_000))
        await document(w).edit(clear)
        assert await (await document(w).read()).text("t") == ""


@pytest.mark.parametrize("user", ["\ud800", "x" * 257])
async def test_a_user_that_cannot_be_stored_is_refused(user: str) -> None:
    async with world() as w:
        with pytest.raises(MalformedError):
            await document(w).edit(typing("x"), user=user)


async def test_hd4_edits_at_once_are_all_kept() -> None:
    def add(number: int) -> Callable[[Doc[Any]], None]:
        return lambda doc: doc.get("l", type=Array).append(number)

    async with world() as w:
        await asyncio.gather(*[document(w).edit(add(number)) for number in range(20)])
        assert sorted((await (await document(w).read()).json())["l"]) == list(range(20))


async def test_vc1_half_an_emoji_that_an_editor_deleted_survives_an_edit() -> None:
    """An editor deleted the first half of 😀, as editors do: the update bytes, unlike a `Doc`, keep the other half."""
    insert = bytes.fromhex("0101010004010174") + bytes([4]) + "😀".encode() + b"\x00"
    half = bytes.fromhex("000101010001")
    async with world() as w:
        ana = await w.yws()
        ana.update(insert)
        ana.update(half)
        await w.flushed()
        before = (await document(w).read()).update
        await document(w).edit(lambda doc: doc.get("m", type=Map).update({"k": 1}))
        after = (await document(w).read()).update
        assert "😀".encode() in before
        assert "😀".encode() in after
        assert (await (await document(w).read()).json())["m"] == {"k": 1}


async def collect(found: list[Change], w: World, host: HostDocument, after: Any) -> None:
    async for change in host.changes(after=after):
        found.append(change)  # noqa: PERF401 - one at a time, as they come


async def test_dc1_changes_have_author_time_and_origin() -> None:
    async with world() as w:
        host = document(w)
        await host.edit(typing("before"))
        position = (await host.read()).position
        found: list[Change] = []
        task = asyncio.create_task(collect(found, w, host, position))
        ana = await w.yws()
        ana.update(Author(7).type("a"))
        await host.edit(typing("b"), user="bot", origin="mine")
        await until(lambda: len(found) == 2)
        assert [(change.author, change.origin, change.is_whole) for change in found] == [
            ("ana", None, False),
            ("bot", "mine", False),
        ]
        assert all(change.time_ms > 0 for change in found)
        assert found[0].position <= found[1].position
        again: list[Change] = []
        second = asyncio.create_task(collect(again, w, host, START))
        await until(lambda: len(again) == 3)
        assert text_of(merge([change.update for change in again])) == await (await host.read()).text("t")
        for one in (task, second):
            one.cancel()
        await asyncio.gather(task, second, return_exceptions=True)


async def test_dc1_what_is_not_durable_is_not_yielded() -> None:
    async with world() as w:
        host, found = document(w), list[Change]()
        await host.edit(typing("a"))
        task = asyncio.create_task(collect(found, w, host, START))
        await until(lambda: len(found) == 1)
        w.store.hold()
        edit = asyncio.create_task(host.edit(typing("b")))
        await until(lambda: not w.hub.rooms[DOCUMENT].is_settled)
        assert len(found) == 1
        w.store.release()
        await edit
        await until(lambda: len(found) == 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_dc3_the_changes_of_a_document_that_is_deleted_end_with_an_error() -> None:
    async with world() as w:
        host, found = document(w), list[Change]()
        await host.edit(typing("a"))
        task = asyncio.create_task(collect(found, w, host, START))
        await until(lambda: len(found) == 1)
        await w.hub.journal.directory.delete(DOCUMENT)
        with pytest.raises(DocumentDeletedError):
            await task


async def test_sessions_and_presence() -> None:
    async with world() as w:
        host = document(w)
        assert host.sessions() == []
        ana = await w.yws()
        await w.yws(READ)
        state = b'{"user":{"name":"A"}}'
        ana.send(b"\x01" + bytes([len(state) + 4]) + b"\x01\x05\x01" + bytes([len(state)]) + state)
        assert sorted(host.sessions(), key=lambda one: one.user or "") == [
            SessionInfo("ana", Access.EDIT, "y-websocket"),
            SessionInfo("bo", Access.READ, "y-websocket"),
        ]
        (present,) = await host.present()
        assert (present.client, present.user, present.state, present.is_here) == (
            5,
            "ana",
            {"user": {"name": "A"}},
            True,
        )


async def test_hd5_close_ends_the_sessions_of_one_user_or_all() -> None:
    async with world() as w:
        ana, bo, guest = await w.yws(), await w.yws(READ), await w.yws(Grant(Access.READ))
        assert await document(w).close("ana", "bye") == 1
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 4403
        assert "bye" in ana.transport.closed[1]
        assert bo.transport.closed is None
        ana.connection.closed(4403)  # as the transport reports
        assert await document(w).close() == 2
        assert bo.transport.closed
        assert guest.transport.closed
        assert bo.transport.closed[0] == guest.transport.closed[0] == 4403


async def test_outside_of_its_lifetime_the_server_refuses() -> None:
    def none() -> Any:
        raise DrainingError("starting")

    with pytest.raises(DrainingError):
        await HostDocument(DOCUMENT, none, Origins()).read()
