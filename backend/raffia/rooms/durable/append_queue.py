"""A room's queue of edits that are not durable yet, in order, with the tickets that wait for them.

Rules (tests quote these ids):
    V1  Batches of one document are appended one after another, in order; edits that arrive meanwhile form the next
        batch.
    V2  A ticket is handed back only when the batch with its last part, and all batches before it, are durable.
    V3  The ticket of an update that contained nothing new waits for everything unsaved at that time: its content may
        exist only in memory.
    V4  While the journal is unavailable, everything stays queued, in order, and is appended again when the journal is
        back. A failed append may have become durable anyway; appending it twice is harmless, because updates are
        idempotent.
    V5  There is a short pause after each append: commits are expensive, and edits that arrive meanwhile share one.
    V6  Beyond `max_unsaved_bytes` the room refuses edits until later (1013).
    V7  After any failure other than an unavailable journal, nothing more is appended, because it would leave a gap.
    V8  While the log lacks entries that this room has seen (it was cut, or another Redis took over), nothing is
        appended and no ticket is answered "stored". Then the missing content is queued in front of everything else. It
        includes the queued edits, so their tickets wait for it.
    V9  Batches have a size limit, which only a single edit may exceed. Otherwise a batch that grew while the journal
        was unavailable could miss the append's deadline and be appended again and again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from time import monotonic

from raffia.errors import DocumentDeletedError, JournalUnavailableError, LogLostError, QuarantinedError, RaffiaError
from raffia.journal import Loaded
from raffia.rooms.context import RoomContext
from raffia.rooms.session import Ticket
from raffia.runtime.logs import get_logger
from raffia.types import START, Batch, Edit, Position

log = get_logger("raffia.rooms.durable.append_queue")

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 2.0
BATCH_BYTES = 1024 * 1024

Item = tuple[Edit | None, Ticket | None]


def _ignore(*_what: object) -> None:
    """No-op callback: before a room subscribes, and after it is closed."""


class AppendQueue:
    """The unsaved edits of one room, and their way into the journal.

    Attributes:
        position: position of the last entry that is known to be durable.
        batch: the batch that was appended last or is being appended; a follower recognises its own batches by identity.
        folded: position up to which the snapshot covers the log, as far as this room knows.
        unsaved_bytes: size of the edits that are not durable.
        saved_bytes: size of the log after the snapshot.
        saved_updates: number of updates in the log after the snapshot.
        on_saved: called with the tickets of a batch that is durable.
        on_log_lost: called when an append was refused because the log lacks entries that this replica has seen; the
            queue then holds (V8).
    """

    __slots__ = (
        "_clients",
        "_document",
        "_done",
        "_held",
        "_holds",
        "_idle",
        "_in_flight",
        "_is_lost",
        "_journal",
        "_metrics",
        "_moved",
        "_pause_s",
        "_put",
        "_quarantine",
        "_queue",
        "_stir",
        "_task",
        "batch",
        "folded",
        "on_log_lost",
        "on_saved",
        "position",
        "saved_bytes",
        "saved_updates",
        "unsaved_bytes",
    )

    def __init__(self, context: RoomContext, loaded: Loaded) -> None:
        self._document = context.document_id
        self._clients = context.clients
        self._journal = context.services.journal
        self._metrics = context.services.metrics
        self._quarantine = context.services.quarantine
        self._pause_s = context.services.settings.append_pause_s
        self.on_saved: Callable[[list[Ticket]], None] = _ignore
        self.on_log_lost: Callable[[], None] = _ignore
        self._held = False
        self._holds = 0
        self._put = self._done = 0  # edits, so far
        self._moved: asyncio.Event | None = None
        self._stir = asyncio.Event()
        self.batch: Batch = ()
        self.folded: Position = START
        self._queue: list[Item] = []
        self._in_flight: list[Item] | None = None
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Event | None = None
        self._is_lost = False
        self.position: Position = loaded.position
        self.unsaved_bytes = 0
        edits = [edit for entry in loaded.entries for edit in entry.batch]
        self.saved_bytes = sum(len(edit.update) for edit in edits)
        self.saved_updates = len(edits)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was queued is durable."""
        return not self._queue and self._in_flight is None and not self._held

    def put(self, items: list[Item]) -> None:
        """Queue edits and tickets; called in the same turn of the event loop in which the edits are broadcast."""
        if self._is_lost:
            return
        self._queue += items
        self._put += sum(edit is not None for edit, _ in items)
        size = sum(len(edit.update) for edit, _ in items if edit is not None)
        self.unsaved_bytes += size
        self._metrics.journal_unsaved_bytes += size
        self._go_on()

    def _go_on(self) -> None:
        if self._task is None and self._queue and not self._held:
            self._stir.clear()
            self._task = asyncio.get_running_loop().create_task(self._save())

    def ride(self, ticket: Ticket) -> bool:
        """Let a ticket wait for everything that is unsaved (V3); returns False if nothing is."""
        if self._is_lost:
            return True  # "known" is not durable here, so the ticket is never answered
        if self._queue or self._held:
            self._queue.append((None, ticket))
        elif self._in_flight is not None:
            self._in_flight.append((None, ticket))
        else:
            return False
        return True

    async def settled(self) -> None:
        """Wait until everything that is queued, now or meanwhile, is durable."""
        while not self.is_idle:
            if self._idle is None:
                self._idle = asyncio.Event()
            await self._idle.wait()

    async def durable(self) -> bool:
        """Wait until everything queued so far is durable; returns False if the room or a part of the log was lost."""
        wanted, holds = self._put, self._holds
        while not self._is_lost and not self._held and self._holds == holds:
            if self._done >= wanted:
                return True
            if self._moved is None:
                self._moved = asyncio.Event()
            await self._moved.wait()
        return False

    def _move(self) -> None:
        if self._moved is not None:
            self._moved.set()
            self._moved = None

    async def stop(self) -> None:
        """Stop, and discard everything that is not durable."""
        task, self._task = self._task, None
        self._give_up()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def lose(self, error: RaffiaError) -> None:
        """Discard everything that is not durable and end every session: the document or its journal is lost (V7)."""
        self._give_up()
        self._stir.set()
        self._clients.lose(error)

    def retire(self) -> None:
        """Drop the callbacks of a closed room, so that a reference cycle does not keep its memory."""
        self.on_saved = self.on_log_lost = _ignore

    # -- when the log has lost entries -----------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """How many items are queued; while the queue holds, items are only added at the end."""
        return len(self._queue)

    def hold(self) -> None:
        """Append nothing until `resume` (V8); known positions of the log are no longer valid."""
        if self._is_lost:
            return
        self._held = True
        self._holds += 1
        self.folded = START
        self._stir.set()
        self._move()

    async def quiet(self) -> None:
        """Wait until no append is in progress."""
        while self._task is not None:
            await asyncio.wait({self._task})

    def resume(self, lacking: Edit | None, covered: int) -> None:
        """Resume appending, beginning with the content that the log lacks, if any (V8).

        Args:
            lacking: the part of the document that the log lacks; None if it lacks nothing.
            covered: how many queued items were part of that document, so that only their tickets remain.
        """
        self._held = False
        if self._is_lost:
            return
        if lacking is not None:
            there, later = self._queue[:covered], self._queue[covered:]
            size = len(lacking.update) - sum(len(edit.update) for edit, _ in there if edit is not None)
            self.unsaved_bytes += size
            self._metrics.journal_unsaved_bytes += size
            self._queue = [(lacking, None), *((None, ticket) for _, ticket in there if ticket is not None), *later]
        self._put = self._done + sum(edit is not None for edit, _ in self._queue)
        if self._queue:
            self._go_on()
        elif self._idle is not None:
            self._idle.set()
            self._idle = None

    async def _save(self) -> None:
        retry_s = FIRST_RETRY_S
        try:
            while self._queue and not self._held:
                # Take the batch before awaiting: edits that arrive while the disk is busy form the next one.
                batch = self._in_flight = self._take()
                started_s = monotonic()
                try:
                    edits = tuple(edit for edit, _ in batch if edit is not None)
                    if edits:
                        self.batch = edits
                        position = await self._journal.append(self._document, edits)
                        if self._is_lost:
                            return
                        self.position = position
                        self._metrics.journal_append_s.observe(monotonic() - started_s)
                except JournalUnavailableError as error:
                    if self._is_lost:
                        return
                    self._metrics.journal_failures += 1
                    log.warning("journal away", document=self._document, detail=str(error), retry_s=retry_s)
                    self._queue = batch + self._queue
                    self._in_flight = None
                    if isinstance(error, LogLostError):
                        self.hold()
                        self.on_log_lost()
                        return
                    await self._pause(retry_s)
                    retry_s = min(2 * retry_s, LAST_RETRY_S)
                    continue
                retry_s = FIRST_RETRY_S
                self._in_flight = None
                self._saved(batch, edits)
                if edits:
                    await asyncio.sleep(self._pause_s)
        except DocumentDeletedError as error:
            self.lose(error)
        except QuarantinedError as error:
            self._quarantine.add(self._document, error)
            self.lose(error)
        except Exception as error:
            # These edits are never acknowledged. The room ends its sessions, and their clients keep their copies.
            log.exception("journal failed", document=self._document)
            self.lose(JournalUnavailableError(f"the journal failed: {error}"))
        finally:
            self._task = None
            if self._idle is not None:
                self._idle.set()
                self._idle = None

    def _take(self) -> list[Item]:
        """Take the next batch out of the queue (V9)."""
        size = 0
        for count, (edit, _) in enumerate(self._queue):
            size += 0 if edit is None else len(edit.update)
            if size > BATCH_BYTES and count:
                batch, self._queue = self._queue[:count], self._queue[count:]
                return batch
        batch, self._queue = self._queue, []
        return batch

    async def _pause(self, pause_s: float) -> None:
        """Sleep, or return early when `hold` or `lose` wants the task to end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stir.wait(), pause_s)

    def _saved(self, batch: list[Item], edits: tuple[Edit, ...]) -> None:
        size = sum(len(edit.update) for edit in edits)
        self.unsaved_bytes -= size
        self._metrics.journal_unsaved_bytes -= size
        self.saved_bytes += size
        self.saved_updates += len(edits)
        self._done += len(edits)
        self._move()
        self.on_saved([ticket for _, ticket in batch if ticket is not None])

    def _give_up(self) -> None:
        """Discard everything that is not durable, and everything queued later (V7)."""
        self._is_lost = True
        self._held = False
        self._queue = []
        self._in_flight = None
        self._metrics.journal_unsaved_bytes -= self.unsaved_bytes
        self.unsaved_bytes = 0
        self._move()
        if self._idle is not None:
            self._idle.set()
            self._idle = None

    def followed(self, batch: Batch) -> None:
        """Count another replica's batch in the size of the log."""
        self.saved_bytes += sum(len(edit.update) for edit in batch)
        self.saved_updates += len(batch)

    def folded_elsewhere(self, upto: Position) -> None:
        """Note that another replica's snapshot covers the log up to here; little has been appended since."""
        if upto > self.folded:
            self.folded = upto
            self.saved_bytes = self.saved_updates = 0

    def compacted(self, saved_bytes: int, saved_updates: int) -> None:
        """Note that a snapshot by this replica covers this much of the log."""
        self.saved_bytes = max(0, self.saved_bytes - saved_bytes)
        self.saved_updates = max(0, self.saved_updates - saved_updates)
