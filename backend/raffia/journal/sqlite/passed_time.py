"""Stores the time that has certainly passed in the database (PT1 of raffia.journal.passed_time)."""

from __future__ import annotations

from raffia.journal.passed_time import Claim
from raffia.journal.sqlite.database import Database, Steps
from raffia.journal.sqlite.rows import is_whole, seal


def read(database: Database) -> Steps[int | None]:
    """Return the stored time; None if there is none, or if its row is damaged."""
    yield from ()
    return _stored(database)


def keep(database: Database, claim: Claim) -> int | None:
    """Store the time that a claim results in, and return it."""
    before_ms = _stored(database)
    kept_ms = claim.with_stored(before_ms)
    if kept_ms is not None and kept_ms != before_ms:
        database.execute("DELETE FROM passed_time")
        database.execute(
            "INSERT INTO passed_time (checksum, passed_ms) VALUES (?, ?)", (seal("passed_time", kept_ms), kept_ms)
        )
    return kept_ms


def _stored(database: Database) -> int | None:
    # A damaged row counts as missing: data may then be kept longer, but is never dropped early.
    rows = database.rows("SELECT checksum, passed_ms FROM passed_time")
    return max((int(passed_ms) for found, passed_ms in rows if is_whole("passed_time", found, passed_ms)), default=None)
