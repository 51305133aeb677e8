"""A journal without a disk: for tests, simulation and trying things out. "Durable" means: in its `MemoryStore`.

A store outlives the journals that open it, several at a time, as a folder outlives a process. Its faults are set from
outside: `failing` makes everything that writes fail with that reason, `hold()` keeps appends waiting until `release()`,
`lose()` cuts the end of a log off, `fail_over()` puts an older copy of a document in its place. Of a journal with
`is_shared`, which stands for a replica, `cut()` closes the way to the store until `heal()`, and `unsure` has what it
writes reported as failed although it is there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Literal, Self

from raffia.errors import DocumentDeletedError, ForbiddenError, InternalError, JournalUnavailableError, LogLostError
from raffia.journal import history
from raffia.journal.bus import Bus
from raffia.journal.entries import encode_batch
from raffia.journal.follow import FOLLOW_ENTRIES, Followers
from raffia.journal.protocol import (
    NO_LINKS,
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
    too_many_revocations,
)
from raffia.journal.search import Order, Where, cursor_of, read_cursor
from raffia.runtime.logs import get_logger
from raffia.types import MAX_REVOCATIONS, START, Batch, DocumentId, Position, Revocation

log = get_logger("raffia.journal")

LINEAGE_BITS = 16  # in the low bits of a position, so that what comes after a loss is not taken for what was lost
_BIRTH = history.Stone(START, 0)


@dataclass(slots=True)
class _Document:
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
    folded: history.Stone = _BIRTH
    complete_from: Position = START  # the history before this position is gone
    snapshots: dict[Position, tuple[history.Stone, Snapshot]] = field(default_factory=dict)
    segments: dict[int, history.Segment] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    versions: dict[int, Version] = field(default_factory=dict)

    @property
    def snapshot(self) -> Snapshot | None:
        """The present one."""
        return self.snapshots[self.folded.upto][1] if self.folded.upto else None

    def has(self, position: Position) -> bool:
        """Whether the log holds, or held before it was folded, what this position stood for when it was given."""
        lineage = position & (1 << LINEAGE_BITS) - 1
        return position <= self.last and all(position <= end for begun, end in self.cuts if begun > lineage)


class MemoryStore:
    """What memory journals keep, and the faults of the "disk".

    Attributes:
        failing: why nothing can be written at the moment; None while all is well.
    """

    def __init__(self) -> None:
        self.failing: str | None = None
        self.held = False
        self.documents: dict[DocumentId, _Document] = {}
        self.last_id = 0
        self.revocations: dict[tuple[str, str], Revocation] = {}
        self.revoked = 0  # how often something was
        self.journals: list[MemoryJournal] = []

    def hold(self) -> None:
        """Keep appends from becoming durable until `release`."""
        self.held = True

    def release(self) -> None:
        """Let the appends that wait become durable."""
        self.held = False
        for journal in self.journals:
            journal.flush()

    def lose(self, document: DocumentId, count: int) -> None:
        """Cut the last entries of a log off, as a Redis does that restarts with an older file; snapshots stay."""
        kept = self.documents[document]
        del kept.entries[max(0, len(kept.entries) - count) :]
        self._cut(kept)

    def copy(self, document: DocumentId) -> _Document:
        """What a lagging replica of the store holds from now on, for `fail_over`."""
        return deepcopy(self.documents[document])

    def fail_over(self, document: DocumentId, copy: _Document) -> None:
        """Let an older copy take the place of a document, as when a lagging replica of the store takes over."""
        older = deepcopy(copy)
        older.lineage, older.cuts = self.documents[document].lineage, list(self.documents[document].cuts)
        self.documents[document] = older
        self._cut(older)

    def _cut(self, kept: _Document) -> None:
        kept.last = kept.entries[-1].position if kept.entries else kept.folded.upto
        kept.lineage += 1
        kept.cuts.append((kept.lineage, kept.last))
        for journal in self.journals:
            journal.lost(kept.name)

    def next_id(self) -> int:
        """A number that nothing else in the store has."""
        self.last_id += 1
        return self.last_id


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _when(kept: _Document) -> tuple[int, str]:
    return (kept.updated_ms if kept.deleted_ms is None else kept.deleted_ms), kept.name


class MemoryJournal:
    """`Journal` over a `MemoryStore`.

    Args:
        store: shared between journals that stand for replicas, or reopened; a new one by default.
        now_ms: the clock, Unix time in milliseconds.
        retention_ms: how long history is kept (J11); 0 keeps none.
        trash_ms: how long a deleted document can be restored (J14).
        fold: makes segments small; see `history.Fold`.
        follow_entries: how many entries may wait for one follower (J15).
        shared: whether other journals write to the store at the same time (J20).
        bus: the way to the replicas behind those.

    Attributes:
        unsure: whether appends fail although they were written.
    """

    def __init__(
        self,
        store: MemoryStore | None = None,
        *,
        now_ms: Callable[[], int] = _now_ms,
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
        self._is_cut = False
        self._lineages: dict[
            DocumentId, int
        ] = {}  # of what was handed out; behind that of the log: a Reset is due (J20)
        self._now_ms = now_ms
        self._retention_ms = retention_ms
        self._trash_ms = trash_ms
        self._fold = fold
        self._followers = Followers(follow_entries)
        self._waiting: list[tuple[DocumentId, Batch, int, asyncio.Future[Position]]] = []
        self._open = False
        self._heard_revoked: Callable[[], None] | None = None
        self._clear: Clear | None = None

    async def __aenter__(self) -> Self:
        """Open it."""
        self._open = True
        self.store.journals.append(self)
        if self.bus is not None:
            await self.bus.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits, also what is held, and close (J17)."""
        if self.bus is not None:
            await self.bus.__aexit__(kind, error, trace)
        self._write()
        self._open = False
        self.store.journals.remove(self)
        self._followers.end(JournalUnavailableError("the journal is closed"))

    # faults of a shared journal

    def cut(self) -> None:
        """Close the way to the store."""
        self._is_cut = True

    def heal(self) -> None:
        """Open it again; followers have missed what came meanwhile."""
        self._is_cut = False
        for document, kept in self.store.documents.items():
            if self._known_lineage(document) == kept.lineage:
                self._followers.miss(document, kept.last)
            else:
                self._followers.reset(document, kept.last)

    def lost(self, document: DocumentId) -> None:
        """The log of a document was cut (J20)."""
        if not self._is_cut:
            self._followers.reset(document, self.store.documents[document].last)

    def _lineage(self, document: DocumentId) -> int:
        kept = self.store.documents.get(document)
        return kept.lineage if kept is not None else 0

    def _known_lineage(self, document: DocumentId) -> int:
        return self._lineages.setdefault(document, self._lineage(document)) if self.is_shared else 0

    def _renew(self, document: DocumentId) -> None:
        """A follower takes the log as it is now: appends that are called from here on are let through (J20)."""
        self._lineages[document] = self._lineage(document)

    async def healthy(self) -> None:
        """Raise while the store fails."""
        self._check()

    # appending

    def append(self, document: DocumentId, batch: Batch) -> asyncio.Future[Position]:
        """Queue a batch; it is written in the next turn of the event loop."""
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        if not batch:
            future.set_exception(InternalError("an empty batch cannot be appended"))
            return future
        if not self._open:
            future.set_exception(JournalUnavailableError("the journal is closed"))
            return future
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((document, batch, self._known_lineage(document), future))
        self.stats.queued += 1
        self.stats.queued_bytes += sum(len(edit.update) for edit in batch)
        return future

    def flush(self) -> None:
        """Write what waits, unless the store holds it back."""
        if not self.store.held:
            self._write()

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.stats.queued = self.stats.queued_bytes = 0
        if waiting and self.store.failing is None:
            self.stats.committed(0.0)
        elif waiting:
            self.stats.failures += 1
        for document, batch, lineage, future in waiting:
            try:
                position = self._append(document, batch, lineage)
                if self.unsure:
                    raise JournalUnavailableError("the answer was lost")  # noqa: TRY301 - as a lost connection does
            except (JournalUnavailableError, DocumentDeletedError) as error:
                if not future.done():
                    future.set_exception(error)
                continue
            except Exception as error:
                log.exception("a write failed by our fault", document=document)
                if not future.done():
                    future.set_exception(InternalError(f"cannot be stored: {error!r}"))
                continue
            if not future.done():
                future.set_result(position)

    def _append(self, document: DocumentId, batch: Batch, lineage: int) -> Position:
        self._check()
        if self.is_shared and lineage != self._lineage(document):
            raise LogLostError(f"the log of {document} has lost what was seen of it")
        encode_batch(batch)  # fails where a journal with a disk would
        kept = self._living(document)
        if kept is None:
            kept = self._create(document, batch[0].time_ms)
        kept.last = Position(((kept.last >> LINEAGE_BITS) + 1 << LINEAGE_BITS) + kept.lineage)
        kept.updated_ms = max(kept.updated_ms, batch[-1].time_ms)
        kept.updated_by = batch[-1].author
        entry = Entry(kept.last, batch)
        kept.entries.append(entry)
        self.stats.appends += 1
        self.stats.append_bytes += sum(len(edit.update) for edit in batch)
        for journal in self.store.journals:
            if not journal._is_cut:
                journal._followers.tell(document, entry)
        return kept.last

    # reading

    async def load(self, document: DocumentId) -> Loaded:
        """Read a document."""
        self._check_open()
        self.stats.loads += 1
        kept = self._living(document)
        self._known_lineage(document)
        if kept is None:
            return Loaded(None, [], START)
        return Loaded(kept.snapshot, list(kept.entries), kept.last)

    def follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        """Yield the entries after a position."""
        return self._followers.follow(document, after, self._after, self._renew)

    async def _after(self, document: DocumentId, after: Position) -> tuple[Position, Loaded]:
        self._check_open()
        kept = self._living(document)
        if kept is None:
            return START, Loaded(None, [], START)
        if self.is_shared and not kept.has(after):
            # Seen as shorter than what the reader has, it gives a Reset; the entries come with the load after that.
            return START, Loaded(None, [], Position(min(kept.last, after - 1)))
        if self.is_shared:
            self._renew(document)
        entries = [entry for entry in kept.entries if entry.position > after]
        return kept.folded.upto, Loaded(None, entries, kept.last)

    # compaction and history

    async def compact(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
        """Fold entries into a snapshot and keep them as history."""
        self._check()
        kept = self._there(document)
        if upto <= kept.folded.upto or (self.is_shared and not kept.has(upto)):
            return
        if upto > kept.last:
            raise InternalError(f"{document} cannot be compacted up to {upto}: its last entry is {kept.last}")
        before = kept.folded
        folded = [entry for entry in kept.entries if entry.position <= upto]
        edits = list(history.timed(folded, before.time_ms))
        older = self._stone_before(kept)
        stays = before.upto > START and history.is_stone(before, older, self._retention_ms, self._now_ms())
        boundary = before.upto if stays else older.upto
        segments = history.split(folded, before.time_ms) if self._retention_ms else []
        segments = [history.take_in(segment, kept.segments, boundary) for segment in segments]
        segments = [replace(segment, updates=await self._fold(segment.updates)) for segment in segments]
        # From here on nothing awaits: the swap is one step (J8).
        self._check()
        self._there(document)
        if kept.folded is not before or self.store.documents.get(document) is not kept or not kept.has(upto):
            return
        for segment in segments:
            for taken in segment.replaces:
                del kept.segments[taken]
            kept.segments[self.store.next_id()] = segment
        kept.entries = [entry for entry in kept.entries if entry.position > upto]
        if not stays:
            kept.snapshots.pop(before.upto, None)
        kept.folded = history.Stone(upto, edits[-1][1])
        kept.snapshots[upto] = (kept.folded, snapshot)
        self.stats.compactions += 1
        self._prune(kept)
        for journal in self.store.journals:
            if journal.is_shared and not journal._is_cut:
                journal._followers.folded(document, upto)

    def _stone_before(self, kept: _Document) -> history.Stone:
        older = [stone for stone, _ in kept.snapshots.values() if stone.upto < kept.folded.upto]
        return max(older, key=lambda stone: stone.upto, default=history.Stone(START, kept.created_ms))

    async def at(self, document: DocumentId, time_ms: int) -> list[bytes]:
        """Rebuild a moment."""
        self._check_open()
        kept = self._there(document)
        start = history.start_of([stone for stone, _ in kept.snapshots.values()], time_ms)
        if start is None and kept.complete_from:
            raise history.out_of_reach(document, time_ms)
        updates = []
        if start is not None:
            updates.append(kept.snapshots[start.upto][1].state)
        after = start.upto if start is not None else START
        limit = history.window(time_ms)
        for segment in kept.segments.values():
            if segment.last > after and segment.window_ms <= limit:
                updates += segment.updates
        return updates + history.updates_until(kept.entries, kept.folded.time_ms, time_ms)

    async def history(self, document: DocumentId, since_ms: int = 0) -> list[Window]:
        """List who did something when."""
        self._check_open()
        kept = self._there(document)
        tail = history.split(kept.entries, kept.folded.time_ms)
        return history.windows([], [*kept.segments.values(), *tail], since_ms)

    async def prune(self) -> None:
        """Drop what is past its retention."""
        self._check()
        self._prune_revocations()
        for kept in self.store.documents.values():
            self._prune(kept)
            if kept.deleted_ms is not None and kept.deleted_ms <= self._now_ms() - self._trash_ms:
                kept.purged = True
                kept.entries, kept.versions, kept.snapshots, kept.segments = [], {}, {}, {}
                kept.folded = _BIRTH
                kept.title = kept.kind = kept.schema = kept.updated_by = None
        if self._clear is None:
            return
        for kept in [kept for kept in self.store.documents.values() if kept.purged and not kept.cleared]:
            if await cleared(self._clear, kept.name):
                kept.cleared = True

    def on_purged(self, clear: Clear) -> None:
        """Say what removes what is kept elsewhere."""
        self._clear = clear

    def _prune(self, kept: _Document) -> None:
        stones = [stone for stone, _ in kept.snapshots.values()]
        base = history.base_of(stones, self._now_ms() - self._retention_ms)
        if not self._retention_ms and kept.folded.upto:
            base = kept.folded
        if base is None:
            return
        kept.complete_from = base.upto
        kept.snapshots = {upto: kept.snapshots[upto] for upto in kept.snapshots if upto >= base.upto}
        kept.segments = {id_: segment for id_, segment in kept.segments.items() if segment.last > base.upto}

    # versions

    async def save_version(
        self, document: DocumentId, state: bytes, *, time_ms: int, authors: Sequence[str] = (), name: str | None = None
    ) -> VersionInfo:
        """Keep a state."""
        self._check()
        kept = self._there(document)
        info = VersionInfo(self.store.next_id(), time_ms, tuple(authors), name, len(state))
        kept.versions[info.id] = Version(info, state)
        return info

    async def versions(self, document: DocumentId) -> list[VersionInfo]:
        """List them, newest first."""
        self._check_open()
        infos = [version.info for version in self._there(document).versions.values()]
        return sorted(infos, key=lambda info: (info.time_ms, info.id), reverse=True)

    async def version(self, document: DocumentId, version: int) -> Version:
        """Read one."""
        self._check_open()
        kept = self._there(document)
        if version not in kept.versions:
            raise ForbiddenError(f"{document} has no version {version}")
        return kept.versions[version]

    async def rename_version(self, document: DocumentId, version: int, name: str | None) -> VersionInfo:
        """Name one."""
        self._check()
        found = await self.version(document, version)
        info = replace(found.info, name=name)
        self._there(document).versions[version] = Version(info, found.state)
        return info

    async def delete_version(self, document: DocumentId, version: int) -> None:
        """Drop one."""
        self._check()
        await self.version(document, version)
        del self._there(document).versions[version]

    # listing and deletion

    async def set_info(
        self, document: DocumentId, *, title: str | None, kind: str | None, schema: int | None = None
    ) -> None:
        """Mirror title, kind and schema."""
        self._check()
        kept = self._living(document) or self._create(document, self._now_ms())
        kept.title, kept.kind, kept.schema = title, kind, schema

    async def add_link(self, document: DocumentId, can: Literal["read", "edit"], time_ms: int) -> Links:
        """Note that there is a link."""
        self._check()
        kept = self._there(document)
        if can == "read" and kept.links.read_ms is None:
            kept.links = replace(kept.links, read_ms=time_ms)
        elif can == "edit" and kept.links.edit_ms is None:
            kept.links = replace(kept.links, edit_ms=time_ms)
        return kept.links

    async def reset_links(self, document: DocumentId) -> Links:
        """Begin a new generation."""
        self._check()
        kept = self._there(document)
        kept.links = Links(kept.links.generation + 1)
        return kept.links

    async def info(self, document: DocumentId) -> DocumentInfo | None:
        """Look one up."""
        self._check_open()
        kept = self.store.documents.get(document)
        return None if kept is None else self._info(kept)

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
        self._check_open()
        matches = where.filter() if where is not None else None
        found = [
            kept
            for name, kept in self.store.documents.items()
            if name.startswith(prefix) and (kept.deleted_ms is not None) == deleted and not kept.purged
        ]
        if order == "name":
            found.sort(key=lambda kept: kept.name)
            behind = [kept for kept in found if kept.name > after]
        else:
            found.sort(key=_when, reverse=True)
            last = read_cursor(after) if after else None
            behind = [kept for kept in found if last is None or _when(kept) < last]
        seen = len(behind) if where is None else where.most
        matching = [kept for kept in behind[:seen] if matches is None or matches((kept.name, kept.title, kept.kind))]
        page = matching[:limit]
        end = None
        if len(matching) > limit or len(behind) > seen:
            end = page[-1] if page else behind[seen - 1] if limit else None
        total = len(found)
        if matches is not None and where is not None:
            total = sum(matches((kept.name, kept.title, kept.kind)) for kept in found[: where.most])
        following = None if end is None else end.name if order == "name" else cursor_of(*_when(end))
        return Listing([self._info(kept) for kept in page], total, following)

    def _info(self, kept: _Document) -> DocumentInfo:
        present = kept.snapshot
        sizes = {upto: len(one.state) + len(one.index) for upto, (_, one) in kept.snapshots.items()}
        return DocumentInfo(
            document=kept.name,
            created_ms=kept.created_ms,
            updated_ms=kept.updated_ms,
            deleted_ms=kept.deleted_ms,
            purged=kept.purged,
            title=kept.title,
            kind=kept.kind,
            position=kept.last,
            snapshot_bytes=sizes[kept.folded.upto] if present is not None else 0,
            tail_bytes=sum(len(edit.update) for entry in kept.entries for edit in entry.batch),
            history_bytes=sum(segment.size_bytes for segment in kept.segments.values())
            + sum(size for upto, size in sizes.items() if upto != kept.folded.upto),
            updated_by=kept.updated_by,
            schema=kept.schema,
            links=kept.links,
        )

    async def delete(self, document: DocumentId) -> None:
        """Set the tombstone."""
        self._check()
        self._write()
        kept = self.store.documents.get(document) or self._create(document, self._now_ms())
        if kept.deleted_ms is None:
            kept.deleted_ms = self._now_ms()
        for journal in self.store.journals:
            journal._followers.end(DocumentDeletedError(f"document {document} was deleted"), document)

    async def restore(self, document: DocumentId) -> None:
        """Take the tombstone away."""
        self._check()
        kept = self.store.documents.get(document)
        if kept is None:
            raise ForbiddenError(f"there is no document {document}")
        if kept.purged:
            raise DocumentDeletedError(f"document {document} was deleted, and its content has been purged")
        kept.deleted_ms = None

    # revocations

    async def revoke(self, revocation: Revocation) -> None:
        """Keep a revocation."""
        self._check()
        kept, key = self.store.revocations, (revocation.kind, revocation.subject)
        if key in kept:
            revocation = revocation.merged(kept[key])
        elif len(kept) >= MAX_REVOCATIONS:
            raise too_many_revocations(len(kept))
        kept[key] = revocation
        self.store.revoked += 1
        for journal in self.store.journals:
            if journal is not self and not journal._is_cut and journal._heard_revoked is not None:
                journal._heard_revoked()

    async def revocations(self, mark: bytes | None = None) -> Revocations | None:
        """All that are kept."""
        self._check_open()
        now = str(self.store.revoked).encode()
        return None if mark == now else Revocations(now, list(self.store.revocations.values()))

    def on_revoked(self, heard: Callable[[], None]) -> None:
        """Say who is told of others'."""
        self._heard_revoked = heard

    def _prune_revocations(self) -> None:
        kept, now_ms = self.store.revocations, self._now_ms()
        for key in [key for key, one in kept.items() if one.until_ms is not None and one.until_ms <= now_ms]:
            del kept[key]

    # the ways in

    def _check_open(self) -> None:
        if not self._open:
            raise JournalUnavailableError("the journal is closed")
        if self._is_cut:
            raise JournalUnavailableError("the way to the store is cut")

    def _check(self) -> None:
        self._check_open()
        if self.store.failing is not None:
            raise JournalUnavailableError(self.store.failing)

    def _create(self, document: DocumentId, time_ms: int) -> _Document:
        kept = self.store.documents[document] = _Document(document, time_ms, time_ms)
        return kept

    def _living(self, document: DocumentId) -> _Document | None:
        kept = self.store.documents.get(document)
        if kept is not None and kept.deleted_ms is not None:
            raise DocumentDeletedError(f"document {document} was deleted")
        return kept

    def _there(self, document: DocumentId) -> _Document:
        kept = self._living(document)
        if kept is None:
            raise ForbiddenError(f"there is no document {document}")
        return kept
