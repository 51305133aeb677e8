"""Revocations in the database (J21)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from raffia.journal.protocol import Revocations, RevocationStore, too_many_revocations
from raffia.journal.sqlite.database import Database, Steps
from raffia.journal.sqlite.rows import SEALED, checked, seal
from raffia.journal.sqlite.thread import DatabaseThread
from raffia.types import MAX_REVOCATIONS, RECHECKS, Revocation, Revoked

_COLUMNS = SEALED["revocations"]
_ROWS = 500  # read in one slice


class SqliteRevocations(RevocationStore):
    """The revocations of one journal. No other process adds any, so `on_added` has nothing to do."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread
        self._added = 0
        self._counts: dict[Revoked, int] = {}  # at least as many as there are; changed by the thread only

    async def add(self, revocation: Revocation) -> None:
        """Keep a revocation."""
        await self._thread.call(revoke(revocation, self._counts))
        self._added += 1

    async def read(self, mark: bytes | None = None) -> Revocations | None:
        """Read all that are kept."""
        now = str(self._added).encode()
        if mark == now:
            return None
        return Revocations(now, await self._thread.job(revocations, writes=False))

    async def prune(self, passed_ms: int, now_ms: int) -> None:
        """Drop those that have expired, see `is_over`."""
        await self._thread.call(prune(passed_ms, now_ms, self._counts))


def revoke(revocation: Revocation, counts: dict[Revoked, int]) -> Callable[[Database], None]:
    """Keep a revocation.

    Args:
        revocation: the revocation.
        counts: upper bounds of the number of each kind, because counting the rows each time is slow. A rollback leaves
            a bound too high, so the rows are counted before a revocation is refused.
    """

    def run(database: Database) -> None:
        key = (revocation.kind.value, revocation.subject)
        found = database.row(f"SELECT checksum, {_COLUMNS} FROM revocations WHERE kind = ? AND subject = ?", key)  # noqa: S608
        kept = revocation
        if found is not None:
            kept = revocation.merged(_checked(found))
        else:
            kind, most = revocation.kind, MAX_REVOCATIONS[revocation.kind]
            if kind not in counts or counts[kind] >= most:
                counts[kind] = database.rows("SELECT count(*) FROM revocations WHERE kind = ?", (kind.value,))[0][0]
            if counts[kind] >= most:
                raise too_many_revocations(kind, counts[kind])
            counts[kind] += 1
        database.execute(
            f"INSERT OR REPLACE INTO revocations (checksum, {_COLUMNS}) VALUES (?,?,?,?,?)",  # noqa: S608 - columns of ours
            (seal("revocations", *key, kept.before_ms, kept.until_ms), *key, kept.before_ms, kept.until_ms),
        )

    return run


def revocations(database: Database) -> Steps[list[Revocation]]:
    """Read all that are kept."""
    yield from ()
    known = {kind.value for kind in Revoked}
    found: list[Revocation] = []
    after = ("", "")
    sql = (
        f"SELECT checksum, {_COLUMNS} FROM revocations WHERE (kind, subject) > (?, ?) "  # noqa: S608 - columns of ours
        "ORDER BY kind, subject LIMIT ?"
    )
    while rows := database.rows(sql, (*after, _ROWS)):
        found += [_checked(row) for row in rows if row[1] in known]
        after = rows[-1][1:3]
        yield
    return found


def prune(passed_ms: int, now_ms: int, counts: dict[Revoked, int]) -> Callable[[Database], None]:
    """Drop those that have expired."""

    def run(database: Database) -> None:
        database.execute("DELETE FROM revocations WHERE until_ms <= ?", (passed_ms,))
        for kind in RECHECKS:
            database.execute("DELETE FROM revocations WHERE kind = ? AND until_ms <= ?", (kind.value, now_ms))
        counts.clear()

    return run


def _checked(row: tuple[Any, ...]) -> Revocation:
    """Read a row that begins with its checksum.

    Raises:
        QuarantinedError: it is damaged; leaving it out would undo the revocation.
    """
    kind, subject, before_ms, until_ms = checked("revocations", f"the revocation of {row[1]!r} {row[2]!r}", row)
    return Revocation(Revoked(kind), subject, before_ms, until_ms)
