"""Titles in the listing: MI1-MI6 of mirror.py, and edits of the server (ED1-ED3 of editing.py)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from pycrdt import Doc, Map, Text
from tests.unit.cluster import cluster
from tests.unit.world import DOCUMENT, EDIT, Author, World, until, world

from raffia.crdt.build import make
from raffia.crdt.merge import merge
from raffia.crdt.meta import set_meta
from raffia.crdt.view import View
from raffia.errors import DocumentDeletedError, JournalUnavailableError, SchemaError
from raffia.rooms import editing, metadata
from raffia.rooms.durable import log_follower
from raffia.types import DocumentId
from raffia.wire import ywebsocket
from raffia.wire.messages import Update

OTHER = DocumentId("other")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "PAUSE_S", 0.0)


class Titled:
    """A client that has a title."""

    def __init__(self, client: int = 5) -> None:
        self.doc: Doc[Any] = Doc(client_id=client)

    def say(self, **said: Any) -> bytes:
        before = self.doc.get_state()
        with self.doc.transaction():
            self.doc.get("meta", type=Map).update(said)
        return self.doc.get_update(before)


async def listed(here: World, document: DocumentId = DOCUMENT) -> tuple[Any, Any, Any]:
    info = await here.hub.journal.directory.info(document)
    return (None, None, None) if info is None else (info.title, info.kind, info.schema)


async def settled(here: World, document: DocumentId = DOCUMENT) -> None:
    await here.flushed(document)
    await until(lambda: here.hub.rooms[document]._metadata.is_idle)


async def test_mi2_a_title_gets_into_the_listing() -> None:
    async with world() as here:
        client, author = await here.yws(), Titled()
        client.update(author.say(title="Über 🦊", kind="document", schema=1))
        await settled(here)
        assert await listed(here) == ("Über 🦊", "document", 1)
        for number in range(5):
            client.update(author.say(title=f"t{number}"))
        await settled(here)
        assert await listed(here) == ("t4", "document", 1)


async def test_mi2_typing_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as here:
        client, titled, author = await here.yws(), Titled(), Author(6)
        client.update(titled.say(title="é"))
        client.update(author.type("a"))
        await settled(here)
        read: list[object] = []
        monkeypatch.setattr(metadata, "read_meta", read.append)
        for _ in range(30):
            client.update(author.type("🦊"))
        await settled(here)
        assert read == []


async def test_mi3_the_first_edit_in_a_room_has_it_read() -> None:
    async with world() as here:
        client, titled = await here.yws(), Titled()
        client.update(titled.say(title="é"))
        await settled(here)
        client.connection.closed(1000)
        here.hub.tick(1e12)
        await until(lambda: DOCUMENT not in here.hub.rooms)
        await here.hub.journal.directory.set_info(DOCUMENT, title="stale", kind=None)
        client = await here.yws()
        client.update(titled.say(other=1))
        await settled(here)
        assert await listed(here) == ("é", None, None)


async def test_a_document_without_meta_keeps_what_the_listing_says() -> None:
    async with world() as here:
        await here.hub.journal.directory.set_info(DOCUMENT, title="from the host app", kind="note")
        client, author = await here.yws(), Author(6)
        client.update(author.type("a"))
        await settled(here)
        client.connection.closed(1000)
        here.hub.tick(1e12)
        await until(lambda: DOCUMENT not in here.hub.rooms)
        assert await listed(here) == ("from the host app", "note", None)


async def test_mi4_a_journal_that_is_away_gets_it_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "AGAIN_S", 0.0)
    async with world() as here:
        client, titled = await here.yws(), Titled()
        client.update(titled.say(title="é"))
        await settled(here)
        real, failures = here.hub.journal.directory.set_info, []

        async def away(*args: Any, **kwargs: Any) -> None:
            if len(failures) < 3:
                failures.append(1)
                raise JournalUnavailableError("away")
            await real(*args, **kwargs)

        monkeypatch.setattr(here.hub.journal.directory, "set_info", away)
        client.update(titled.say(title="ü"))
        await settled(here)
        assert len(failures) == 3
        assert await listed(here) == ("ü", None, None)


async def test_mi5_what_was_not_noticed_is_mirrored_at_the_end() -> None:
    async with world() as here:
        client, titled, late = await here.yws(), Titled(5), Titled(900)
        first = titled.say(title="0")
        late.doc.apply_update(first)
        client.update(first)
        for number in range(12):  # more changes than are remembered
            client.update(titled.say(title=f"{number}"))
        await settled(here)
        client.update(late.say(title="of one who was offline"))
        await settled(here)
        client.connection.closed(1000)
        here.hub.tick(1e12)
        await until(lambda: DOCUMENT not in here.hub.rooms and not here.hub._closing)
        room = await here.hub.open(DOCUMENT)
        title = View(merge([room.document.base, *room.document.tail])).json()["meta"]["title"]
        here.hub.release(room)
        assert (await listed(here))[0] == title == "of one who was offline"


async def test_mi6_editors_that_have_become_outdated_are_ended() -> None:
    async with world() as here:
        old, new, silent = await here.yws(), await here.yws(), await here.yws()
        for client, schema in ((old, 1), (new, 2)):
            assert client.connection._dialect._session is not None
            client.connection._dialect._session.schema = schema
        titled = Titled()
        new.update(titled.say(schema=1))
        await settled(here)
        assert old.transport.closed is None
        new.update(titled.say(schema=2))
        await settled(here)
        assert old.transport.closed is not None
        assert old.transport.closed[0] == 4409
        assert new.transport.closed is None
        assert silent.transport.closed is None


async def test_mi6_the_first_edit_of_a_room_may_be_the_one_that_outdates() -> None:
    async with world() as here:
        first, titled = await here.yws(), Titled()
        first.update(titled.say(title="é", schema=1))
        await settled(here)
        first.connection.closed(1000)
        here.hub.tick(1e12)
        await until(lambda: DOCUMENT not in here.hub.rooms)
        old, new = await here.yws(), await here.yws()
        assert old.connection._dialect._session is not None
        old.connection._dialect._session.schema = 1
        new.update(titled.say(schema=2))
        await settled(here)
        assert old.transport.closed is not None
        assert old.transport.closed[0] == 4409


async def test_mi6_a_schema_that_grows_on_another_replica_ends_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_follower, "SPREAD_S", 0.0)
    async with cluster(2) as (_, (here, there)):
        old, new, titled = await here.yws(), await there.yws(), Titled()
        assert old.connection._dialect._session is not None
        old.connection._dialect._session.schema = 1
        new.update(titled.say(title="é", schema=1))
        await until(lambda: here.room._metadata._meta is not None and here.room._metadata.is_idle)
        assert old.transport.closed is None
        written: list[object] = []
        real = here.journal.directory.set_info

        async def note(*args: Any, **kwargs: Any) -> None:
            written.append(args)
            await real(*args, **kwargs)

        monkeypatch.setattr(here.journal.directory, "set_info", note)
        new.update(titled.say(schema=2))
        await until(lambda: old.transport.closed is not None)
        assert old.transport.closed is not None
        assert old.transport.closed[0] == 4409
        assert new.transport.closed is None
        await until(lambda: here.room._metadata.is_idle and there.room._metadata.is_idle)
        info = await there.journal.directory.info(DOCUMENT)
        assert info is not None
        assert info.schema == 2
        assert written == []  # MI1: by the one that took the edit
        with pytest.raises(SchemaError):
            await here.room.check_schema(1)


# -- edits of the server


async def test_ed1_everybody_in_the_room_gets_it() -> None:
    async with world() as here:
        client = await here.yws()
        await editing.change(here.hub, DOCUMENT, partial(set_meta, fields={"title": "né"}), author="zoë")
        updates = [m.update for m in map(ywebsocket.decode, client.transport.take()) if isinstance(m, Update)]
        assert View(merge(updates)).json() == {"meta": {"title": "né"}}
        loaded = await here.hub.journal.load(DOCUMENT)
        assert [edit.author for entry in loaded.entries for edit in entry.batch] == ["zoë"]
        assert await listed(here) == ("né", None, None)


async def test_ed2_a_large_document_is_edited_in_a_worker() -> None:
    async with world() as here:
        doc: Doc[Any] = Doc()
        doc.get("t", type=Text).insert(0, "é🦊" * 20_000)
        client = await here.yws()
        client.update(doc.get_update())
        await until(lambda: here.hub.rooms[DOCUMENT].document.size_bytes > 100_000)
        await editing.change(here.hub, DOCUMENT, partial(set_meta, fields={"title": "long"}), author=None)
        made = await editing.copy_of(here.hub, DOCUMENT, {"title": "long (copy)"})
        await editing.change(here.hub, OTHER, made, author="ana")
        assert (await listed(here), await listed(here, OTHER)) == (("long", None, None), ("long (copy)", None, None))
        room = await here.hub.open(OTHER)
        assert View(room.document.merged()).text("t") == "é🦊" * 20_000
        here.hub.release(room)


async def test_ed3_it_returns_when_it_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as here:
        await here.yws()
        here.store.hold()
        task = asyncio.create_task(
            editing.change(here.hub, DOCUMENT, partial(set_meta, fields={"title": "x"}), author=None)
        )
        for _ in range(50):
            await asyncio.sleep(0)
        assert not task.done()
        here.store.release()
        await task
        here.store.hold()
        monkeypatch.setattr(editing, "DURABLE_S", 0.01)
        with pytest.raises(JournalUnavailableError, match="was not stored"):
            await editing.change(here.hub, DOCUMENT, partial(set_meta, fields={"title": "y"}), author=None)


async def test_ed3_a_deletion_ends_the_wait() -> None:
    async with world() as here:
        client = await here.yws(EDIT)
        here.store.hold()
        task = asyncio.create_task(
            editing.change(here.hub, DOCUMENT, partial(set_meta, fields={"title": "x"}), author=None)
        )
        for _ in range(50):
            await asyncio.sleep(0)
        here.hub.deleted(DOCUMENT)
        with pytest.raises(DocumentDeletedError):
            await task
        assert client.transport.closed is not None
        assert client.transport.closed[0] == 4404


async def test_ed1_an_edit_that_is_there_already_is_durable_too() -> None:
    async with world() as here:
        made = make({"title": "é", "kind": "board", "schema": 1}, {"elements": {"a": {"m": {"type": "line"}}}})
        for _ in range(2):
            await editing.change(here.hub, DOCUMENT, lambda _parts: made, author=None)
        assert await listed(here) == ("é", "board", 1)
