"""Reads from the database: generators that yield between slices (SW1). No event loop, no thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from raffia.errors import InternalError, QuarantinedError
from raffia.journal import history
from raffia.journal.entries import decode_batch, decode_updates
from raffia.journal.history import BaseSnapshot, Segment, Splitter
from raffia.journal.protocol import (
    Entry,
    Loaded,
    Snapshot,
)
from raffia.journal.sqlite.database import SLICE_BYTES, Database, Steps, not_there
from raffia.types import START, DocumentId, Position

T = TypeVar("T")

_ROWS = 256  # rows of one slice; their sizes count too


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a document's row that reading needs; if two are equal, nothing was folded in between."""

    key: int
    last: Position
    folded: BaseSnapshot
    complete_from: Position


@dataclass(frozen=True, slots=True)
class Tail:
    """What a compaction starts from.

    Attributes:
        head: the document as it was.
        latest_ms: the time of the last edit that is folded.
        segments: the new segments of the history, not merged yet.
        stays: whether the current snapshot is kept as a base snapshot (H3).
    """

    head: Head
    latest_ms: int
    segments: list[Segment]
    stays: bool


def head_of(database: Database, document: DocumentId) -> Head | None:
    """Read a document's row; None if it never existed. Raises if it is deleted."""
    known = database.living(document)
    if known is None:
        return None
    key, last, folded, folded_ms, complete_from = database.rows(
        "SELECT key, last, folded, folded_ms, complete_from FROM documents WHERE key = ?", (known.key,)
    )[0]
    return Head(key, last, BaseSnapshot(folded, folded_ms), complete_from)


def steady(database: Database, document: DocumentId, read: Callable[[Head], Steps[T]]) -> Steps[T]:
    """Read in slices, and start again if a compaction happened in between.

    Raises:
        ForbiddenError: there is no such document.
    """
    while True:
        head = head_of(database, document)
        if head is None:
            raise not_there(document)
        try:
            result = yield from read(head)
        except QuarantinedError:
            if _same(head, head_of(database, document)):
                raise
        else:
            if _same(head, head_of(database, document)):
                return result


def _same(one: Head, other: Head | None) -> bool:
    # There may be more entries now; they come after those that were read.
    return other is not None and (one.folded, one.complete_from) == (other.folded, other.complete_from)


def load(database: Database, document: DocumentId) -> Steps[Loaded]:
    """Read snapshot and tail (J4)."""
    if head_of(database, document) is None:
        return Loaded(None, [], START)

    def read(head: Head) -> Steps[Loaded]:
        snapshot = yield from _snapshot(database, head)
        loaded: list[Entry] = []
        yield from entries(database, head.key, head.folded.upto, head.last, loaded.extend)
        return Loaded(snapshot, loaded, head.last)

    return (yield from steady(database, document, read))


def after(database: Database, document: DocumentId, position: Position) -> Steps[tuple[Position, Loaded]]:
    """Read the entries after a position, for a follower."""
    if head_of(database, document) is None:
        return START, Loaded(None, [], START)

    def read(head: Head) -> Steps[tuple[Position, Loaded]]:
        loaded: list[Entry] = []
        yield from entries(database, head.key, max(head.folded.upto, position), head.last, loaded.extend)
        return head.folded.upto, Loaded(None, loaded, head.last)

    return (yield from steady(database, document, read))


def _snapshot(database: Database, head: Head) -> Steps[Snapshot | None]:
    if not head.folded.upto:
        return None
    row = database.row(
        "SELECT state, state_bytes, aside, aside_bytes FROM snapshots WHERE document = ? AND upto = ?",
        (head.key, head.folded.upto),
    )
    if row is None:
        raise QuarantinedError(f"the snapshot up to position {head.folded.upto} is missing")
    state, state_bytes, aside, aside_bytes = row
    state = yield from database.read_blob(state, state_bytes)
    aside = yield from database.read_blob(aside, aside_bytes)
    return Snapshot(state, aside)


def entries(
    database: Database, key: int, position: Position, upto: Position, take: Callable[[list[Entry]], None]
) -> Steps[None]:
    """Pass the entries in (position, upto] to `take`, a slice at a time."""
    while position < upto:
        cursor = database.execute(
            "SELECT position, body FROM entries WHERE document = ? AND position > ? AND position <= ?"
            " ORDER BY position LIMIT ?",
            (key, position, upto, _ROWS),
        )
        room, found = SLICE_BYTES, []
        for place, body in cursor:
            found.append(Entry(place, decode_batch(body)))
            room -= len(body)
            if room <= 0:
                break
        cursor.close()
        if not found:
            return
        take(found)
        position = found[-1].position
        if position < upto:
            yield


def base_snapshots(database: Database, key: int) -> list[BaseSnapshot]:
    """Read which snapshots are kept, including the current one."""
    return [
        BaseSnapshot(*row)
        for row in database.rows("SELECT upto, time_ms FROM snapshots WHERE document = ? ORDER BY upto", (key,))
    ]


def tail(
    database: Database, document: DocumentId, upto: Position, retention_ms: int, now_ms: int
) -> Steps[Tail | None]:
    """Read and group the entries that a compaction folds; None if it is stale (J8)."""
    head = head_of(database, document)
    if head is None:
        raise not_there(document)
    if upto <= head.folded.upto:
        return None
    if upto > head.last:
        raise InternalError(f"{document} cannot be compacted up to {upto}: its last entry is {head.last}")
    splitter = Splitter(head.folded.time_ms)
    yield from entries(database, head.key, head.folded.upto, upto, splitter.add)
    segments = splitter.segments() if retention_ms else []
    (created_ms,) = database.rows("SELECT created_ms FROM documents WHERE key = ?", (head.key,))[0]
    older = max(
        (one for one in base_snapshots(database, head.key) if one.upto < head.folded.upto),
        key=lambda one: one.upto,
        default=BaseSnapshot(START, created_ms),
    )
    stays = head.folded.upto > START and history.stays_as_base(head.folded, older, retention_ms, now_ms)
    boundary = head.folded.upto if stays else older.upto
    if segments:
        # Times never go back (J10), so the previous compaction can only have begun the first window.
        begun: dict[int, Segment] = {}
        start_ms = segments[0].window_ms
        yield from segments_of(database, head.key, from_ms=start_ms, to_ms=start_ms, position=boundary, into=begun)
        segments = [history.take_in(segment, begun, boundary) for segment in segments]
    return Tail(head, splitter.latest_ms, segments, stays)


def segments_of(
    database: Database, key: int, *, from_ms: int, to_ms: int, position: Position, into: dict[int, Segment]
) -> Steps[None]:
    """Read the segments of a range of windows that end after a position, into a dictionary by id."""
    rows = database.rows(
        "SELECT id, first, last, window_ms, author, blob, bytes FROM segments"
        " WHERE document = ? AND window_ms BETWEEN ? AND ? AND last > ? ORDER BY window_ms, id",
        (key, from_ms, to_ms, position),
    )
    room = SLICE_BYTES
    for id_, first, last, window_ms, author, blob, size in rows:
        body = yield from database.read_blob(blob, size)
        into[id_] = Segment(first, last, window_ms, author, decode_updates(body))
        room -= size + 4096
        if room <= 0:
            yield
            room = SLICE_BYTES


def probe(database: Database) -> Steps[None]:
    """Read something."""
    database.rows("SELECT count FROM probe")
    yield
