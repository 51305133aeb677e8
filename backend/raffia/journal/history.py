"""History: what a compaction keeps of the entries it folds, and how past states are rebuilt. No store, no clock.

Rules (in addition to J9, J10 and J11 of `protocol`):
    H1  A segment contains what one author did in one window of 10 s, including content deleted since.
    H2  Segments that two compactions made for one author and window are joined, unless a base snapshot lies between
        them: a snapshot never cuts through a segment.
    H3  A replaced snapshot is kept as a base snapshot if it is older than the retention period, or at least half that
        period newer than the base before it. So everything before the newest base that is older than the period can be
        dropped, and pruning never merges anything.
    H4  A segment that cannot be merged (it has a gap, because another author's session supplied the missing part) is
        kept as a list of updates: rebuilding a past state merges all segments, which closes the gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from raffia.crdt.merge import merge
from raffia.crdt.squash import squash
from raffia.crdt.update import read_update
from raffia.errors import CrdtError, ForbiddenError, MalformedError
from raffia.journal.protocol import WINDOW_MS, Entry, Window
from raffia.types import DocumentId, Edit, Position

INLINE_BYTES = 64 * 1024
INLINE_UPDATES = 500  # merging and squashing this many keystrokes takes 1.5 ms
SQUASH_BYTES = 1024 * 1024  # a larger segment is a paste or an offline step 2: one run already, squash gains nothing

Fold = Callable[[Sequence[bytes]], Awaitable[list[bytes]]]
"""Makes the updates of one segment smaller without changing their meaning; keeps deleted content (H1, H4)."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What one author did in one window, as it is stored (H1).

    Attributes:
        first, last: positions of the entries it was made from; entries of other authors may lie between.
        window_ms: start of the window.
        replaces: ids of stored segments that are joined into it (H2).
    """

    first: Position
    last: Position
    window_ms: int
    author: str | None
    updates: list[bytes]
    replaces: tuple[int, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Total size of its updates."""
        return sum(map(len, self.updates))


@dataclass(frozen=True, slots=True)
class BaseSnapshot:
    """A snapshot from which past states are rebuilt: its position and the time of its last edit."""

    upto: Position
    time_ms: int


def window(time_ms: int) -> int:
    """Return the start of the window that a time falls into."""
    return time_ms - time_ms % WINDOW_MS


def timed(entries: Iterable[Entry], since_ms: int) -> Iterable[tuple[Position, int, Edit]]:
    """Yield every edit with its effective time, which is never before that of an earlier edit (J10)."""
    latest = since_ms
    for entry in entries:
        for edit in entry.batch:
            latest = max(latest, edit.time_ms)
            yield entry.position, latest, edit


