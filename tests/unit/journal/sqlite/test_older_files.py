"""Files of earlier builds of format 1 lack columns that were added since."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from raffia.journal.protocol import NO_LINKS
from raffia.journal.sqlite.database import _ADDED, DATABASE
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.journal.testing.contract import BEGIN_MS, DOCUMENT, edit
from raffia.types import DocumentId


def _age(path: Path) -> None:
    """Take away what was added; what remains is what an earlier build wrote."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP INDEX documents_edited")
        for name in _ADDED:
            connection.execute(f"ALTER TABLE documents DROP COLUMN {name}")
        connection.commit()


async def test_columns_are_added_and_everything_is_listed(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        for number in range(3):
            await journal.append(DocumentId(f"old/{number}"), (edit(b"\x00\x00", BEGIN_MS + number * 60_000),))
        await journal.directory.set_info(DocumentId("old/1"), title="é", kind="board")
    _age(tmp_path / DATABASE)
    async with SqliteJournal(tmp_path) as journal:
        page = await journal.directory.documents(order="edited")
        assert [info.document for info in page.documents] == ["old/2", "old/1", "old/0"]
        assert [(info.title, info.updated_by, info.schema, info.links) for info in page.documents[1:2]] == [
            ("é", None, None, NO_LINKS)
        ]
        await journal.append(DOCUMENT, (edit(b"\x00\x00", BEGIN_MS + 90_000, author="zoë"),))
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert info.updated_by == "zoë"


async def test_what_an_earlier_build_wrote_since_moves_up_in_the_listing(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        for number in range(2):
            await journal.append(DocumentId(f"old/{number}"), (edit(b"\x00\x00", BEGIN_MS + number * 60_000),))
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("UPDATE documents SET updated_ms = ? WHERE name = 'old/0'", (BEGIN_MS + 600_000,))
        connection.commit()
    async with SqliteJournal(tmp_path) as journal:
        assert [info.document for info in (await journal.directory.documents(order="edited")).documents] == [
            "old/0",
            "old/1",
        ]
