"""docs/formats.md says what is really stored."""

import contextlib
import re
import sqlite3
from pathlib import Path

from raffia.journal.entries import FORMAT as RECORD_FORMAT
from raffia.journal.entries import encode_batch
from raffia.journal.sqlite.database import APPLICATION_ID, DATABASE, FORMAT
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.journal.testing.contract import DOCUMENT, edit
from raffia.types import Edit

TEXT = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()


async def test_every_table_and_column_is_described(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            if table.startswith("sqlite_"):
                continue
            assert re.search(rf"^### .*`{table}`", TEXT, re.MULTILINE), f"table {table} is not described"
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})"):
                assert f"`{column}`" in TEXT or f"`{table}.{column}`" in TEXT, f"{table}.{column} is not described"


def test_the_formats_are_the_ones_in_the_code() -> None:
    assert f"| `PRAGMA user_version` of `raffia.sqlite` | {FORMAT} |" in TEXT
    assert f"| first byte of the record | {RECORD_FORMAT} |" in TEXT
    assert f"`0x{APPLICATION_ID:x}`" in TEXT


def test_the_example_of_a_batch_is_right() -> None:
    example = re.search(r"empty update `00 00`:\n\n```\n(.*)\n```", TEXT)
    assert example is not None
    assert encode_batch((Edit("é", 258, b"\x00\x00"),)).hex() == example[1].replace(" ", "")
