"""Revocations in the database (J21)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from raffia.journal.protocol import Revocations, RevocationStore, too_many_revocations
from raffia.journal.sqlite.database import Database, Steps
from raffia.journal.sqlite.rows import SEALED, checked, seal
from raffia.journal.sqlite.thread import DatabaseThread
from raffia.types import MAX_REVOCATIONS, Revocation, Revoked

_COLUMNS = SEALED["revocations"]


class SqliteRevocations(RevocationStore):
    """The revocations of one journal. No other process adds any, so `on_added` has nothing to do."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread
        self._added = 0

    async def add(self, revocation: Revocation) -> None:
        """Keep a revocation."""
        await self._thread.call(revoke(revocation))
        self._added += 1

    async def read(self, mark: bytes | None = None) -> Revocations | None:
        """Read all that are kept."""
        now = str(self._added).encode()
        if mark == now:
            return None
        return Revocations(now, await self._thread.job(revocations, writes=False))

    async def prune(self, now_ms: int) -> None:
        """Drop those that have expired."""
        await self._thread.call(prune(now_ms))


def revoke(revocation: Revocation) -> Callable[[Database], None]:
    """Keep a revocation."""

    def run(database: Database) -> None:
        key = (revocation.kind.value, revocation.subject)
        found = database.row(f"SELECT checksum, {_COLUMNS} FROM revocations WHERE kind = ? AND subject = ?", key)  # noqa: S608
        kept = revocation
        if found is not None:
            kept = revocation.merged(_checked(found))
        else:
            (count,) = database.rows("SELECT count(*) FROM revocations")[0]
            if count >= MAX_REVOCATIONS:
                raise too_many_revocations(count)
        database.execute(
            f"INSERT OR REPLACE INTO revocations (checksum, {_COLUMNS}) VALUES (?,?,?,?,?)",  # noqa: S608 - columns of ours
            (seal("revocations", *key, kept.before_ms, kept.until_ms), *key, kept.before_ms, kept.until_ms),
        )

    return run


def revocations(database: Database) -> Steps[list[Revocation]]:
    """Read all that are kept."""
    yield from ()
    rows = database.rows(f"SELECT checksum, {_COLUMNS} FROM revocations")  # noqa: S608 - columns of ours
    return [_checked(row) for row in rows]


def prune(now_ms: int) -> Callable[[Database], None]:
    """Drop those that have expired."""

    def run(database: Database) -> None:
        database.execute("DELETE FROM revocations WHERE until_ms <= ?", (now_ms,))

    return run


def _checked(row: tuple[Any, ...]) -> Revocation:
    """Read a row that begins with its checksum.

    Raises:
        QuarantinedError: it is damaged. None is left out silently: it would no longer be revoked.
    """
    kind, subject, before_ms, until_ms = checked("revocations", f"the revocation of {row[1]!r} {row[2]!r}", row)
    return Revocation(Revoked(kind), subject, before_ms, until_ms)
