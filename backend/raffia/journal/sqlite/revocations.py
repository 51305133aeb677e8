"""Revocations in the database (J21)."""

from __future__ import annotations

from collections.abc import Callable

from raffia.journal.protocol import Revocations, RevocationStore, too_many_revocations
from raffia.journal.sqlite.database import Database, Steps
from raffia.journal.sqlite.thread import DatabaseThread
from raffia.types import MAX_REVOCATIONS, RECHECKS, Revocation, Revoked

# Created when it is first needed: folders of earlier builds have none, and opening a folder writes nothing.
_TABLE = """CREATE TABLE IF NOT EXISTS revocations (
    kind      TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    before_ms INTEGER NOT NULL,
    until_ms  INTEGER,
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID"""
_COLUMNS = "kind, subject, before_ms, until_ms"
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
        counts: how many there are of each kind, at most; counting the rows for each of thousands takes long. A write
            that is rolled back leaves a number that is too large, so the rows are counted before one is refused.
    """

    def run(database: Database) -> None:
        database.execute(_TABLE)
        key = (revocation.kind.value, revocation.subject)
        found = database.row(f"SELECT {_COLUMNS} FROM revocations WHERE kind = ? AND subject = ?", key)  # noqa: S608
        kept = revocation
        if found is not None:
            kept = revocation.merged(_of(*found))
        else:
            kind, most = revocation.kind, MAX_REVOCATIONS[revocation.kind]
            if kind not in counts or counts[kind] >= most:
                counts[kind] = database.rows("SELECT count(*) FROM revocations WHERE kind = ?", (kind.value,))[0][0]
            if counts[kind] >= most:
                raise too_many_revocations(kind, counts[kind])
            counts[kind] += 1
        database.execute(
            f"INSERT OR REPLACE INTO revocations ({_COLUMNS}) VALUES (?,?,?,?)",  # noqa: S608 - columns of ours
            (*key, kept.before_ms, kept.until_ms),
        )

    return run


def revocations(database: Database) -> Steps[list[Revocation]]:
    """Read all that are kept."""
    yield from ()
    if not _is_there(database):
        return []
    known = {kind.value for kind in Revoked}
    found: list[Revocation] = []
    after = ("", "")
    sql = f"SELECT {_COLUMNS} FROM revocations WHERE (kind, subject) > (?, ?) ORDER BY kind, subject LIMIT ?"  # noqa: S608
    while rows := database.rows(sql, (*after, _ROWS)):
        found += [_of(*row) for row in rows if row[0] in known]
        after = rows[-1][:2]
        yield
    return found


def prune(passed_ms: int, now_ms: int, counts: dict[Revoked, int]) -> Callable[[Database], None]:
    """Drop those that have expired."""

    def run(database: Database) -> None:
        if _is_there(database):
            database.execute("DELETE FROM revocations WHERE until_ms <= ?", (passed_ms,))
            for kind in RECHECKS:
                database.execute("DELETE FROM revocations WHERE kind = ? AND until_ms <= ?", (kind.value, now_ms))
        counts.clear()

    return run


def _is_there(database: Database) -> bool:
    return bool(database.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'revocations'"))


def _of(kind: str, subject: str, before_ms: int, until_ms: int | None) -> Revocation:
    return Revocation(Revoked(kind), subject, before_ms, until_ms)
