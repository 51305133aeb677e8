"""The journal: the durable, ordered log of every document, with its snapshot, history and versions.

Rules (tests quote these ids; `raffia.journal.testing.contract` checks all of them that can be seen from outside):
    J1   `append` takes its batch at the call: the appends of one document become entries in the order of the calls,
         and positions of one document only grow. Nothing else is promised about positions (they may skip).
    J2   The future of `append` has a result only when the batch is durable: a kill or a power cut after that loses
         nothing.
    J3   Cancelling the wait does not withdraw the batch; it becomes an entry as if somebody still waited.
    J4   `load` returns the snapshot, every entry after it, and the position of the last one: a prefix of the log
         that holds at least all that was acknowledged before the call. An unknown document is empty at position 0,
         and no error.
    J5   An entry keeps its batch as it came: edit by edit, with author and time.
    J6   `JournalUnavailableError` from `append` says "not acknowledged": the batch may be durable or not, so append
         it again (updates are idempotent). All appends that were called before the failure reached its future fail
         with it, so that nothing of a document overtakes what has to be appended again.
    J7   While nothing can be made durable, reads go on where the store can still be read; the journal recovers
         without being opened again.
    J8   `compact` changes nothing that `load` rebuilds. Cut short at any point it leaves the old or the new, never
         a mixture. An `upto` at or before the present snapshot's is a stale call and does nothing.
    J9   `at(document, t)` gives updates that merge to the document with exactly those edits whose 10 s window
         begins at or before `t`, within the retention, whatever has been compacted meanwhile.
    J10  Within one document the time of an edit counts as no earlier than that of any edit before it, so that every
         moment is a prefix of the log and holds no gap, also after the clock was set back.
    J11  History, and the content of deleted documents, is dropped by `prune` (and `compact`), never earlier than
         its retention.
    J12  A version is kept until it is deleted or its document purged; its bytes come back exactly.
    J13  A document is listed from its first `append` or `set_info` on; the listing is paged by name or by the last edit
         (JS1-JS4 of search.py).
    J14  `delete` is a durable tombstone: afterwards `load`, `append`, `compact`, `follow` and the rest raise
         `DocumentDeletedError`. `restore` undoes it until the document is purged; the tombstone outlives the purge,
         so that no returning client revives the document.
    J15  `follow` yields every entry after `after` once, in order; what it cannot yield it names with a `Gap` or a
         `Reset`. A full queue is a `Gap`, never a wait for the writer.
    J16  A store of a newer format is refused with `FormatTooNewError` before a byte of it is changed.
    J17  One lifecycle, `async with`: leaving it makes durable what was appended before.
    J18  Nothing here blocks the event loop.
    J19  A batch that cannot be encoded (an author that is no text, a time beyond 64 bits) fails alone, with
         `InternalError`; nothing of it is kept, and all others go on.
    J20  A shared journal (`is_shared`) has other writers: `follow` yields their entries and one's own, in the order of
         the log. `append` refuses with `LogLostError` while the log lacks or contradicts what this journal has handed
         out of it (by `load`, `follow` or `append`): it would stand behind a gap. Followers get a `Reset` then, and
         only from the moment in which a follower takes it are appends of that document let through again, none that
         was called before.
    J21  A revocation is durable when `revoke` returns. Of several about one subject the latest times count. They are
         kept until their time is over, at most `MAX_REVOCATIONS` of them: further ones are refused. `on_revoked` is
         told when others may have come; whoever has to be sure asks again from time to time.
    J22  What is kept elsewhere for a document (files) goes after its content: of each document that is purged `prune`
         tells whoever said `on_purged`, again each time until that has returned without an error, also after a
         restart. It may be told twice, and on several replicas. A purged document never comes back.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

from raffia.errors import RaffiaError, RoomFullError
from raffia.journal.bus import Bus
from raffia.journal.search import Order, Where
from raffia.runtime.logs import get_logger
from raffia.types import Batch, DocumentId, Position, Revocation

log = get_logger("raffia.journal")

WINDOW_MS = 10_000  # the resolution of the history (J9)
DAY_MS = 86_400_000
RETENTION_MS = DAY_MS
TRASH_MS = 30 * DAY_MS


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document at one position.

    Attributes:
        state: one squashed update.
        index: what the writer keeps beside it (clocks and delete ranges); opaque to the journal.
    """

    state: bytes
    index: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One appended batch and where it stands."""

    position: Position
    batch: Batch


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a document is made of (J4).

    Attributes:
        snapshot: None before the first compaction.
        entries: all entries after the snapshot, in order.
        position: of the last entry; `START` for a document that has none.
    """

    snapshot: Snapshot | None
    entries: list[Entry]
    position: Position


