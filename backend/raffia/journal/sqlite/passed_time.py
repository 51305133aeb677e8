"""The time that has surely passed, in the database (PT1 of raffia.journal.passed_time)."""

from __future__ import annotations

from raffia.journal.passed_time import Claim
from raffia.journal.sqlite.database import Database, Steps

# Created when it is first needed: folders of earlier builds have none, and opening a folder writes nothing.
_TABLE = "CREATE TABLE IF NOT EXISTS passed_time (passed_ms INTEGER NOT NULL)"


def read(database: Database) -> Steps[int | None]:
    """Read it; None if there is none yet."""
    yield from ()
    return _stored(database)


def keep(database: Database, claim: Claim) -> int | None:
    """Keep what a process claims, and return what is kept now."""
    before_ms = _stored(database)
    kept_ms = claim.with_stored(before_ms)
    if kept_ms is not None and kept_ms != before_ms:
        database.execute(_TABLE)
        database.execute("DELETE FROM passed_time")
        database.execute("INSERT INTO passed_time (passed_ms) VALUES (?)", (kept_ms,))
    return kept_ms


def _stored(database: Database) -> int | None:
    if not database.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'passed_time'"):
        return None
    (latest,) = database.rows("SELECT max(passed_ms) FROM passed_time")[0]
    return None if latest is None else int(latest)
