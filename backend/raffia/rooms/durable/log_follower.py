"""Following a shared log: other replicas' entries on their way into a room.

Rules (tests quote these ids):
    LF1  Entries are taken in the order of the log. This replica's own entries come back too and are recognised by the
         identity of their batch.
    LF2  `position` is what a snapshot may cover: the document contains everything up to it. It does not advance while
         the log is being read, nor past an entry that has to wait or cannot be read.
    LF3  A `Gap` is handled like a `Reset`: entries that were trimmed meanwhile may have hidden a loss.
    LF4  After a `Reset` (the log was cut, or another Redis took over), or when an append is refused for that reason,
         the append queue holds and the log is read. The document takes what it lacks, and what the log lacks is
         appended in front of everything queued. Replicas do so after a random delay of up to `SPREAD_S`, so that
         usually only one of them writes it.
    LF5  While the journal is unavailable, the follower waits. A deleted or unreadable document ends it and the room.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from time import time_ns
from typing import Protocol

from raffia.crdt.merge import diff, merge
from raffia.crdt.update import read_update
from raffia.errors import (
    CrdtError,
    DocumentDeletedError,
    JournalUnavailableError,
    QuarantinedError,
    RaffiaError,
    UpdateError,
)
from raffia.journal import Entry, Folded, Followed, Gap, Loaded, Reset
from raffia.rooms.context import RoomContext
from raffia.rooms.durable.append_queue import AppendQueue
from raffia.rooms.durable.loading import rebuild
from raffia.runtime.jobs import Job
from raffia.runtime.logs import get_logger
from raffia.types import EMPTY_UPDATE, Edit, Position

log = get_logger("raffia.rooms.durable.log_follower")

SPREAD_S = 0.5
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 2.0


class Gate(Protocol):
    """Adds log entries to the document."""

    @property
    def is_complete(self) -> bool:
        """Whether the log is complete, that is, no entries are waiting for missing dependencies."""
        ...

    def take_from_log(self, updates: Sequence[bytes]) -> bool:
        """Take durable updates into the document; returns `is_complete`."""
        ...

    def log_was_cut(self) -> None:
        """Note that the log may no longer contain the entries that are waiting."""
        ...


def compare(
    loaded: Loaded, parts: Sequence[bytes], state_vector: bytes, *, keep_deleted: bool
) -> tuple[bytes, bytes | None]:
    """Compare a document with the log; pure, for a worker.

    Args:
        loaded: the log.
        parts: the document's base and tail.
        state_vector: the document's state vector.
        keep_deleted: as in the settings.

    Returns:
        An update of what the document lacks, and an update of what the log lacks; None when it lacks nothing.

    Raises:
        UpdateError, CrdtError: the log cannot be read.
    """
    snapshot = [loaded.snapshot.state] if loaded.snapshot is not None else []
    updates = [*snapshot, *(edit.update for entry in loaded.entries for edit in entry.batch)]
    whole = merge(updates) if len(updates) > 1 else updates[0] if updates else EMPTY_UPDATE
    news = diff(whole, state_vector)
    theirs, _ = rebuild(loaded, keep_deleted=keep_deleted)
    ours = merge(parts)
    return news, theirs.admit(ours, read_update(ours)).ready


class LogFollower:
    """Follows the log of one room's document.

    Args:
        context: the room.
        append_queue: the queue that holds while the log is read.
        gate: takes entries into the document.
        after: the position that was loaded.
    """

    __slots__ = (
        "_again",
        "_append_queue",
        "_cap",
        "_catching",
        "_document",
        "_gate",
        "_id",
        "_is_over",
        "_journal",
        "_last",
        "_metrics",
        "_rewrites",
        "_settings",
        "_task",
        "_unreadable",
        "_workers",
    )

    def __init__(self, context: RoomContext, append_queue: AppendQueue, gate: Gate, *, after: Position) -> None:
        services = context.services
        self._id = context.document_id
        self._document = context.document
        self._append_queue = append_queue
        self._gate = gate
        self._journal = services.journal
        self._workers = services.workers
        self._settings = services.settings
        self._metrics = services.metrics
        self._last = after
        self._cap: Position | None = None if gate.is_complete else Position(0)
        self._unreadable = False
        self._rewrites = False
        self._again = False
        self._is_over = False
        self._catching: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._follow())

    @property
    def position(self) -> Position:
        """The position up to which the document contains the log (LF2)."""
        # The cap is void once the log has been read and no entries wait any more.
        is_read = self._catching is None and not self._unreadable and not self._is_over
        return self._last if self._cap is None or (is_read and self._gate.is_complete) else self._cap

    @property
    def is_busy(self) -> bool:
        """Whether the log is being read after a `Gap` or a loss."""
        return self._catching is not None

    def log_lost(self) -> None:
        """Handle a refused append: the log lacks entries that this replica has seen (LF4)."""
        self._metrics.log_resets += not self._rewrites
        self._catch_up()

    async def _follow(self) -> None:
        while True:
            try:
                async for item in self._journal.follow(self._id, self._last):
                    self._heard(item)
            except JournalUnavailableError as error:
                log.warning("cannot follow the log", document=self._id, detail=str(error))
                await asyncio.sleep(LAST_RETRY_S)
            except RaffiaError as error:
                self._append_queue.lose(error)
                return
            except Exception as error:
                log.exception("following the log failed", document=self._id)
                self._append_queue.lose(JournalUnavailableError(f"following the log failed: {error}"))
                return

    def _heard(self, item: Followed) -> None:
        match item:
            case Entry(position, batch):
                if batch is not self._append_queue.batch:
                    self._append_queue.followed(batch)
                    self._metrics.followed_updates += len(batch)
                    self._taken([edit.update for edit in batch])
                self._last = position
            case Folded(upto):
                self._append_queue.folded_elsewhere(upto)
            case Gap(_, upto):
                self._metrics.log_gaps += 1
                self._catch_up()
                self._last = upto
            case Reset(position):
                self._metrics.log_resets += not self._rewrites
                self._catch_up()  # in this turn, before anything can be appended: the append queue holds
                self._last = position

    def _taken(self, updates: Sequence[bytes]) -> None:
        """Take updates into the document; if some cannot be taken, no snapshot may go past this position (LF2)."""
        before = self.position
        try:
            complete = self._gate.take_from_log(updates)
        except (UpdateError, CrdtError) as error:
            log.exception("an entry of the log cannot be read and is left out", document=self._id, detail=str(error))
            self._metrics.log_unreadable += 1
            self._unreadable = True
            complete = False
        if not complete:
            self._cap = before

    def _catch_up(self) -> None:
        self._cap = Position(0)  # the entries followed so far may be from a log that is gone
        self._again = self._rewrites = True
        self._append_queue.hold()
        self._gate.log_was_cut()
        if self._catching is None:
            self._start_reading()

    def _start_reading(self) -> None:
        self._catching = asyncio.create_task(self._read_log())
        self._catching.add_done_callback(self._caught_up)

    def _caught_up(self, task: asyncio.Task[None]) -> None:
        self._catching = None
        if task.cancelled():
            return
        if task.exception() is not None:
            log.error("reading the log failed", document=self._id, detail=repr(task.exception()))
            self._append_queue.lose(JournalUnavailableError(f"reading the log failed: {task.exception()}"))
        elif self._again and not self._is_over:
            self._start_reading()  # another loss was reported after the task had read the log

    async def _read_log(self) -> None:
        """Read the log until the document contains all of it; then queue what the log lacks (LF3, LF4)."""
        retry_s = FIRST_RETRY_S
        while self._again:
            self._append_queue.hold()
            await self._append_queue.quiet()
            await asyncio.sleep(random.uniform(0, SPREAD_S))  # noqa: S311 - a delay, no secret
            self._again = False
            try:
                loaded = await self._journal.load(self._id)
            except JournalUnavailableError as error:
                log.warning("log not read", document=self._id, detail=str(error), retry_s=retry_s)
                self._again = True
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
                continue
            except (DocumentDeletedError, QuarantinedError) as error:
                self._is_over = True
                self._append_queue.lose(error)
                return
            covered = self._append_queue.queued  # these are in the document already, and so in what the log lacks
            lacking = await self._reconcile(loaded)
            if not self._again:  # otherwise `loaded` may be from a log that is gone
                self._last = max(self._last, loaded.position)
                self._rewrites = False
                edit = None if lacking is None else Edit(None, time_ns() // 1_000_000, lacking)
                self._metrics.rewritten_bytes += 0 if lacking is None else len(lacking)
                self._append_queue.resume(edit, covered)

    async def _reconcile(self, loaded: Loaded) -> bytes | None:
        """Take what the document lacks; returns an update of what the log lacks, or None."""
        document = self._document
        parts, state_vector = (document.base, *document.tail), document.state_vector()
        snapshot_bytes = len(loaded.snapshot.state) if loaded.snapshot is not None else 0
        size = snapshot_bytes + sum(len(edit.update) for entry in loaded.entries for edit in entry.batch)
        keep_deleted = self._settings.keep_deleted
        if size + document.size_bytes > self._settings.worker_threshold_bytes:
            news, lacking = await self._workers.run_job(
                Job(size + document.size_bytes), compare, loaded, parts, state_vector, keep_deleted=keep_deleted
            )
        else:
            news, lacking = compare(loaded, parts, state_vector, keep_deleted=keep_deleted)
        self._unreadable = False
        if self._gate.take_from_log([news]) and not self._again:
            self._cap = None
        return lacking

    async def stop(self) -> None:
        """Stop following."""
        self._is_over = True
        tasks = [task for task in (self._task, self._catching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