@dataclass(frozen=True, slots=True)
class Gap:
    """The entries after `after`, up to and including `upto`, do not come through this iterator: `load` has them.

    The reader was too slow, or they were folded into the snapshot. The iterator goes on after `upto`.
    """

    after: Position
    upto: Position


@dataclass(frozen=True, slots=True)
class Reset:
    """The log does not hold what the reader has seen: it ends at `position`, before the reader's.

    Forget positions, load, and append again what the log lacks. The iterator goes on after `position`.
    """

    position: Position


@dataclass(frozen=True, slots=True)
class Folded:
    """Everything up to `upto` is in the snapshot now, by whichever replica: this one need not do it too."""

    upto: Position


Followed = Entry | Gap | Reset | Folded


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """A kept version, without its bytes.

    Attributes:
        id: names it within its document.
        time_ms: Unix time in milliseconds that it stands for.
        authors: stable ids of the people who made it, as the caller gave them.
        name: None while nobody has named it.
        size_bytes: of its state.
    """

    id: int
    time_ms: int
    authors: tuple[str, ...]
    name: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Version:
    """A kept version: one update."""

    info: VersionInfo
    state: bytes


@dataclass(frozen=True, slots=True)
class Links:
    """The share links of a document.

    Attributes:
        generation: grows with each reset; links of an older one open nothing.
        read_ms, edit_ms: when the link for reading or editing was made; None while there is none.
    """

    generation: int = 0
    read_ms: int | None = None
    edit_ms: int | None = None


NO_LINKS = Links()


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document as the listing shows it.

    Attributes:
        created_ms, updated_ms: time of the first and the last edit (or of the first `set_info`).
        deleted_ms: when the tombstone was set; None while the document lives.
        purged: only the tombstone is left (J14).
        title, kind, schema: what `set_info` mirrored.
        position: of the last entry.
        snapshot_bytes, tail_bytes, history_bytes: sizes of the snapshot, of the entries after it, and of what is kept
            besides for the history.
        updated_by: author of the last edit; None for an anonymous one.
        links: what `add_link` and `reset_links` left.
    """

    document: DocumentId
    created_ms: int
    updated_ms: int
    deleted_ms: int | None
    purged: bool
    title: str | None
    kind: str | None
    position: Position
    snapshot_bytes: int
    tail_bytes: int
    history_bytes: int
    updated_by: str | None = None
    schema: int | None = None
    links: Links = NO_LINKS


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of documents.

    Attributes:
        documents: at most `limit` of them.
        total: how many match in all; with a `where`, of those that were looked at (JS3).
        following: pass it as `after` for the next page; None when this is the last.
    """

    documents: list[DocumentInfo]
    total: int
    following: str | None


@dataclass(frozen=True, slots=True)
class Window:
    """What one author did in one window of the history.

    Attributes:
        start_ms: begin of the window; `at(document, start_ms)` shows the document with all of it.
        author: as in `Edit`.
        size_bytes: of the updates kept for it.
    """

    start_ms: int
    author: str | None
    size_bytes: int


class Revocations(NamedTuple):
    """What has been revoked; `mark` names this state of it."""

    mark: bytes
    revocations: list[Revocation]


