"""A room's way to the journal: what is not durable yet, in order, and who waits for it.

Rules (tests quote these ids):
    V1  Batches of one document are appended one after another, in order; what comes meanwhile makes the next batch.
    V2  A ticket is handed back only when the batch that holds its last part is durable, and all before it.
    V3  An update that held nothing new rides with what is pending at that moment: "known" may mean only in memory.
    V4  While the journal is away everything stays here, in order, and is appended again when it is back; appends that
        failed may be durable all the same, which is harmless: updates are idempotent.
    V5  After an append the next one waits a little: a commit costs as much as twenty deliveries, and what comes
        meanwhile shares it.
    V6  Past `max_unsaved_bytes` nothing more is taken; the room refuses edits with "later".
    V7  After a failure that is not "away" nothing more is appended: what follows would stand behind a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from weft.errors import DocumentDeletedError, JournalUnavailableError, WeftError
from weft.journal import Loaded
from weft.logs import get_logger
from weft.services import Services
from weft.session import Ticket
from weft.types import DocumentId, Edit, Position

log = get_logger("weft.saver")

FIRST_RETRY_S = 0.05
LAST_RETRY_S = 2.0

Item = tuple[Edit | None, Ticket]


def _nobody(_what: object) -> None:
    """Told instead of a room that is closed."""


class Saver:
    """The unsaved edits of one room.

    Attributes:
        position: of the last entry that is known to be durable.
        unsaved_bytes: size of what is not.
        saved_bytes: size of the log behind the snapshot.
        saved_updates: how many updates are in it.
    """

    __slots__ = (
        "_document",
        "_idle",
        "_in_flight",
        "_is_lost",
        "_journal",
        "_metrics",
        "_on_lost",
        "_on_saved",
        "_pause_s",
        "_queue",
        "_task",
        "position",
        "saved_bytes",
        "saved_updates",
        "unsaved_bytes",
    )

    def __init__(
        self,
        document: DocumentId,
        services: Services,
        loaded: Loaded,
        *,
        on_saved: Callable[[list[Ticket]], None],
        on_lost: Callable[[WeftError], None],
    ) -> None:
        self._document = document
        self._journal = services.journal
        self._metrics = services.metrics
        self._on_saved = on_saved
        self._pause_s = services.settings.journal_pause_s
        self._on_lost = on_lost
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
        """Whether everything that was put here is durable."""
        return not self._queue and self._in_flight is None

    def put(self, items: list[Item]) -> None:
        """Take edits and those who wait for them; called in the turn in which they are broadcast."""
        if self._is_lost:
            return
        self._queue += items
        size = sum(len(edit.update) for edit, _ in items if edit is not None)
        self.unsaved_bytes += size
        self._metrics.journal_unsaved_bytes += size
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._save())

    def ride(self, ticket: Ticket) -> bool:
        """Let a ticket wait for what is pending (V3); False when nothing is."""
        if self._is_lost:
            return True  # "known" is not durable here: nobody is told so
        if self._queue:
            self._queue.append((None, ticket))
        elif self._in_flight is not None:
            self._in_flight.append((None, ticket))
        else:
            return False
        return True

    async def settled(self) -> None:
        """Wait until everything put here so far, and after, is durable."""
        while not self.is_idle:
            if self._idle is None:
                self._idle = asyncio.Event()
            await self._idle.wait()

    async def stop(self) -> None:
        """Give up what is not durable: for a document that has been deleted, and for tests that pull the plug."""
        task, self._task = self._task, None
        self._lose()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def retire(self) -> None:
        """The room is closed: let go of it, so that its memory is free at once and not with the next collection."""
        self._on_saved = self._on_lost = _nobody

    async def _save(self) -> None:
        retry_s = FIRST_RETRY_S
        try:
            while self._queue:
                # Take the batch before awaiting: what arrives while the disk is busy makes the next one.
                batch = self._in_flight = self._queue
                self._queue = []
                started_s = monotonic()
                try:
                    edits = tuple(edit for edit, _ in batch if edit is not None)
                    if edits:
                        self.position = await self._journal.append(self._document, edits)
                        self._metrics.journal_append_s.observe(monotonic() - started_s)
                except JournalUnavailableError as error:
                    self._metrics.journal_failures += 1
                    log.warning("journal away", document=self._document, detail=str(error), retry_s=retry_s)
                    self._queue = batch + self._queue
                    self._in_flight = None
                    await asyncio.sleep(retry_s)
                    retry_s = min(2 * retry_s, LAST_RETRY_S)
                    continue
                retry_s = FIRST_RETRY_S
                self._in_flight = None
                self._saved(batch, edits)
                if edits:
                    await asyncio.sleep(self._pause_s)
        except DocumentDeletedError as error:
            self._lose()
            self._on_lost(error)
        except Exception as error:
            # Nothing of it is acknowledged. The room closes its sessions, and their clients keep their copies.
            log.exception("journal failed", document=self._document)
            self._lose()
            self._on_lost(JournalUnavailableError(f"the journal failed: {error}"))
        finally:
            self._task = None
            if self._idle is not None:
                self._idle.set()
                self._idle = None

    def _saved(self, batch: list[Item], edits: tuple[Edit, ...]) -> None:
        size = sum(len(edit.update) for edit in edits)
        self.unsaved_bytes -= size
        self._metrics.journal_unsaved_bytes -= size
        self.saved_bytes += size
        self.saved_updates += len(edits)
        self._on_saved([ticket for _, ticket in batch])

    def _lose(self) -> None:
        """Forget what is not durable, and whatever comes (V7)."""
        self._is_lost = True
        self._queue = []
        self._in_flight = None
        self._metrics.journal_unsaved_bytes -= self.unsaved_bytes
        self.unsaved_bytes = 0

    def compacted(self, saved_bytes: int, saved_updates: int) -> None:
        """A snapshot covers this much of what had been saved."""
        self.saved_bytes -= saved_bytes
        self.saved_updates -= saved_updates
