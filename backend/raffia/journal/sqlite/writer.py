"""The thread of the SQLite journal: it alone uses the database, in rounds.

Rules:
    SW1  A round is: all queued appends in one transaction; then their acknowledgements, in one call into the event
         loop; then about 2 ms of reading and one slice (about 1 MiB) of long writing. So an append waits for at most
         one round of other work, however many loads there are.
    SW2  Every outcome is reported. What is not committed fails with `JournalUnavailableError`, as does everything
         called before the event loop knew of the failure (J6): each call carries the stamp of the last failure known
         when it was made.
    SW3  Disk full: the connection stays open, the WAL is moved into the file to make room, and the next call tries
         again. A damaged page (SW6) changes nothing. Any other disk error: the connection is closed, and the next call
         opens a new one.
    SW4  A long write that fails does not fail other items.
    SW5  Neither does a bug in Raffia (a batch that cannot be encoded, a row that cannot be read): it is logged, and
         that item fails with `InternalError`. Only disk errors affect the others.
    SW6  A damaged page fails the items of the documents on it (`QuarantinedError`); it does not count as a disk error.
         When a commit meets one, each document's items are written separately.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any

from raffia.errors import InternalError, JournalUnavailableError, QuarantinedError, RaffiaError
from raffia.journal.entries import encode_batch
from raffia.journal.search import EDITED_MS
from raffia.journal.sqlite.database import DATABASE, Database, Steps, is_corrupt
from raffia.journal.sqlite.rows import seal_entry
from raffia.runtime.logs import get_logger
from raffia.types import START, Batch, DocumentId, Position

log = get_logger("raffia.journal")

READ_S = 0.002
CHECKPOINT_BYTES = 4 * 1024 * 1024
IDLE_CHECKPOINT_BYTES = 512 * 1024
IDLE_S = 1.0
_ROWS = 64  # appends in one statement

_COLUMNS = 5
_INSERT = "INSERT INTO entries (document, position, checksum, time_ms, body) VALUES "
_INSERTS = {count: _INSERT + ",".join(["(?,?,?,?,?)"] * count) for count in range(1, _ROWS + 1)}


class Append:
    """A batch to be made durable."""

    __slots__ = ("batch", "document", "future", "is_first", "size", "stamp")

    def __init__(
        self,
        document: DocumentId,
        batch: Batch,
        future: asyncio.Future[Any],
        size: int,
        stamp: int,
        *,
        is_first: bool = False,
    ) -> None:
        self.is_first = is_first  # whether it is appended only to a document without entries (J24)
        self.document = document
        self.batch = batch
        self.future = future
        self.size = size
        self.stamp = stamp


class Call:
    """A short write in the same transaction as the appends around it. If the function raises, it writes nothing."""

    __slots__ = ("future", "run", "size", "stamp")

    def __init__(self, run: Callable[[Database], Any], future: asyncio.Future[Any], stamp: int) -> None:
        self.run = run
        self.future = future
        self.stamp = stamp
        self.size = 0


class Job:
    """Long work in slices."""

    __slots__ = ("future", "start", "steps", "writes")

    def __init__(self, start: Callable[[Database], Steps[Any]], future: asyncio.Future[Any], writes: bool) -> None:
        self.start = start
        self.future = future
        self.writes = writes
        self.steps: Steps[Any] | None = None


class Stop:
    """Ends the thread; the last item in the queue."""

    __slots__ = ()


Item = Append | Call | Job | Stop
Outcome = tuple[Append | Call | Job, Any, RaffiaError | None]


class Delivery:
    """What one round reports to the event loop.

    Attributes:
        outcomes: item, result, error.
        commit_s: duration of the commit in seconds; None if there was none.
        failed: whether the outcomes are those of a failed commit.
        refused_below: calls with an older stamp than this have failed (SW2).
    """

    __slots__ = ("commit_s", "failed", "outcomes", "refused_below")

    def __init__(self, outcomes: list[Outcome], commit_s: float | None, failed: bool, refused_below: int) -> None:
        self.outcomes = outcomes
        self.commit_s = commit_s
        self.failed = failed
        self.refused_below = refused_below


class Writer:
    """The thread's state.

    Args:
        database: not open yet; from now on used by this thread only.
        queue: where the event loop puts items.
        deliver: hands a `Delivery` to the event loop; safe to call from this thread.

    Attributes:
        ended: whether the thread has ended; items queued from then on are ignored.
    """

    def __init__(self, database: Database, queue: SimpleQueue[Item], deliver: Callable[[Delivery], None]) -> None:
        self._database = database
        self._queue = queue
        self._deliver = deliver
        self._writes: list[Append | Call] = []
        self._reads: deque[Job] = deque()
        self._long: deque[Job] = deque()
        self._stopping = False
        self._refused_below = 0
        self.ended = False

    def run(self, opened: Callable[[BaseException | None], None], ended: Callable[[], None]) -> None:
        """Open the database, report the result, process items until stopped, and report the end."""
        try:
            self._database.open()
        except (RaffiaError, sqlite3.Error, OSError) as error:
            opened(error)
            return
        opened(None)
        try:
            while not self._stopping or self._writes or self._reads or self._long or not self._queue.empty():
                self._round()
            self._database.close()
        finally:  # an error here is a bug of Raffia; its traceback goes to threading.excepthook
            self.ended = True
            self._database.abandon()
            self._give_up()
            ended()

    def _round(self) -> None:
        self._take()
        if self._writes:
            self._commit(self._writes)
            self._writes = []
        if self._reads:
            self._read()
        if self._long:
            self._write()
        if self._database.wal_bytes > CHECKPOINT_BYTES:
            self._checkpoint()

    def _take(self) -> None:
        queue = self._queue
        if not (self._reads or self._long or self._stopping):
            try:
                self._sort(queue.get(timeout=IDLE_S if self._database.wal_bytes > IDLE_CHECKPOINT_BYTES else None))
            except Empty:
                self._checkpoint()
                return
        while not queue.empty():
            self._sort(queue.get())

    def _sort(self, item: Item) -> None:
        if isinstance(item, Append | Call):
            self._writes.append(item)
        elif isinstance(item, Job):
            (self._long if item.writes else self._reads).append(item)
        else:
            self._stopping = True

    # commits

    def _commit(self, writes: list[Append | Call]) -> None:
        if writes[0].stamp < self._refused_below:  # stamps only grow
            stale = [item for item in writes if item.stamp < self._refused_below]
            self._refuse(stale, "a write before it failed", failed=False)
            writes = writes[len(stale) :]
            if not writes:
                return
        began = perf_counter()
        try:
            self._ready()
            self._database.trust()
            outcomes = self._transact(writes)
        except (sqlite3.Error, OSError) as error:
            if is_corrupt(error) and self._apart(writes, error):
                return
            self._refused_below = writes[-1].stamp + 1
            self._refuse(writes, self._fail(error), failed=True)
            return
        self._deliver(Delivery(outcomes, perf_counter() - began, False, self._refused_below))

    def _apart(self, writes: list[Append | Call], error: Exception) -> bool:
        """Write each document's items separately; return whether that made a difference (SW6)."""
        self._fail(error)
        groups: dict[object, list[Append | Call]] = {}
        for item in writes:
            groups.setdefault(item.document if isinstance(item, Append) else item, []).append(item)
        if len(groups) == 1 and isinstance(writes[0], Append):
            self._refused_below = max(self._refused_below, writes[-1].stamp + 1)  # none of later ones overtakes them
            outcomes: list[Outcome] = [(item, None, QuarantinedError(f"it is damaged: {error}")) for item in writes]
            self._deliver(Delivery(outcomes, None, False, self._refused_below))
            return True
        if len(groups) == 1:
            return False
        for items in groups.values():
            self._commit(items)
        return True

    def _refuse(self, items: list[Append | Call], why: str, *, failed: bool) -> None:
        outcomes: list[Outcome] = [(item, None, JournalUnavailableError(why)) for item in items]
        self._deliver(Delivery(outcomes, None, failed, self._refused_below))

    def _transact(self, writes: list[Append | Call]) -> list[Outcome]:
        database = self._database
        outcomes: list[Outcome] = []
        values: list[object] = []
        documents = set()
        for item in writes:
            try:
                if isinstance(item, Append):
                    if not database.has_cached(item.document):  # what it reads has to be complete
                        database.begin()
                        self._insert(values)
                        values = []
                    placed = self._place(item)
                    if placed is None:
                        outcomes.append((item, None, None))
                        continue
                    row, position = placed
                    values += row
                    documents.add(row[0])
                    outcomes.append((item, position, None))
                    if len(values) == _COLUMNS * _ROWS:
                        database.begin()
                        self._insert(values)
                        values = []
                else:
                    database.begin()
                    self._insert(values)
                    values = []
                    with database.whole():
                        outcomes.append((item, item.run(database), None))
            except RaffiaError as error:
                outcomes.append((item, None, error))
            except (sqlite3.Error, OSError):
                raise
            except Exception as error:  # SW5
                log.exception("a write failed because of a bug", document=getattr(item, "document", None))
                outcomes.append((item, None, InternalError(f"cannot be stored: {error!r}")))
        # Appends to known documents alone are one statement, which is a transaction by itself.
        self._insert(values)
        database.commit()
        database.wal_bytes += 8192 + 8192 * len(documents) + sum(item.size for item in writes)
        return outcomes

    def _place(self, item: Append) -> tuple[tuple[int, int, bytes, int, bytes], Position] | None:
        """The row of an append and its position; None if the document is not as the append requires (J24)."""
        batch = item.batch
        body = encode_batch(batch)
        known = self._database.living(item.document)
        if item.is_first and known is not None and known.last > START:
            return None
        if known is None:
            self._database.begin()
            known = self._database.create(item.document, batch[0].time_ms)
        known.last += 1
        if known.author != batch[-1].author or batch[-1].time_ms >= known.edited_ms + EDITED_MS:
            # Not in the trigger: an index that every append writes to would cost each of them a page (JS1).
            self._database.begin()
            self._database.edited(known, batch[-1].time_ms, batch[-1].author)
        key, last, time_ms = known.key, known.last, batch[-1].time_ms
        return (key, last, seal_entry(key, last, time_ms, body), time_ms, body), Position(last)

    def _insert(self, values: list[object]) -> None:
        if values:
            self._database.execute(_INSERTS[len(values) // _COLUMNS], values)

    # long work

    def _read(self) -> None:
        until = perf_counter() + READ_S
        outcomes: list[Outcome] = []
        while self._reads and perf_counter() < until:
            job = self._reads[0]
            if job.future.cancelled():
                self._reads.popleft()
                continue
            try:
                self._ready()
                outcome = self._step(job)
            except sqlite3.DatabaseError as error:
                # SQLITE_CORRUPT: a page of this document; the others are still served.
                outcome = (job, None, self._error(error))
            except OSError as error:
                outcome = (job, None, JournalUnavailableError(self._fail(error)))
            if outcome is not None:
                self._reads.popleft()
                outcomes.append(outcome)
        if outcomes:
            self._deliver(Delivery(outcomes, None, False, self._refused_below))

    def _write(self) -> None:
        job = self._long[0]
        outcome: Outcome | None
        try:
            self._ready()
            self._database.trust()
            self._database.begin()
            outcome = self._step(job)
            if outcome is not None and outcome[2] is not None:
                self._database.rollback()
            else:
                self._database.commit()
                self._database.wal_bytes += 64 * 1024
        except (sqlite3.Error, OSError) as error:
            outcome = (job, None, self._error(error))
            if job.steps is not None:
                job.steps.close()
        if outcome is not None:
            self._long.popleft()
            self._deliver(Delivery([outcome], None, False, self._refused_below))

    def _step(self, job: Job) -> Outcome | None:
        try:
            if job.steps is None:
                job.steps = job.start(self._database)
            next(job.steps)
        except StopIteration as end:
            return job, end.value, None
        except RaffiaError as error:
            return job, None, error
        except (sqlite3.Error, OSError):
            raise
        except Exception as error:  # SW5
            log.exception("work of the journal failed because of a bug")
            return job, None, InternalError(f"the journal failed: {error!r}")
        return None

    # trouble

    def _ready(self) -> None:
        if not self._database.is_open:
            try:
                self._database.open()
            except RaffiaError as error:
                raise OSError(str(error)) from error

    def _error(self, error: Exception) -> RaffiaError:
        """Repair the connection after an error; return the error to report (SW6)."""
        why = self._fail(error)
        return QuarantinedError(why) if is_corrupt(error) else JournalUnavailableError(why)

    def _fail(self, error: Exception) -> str:
        """Repair the connection after an error (SW3); return the message for it."""
        database = self._database
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        kept = is_corrupt(error)  # the disk works, and opening the file for each reader of a page delays others
        try:
            database.rollback()
            if full:
                database.checkpoint("TRUNCATE")
        except sqlite3.Error as second:
            # Full again: reading goes on over this connection. Anything else: open a new one.
            full = full and second.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL
            kept = kept and second.sqlite_errorcode & 0xFF == sqlite3.SQLITE_CORRUPT
        if full:
            return f"no room left for {database.folder}: {error}"
        if not kept:
            database.abandon()
        if is_corrupt(error):
            return f"{database.folder / DATABASE} is damaged ({error}); see raffia check"
        return f"cannot write to {database.folder}: {error}"

    def _checkpoint(self) -> None:
        try:
            self._ready()
            self._database.checkpoint()
        except (sqlite3.Error, OSError) as error:
            self._database.wal_bytes = 0  # try again when the WAL has grown by as much again
            self._fail(error)

    def _give_up(self) -> None:
        left: list[Append | Call | Job] = [*self._writes, *self._reads, *self._long]
        while not self._queue.empty():
            item = self._queue.get()
            if not isinstance(item, Stop):
                left.append(item)
        if left:
            why = "the journal's thread has ended"
            outcomes: list[Outcome] = [(item, None, JournalUnavailableError(why)) for item in left]
            self._deliver(Delivery(outcomes, None, True, self._refused_below))