def too_many_revocations(count: int) -> RoomFullError:
    """Say that no more revocations are kept (J21)."""
    return RoomFullError(
        f"{count} revocations are kept, as many as can be; set --auth-max-lifetime-s (RAFFIA_AUTH_MAX_LIFETIME_S), so "
        "that they can be forgotten when the tokens have expired"
    )


Clear = Callable[[DocumentId], Awaitable[None]]
"""Removes what is kept elsewhere for a document that is purged; a `RaffiaError` says that it has to be asked again."""


async def cleared(clear: Clear, document: DocumentId) -> bool:
    """Have what is kept elsewhere for a purged document removed; whether it is (J22)."""
    try:
        await clear(document)
    except RaffiaError as error:
        log.warning("what was kept for a purged document is not removed yet", document=document, detail=str(error))
        return False
    return True


class JournalStats:
    """What a journal has done and has waiting; plain attributes, read by metrics.

    Attributes:
        queued, queued_bytes: appends that wait for their acknowledgement.
        appends, append_bytes: acknowledged since the start.
        commits: transactions (or scripts) that made them durable.
        commit_s: seconds spent in commits; `last_commit_s` the latest, `slowest_commit_s` the longest of them.
        failures: commits that failed.
        loads, compactions: finished since the start.
        observe_commit: called on the event loop with the seconds of each commit, for a histogram.
    """

    __slots__ = (
        "append_bytes",
        "appends",
        "commit_s",
        "commits",
        "compactions",
        "failures",
        "last_commit_s",
        "loads",
        "observe_commit",
        "queued",
        "queued_bytes",
        "slowest_commit_s",
    )

    def __init__(self) -> None:
        self.queued = 0
        self.queued_bytes = 0
        self.appends = 0
        self.append_bytes = 0
        self.commits = 0
        self.commit_s = 0.0
        self.last_commit_s = 0.0
        self.slowest_commit_s = 0.0
        self.failures = 0
        self.loads = 0
        self.compactions = 0
        self.observe_commit: Callable[[float], None] | None = None

    def committed(self, seconds: float) -> None:
        """Count one commit that took so long."""
        self.commits += 1
        self.commit_s += seconds
        self.last_commit_s = seconds
        self.slowest_commit_s = max(self.slowest_commit_s, seconds)
        if self.observe_commit is not None:
            self.observe_commit(seconds)


