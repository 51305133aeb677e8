"""The log of a journal over a memory store; the journal's other parts are in the modules next to this one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from raffia.errors import DocumentDeletedError, InternalError, JournalUnavailableError, LogLostError, QuarantinedError
from raffia.journal import history
from raffia.journal.bus import Bus
from raffia.journal.checksum import checksum, matches
from raffia.journal.entries import encode_batch
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
from raffia.journal.testing.memory.directory import MemoryDirectory
from raffia.journal.testing.memory.history import MemoryHistory
from raffia.journal.testing.memory.links import MemoryShareLinks
from raffia.journal.testing.memory.revocations import MemoryRevocations
from raffia.journal.testing.memory.store import BIRTH, LINEAGE_BITS, MemoryStore, StoreConnection, StoredDocument
from raffia.journal.testing.memory.versions import MemoryVersions
from raffia.runtime.logs import get_logger
from raffia.types import START, Batch, DocumentId, Position

log = get_logger("raffia.journal")


class MemoryJournal(Journal):
    """`Journal` over a `MemoryStore`.

    Args:
        store: shared between journals that stand for replicas, or reopened; a new one by default.
        now_ms: the system clock, Unix time in milliseconds.
        elapsed_ms: a monotonic clock, in milliseconds.
        retention_ms: how long history is kept (J11); 0 keeps none.
        trash_ms: how long a deleted document can be restored (J14).
        fold: makes segments smaller; see `history.Fold`.
        follow_entries: how many entries are queued for one reader (J15).
        shared: whether other journals write to the store at the same time (J20).
        bus: the channel to the other replicas.

    Attributes:
        unsure: whether appends fail although they were written.
        connection: the connection to the store; tests cut it.
    """

    def __init__(
        self,
        store: MemoryStore | None = None,
        *,
        now_ms: Callable[[], int] = system_ms,
        elapsed_ms: Callable[[], int] = elapsed_ms,
        retention_ms: int = RETENTION_MS,
        trash_ms: int = TRASH_MS,
        fold: history.Fold = history.fold,
        follow_entries: int = FOLLOW_ENTRIES,
        shared: bool = False,
        bus: Bus | None = None,
    ) -> None:
        self.store = store if store is not None else MemoryStore()
        self.stats = JournalStats()
        self.is_shared = shared
        self.bus = bus
        self.unsure = False
        # The lineage of what was handed out, for each document; behind that of the log, a `Reset` is due (J20).
        self._lineages: dict[DocumentId, int] = {}
        self.passed_time: PassedTime = PassedTime(now_ms, elapsed_ms)
        self._retention_ms = retention_ms
        self._trash_ms = trash_ms
        self._fold = fold
        self._readers = LogReaders(follow_entries)
        self._waiting: list[tuple[DocumentId, Batch, int, asyncio.Future[Any], bool]] = []
        self.connection = StoreConnection(self.store, self.passed_time, self._readers, self.flush, is_shared=shared)
        self.history: MemoryHistory = MemoryHistory(self.connection, retention_ms=retention_ms)
        self.versions = MemoryVersions(self.connection)
        self.directory: MemoryDirectory = MemoryDirectory(self.connection, self._write)
        self.links = MemoryShareLinks(self.connection)
        self.revocations: MemoryRevocations = MemoryRevocations(self.connection)

    async def __aenter__(self) -> Self:
        """Open it."""
        self.connection.is_open = True
        self.passed_time.stored(self.store.passed_ms)
        self.store.connections.append(self.connection)
        if self.bus is not None:
            await self.bus.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is queued, even what the store holds back, and close (J17)."""
        if self.bus is not None:
            await self.bus.__aexit__(kind, error, trace)
        self._write()
        self.connection.is_open = False
        self.store.connections.remove(self.connection)
        self._readers.end(JournalUnavailableError("the journal is closed"))

    # faults of a shared journal

    def cut(self) -> None:
        """Cut the connection to the store."""
        self.connection.is_cut = True

    def heal(self) -> None:
        """Restore the connection; readers have missed what was appended in the meantime."""
        self.connection.is_cut = False
        for document, kept in self.store.documents.items():
            if self._known_lineage(document) == kept.lineage:
                self._readers.miss(document, kept.last)
            else:
                self._readers.reset(document, kept.last)

    def _lineage(self, document: DocumentId) -> int:
        kept = self.store.documents.get(document)
        return kept.lineage if kept is not None else 0

    def _known_lineage(self, document: DocumentId) -> int:
        return self._lineages.setdefault(document, self._lineage(document)) if self.is_shared else 0

    def _renew(self, document: DocumentId) -> None:
        """Note that a reader now knows the current log: appends called from here on are accepted (J20)."""
        self._lineages[document] = self._lineage(document)

    async def healthy(self) -> None:
        """Raise while the store fails."""
        self.connection.check()

    # appending

    def append(self, document: DocumentId, batch: Batch) -> asyncio.Future[Position]:
        """Queue a batch; it is written in the next turn of the event loop."""
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._queue(document, batch, future)
        return future

    async def append_first(self, document: DocumentId, batch: Batch) -> Position | None:
        """Append a batch if the document has no entry yet."""
        future: asyncio.Future[Position | None] = asyncio.get_running_loop().create_future()
        self._queue(document, batch, future, is_first=True)
        return await future

    def _queue(
        self, document: DocumentId, batch: Batch, future: asyncio.Future[Any], *, is_first: bool = False
    ) -> None:
        if not batch:
            future.set_exception(InternalError("an empty batch cannot be appended"))
            return
        if not self.connection.is_open:
            future.set_exception(JournalUnavailableError("the journal is closed"))
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((document, batch, self._known_lineage(document), future, is_first))
        self.stats.queued += 1
        self.stats.queued_bytes += sum(len(edit.update) for edit in batch)

    def flush(self) -> None:
        """Write what is queued, unless the store holds it back."""
        if not self.store.held:
            self._write()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.stats.queued = self.stats.queued_bytes = 0
        if waiting and self.store.failing is None:
            self.stats.committed(0.0)
        elif waiting:
            self.stats.failures += 1
        for document, batch, lineage, future, is_first in waiting:
            try:
                position = None if is_first and self._has_entries(document) else self._append(document, batch, lineage)
                if self.unsure:
                    raise JournalUnavailableError("the answer was lost")  # noqa: TRY301 - as a lost connection does
            except (JournalUnavailableError, DocumentDeletedError) as error:
                if not future.done():
                    future.set_exception(error)
                continue
            except Exception as error:
                log.exception("a write failed because of a bug", document=document)
                if not future.done():
                    future.set_exception(InternalError(f"cannot be stored: {error!r}"))
                continue
            if not future.done():
                future.set_result(position)

    def _has_entries(self, document: DocumentId) -> bool:
        self.connection.check()
        kept = self.connection.living(document)
        return kept is not None and kept.last > START

    def _append(self, document: DocumentId, batch: Batch, lineage: int) -> Position:
        self.connection.check()
        if self.is_shared and lineage != self._lineage(document):
            raise LogLostError(f"the log of {document} has lost entries that this replica had seen")
        body = encode_batch(batch)  # fails where a journal with a disk would
        kept = self.connection.living(document)
        if kept is None:
            kept = self.connection.create(document, batch[0].time_ms)
        kept.last = Position(((kept.last >> LINEAGE_BITS) + 1 << LINEAGE_BITS) + kept.lineage)
        kept.updated_ms = max(kept.updated_ms, batch[-1].time_ms)
        kept.updated_by = batch[-1].author
        entry = Entry(kept.last, batch)
        kept.entries.append(entry)
        kept.checksums[kept.last] = checksum("entries", document, kept.last, content=body)
        self.stats.appends += 1
        self.stats.append_bytes += sum(len(edit.update) for edit in batch)
        for connection in self.store.connections:
            if not connection.is_cut:
                connection.readers.tell(document, entry)
        return kept.last

    # reading

    async def load(self, document: DocumentId) -> Loaded:
        """Read a document."""
        self.connection.check_open()
        self.stats.loads += 1
        kept = self.connection.living(document)
        self._known_lineage(document)
        if kept is None:
            return Loaded(None, [], START)
        return Loaded(kept.snapshot, self._checked(kept, kept.entries), kept.last)

    @staticmethod
    def _checked(kept: StoredDocument, entries: list[Entry]) -> list[Entry]:
        """Return entries that match their checksums (J23)."""
        for entry in entries:
            content = encode_batch(entry.batch)
            if not matches(kept.checksums.get(entry.position), "entries", kept.name, entry.position, content=content):
                raise QuarantinedError(f"entry {entry.position} of {kept.name} does not match its checksum")
        return list(entries)

    def follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        """Yield the entries after a position."""
        return self._readers.follow(document, after, self._after, self._renew)

    async def _after(self, document: DocumentId, after: Position) -> tuple[Position, Loaded]:
        self.connection.check_open()
        kept = self.connection.living(document)
        if kept is None:
            return START, Loaded(None, [], START)
        if self.is_shared and not kept.has(after):
            # Shown as shorter than what the reader has, so that it gets a Reset; it loads the entries after that.
            return START, Loaded(None, [], Position(min(kept.last, after - 1)))
        if self.is_shared:
            self._renew(document)
        entries = self._checked(kept, [entry for entry in kept.entries if entry.position > after])
        return kept.folded.upto, Loaded(None, entries, kept.last)

    # compaction and history

    async def compact(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
        """Fold entries into a snapshot and keep them as history."""
        self.connection.check()
        kept = self.connection.there(document)
        if upto <= kept.folded.upto or (self.is_shared and not kept.has(upto)):
            return
        if upto > kept.last:
            raise InternalError(f"{document} cannot be compacted up to {upto}: its last entry is {kept.last}")
        before = kept.folded
        folded = self._checked(kept, [entry for entry in kept.entries if entry.position <= upto])
        edits = list(history.timed(folded, before.time_ms))
        older = self._base_before(kept)
        stays = before.upto > START and history.stays_as_base(
            before, older, self._retention_ms, self.passed_time.passed_ms()
        )
        boundary = before.upto if stays else older.upto
        segments = history.split(folded, before.time_ms) if self._retention_ms else []
        segments = [history.take_in(segment, kept.segments, boundary) for segment in segments]
        segments = [replace(segment, updates=await self._fold(segment.updates)) for segment in segments]
        # No await from here on: the swap is one step (J8).
        self.connection.check()
        self.connection.there(document)
        if kept.folded is not before or self.store.documents.get(document) is not kept or not kept.has(upto):
            return
        for segment in segments:
            for taken in segment.replaces:
                del kept.segments[taken]
            kept.segments[self.store.next_id()] = segment
        kept.entries = [entry for entry in kept.entries if entry.position > upto]
        kept.checksums = {position: kept.checksums[position] for position in kept.checksums if position > upto}
        if not stays:
            kept.snapshots.pop(before.upto, None)
        kept.folded = history.BaseSnapshot(upto, edits[-1][1])
        kept.snapshots[upto] = (kept.folded, snapshot)
        self.stats.compactions += 1
        self.history.prune(kept)
        for connection in self.store.connections:
            if connection.is_shared and not connection.is_cut:
                connection.readers.folded(document, upto)

    def _base_before(self, kept: StoredDocument) -> history.BaseSnapshot:
        older = [one for one, _ in kept.snapshots.values() if one.upto < kept.folded.upto]
        return max(older, key=lambda one: one.upto, default=history.BaseSnapshot(START, kept.created_ms))

    async def prune(self) -> None:
        """Drop expired history and revocations, and the content of documents deleted long ago."""
        self.connection.check()
        self.store.passed_ms = self.passed_time.claim().with_stored(self.store.passed_ms)
        self.passed_time.stored(self.store.passed_ms)
        self.revocations.prune()
        for kept in self.store.documents.values():
            self.history.prune(kept)
            if kept.deleted_ms is not None and kept.deleted_ms <= self.passed_time.passed_ms() - self._trash_ms:
                kept.purged = True
                kept.entries, kept.versions, kept.snapshots, kept.segments = [], {}, {}, {}
                kept.folded = BIRTH
                kept.title = kept.kind = kept.schema = kept.updated_by = None
        await self.directory.clear_purged()
