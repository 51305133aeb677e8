"""The log of a document: append, load, follow, compact.

Rules (tests quote these ids):
    J1   `append` takes its batch when it is called: the appends to one document become entries in the order of the
         calls, and positions within one document only increase. Nothing else is promised about them (they may skip).
    J2   The future of `append` has a result only when the batch is durable: a kill or a power cut after that loses
         nothing.
    J3   Cancelling the wait does not withdraw the batch; it still becomes an entry.
    J4   `load` returns the snapshot, every entry after it, and the position of the last one: a prefix of the log
         that contains at least everything acknowledged before the call. An unknown document is empty at position 0,
         not an error.
    J5   An entry keeps its batch exactly as it was appended: edit by edit, with author and time.
    J6   `JournalUnavailableError` from `append` means "not acknowledged": the batch may be durable or not, so append
         it again (updates are idempotent). Every append called before the failure was reported fails too, so that no
         edit of a document overtakes one that has to be appended again.
    J8   `compact` does not change what `load` rebuilds. Interrupted at any point it leaves the old state or the new
         one, never a mixture. A call whose `upto` is not after the current snapshot's does nothing.
    J15  `follow` yields every entry after `after` once, in order; what it cannot yield it reports as a `Gap` or a
         `Reset`. A full queue becomes a `Gap`; the writer never waits.
    J19  A batch that cannot be encoded (an author that is not text, a time beyond 64 bits) fails alone, with
         `InternalError`; nothing of it is kept, and other appends are not affected.
    J20  A shared journal (`Journal.is_shared`) has other writers: `follow` yields their entries and your own, in the
         order of the log. `append` fails with `LogLostError` while the log lacks or contradicts what this journal has
         returned from it (through `load`, `follow` or `append`), because the entry would leave a gap. Readers then get
         a `Reset`. Appends to that document are accepted again only from the moment a follower takes the `Reset`, and
         none that was called earlier.
    J23  `load`, `follow`, `compact` and the history check stored bytes. If bytes that they read have changed, they
         raise `QuarantinedError`; other documents are still served. Nothing damaged is folded.
    J24  Of several `append_first` of a document without entries, at the same time and on any replica, at most one is
         appended. In a document that has or had entries none is; for a deleted one it raises (J14). Otherwise it is
         like `append`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Protocol

from raffia.errors import NotConfiguredError
from raffia.types import START, Batch, DocumentId, Position


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document at one position.

    Attributes:
        state: one squashed update.
        index: what the writer stores with it (clocks and delete ranges); opaque to the journal.
    """

    state: bytes
    index: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One appended batch and its position."""

    position: Position
    batch: Batch


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a document is made of (J4).

    Attributes:
        snapshot: None before the first compaction.
        entries: all entries after the snapshot, in order.
        position: position of the last entry; `START` if there are none.
    """

    snapshot: Snapshot | None
    entries: list[Entry]
    position: Position


@dataclass(frozen=True, slots=True)
class Gap:
    """The entries after `after`, up to and including `upto`, are not yielded by this iterator: `load` returns them.

    The reader was too slow, or they were folded into the snapshot. The iterator continues after `upto`.
    """

    after: Position
    upto: Position


@dataclass(frozen=True, slots=True)
class Reset:
    """The log no longer contains what the reader has seen: it ends at `position`, before the reader's position.

    Forget positions, load, and append again what the log lacks. The iterator continues after `position`.
    """

    position: Position


@dataclass(frozen=True, slots=True)
class Folded:
    """Everything up to `upto` is in the snapshot now, whichever replica wrote it: this one need not compact it."""

    upto: Position


Followed = Entry | Gap | Reset | Folded


class DocumentLog(Protocol):
    """The log of every document. These four are methods of the journal itself, since every edit goes through them."""

    @abstractmethod
    def append(self, document: DocumentId, batch: Batch) -> Awaitable[Position]:
        """Queue a batch at once and return a future for its position (J1, J2, J3, J6).

        Args:
            document: created if it does not exist.
            batch: at least one edit.

        Raises (from the future, never from the call):
            DocumentDeletedError: see J14.
            JournalUnavailableError: not acknowledged, or the queue is full.
        """
        ...

    async def append_first(self, document: DocumentId, batch: Batch) -> Position | None:
        """Append a batch if the document has no entry yet, now or folded, as one step (J24).

        Inherited, it suits a journal that is not shared, as long as nothing else appends to the document meanwhile;
        a hub sees to that.

        Returns:
            Its position; None if there was an entry, and nothing was appended.

        Raises:
            As `append`.
            NotConfiguredError: the journal is shared and lacks this method.
        """
        if getattr(self, "is_shared", False):
            raise NotConfiguredError("this journal is shared and has no append_first, which on_load needs")
        loaded = await self.load(document)
        if loaded.position != START or loaded.snapshot is not None or loaded.entries:
            return None
        return await self.append(document, batch)

    @abstractmethod
    async def load(self, document: DocumentId) -> Loaded:
        """Read a document (J4).

        Raises:
            DocumentDeletedError: see J14.
            QuarantinedError: its stored bytes are damaged or cannot be read (J23).
        """
        ...

    @abstractmethod
    def follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        """Yield the entries after a position, existing and future ones, indefinitely (J15).

        A shared journal also yields `Folded` when a snapshot has replaced entries.

        Raises:
            DocumentDeletedError: the document is deleted, now or later.
        """
        ...

    @abstractmethod
    async def compact(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
        """Replace all entries up to a position with a snapshot and keep those entries as history (J8, J9).

        Args:
            document: the document.
            snapshot: the document with all entries up to `upto`. Later edits in it do not harm `load`, but appear in
                the past states that are rebuilt from it.
            upto: a position that `load`, `append` or `follow` returned.

        Raises:
            DocumentDeletedError: see J14.
        """
        ...
