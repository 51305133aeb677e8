"""The directory: the listing and deletion (J13, J14, J22, JS1-JS4)."""

# A test's name says what it tests:
# ruff: noqa: D102

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from raffia.errors import DocumentDeletedError, ForbiddenError, LaterError, MalformedError
from raffia.journal.protocol import TRASH_MS, Journal, Snapshot
from raffia.journal.search import EDITED_MS, Order, Where
from raffia.journal.testing.contract.base import Contract
from raffia.journal.testing.contract.tools import (
    BEGIN_MS,
    DOCUMENT,
    OTHER,
    Clock,
    Typist,
    canonical,
    content,
    edit,
    take,
    updates_of,
)
from raffia.types import START, DocumentId


class DirectoryContract(Contract):
    """The contract of `Journal.directory`."""

    async def test_j13_the_listing_shows_what_there_is(self, journal: Journal, clock: Clock) -> None:
        typist = Typist(1)
        update = typist.type("é" * 100)
        position = await journal.append(DOCUMENT, (edit(update, BEGIN_MS + 1), edit(typist.type("x"), BEGIN_MS + 5)))
        await journal.directory.set_info(DOCUMENT, title="Über 🦊", kind="board")
        await journal.directory.set_info(OTHER, title=None, kind="document")
        journal = await self.reopen(journal)
        one, two = (await journal.directory.documents()).documents
        assert (one.document, one.title, one.kind) == (DOCUMENT, "Über 🦊", "board")
        assert (one.created_ms, one.updated_ms, one.deleted_ms) == (BEGIN_MS + 1, BEGIN_MS + 5, None)
        assert one.position == position
        assert one.tail_bytes >= len(update)
        assert one.snapshot_bytes == 0
        assert (two.document, two.title, two.position, two.created_ms) == (OTHER, None, START, clock.now_ms)
        await journal.compact(DOCUMENT, Snapshot(b"s" * 1000, b"i" * 24), position)
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert (info.snapshot_bytes, info.tail_bytes) == (1024, 0)

    async def test_j13_pages_by_name_and_prefix(self, journal: Journal) -> None:
        names = ["a", "a/1", "a/2", "a-1", "note:1", "note_1", "note.1", "z"]
        for name in names:
            await journal.append(DocumentId(name), (edit(b"\x00\x00"),))
        listed: list[str] = []
        after = ""
        while True:
            page = await journal.directory.documents(after=after, limit=3)
            assert page.total == len(names)
            assert len(page.documents) <= 3
            listed += [info.document for info in page.documents]
            if page.following is None:
                break
            after = page.following
        assert listed == sorted(names)
        assert [info.document for info in (await journal.directory.documents(prefix="a/")).documents] == ["a/1", "a/2"]
        assert (await journal.directory.documents(prefix="a/", after="a/1")).total == 2
        assert [info.document for info in (await journal.directory.documents(prefix="note_")).documents] == ["note_1"]
        for pattern in ("*", "%", "_", "?", "[a-z]", "n*", "note%"):
            assert (await journal.directory.documents(prefix=pattern)).total == 0, pattern

    async def test_j13_schema_and_author_are_listed(self, journal: Journal) -> None:
        await journal.append(DOCUMENT, (edit(b"\x00\x00", author="ana"), edit(b"\x00\x00", author="zoë 🦊")))
        await journal.directory.set_info(DOCUMENT, title="é", kind="document", schema=3)
        journal = await self.reopen(journal)
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert (info.updated_by, info.schema, info.title) == ("zoë 🦊", 3, "é")
        await journal.append(DOCUMENT, (edit(b"\x00\x00", author=None),))
        await journal.directory.set_info(DOCUMENT, title=None, kind="document", schema=None)
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert (info.updated_by, info.schema, info.title) == (None, None, None)

    async def test_js1_newest_first_and_pages_of_it(self, journal: Journal, clock: Clock) -> None:
        names = [DocumentId(f"d/{number:02}") for number in range(7)]
        for number, name in enumerate(names):
            # Two of each time: the cursor has to tell them apart.
            await journal.append(name, (edit(b"\x00\x00", BEGIN_MS + number // 2 * 60_000),))
        await journal.append(names[0], (edit(b"\x00\x00", BEGIN_MS + 3_600_000),))
        wanted = [names[0], *reversed(names[1:])]
        await self._listed(journal, wanted)
        pages, after = [], ""
        while True:
            page = await journal.directory.documents(order="edited", after=after, limit=2)
            assert page.total == len(names)
            pages += [info.document for info in page.documents]
            if page.following is None:
                break
            after = page.following
        assert pages == wanted
        for cursor in ("x", "12", "-5~a", "1e3~a", "9" * 20 + "~a"):
            with pytest.raises(MalformedError):
                await journal.directory.documents(order="edited", after=cursor)
        clock.advance(1000)
        await journal.directory.delete(names[3])
        clock.advance(1000)
        await journal.directory.delete(names[1])
        await self._listed(journal, [name for name in wanted if name not in (names[1], names[3])])
        gone = await journal.directory.documents(order="edited", deleted=True)
        assert [info.document for info in gone.documents] == [names[1], names[3]]
        await journal.directory.restore(names[3])
        await self._listed(journal, [name for name in wanted if name != names[1]])
        journal = await self.reopen(journal)
        await self._listed(journal, [name for name in wanted if name != names[1]])

    @staticmethod
    async def _listed(journal: Journal, wanted: list[DocumentId]) -> None:
        """Wait for an order by time, which may lag (JS1)."""
        async with asyncio.timeout(2 * EDITED_MS / 1000):
            while [info.document for info in (await journal.directory.documents(order="edited")).documents] != wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # there is no event to wait for

    @pytest.mark.parametrize("order", ["name", "edited"])
    async def test_js4_search_by_title_kind_and_permission(self, journal: Journal, order: Order) -> None:
        titles = {"a": "Über Füchse 🦊", "b": "ueber", "c/1": "ÜBER ALLES", "c/2": None, "d": "straße", "e": "x%_*"}
        for name, title in titles.items():
            kind = "board" if name == "a" else "document"
            await journal.append(DocumentId(name), (edit(b"\x00\x00"),))
            await journal.directory.set_info(DocumentId(name), title=title, kind=kind)

        async def found(**where: Any) -> set[str]:
            page = await journal.directory.documents(order=order, where=Where(**where))
            assert page.total == len(page.documents)
            assert page.following is None
            return {info.document for info in page.documents}

        assert await found(search="über") == {"a", "c/1"}
        assert await found(search="STRASSE") == {"d"}
        assert await found(search="c/") == {"c/2"}  # by its name: it has no title
        assert await found(search="%") == {"e"}
        assert await found(search="🦊", kind="document") == set()
        assert await found(kind="board") == {"a"}
        assert await found(allowed=lambda name: name.startswith("c/")) == {"c/1", "c/2"}
        assert await found() == set(titles)
        assert {info.document for info in (await journal.directory.documents(order=order, prefix="c/")).documents} == {
            "c/1",
            "c/2",
        }

    @pytest.mark.parametrize("order", ["name", "edited"])
    async def test_js3_one_call_looks_at_so_many(self, journal: Journal, order: Order) -> None:
        for number in range(12):
            await journal.append(DocumentId(f"{number:02}"), (edit(b"\x00\x00", BEGIN_MS + number),))
        seen: list[str] = []
        pages, after = 0, ""
        where = Where(allowed=lambda name: name in {"03", "05", "11"}, most=5)
        while True:
            page = await journal.directory.documents(order=order, where=where, after=after, limit=2)
            pages += 1
            seen += [info.document for info in page.documents]
            if page.following is None:
                break
            after = page.following
        assert sorted(seen) == ["03", "05", "11"]
        assert len(seen) == len(set(seen))
        assert 3 <= pages <= 5

    @pytest.mark.parametrize("order", ["name", "edited"])
    async def test_js2_a_page_ends_with_the_last_that_is_shown(self, journal: Journal, order: Order) -> None:
        for number, name in enumerate(["a/1", "b/secret", "c/secret", "d/secret", "e/1"]):
            await journal.append(DocumentId(name), (edit(b"\x00\x00", BEGIN_MS + number),))
        where = Where(allowed=lambda name: not name.endswith("secret"))
        page = await journal.directory.documents(order=order, where=where, limit=1)
        (shown,) = page.documents
        assert page.following is not None
        assert page.following.endswith(shown.document)
        where = Where(allowed=where.allowed, most=3)  # which ends the page before there is another one
        assert (await journal.directory.documents(order=order, where=where, limit=2)).following == page.following
        where = Where(allowed=where.allowed)
        page = await journal.directory.documents(order=order, where=where, limit=1, after=page.following)
        assert {shown.document, page.documents[0].document} == {"a/1", "e/1"}
        assert page.following is None

    async def test_j14_a_tombstone_is_durable_and_closes_every_way_in(self, journal: Journal, clock: Clock) -> None:
        position = await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        waiting = journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        await journal.directory.delete(DOCUMENT)
        assert await waiting > position  # it was called before
        clock.advance(1000)
        await journal.directory.delete(DOCUMENT)
        for _ in range(2):
            for attempt in (
                journal.append(DOCUMENT, (edit(b"\x00\x00"),)),
                journal.load(DOCUMENT),
                journal.compact(DOCUMENT, Snapshot(b"", b""), position),
                journal.directory.set_info(DOCUMENT, title="x", kind=None),
                take(journal.follow(DOCUMENT, START), 1),
            ):
                with pytest.raises(DocumentDeletedError):
                    await attempt
            assert (await journal.directory.documents()).documents == []
            (gone,) = (await journal.directory.documents(deleted=True)).documents
            assert (gone.document, gone.deleted_ms) == (DOCUMENT, BEGIN_MS)
            journal = await self.reopen(journal)

    async def test_j14_restored_as_it_was(self, journal: Journal, clock: Clock) -> None:
        typist = Typist(1)
        update = typist.type("né")
        position = await journal.append(DOCUMENT, (edit(update),))
        before = await journal.directory.info(DOCUMENT)
        await journal.directory.delete(DOCUMENT)
        clock.advance(TRASH_MS - 1)
        await journal.prune()
        await journal.directory.restore(DOCUMENT)
        assert await journal.directory.info(DOCUMENT) == before
        assert await content(journal) == canonical([update])
        assert await journal.append(DOCUMENT, (edit(typist.type("x")),)) > position
        await journal.directory.restore(DOCUMENT)
        with pytest.raises(ForbiddenError):
            await journal.directory.restore(DocumentId("nobody"))

    async def test_j14_the_tombstone_outlives_the_purge(self, journal: Journal, clock: Clock) -> None:
        typist = Typist(1)
        update = typist.type("é" * 1000)
        position = await journal.append(DOCUMENT, (edit(update),))
        await journal.compact(DOCUMENT, Snapshot(update, b"i"), position)
        await journal.append(DOCUMENT, (edit(typist.type("tail")),))
        await journal.directory.set_info(DOCUMENT, title="secret", kind=None)
        await journal.directory.delete(DOCUMENT)
        clock.advance(TRASH_MS)
        await journal.prune()
        await journal.prune()
        journal = await self.reopen(journal)
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert info.purged
        assert (info.title, info.snapshot_bytes, info.tail_bytes, info.history_bytes) == (None, 0, 0, 0)
        assert (await journal.directory.documents(deleted=True)).documents == []
        with pytest.raises(DocumentDeletedError):
            await journal.directory.restore(DOCUMENT)
        with pytest.raises(DocumentDeletedError):
            await journal.append(DOCUMENT, (edit(typist.type("zombie")),))

    async def test_j14_what_is_restored_while_others_are_purged_stays(self, journal: Journal, clock: Clock) -> None:
        names = [DocumentId(f"n{number:02}") for number in range(30)]
        update = Typist(1).type("é🦊")
        for name in names:
            await journal.append(name, (edit(update),))
            await journal.directory.delete(name)
        clock.advance(TRASH_MS)
        pruning = asyncio.create_task(journal.prune())
        await asyncio.sleep(0)
        restored = []
        for name in reversed(names):
            try:
                await journal.directory.restore(name)
            except DocumentDeletedError:
                continue  # too late
            restored.append(name)
        await pruning
        for name in restored:
            loaded = await journal.load(name)
            assert updates_of(loaded.entries) == [update]
            info = await journal.directory.info(name)
            assert info is not None
            assert not info.purged

    async def test_j22_what_is_kept_elsewhere_goes_after_the_purge(self, journal: Journal, clock: Clock) -> None:
        told: list[DocumentId] = []
        failing = {DOCUMENT}

        async def clear(document: DocumentId) -> None:
            info = await journal.directory.info(document)
            assert info is not None
            assert info.purged  # it can no longer be restored
            told.append(document)
            if document in failing:
                raise LaterError("the store of files is away")

        journal.directory.on_purged(clear)
        for name in (DOCUMENT, OTHER, "living", "restored"):
            await journal.append(DocumentId(name), (edit(b"\x00\x00"),))
            if name != "living":
                await journal.directory.delete(DocumentId(name))
        clock.advance(TRASH_MS - 1)
        await journal.directory.restore(DocumentId("restored"))
        await journal.prune()
        assert told == []
        clock.advance(1)
        await journal.prune()
        assert sorted(told) == sorted((DOCUMENT, OTHER))
        journal = await self.reopen(journal)
        journal.directory.on_purged(clear)
        told.clear()
        failing.clear()
        await journal.prune()
        await journal.prune()
        assert told == [DOCUMENT]

    async def test_j14_what_was_never_there_can_be_deleted(self, journal: Journal) -> None:
        await journal.directory.delete(DocumentId("early"))
        with pytest.raises(DocumentDeletedError):
            await journal.append(DocumentId("early"), (edit(b"\x00\x00"),))
