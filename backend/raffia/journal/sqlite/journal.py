"""The default journal: one SQLite file in the data folder, one connection, one thread that commits in groups.

This is the half that runs on the event loop. The rules are those of `raffia.journal.protocol`; `writer` (rounds) and
`database` (durability) say how they are kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from raffia.errors import InternalError, JournalUnavailableError
from raffia.journal import history
from raffia.journal.follow import FOLLOW_ENTRIES, LogReaders
from raffia.journal.passed_time import PassedTime, elapsed_ms, system_ms
from raffia.journal.protocol import (
    RETENTION_MS,
    TRASH_MS,
    Entry,
    Followed,
    Journal,
    JournalStats,
    Loaded,
    Snapshot,
)
from raffia.journal.sqlite import mend, passed_time, read, write
from raffia.journal.sqlite.database import Connect, connect
from raffia.journal.sqlite.directory import SqliteDirectory
from raffia.journal.sqlite.history import SqliteHistory
from raffia.journal.sqlite.links import SqliteShareLinks
from raffia.journal.sqlite.revocations import SqliteRevocations
from raffia.journal.sqlite.rows import DocumentRow, key_of
from raffia.journal.sqlite.stored import stored
from raffia.journal.sqlite.thread import DatabaseThread
from raffia.journal.sqlite.versions import SqliteVersions
from raffia.journal.sqlite.writer import Append, Delivery
from raffia.journal.stored import Stored
from raffia.runtime.disk import room_bytes
from raffia.types import Batch, DocumentId, Position

ROOM_BYTES = 64 * 1024  # as much has to be free after a failed commit: a single row may fit where no edit does
QUEUE_BYTES = 256 * 1024 * 1024


class SqliteJournal(Journal):
    """`Journal` in a data folder. Use it only from the event loop that entered it.

    Args:
        folder: created if it does not exist.
        now_ms: the system clock, Unix time in milliseconds.
        elapsed_ms: a monotonic clock, in milliseconds.
        retention_ms: how long history is kept (J11); 0 keeps none.
        trash_ms: how long a deleted document can be restored (J14).
        fold: makes segments smaller, see `history.Fold`; for large documents give one that uses another process.
        queue_bytes: largest queue, in bytes of updates; further appends fail with `JournalUnavailableError`.
        follow_entries: how many entries are queued for one reader (J15).
        connect: opens the database file; tests pass one that simulates a failing disk.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        now_ms: Callable[[], int] = system_ms,
        elapsed_ms: Callable[[], int] = elapsed_ms,
        retention_ms: int = RETENTION_MS,
        trash_ms: int = TRASH_MS,
        fold: history.Fold = history.fold,
        queue_bytes: int = QUEUE_BYTES,
        follow_entries: int = FOLLOW_ENTRIES,
        connect: Connect = connect,
    ) -> None:
        self.folder = Path(folder)
        self.stats = JournalStats()
        self.passed_time: PassedTime = PassedTime(now_ms, elapsed_ms)
        self._retention_ms = retention_ms
        self._trash_ms = trash_ms
        self._fold = fold
        self._queue_bytes = queue_bytes
        self._readers = LogReaders(follow_entries)
        self._trouble: str | None = None  # why the last commit failed; None after one that did not
        self._thread = DatabaseThread(self.folder, connect, self._delivered)
        self.history = SqliteHistory(self._thread)
        self.versions = SqliteVersions(self._thread)
        self.directory: SqliteDirectory = SqliteDirectory(self._thread, self._readers, self.passed_time.stamp_ms)
        self.links = SqliteShareLinks(self._thread)
        self.revocations: SqliteRevocations = SqliteRevocations(self._thread)

    async def __aenter__(self) -> Self:
        """Open the folder and start the thread."""
        await self._thread.start()
        self.passed_time.stored(await self._thread.job(passed_time.read, writes=False))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is queued, checkpoint, end the thread (J17)."""
        if await self._thread.stop():
            self._readers.end(JournalUnavailableError("the journal is closed"))

    async def healthy(self) -> None:
        """Ask the thread to read; after a failed commit, to write, which needs room for more than a single row."""
        if self._trouble is not None:
            if room_bytes(self.folder) < ROOM_BYTES:
                raise JournalUnavailableError(f"no room left for {self.folder}")
            await self._thread.call(write.probe)
        else:
            await self._thread.job(read.probe, writes=False)

    # appending

    def append(self, document: DocumentId, batch: Batch) -> asyncio.Future[Position]:
        """Queue a batch at once; returns a future, so that no task is needed to wait for it."""
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._append(document, batch, future)
        return future

    async def append_first(self, document: DocumentId, batch: Batch) -> Position | None:
        """Append a batch if the document has no entry yet."""
        future: asyncio.Future[Position | None] = asyncio.get_running_loop().create_future()
        self._append(document, batch, future, is_first=True)
        return await future

    def _append(
        self, document: DocumentId, batch: Batch, future: asyncio.Future[Any], *, is_first: bool = False
    ) -> None:
        stats, thread = self.stats, self._thread
        size = 0
        for edit in batch:
            size += len(edit.update)
        if thread.writer is None or thread.writer.ended:
            future.set_exception(JournalUnavailableError("the journal is closed"))
        elif not batch:
            future.set_exception(InternalError("an empty batch cannot be appended"))
        elif stats.queued_bytes + size > self._queue_bytes and stats.queued:
            # Appends after a refused one must be refused too, until the caller knows (J6). The caller knows at once,
            # since its future is done.
            future.set_exception(
                JournalUnavailableError(
                    f"{stats.queued_bytes} bytes are queued to be written; the limit is {self._queue_bytes}"
                )
            )
        else:
            stats.queued += 1
            stats.queued_bytes += size
            thread.queue.put(Append(document, batch, future, size, thread.stamp, is_first=is_first))

    def _delivered(self, delivery: Delivery) -> None:
        stats = self.stats
        self._thread.stamp = max(self._thread.stamp, delivery.refused_below)
        if delivery.failed:
            stats.failures += 1
            self._trouble = str(delivery.outcomes[0][2]) if delivery.outcomes else None
        elif delivery.commit_s is not None:
            self._trouble = None
            stats.committed(delivery.commit_s)
        for item, value, error in delivery.outcomes:
            if isinstance(item, Append):
                stats.queued -= 1
                stats.queued_bytes -= item.size
                if error is None and value is not None:
                    stats.appends += 1
                    stats.append_bytes += item.size
                    if item.document in self._readers:
                        self._readers.tell(item.document, Entry(value, item.batch))
            future = item.future
            if not future.done():  # the wait may have been cancelled (J3)
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)

    # reading

    async def load(self, document: DocumentId) -> Loaded:
        """Read a document."""
        loaded = await self._thread.job(lambda database: read.load(database, document), writes=False)
        self.stats.loads += 1
        return loaded

    def follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        """Yield the entries after a position."""
        return self._readers.follow(document, after, self._after)

    async def _after(self, document: DocumentId, after: Position) -> tuple[Position, Loaded]:
        return await self._thread.job(lambda database: read.after(database, document, after), writes=False)

    # compaction

    async def compact(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
        """Fold entries into a snapshot and keep them as history.

        The thread reads and sorts the tail in slices, `fold` merges and squashes elsewhere, and the thread writes the
        result in slices.
        """
        now_ms, retention_ms = self.passed_time.passed_ms(), self._retention_ms
        tail = await self._thread.job(
            lambda database: read.tail(database, document, upto, retention_ms, now_ms), writes=False
        )
        if tail is None:
            return
        segments = [replace(segment, updates=await self._fold(segment.updates)) for segment in tail.segments]
        tail = replace(tail, segments=segments)
        done = await self._thread.job(
            lambda database: write.compact(
                database,
                document,
                snapshot,
                upto=upto,
                tail=tail,
                horizon_ms=now_ms - retention_ms,
                keeps=retention_ms > 0,
            ),
            writes=True,
        )
        if done:
            self.stats.compactions += 1

    async def problems(self) -> list[str]:
        """Return the damage that only a rebuild of the file can repair; for `raffia check`."""
        return await self._thread.job(mend.problems, writes=False)

    async def names(self) -> list[DocumentId]:
        """Read the names of all documents that are not deleted; for `raffia check`."""
        return await self._thread.job(mend.names, writes=False)

    async def row(self, document: DocumentId) -> DocumentRow:
        """Read a document's row; for `raffia check`."""
        return await self._thread.call(lambda database: database.check_row(key_of(document)))

    async def mend(self, document: DocumentId) -> list[str]:
        """Correct single changed bits in a document's entries and blobs; for `raffia check`."""
        return await self._thread.job(lambda database: mend.mend(database, document), writes=True)

    async def damaged_versions(self, document: DocumentId) -> list[tuple[int, str]]:
        """Return the ids of a document's unreadable versions, each with the reason; for `raffia check`."""
        return await self._thread.job(lambda database: mend.damaged_versions(database, document), writes=False)

    async def drop_version(self, document: DocumentId, number: int) -> str:
        """Drop a version that cannot be read, for `raffia check`; returns what was dropped."""
        await self._thread.call(lambda database: mend.drop_version(database, number))
        return f"version {number}"

    async def stored(self, document: DocumentId) -> Stored:
        """Read what is stored for a document except its versions, damaged or not; for `raffia check`."""
        return await self._thread.job(lambda database: stored(database, document), writes=False)

    async def replace_all(self, document: DocumentId, snapshot: Snapshot) -> Position:
        """Replace a document's snapshot, entries and history with one snapshot; for `raffia check`."""
        return await self._thread.job(lambda database: write.replace_all(database, document, snapshot), writes=True)

    async def prune(self) -> None:
        """Drop expired history and revocations, and the content of documents deleted long ago."""
        claim = self.passed_time.claim()
        self.passed_time.stored(await self._thread.call(lambda database: passed_time.keep(database, claim)))
        now_ms = self.passed_time.passed_ms()
        await self._thread.job(
            lambda database: write.prune(database, self._retention_ms, self._trash_ms, now_ms), writes=True
        )
        await self.revocations.prune(now_ms, self.passed_time.now_ms())
        await self.directory.clear_purged()
