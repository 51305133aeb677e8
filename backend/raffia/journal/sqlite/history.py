"""The history in the database (J9, J10)."""

from __future__ import annotations

from raffia.journal import history
from raffia.journal.history import Segment, Splitter
from raffia.journal.protocol import Entry, History, Window
from raffia.journal.sqlite.database import Database, Steps
from raffia.journal.sqlite.read import Head, base_snapshots, check_segments, entries, segments_of, steady
from raffia.journal.sqlite.rows import SEALED, checked
from raffia.journal.sqlite.thread import DatabaseThread
from raffia.types import START, DocumentId


class SqliteHistory(History):
    """The history of the documents of one journal."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread

    async def at(self, document: DocumentId, time_ms: int) -> list[bytes]:
        """Rebuild a past state."""
        return await self._thread.job(lambda database: at(database, document, time_ms), writes=False)

    async def windows(self, document: DocumentId, since_ms: int = 0) -> list[Window]:
        """List who edited when."""
        return await self._thread.job(lambda database: windows(database, document, since_ms), writes=False)


def at(database: Database, document: DocumentId, time_ms: int) -> Steps[list[bytes]]:
    """Read the updates that merge to a past state (J9)."""

    def read(head: Head) -> Steps[list[bytes]]:
        check_segments(database, head)
        start = history.start_of(base_snapshots(database, head.key), time_ms)
        if start is None and head.complete_from:
            raise history.out_of_reach(document, time_ms)
        updates: list[bytes] = []
        position = START
        if start is not None:
            position = start.upto
            state, size = database.rows(
                "SELECT state, state_bytes FROM snapshots WHERE document = ? AND upto = ?", (head.key, position)
            )[0]  # `base_snapshots` has checked the row
            updates.append((yield from database.read_blob(head.key, state, size)))
        kept: dict[int, Segment] = {}
        yield from segments_of(
            database, head.key, from_ms=0, to_ms=history.window(time_ms), position=position, into=kept
        )
        for segment in kept.values():
            updates += segment.updates
        rest: list[Entry] = []
        yield from entries(database, head.key, head.folded.upto, head.last, rest.extend)
        return updates + history.updates_until(rest, head.folded.time_ms, time_ms)

    return (yield from steady(database, document, read))


def windows(database: Database, document: DocumentId, since_ms: int) -> Steps[list[Window]]:
    """List who edited when."""

    def read(head: Head) -> Steps[list[Window]]:
        check_segments(database, head)
        rows = database.rows(
            f"SELECT checksum, {SEALED['segments']} FROM segments WHERE document = ? AND window_ms >= ?",  # noqa: S608
            (head.key, since_ms),
        )
        found = []
        for row in rows:
            _, _, _, window_ms, author, _, size = checked("segments", "a part of the history", row)
            found.append(Window(window_ms, author, size))
        splitter = Splitter(head.folded.time_ms)
        yield from entries(database, head.key, head.folded.upto, head.last, splitter.add)
        return history.windows(found, splitter.segments(), since_ms)

    return (yield from steady(database, document, read))