class Splitter:
    """Groups the edits of a tail into segments, a slice of entries at a time, without merging.

    Args:
        since_ms: the time of the last edit before the tail.

    Attributes:
        latest_ms: the time of the last edit so far.
    """

    __slots__ = ("_segments", "latest_ms")

    def __init__(self, since_ms: int) -> None:
        self.latest_ms = since_ms
        self._segments: dict[tuple[int, str | None], tuple[Position, list[Position], list[bytes]]] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Add the next entries."""
        for position, time_ms, edit in timed(entries, self.latest_ms):
            self.latest_ms = time_ms
            key = window(time_ms), edit.author
            if key not in self._segments:
                self._segments[key] = position, [], []
            _, last, updates = self._segments[key]
            last[:] = (position,)
            updates.append(edit.update)

    def segments(self) -> list[Segment]:
        """Return the segments so far, in the order of their first edits."""
        return [
            Segment(first, last[0], start_ms, author, updates)
            for (start_ms, author), (first, last, updates) in self._segments.items()
        ]


def split(entries: Iterable[Entry], since_ms: int) -> list[Segment]:
    """Group the edits of a whole tail into segments."""
    splitter = Splitter(since_ms)
    splitter.add(entries)
    return splitter.segments()


def stays_as_base(replaced: BaseSnapshot, before: BaseSnapshot, retention_ms: int, now_ms: int) -> bool:
    """Return whether a snapshot that is being replaced is kept (H3)."""
    return replaced.time_ms <= now_ms - retention_ms or replaced.time_ms - before.time_ms >= retention_ms // 2


def base_of(bases: Iterable[BaseSnapshot], horizon_ms: int) -> BaseSnapshot | None:
    """Return the newest base at or before the horizon: everything older can be dropped (H3)."""
    old = [one for one in bases if one.time_ms <= horizon_ms]
    return max(old, key=lambda one: one.upto, default=None)


def start_of(bases: Iterable[BaseSnapshot], time_ms: int) -> BaseSnapshot | None:
    """Return the newest base without edits after the window of `time_ms` (J9)."""
    limit = window(time_ms)
    fitting = [one for one in bases if window(one.time_ms) <= limit]
    return max(fitting, key=lambda one: one.upto, default=None)


def take_in(segment: Segment, kept: Mapping[int, Segment], boundary: Position) -> Segment:
    """Join a new segment with stored ones of the same author and window that come after the last base (H2)."""
    key = segment.window_ms, segment.author
    same = {id_: old for id_, old in kept.items() if (old.window_ms, old.author) == key and old.first > boundary}
    if not same:
        return segment
    updates = [update for old in same.values() for update in old.updates] + segment.updates
    first = min(old.first for old in same.values())
    return replace(segment, first=first, updates=updates, replaces=tuple(same))


def windows(kept: Iterable[Window], segments: Iterable[Segment], since_ms: int) -> list[Window]:
    """Combine windows with those of segments: one per author and window, oldest first."""
    sizes: dict[tuple[int, str | None], int] = {}
    listed = [Window(segment.window_ms, segment.author, segment.size_bytes) for segment in segments]
    for one in (*kept, *listed):
        if one.start_ms >= since_ms:
            key = one.start_ms, one.author
            sizes[key] = sizes.get(key, 0) + one.size_bytes
    keys = sorted(sizes, key=lambda key: (key[0], key[1] or ""))
    return [Window(start_ms, author, sizes[start_ms, author]) for start_ms, author in keys]


def out_of_reach(document: DocumentId, time_ms: int) -> ForbiddenError:
    """Build the error for a past state that can no longer be rebuilt."""
    return ForbiddenError(f"the history of {document} does not reach back to {time_ms} (Unix ms)")


def updates_until(entries: Iterable[Entry], since_ms: int, time_ms: int) -> list[bytes]:
    """Return the updates of a tail up to the end of the window of `time_ms`."""
    limit = window(time_ms)
    return [edit.update for _, counted_ms, edit in timed(entries, since_ms) if window(counted_ms) <= limit]


def fold_now(updates: Sequence[bytes]) -> list[bytes]:
    """Merge and squash the updates of one segment, as far as that is safe (H4)."""
    if len(updates) == 1 and len(updates[0]) > SQUASH_BYTES:
        return list(updates)
    try:
        merged = merge(updates) if len(updates) > 1 else updates[0]
        if len(merged) > SQUASH_BYTES:
            return [merged]
        if any(section.skips for section in read_update(merged).sections):
            return list(updates)
        return [squash(merged, keep_deleted=True)]
    except (CrdtError, MalformedError):
        # History must never prevent a compaction: unmerged it is larger, but just as good.
        return list(updates)


async def fold(updates: Sequence[bytes]) -> list[bytes]:
    """Run `fold_now`, in a thread if it is more than about two milliseconds of work.

    Merging holds the interpreter lock even in a thread (M3 of crdt/merge.py): if documents are large, give the journal
    a `Fold` that uses another process.
    """
    if len(updates) <= INLINE_UPDATES and sum(map(len, updates)) <= INLINE_BYTES:
        await asyncio.sleep(0)  # let other tasks run between the segments of a large compaction
        return fold_now(updates)
    return await asyncio.to_thread(fold_now, updates)
