"""The SQLite journal keeps the contract, with a disk that is full or broken in the way of J6 and J7."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.disk import Disk

from raffia.journal import Journal
from raffia.journal.sqlite.database import Database
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.journal.sqlite.rows import key_of
from raffia.journal.testing.contract import Clock, IntegrityContract, JournalContract
from raffia.types import DocumentId


class TestSqliteJournal(JournalContract, IntegrityContract):
    code = sqlite3.SQLITE_FULL

    @pytest.fixture
    def disk(self) -> Disk:
        return Disk()

    @pytest.fixture
    async def journal(self, clock: Clock, disk: Disk, tmp_path: Path) -> AsyncIterator[Journal]:
        self.disk = disk
        async with SqliteJournal(
            tmp_path / "däta", now_ms=clock, elapsed_ms=clock.elapsed_ms, connect=disk.connect
        ) as journal:
            yield journal

    async def damage(self, journal: Journal, document: DocumentId) -> None:
        assert isinstance(journal, SqliteJournal)

        def change(database: Database) -> None:
            of = (key_of(document),)
            ((body,),) = database.rows("SELECT body FROM entries WHERE document = ? AND position = 1", of)
            changed = body[:-1] + bytes([body[-1] ^ 1])
            database.execute("UPDATE entries SET body = ? WHERE document = ? AND position = 1", (changed, *of))

        await journal._thread.call(change)

    def fail(self, journal: Journal) -> None:
        self.disk.fail(self.code)

    def mend(self, journal: Journal) -> None:
        self.disk.mend()


class TestSqliteJournalWithInputOutputErrors(TestSqliteJournal):
    code = sqlite3.SQLITE_IOERR | 4 << 8  # SQLITE_IOERR_FSYNC
