"""Reads from the database: generators that yield between slices (SW1). No event loop, no thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
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
from raffia.journal.sqlite.database import SLICE_BYTES, Database, Steps, deleted, not_there
from raffia.journal.sqlite.rows import SEALED, checked, entry_is_whole
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
    segments: int


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
    """Read a document's row, checked; None if it never existed. Raises if it is deleted."""
    row = database.document(document)
    if row is None:
        return None
    if row.deleted_ms is not None:
        raise deleted(document)
    folded = BaseSnapshot(Position(row.folded), row.folded_ms)
    return Head(row.key, Position(row.last), folded, Position(row.complete_from), row.segments)


def steady(database: Database, document: DocumentId, read: Callable[[Head], Steps[T]]) -> Steps[T]:
    """Read in slices, and start again if the document was compacted or pruned in between.

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
        f"SELECT checksum, {SEALED['snapshots']} FROM snapshots WHERE document = ? AND upto = ?",  # noqa: S608 - our own columns
        (head.key, head.folded.upto),
    )
    if row is None:
        raise QuarantinedError(f"the snapshot up to position {head.folded.upto} is missing")
    *_, state, state_bytes, aside, aside_bytes = checked("snapshots", f"the snapshot up to {head.folded.upto}", row)
    state = yield from database.read_blob(head.key, state, state_bytes)
    aside = yield from database.read_blob(head.key, aside, aside_bytes)
    return Snapshot(state, aside)


def entries(
    database: Database, key: int, position: Position, upto: Position, take: Callable[[list[Entry]], None]
) -> Steps[None]:
    """Pass the entries in (position, upto] to `take`, a slice at a time.

    Raises:
        QuarantinedError: one of them is missing or damaged.
    """
    while position < upto:
        cursor = database.execute(
            "SELECT position, checksum, time_ms, body FROM entries"
            " WHERE document = ? AND position > ? AND position <= ? ORDER BY position LIMIT ?",
            (key, position, upto, _ROWS),
        )
        room, found, expected = SLICE_BYTES, [], int(position)
        with closing(cursor):  # an error that is kept would keep it open, and the lock on the file
            for place, sealed, time_ms, body in cursor:
                expected += 1
                if place != expected:
                    raise QuarantinedError(f"entry {expected} of the log is missing")
                if not entry_is_whole(sealed, key, place, time_ms, body):
                    raise QuarantinedError(f"entry {place} of the log is damaged: it does not match its checksum")
                found.append(Entry(place, decode_batch(body)))
                room -= len(body)
                if room <= 0:
                    break
        if not found:
            raise QuarantinedError(f"entry {position + 1} of the log is missing")
        take(found)
        position = Position(found[-1].position)
        if position < upto:
            yield


def base_snapshots(database: Database, key: int) -> list[BaseSnapshot]:
    """Read which undamaged snapshots are kept, including the current one."""
    sql = f"SELECT checksum, {SEALED['snapshots']} FROM snapshots WHERE document = ? ORDER BY upto"  # noqa: S608 - our own columns
    found = []
    for row in database.rows(sql, (key,)):
        try:
            _, upto, time_ms, *_ = checked("snapshots", f"the snapshot up to {row[2]!r} of document {key}", row)
        except QuarantinedError as error:
            database.report(str(error), error)
        else:
            found.append(BaseSnapshot(upto, time_ms))
    return found


def check_segments(database: Database, head: Head) -> None:
    """Check that all segments of a document can be found.

    Raises:
        QuarantinedError: there are more or fewer than its row says.
    """
    (count,) = database.row("SELECT count(*) FROM segments WHERE document = ?", (head.key,)) or (0,)
    if count != head.segments:
        raise QuarantinedError(f"{count} of {head.segments} parts of the history can be found")


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
    created_ms = database.check_row(head.key).created_ms
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
        try:
            yield from segments_of(database, head.key, from_ms=start_ms, to_ms=start_ms, position=boundary, into=begun)
        except QuarantinedError as error:
            # What is damaged is not joined with anything new (CS2).
            database.report(f"the history of {document}", error)
            begun = {}
        segments = [history.take_in(segment, begun, boundary) for segment in segments]
    return Tail(head, splitter.latest_ms, segments, stays)


def segments_of(
    database: Database, key: int, *, from_ms: int, to_ms: int, position: Position, into: dict[int, Segment]
) -> Steps[None]:
    """Read the segments of a range of windows that end after a position, into a dictionary by id."""
    rows = database.rows(
        f"SELECT id, checksum, {SEALED['segments']} FROM segments"  # noqa: S608 - our own columns
        " WHERE document = ? AND window_ms BETWEEN ? AND ? AND last > ? ORDER BY window_ms, id",
        (key, from_ms, to_ms, position),
    )
    room = SLICE_BYTES
    for id_, *row in rows:
        _, first, last, window_ms, author, blob, size = checked("segments", "a part of the history", tuple(row))
        body = yield from database.read_blob(key, blob, size)
        into[id_] = Segment(first, last, window_ms, author, decode_updates(body))
        room -= size + 4096
        if room <= 0:
            yield
            room = SLICE_BYTES


def probe(database: Database) -> Steps[None]:
    """Read something, to find out whether the database can be read."""
    database.rows("SELECT count FROM probe")
    yield