@runtime_checkable
class Journal(Protocol):
    """See the rules at the head of this module. Every method may raise `JournalUnavailableError`."""

    @property
    def stats(self) -> JournalStats:
        """Counters for metrics."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether others write to the same documents at the same time, so that rooms have to follow (J20)."""
        ...

    @property
    def bus(self) -> Bus | None:
        """The way to the other replicas; None when there are none. The journal enters and leaves it."""
        ...

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            DataFolderInUseError: another process has it open.
            FormatTooNewError: see J16.
            JournalUnavailableError: the store cannot be opened.
        """
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make durable what was appended before, then close (J17)."""
        ...

    async def healthy(self) -> None:
        """Return when something written now would become durable; put a deadline on it.

        Raises:
            JournalUnavailableError: it would not.
        """
        ...

    def append(self, document: DocumentId, batch: Batch) -> Awaitable[Position]:
        """Queue a batch at once and return a future of its position (J1, J2, J3, J6).

        Args:
            document: made when it is not there yet.
            batch: at least one edit.

        Raises (from the future, never from the call):
            DocumentDeletedError: see J14.
            JournalUnavailableError: not acknowledged; also when the queue is full.
        """
        ...

    async def load(self, document: DocumentId) -> Loaded:
        """Read a document (J4).

        Raises:
            DocumentDeletedError: see J14.
            QuarantinedError: its stored bytes cannot be read.
        """
        ...

    def follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        """Yield the entries after a position, those there are and those to come, for ever (J15).

        A shared journal yields `Folded` too when a snapshot has taken entries' place.

        Raises:
            DocumentDeletedError: now or as soon as it is deleted.
        """
        ...

    async def compact(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
        """Put a snapshot in the place of all entries up to a position and keep those as history (J8, J9).

        Args:
            document: the document.
            snapshot: the document with all entries up to `upto`. What it holds beyond them is no harm to `load`, but
                shows in the moments that are rebuilt from it.
            upto: a position that `load`, `append` or `follow` gave.

        Raises:
            DocumentDeletedError: see J14.
        """
        ...

    async def at(self, document: DocumentId, time_ms: int) -> list[bytes]:
        """Return updates that merge to the document as it was (J9, J10); none for a time before its first edit.

        Raises:
            ForbiddenError: the history does not reach back that far, or there is no such document.
        """
        ...

    async def history(self, document: DocumentId, since_ms: int = 0) -> list[Window]:
        """List who did something when, oldest first; a window only once per author."""
        ...

    async def save_version(
        self, document: DocumentId, state: bytes, *, time_ms: int, authors: Sequence[str] = (), name: str | None = None
    ) -> VersionInfo:
        """Keep a state (J12).

        Raises:
            ForbiddenError: there is no such document.
        """
        ...

    async def versions(self, document: DocumentId) -> list[VersionInfo]:
        """List the versions of a document, newest first."""
        ...

    async def version(self, document: DocumentId, version: int) -> Version:
        """Read one.

        Raises:
            ForbiddenError: there is no such version.
        """
        ...

    async def rename_version(self, document: DocumentId, version: int, name: str | None) -> VersionInfo:
        """Name one, or take its name away.

        Raises:
            ForbiddenError: there is no such version.
        """
        ...

    async def delete_version(self, document: DocumentId, version: int) -> None:
        """Drop one for ever.

        Raises:
            ForbiddenError: there is no such version.
        """
        ...

    async def set_info(
        self, document: DocumentId, *, title: str | None, kind: str | None, schema: int | None = None
    ) -> None:
        """Mirror what a document says of itself into the listing; makes it when it is not there yet (J13)."""
        ...

    async def add_link(self, document: DocumentId, can: Literal["read", "edit"], time_ms: int) -> Links:
        """Note that there is a link of this kind; one that is there stays as it is.

        Raises:
            ForbiddenError: there is no such document.
        """
        ...

    async def reset_links(self, document: DocumentId) -> Links:
        """Begin a new generation of links, without any.

        Raises:
            ForbiddenError: there is no such document.
        """
        ...

    async def info(self, document: DocumentId) -> DocumentInfo | None:
        """Look one document up, deleted ones too; None when it was never there."""
        ...

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
        """List documents (J13).

        Args:
            prefix: only names that begin so; no character in it is special.
            after: only what comes behind: a name, or in the order by time where the last page ended.
            limit: largest page.
            deleted: those that can be restored, in place of the living.
            order: by name, or newest first (JS1).
            where: only those that match; None for all.

        Raises:
            MalformedError: `after` is not where a page by time ended.
        """
        ...

    async def delete(self, document: DocumentId) -> None:
        """Set the tombstone (J14); a document that was never there gets one too. Doing it again changes nothing."""
        ...

    async def restore(self, document: DocumentId) -> None:
        """Take the tombstone away; a living document stays as it is.

        Raises:
            DocumentDeletedError: it is purged.
            ForbiddenError: it was never there.
        """
        ...

    async def revoke(self, revocation: Revocation) -> None:
        """Keep a revocation (J21).

        Raises:
            RoomFullError: there are too many.
        """
        ...

    async def revocations(self, mark: bytes | None = None) -> Revocations | None:
        """All revocations that are kept, past ones perhaps among them.

        Args:
            mark: of what was read before; None to read all.

        Returns:
            None when nothing has been revoked since that mark.
        """
        ...

    def on_revoked(self, heard: Callable[[], None]) -> None:
        """Say who is told, on the event loop, that others may have revoked something; once (J21)."""
        ...

    def on_purged(self, clear: Clear) -> None:
        """Say what removes what is kept elsewhere for a purged document; once (J22)."""
        ...

    async def prune(self) -> None:
        """Drop the history and purge the deleted documents past their retention (J11); call it every few minutes."""
        ...
