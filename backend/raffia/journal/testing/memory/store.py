"""The data of memory journals, the faults of their simulated disk, and the connections to it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

from raffia.errors import DocumentDeletedError, ForbiddenError, JournalUnavailableError
from raffia.journal import history
from raffia.journal.follow import LogReaders
from raffia.journal.passed_time import PassedTime
from raffia.journal.protocol import NO_LINKS, Entry, Links, Snapshot, Version
from raffia.types import START, DocumentId, Position, Revocation

LINEAGE_BITS = 16  # in the low bits of a position, so that entries after a loss are not mistaken for lost ones
BIRTH = history.BaseSnapshot(START, 0)


@dataclass(slots=True)
class StoredDocument:
    """One document: its deletion, log, history and versions."""

    name: DocumentId
    created_ms: int
    updated_ms: int
    deleted_ms: int | None = None
    purged: bool = False
    cleared: bool = False
    title: str | None = None
    kind: str | None = None
    schema: int | None = None
    updated_by: str | None = None
    links: Links = NO_LINKS
    last: Position = START  # (number << LINEAGE_BITS) + lineage
    lineage: int = 0
    cuts: list[tuple[int, Position]] = field(default_factory=list)  # (the lineage it began, where the log ended)
    folded: history.BaseSnapshot = BIRTH
    complete_from: Position = START  # the history before this position is gone
    snapshots: dict[Position, tuple[history.BaseSnapshot, Snapshot]] = field(default_factory=dict)
    segments: dict[int, history.Segment] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    checksums: dict[Position, bytes] = field(default_factory=dict)  # of the entries
    versions: dict[int, Version] = field(default_factory=dict)

    @property
    def snapshot(self) -> Snapshot | None:
        """The current snapshot; None before the first compaction."""
        return self.snapshots[self.folded.upto][1] if self.folded.upto else None

    def has(self, position: Position) -> bool:
        """Return whether the log contains, or contained before folding, the entry that was given this position."""
        lineage = position & (1 << LINEAGE_BITS) - 1
        return position <= self.last and all(position <= end for begun, end in self.cuts if begun > lineage)


class MemoryStore:
    """The data of memory journals, and the faults of their simulated disk.

    Attributes:
        failing: why nothing can be written at the moment; None if writing works.
    """

    def __init__(self) -> None:
        self.failing: str | None = None
        self.held = False
        self.documents: dict[DocumentId, StoredDocument] = {}
        self.last_id = 0
        self.passed_ms: int | None = None  # PT1
        self.revocations: dict[tuple[str, str], Revocation] = {}
        self.revoked = 0  # how many revocations were added
        self.connections: list[StoreConnection] = []

    def hold(self) -> None:
        """Keep appends from becoming durable until `release`."""
        self.held = True

    def release(self) -> None:
        """Let the queued appends become durable."""
        self.held = False
        for connection in self.connections:
            connection.flush()

    def lose(self, document: DocumentId, count: int) -> None:
        """Cut off the last entries of a log, like a Redis that restarts with an older file; snapshots stay."""
        kept = self.documents[document]
        del kept.entries[max(0, len(kept.entries) - count) :]
        self._cut(kept)

    def copy(self, document: DocumentId) -> StoredDocument:
        """Return a copy of a document, like the one on a lagging replica of the store, for `fail_over`."""
        return deepcopy(self.documents[document])

    def fail_over(self, document: DocumentId, copy: StoredDocument) -> None:
        """Replace a document with an older copy, as when a lagging replica of the store takes over."""
        older = deepcopy(copy)
        older.lineage, older.cuts = self.documents[document].lineage, list(self.documents[document].cuts)
        self.documents[document] = older
        self._cut(older)

    def _cut(self, kept: StoredDocument) -> None:
        kept.last = kept.entries[-1].position if kept.entries else kept.folded.upto
        kept.lineage += 1
        kept.cuts.append((kept.lineage, kept.last))
        for connection in self.connections:
            connection.lost(kept.name)

    def next_id(self) -> int:
        """Return a number that is unique in the store."""
        self.last_id += 1
        return self.last_id


class StoreConnection:
    """One journal's connection to the store, shared by its parts.

    Attributes:
        passed_time: the system clock, and the time that has certainly passed.
        readers: who follows documents through this journal.
        flush: writes what this journal has queued, unless the store holds it back.
        is_shared: whether other journals write to the store at the same time.
        is_open: whether the journal is open.
        is_cut: whether the store cannot be reached.
        on_revoked: called when another journal has added a revocation.
    """

    __slots__ = ("flush", "is_cut", "is_open", "is_shared", "on_revoked", "passed_time", "readers", "store")

    def __init__(
        self,
        store: MemoryStore,
        passed_time: PassedTime,
        readers: LogReaders,
        flush: Callable[[], None],
        *,
        is_shared: bool,
    ) -> None:
        self.store = store
        self.passed_time = passed_time
        self.readers = readers
        self.flush = flush
        self.is_shared = is_shared
        self.is_open = False
        self.is_cut = False
        self.on_revoked: Callable[[], None] | None = None

    def lost(self, document: DocumentId) -> None:
        """Tell the followers that the log of a document was cut (J20)."""
        if not self.is_cut:
            self.readers.reset(document, self.store.documents[document].last)

    def check_open(self) -> None:
        """Raise unless the store can be read.

        Raises:
            JournalUnavailableError: it cannot.
        """
        if not self.is_open:
            raise JournalUnavailableError("the journal is closed")
        if self.is_cut:
            raise JournalUnavailableError("the connection to the store is cut")

    def check(self) -> None:
        """Raise unless the store can be written.

        Raises:
            JournalUnavailableError: it cannot.
        """
        self.check_open()
        if self.store.failing is not None:
            raise JournalUnavailableError(self.store.failing)

    def create(self, document: DocumentId, time_ms: int) -> StoredDocument:
        """Create a document."""
        kept = self.store.documents[document] = StoredDocument(document, time_ms, time_ms)
        return kept

    def living(self, document: DocumentId) -> StoredDocument | None:
        """Look up a document; None if it never existed.

        Raises:
            DocumentDeletedError: it has a tombstone.
        """
        kept = self.store.documents.get(document)
        if kept is not None and kept.deleted_ms is not None:
            raise DocumentDeletedError(f"document {document} was deleted")
        return kept

    def there(self, document: DocumentId) -> StoredDocument:
        """Look up a document that exists.

        Raises:
            DocumentDeletedError: it has a tombstone.
            ForbiddenError: it never existed.
        """
        kept = self.living(document)
        if kept is None:
            raise ForbiddenError(f"there is no document {document}")
        return kept
