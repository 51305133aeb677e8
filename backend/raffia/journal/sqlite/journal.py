"""The default journal: one SQLite file in the data folder, one connection, one thread that commits in groups.

The event loop's half: it stamps what is asked, puts it into the thread's queue, and gives futures their results.
The rules are those of `protocol`; `sqlite_writer` (rounds) and `sqlite_database` (durability) say how they are kept.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from raffia.errors import DocumentDeletedError, InternalError, JournalUnavailableError
from raffia.journal import history
from raffia.journal.follow import FOLLOW_ENTRIES, Followers
from raffia.journal.protocol import (
    RETENTION_MS,
    TRASH_MS,
    Clear,
    DocumentInfo,
    Entry,
    Followed,
    JournalStats,
    Links,
    Listing,
    Loaded,
    Revocations,
    Snapshot,
    Version,
    VersionInfo,
    Window,
    cleared,
)
from raffia.journal.search import Order, Where
from raffia.journal.sqlite import read as sqlite_read
from raffia.journal.sqlite import revoked as sqlite_revoked
from raffia.journal.sqlite import write as sqlite_write
from raffia.journal.sqlite.database import Connect, Database, Steps, connect
from raffia.journal.sqlite.listing import Pages
from raffia.journal.sqlite.stored import Stored, stored
from raffia.journal.sqlite.writer import Append, Call, Delivery, Item, Job, Stop, Writer
from raffia.types import Batch, DocumentId, Position, Revocation

QUEUE_BYTES = 256 * 1024 * 1024

T = TypeVar("T")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteJournal:
    """`Journal` in a data folder. Belongs to the event loop that entered it.

    Args:
        folder: made when it is not there.
        now_ms: the clock, Unix time in milliseconds.
        retention_ms: how long history is kept (J11); 0 keeps none.
        trash_ms: how long a deleted document can be restored (J14).
        fold: makes history segments small, see `history.Fold`; give one that uses another process for large documents.
        queue_bytes: more updates than this do not wait; further appends fail with `JournalUnavailableError`.
        follow_entries: how many entries may wait for one follower (J15).
        connect: opens the database file; a seam for tests of a failing disk.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        now_ms: Callable[[], int] = _now_ms,
        retention_ms: int = RETENTION_MS,
        trash_ms: int = TRASH_MS,
        fold: history.Fold = history.fold,
        queue_bytes: int = QUEUE_BYTES,
        follow_entries: int = FOLLOW_ENTRIES,
        connect: Connect = connect,
    ) -> None:
        self.folder = Path(folder)
        self.stats = JournalStats()
        self.is_shared = False  # one process holds the folder
        self.bus = None
        self._now_ms = now_ms
        self._retention_ms = retention_ms
        self._trash_ms = trash_ms
        self._fold = fold
        self._queue_bytes = queue_bytes
        self._connect = connect
        self._followers = Followers(follow_entries)
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._stamp = 0
        self._revoked = 0  # how often something was
        self._clear: Clear | None = None
        self._trouble: str | None = None  # why the last commit failed; None after one that did not
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Writer | None = None
        self._ended: asyncio.Future[None] | None = None

    # one lifecycle

    async def __aenter__(self) -> Self:
        """Open the folder and start the thread."""
        loop = self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        ended: asyncio.Future[None] = loop.create_future()

        def tell_opened(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(_settle, opened, error)

        def tell_ended() -> None:
            loop.call_soon_threadsafe(_settle, ended, None)

        def deliver(delivery: Delivery) -> None:
            loop.call_soon_threadsafe(self._delivered, delivery)

        self._queue = SimpleQueue()
        self._writer = Writer(Database(self.folder, self._connect), self._queue, deliver)
        # A daemon: an interpreter that ends without leaving us must not hang; what was acknowledged is on disk.
        threading.Thread(
            target=self._writer.run, args=(tell_opened, tell_ended), name="raffia-journal", daemon=True
        ).start()
        self._ended = ended
        try:
            await opened
        except (sqlite3.Error, OSError) as error:
            self._writer = None
            raise JournalUnavailableError(f"cannot open data folder {self.folder}: {error}") from error
        except BaseException:
            # Cancelled while it opens: the thread must not keep the folder. After an error there is nobody to stop.
            self._writer = None
            self._queue.put(Stop())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, checkpoint, end the thread (J17)."""
        if self._writer is None or self._ended is None:
            return
        self._writer = None
        self._queue.put(Stop())
        await asyncio.shield(self._ended)  # whoever else waits for it still hears of it when this wait is cancelled
        self._followers.end(JournalUnavailableError("the journal is closed"))

    async def healthy(self) -> None:
        """Ask the thread; after a failed commit, with a write."""
        if self._trouble is not None:
            await self._call(sqlite_write.probe)
        else:
            await self._job(sqlite_read.probe, writes=False)

    # appending

    def append(self, document: DocumentId, batch: Batch) -> asyncio.Future[Position]:
        """Queue a batch at once; a future, so that no task is needed to wait for it."""
        loop = self._loop or asyncio.get_running_loop()
        future: asyncio.Future[Position] = loop.create_future()
        stats = self.stats
        size = 0
        for edit in batch:
            size += len(edit.update)
        if self._writer is None or self._writer.ended:
            future.set_exception(JournalUnavailableError("the journal is closed"))
        elif not batch:
            future.set_exception(InternalError("an empty batch cannot be appended"))
        elif stats.queued_bytes + size > self._queue_bytes and stats.queued:
            # What is refused here was not taken: appends behind it must not be, either, until the caller knows (J6).
            # The caller knows at once, since its future is done.
            future.set_exception(
                JournalUnavailableError(
                    f"{stats.queued_bytes} bytes wait to be written; the limit is {self._queue_bytes}"
                )
            )
        else:
            stats.queued += 1
            stats.queued_bytes += size
            self._queue.put(Append(document, batch, future, size, self._stamp))
        return future

    def _delivered(self, delivery: Delivery) -> None:
        stats = self.stats
        self._stamp = max(self._stamp, delivery.refused_below)
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
                if error is None:
                    stats.appends += 1
                    stats.append_bytes += item.size
                    if item.document in self._followers:
                        self._followers.tell(item.document, Entry(value, item.batch))
            future = item.future
            if not future.done():  # its waiter may have been cancelled (J3)
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)

    # reading

    async def load(self, document: DocumentId) -> Loaded:
        """Read a document."""
        loaded = await self._job(lambda database: sqlite_read.load(database, document), writes=False)
        self.stats.loads += 1
        return loaded

    def follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        """Yield the entries after a position."""
        return self._followers.follow(document, after, self._after)

    async def _after(self, document: DocumentId, after: Position) -> tuple[Position, Loaded]:
        return await self._job(lambda database: sqlite_read.after(database, document, after), writes=False)

    # compaction and history

    async def compact(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
        """Fold entries into a snapshot and keep them as history.

        The thread reads and sorts the tail in slices; merging and squashing happens in `fold`, on no time of the
        thread's; the thread writes the result in slices.
        """
        now_ms, retention_ms = self._now_ms(), self._retention_ms
        tail = await self._job(
            lambda database: sqlite_read.tail(database, document, upto, retention_ms, now_ms), writes=False
        )
        if tail is None:
            return
        segments = [replace(segment, updates=await self._fold(segment.updates)) for segment in tail.segments]
        tail = replace(tail, segments=segments)
        done = await self._job(
            lambda database: sqlite_write.compact(
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

    async def stored(self, document: DocumentId) -> Stored:
        """Read all that is stored of a document, damaged or not; for `raffia check`."""
        return await self._job(lambda database: stored(database, document), writes=False)

    async def replace_all(self, document: DocumentId, snapshot: Snapshot) -> Position:
        """Put a snapshot in the place of all that is stored of a document, its history too; for `raffia check`."""
        return await self._job(lambda database: sqlite_write.replace_all(database, document, snapshot), writes=True)

    async def at(self, document: DocumentId, time_ms: int) -> list[bytes]:
        """Rebuild a moment."""
        return await self._job(lambda database: sqlite_read.at(database, document, time_ms), writes=False)

    async def history(self, document: DocumentId, since_ms: int = 0) -> list[Window]:
        """List who did something when."""
        return await self._job(lambda database: sqlite_read.windows(database, document, since_ms), writes=False)

    async def prune(self) -> None:
        """Drop what is past its retention."""
        now_ms = self._now_ms()
        await self._job(
            lambda database: sqlite_write.prune(database, self._retention_ms, self._trash_ms, now_ms), writes=True
        )
        await self._call(sqlite_revoked.prune(now_ms))
        if self._clear is None:
            return
        key = 0
        while found := await self._job(partial(sqlite_read.purged, key=key), writes=False):
            for key, document in found:
                if await cleared(self._clear, document):
                    await self._call(partial(sqlite_write.cleared, key=key))

    def on_purged(self, clear: Clear) -> None:
        """Say what removes what is kept elsewhere."""
        self._clear = clear

    # versions

    async def save_version(
        self, document: DocumentId, state: bytes, *, time_ms: int, authors: Sequence[str] = (), name: str | None = None
    ) -> VersionInfo:
        """Keep a state."""
        return await self._job(
            lambda database: sqlite_write.save_version(
                database, document, state, time_ms=time_ms, authors=authors, name=name
            ),
            writes=True,
        )

    async def versions(self, document: DocumentId) -> list[VersionInfo]:
        """List them, newest first."""
        return await self._job(lambda database: sqlite_read.versions(database, document), writes=False)

    async def version(self, document: DocumentId, version: int) -> Version:
        """Read one."""
        return await self._job(lambda database: sqlite_read.version(database, document, version), writes=False)

    async def rename_version(self, document: DocumentId, version: int, name: str | None) -> VersionInfo:
        """Name one."""
        return await self._call(sqlite_write.rename_version(document, version, name))

    async def delete_version(self, document: DocumentId, version: int) -> None:
        """Drop one."""
        await self._job(lambda database: sqlite_write.delete_version(database, document, version), writes=True)

    # listing and deletion

    async def set_info(
        self, document: DocumentId, *, title: str | None, kind: str | None, schema: int | None = None
    ) -> None:
        """Mirror title, kind and schema."""
        await self._call(sqlite_write.set_info(document, title, kind, schema, self._now_ms()))

    async def add_link(self, document: DocumentId, can: Literal["read", "edit"], time_ms: int) -> Links:
        """Note that there is a link."""
        return await self._call(sqlite_write.add_link(document, can, time_ms))

    async def reset_links(self, document: DocumentId) -> Links:
        """Begin a new generation."""
        return await self._call(sqlite_write.reset_links(document))

    async def info(self, document: DocumentId) -> DocumentInfo | None:
        """Look one up."""
        return await self._job(lambda database: sqlite_read.info(database, document), writes=False)

    async def documents(
        self,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = 100,
        deleted: bool = False,
        order: Order = "name",
        where: Where | None = None,
    ) -> Listing:
        """List them."""
        listing = Pages(prefix, deleted=deleted, order=order, where=where)
        return await self._job(lambda database: listing.page(database, after, limit), writes=False)

    async def delete(self, document: DocumentId) -> None:
        """Set the tombstone, behind every append that was called before."""
        await self._call(sqlite_write.delete(document, self._now_ms()))
        self._followers.end(DocumentDeletedError(f"document {document} was deleted"), document)

    async def restore(self, document: DocumentId) -> None:
        """Take the tombstone away."""
        await self._call(sqlite_write.restore(document))

    # revocations

    async def revoke(self, revocation: Revocation) -> None:
        """Keep a revocation."""
        await self._call(sqlite_revoked.revoke(revocation))
        self._revoked += 1

    async def revocations(self, mark: bytes | None = None) -> Revocations | None:
        """All that are kept."""
        now = str(self._revoked).encode()
        if mark == now:
            return None
        return Revocations(now, await self._job(sqlite_revoked.revocations, writes=False))

    def on_revoked(self, heard: Callable[[], None]) -> None:
        """Say who is told of others'; there are none."""

    # the way to the thread

    def _ask(self, item: Call | Job) -> None:
        if self._writer is None or self._writer.ended:
            raise JournalUnavailableError("the journal is closed")
        self._queue.put(item)

    async def _call(self, run: Callable[[Database], T]) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._ask(Call(run, future, self._stamp))
        return await future

    async def _job(self, start: Callable[[Database], Steps[T]], *, writes: bool) -> T:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._ask(Job(start, future, writes))
        return await future


def _settle(future: asyncio.Future[Any], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
