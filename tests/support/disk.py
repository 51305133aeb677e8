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
        code: SQLite's error code that matching statements fail with; None while all is well.
        on: what statements begin with to match.
        times: how many more of them fail; None for all.
        opened: connections opened so far.
        statements: what was executed on them.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.on: tuple[str, ...] = WRITES
        self.times: int | None = None
        self.opened = 0
        self.statements: list[str] = []

    def fail(self, code: int, *, on: tuple[str, ...] = WRITES, times: int | None = None) -> None:
        """From now on statements fail."""
        self.code, self.on, self.times = code, on, times

    def mend(self) -> None:
        """From now on they do not."""
        self.code = None

    def connect(self, path: Path) -> sqlite3.Connection:
        """Open the file as the journal does, with this disk under it."""
        self.opened += 1
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                disk.check(sql)
                return super().execute(sql, *values)

        return connect(path, factory=Connection)

    def check(self, sql: str) -> None:
        """Raise when it is this statement's turn to fail."""
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
