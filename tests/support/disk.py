"""A disk that fails on demand, under the SQLite journal: pass `Disk().connect` as `connect`."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from raffia.journal.sqlite.database import connect

WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT", "BEGIN")


class Disk:
    """Opens connections whose statements can be made to fail.

    Attributes:
        code: the SQLite error code with which matching statements fail; None while the disk works.
        on: the prefixes of statements that match.
        times: how many more of them fail; None means all.
        opened: connections opened so far.
        statements: the statements executed on them.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.on: tuple[str, ...] = WRITES
        self.times: int | None = None
        self.opened = 0
        self.statements: list[str] = []

    def fail(self, code: int, *, on: tuple[str, ...] = WRITES, times: int | None = None) -> None:
        """Make statements fail from now on."""
        self.code, self.on, self.times = code, on, times

    def mend(self) -> None:
        """Make statements succeed again."""
        self.code = None

    def connect(self, path: Path) -> sqlite3.Connection:
        """Open the file as the journal does, on this disk."""
        self.opened += 1
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                disk.check(sql)
                return super().execute(sql, *values)

        return connect(path, factory=Connection)

    def check(self, sql: str) -> None:
        """Raise if this statement is to fail."""
        self.statements.append(sql)
        if self.code is None or not sql.startswith(self.on):
            return
        if self.times is not None:
            if not self.times:
                return
            self.times -= 1
        error = sqlite3.OperationalError(f"disk fails with {self.code}")
        error.sqlite_errorcode = self.code
        raise error
