"""What is read from the database: generators that yield between slices (SW1). No loop, no thread."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from raffia.errors import ForbiddenError, InternalError, QuarantinedError
from raffia.journal import history
from raffia.journal.entries import decode_batch, decode_updates
from raffia.journal.history import Segment, Splitter, Stone
from raffia.journal.protocol import (
    DocumentInfo,
    Entry,
    Links,
    Loaded,
    Snapshot,
    Version,
    VersionInfo,
    Window,
)
from raffia.journal.sqlite.database import SLICE_BYTES, Database, Steps, not_there
from raffia.types import START, DocumentId, Position

T = TypeVar("T")

_ROWS = 256  # rows of one slice; their sizes count too
INFO = (
    "name, created_ms, updated_ms, deleted_ms, purged, title, kind, last, snapshot_bytes, tail_bytes, history_bytes, "
    "updated_by, schema, links_generation, link_read_ms, link_edit_ms"
)


@dataclass(frozen=True, slots=True)
class Head:
    """A document's row, as far as reading needs it; two equal ones mean that nothing was folded in between."""

    key: int
    last: Position
    folded: Stone
    complete_from: Position


@dataclass(frozen=True, slots=True)
class Tail:
    """What a compaction starts from.

    Attributes:
        head: the document as it was.
        latest_ms: the time of the last edit that is folded.
        segments: what becomes history, not merged yet.
        stays: the present snapshot becomes a stepping stone (H3).
    """

    head: Head
    latest_ms: int
    segments: list[Segment]
    stays: bool


def head_of(database: Database, document: DocumentId) -> Head | None:
    """Read a living document's row; None when it was never there."""
    known = database.living(document)
    if known is None:
        return None
    key, last, folded, folded_ms, complete_from = database.rows(
        "SELECT key, last, folded, folded_ms, complete_from FROM documents WHERE key = ?", (known.key,)
    )[0]
    return Head(key, last, Stone(folded, folded_ms), complete_from)


def steady(database: Database, document: DocumentId, read: Callable[[Head], Steps[T]]) -> Steps[T]:
    """Read in slices; once more from the start when a compaction has come between them.

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
    # More entries may have come; they lie after those that were read.
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
        raise QuarantinedError(f"the snapshot up to position {head.folded.upto} is not there")
    state, state_bytes, aside, aside_bytes = row
    state = yield from database.read_blob(state, state_bytes)
    aside = yield from database.read_blob(aside, aside_bytes)
    return Snapshot(state, aside)


def entries(
    database: Database, key: int, position: Position, upto: Position, take: Callable[[list[Entry]], None]
) -> Steps[None]:
    """Hand over the entries in (position, upto], a slice at a time."""
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


def stones(database: Database, key: int) -> list[Stone]:
    """The snapshots that are kept, the present one among them."""
    return [
        Stone(*row)
        for row in database.rows("SELECT upto, time_ms FROM snapshots WHERE document = ? ORDER BY upto", (key,))
    ]


def tail(
    database: Database, document: DocumentId, upto: Position, retention_ms: int, now_ms: int
) -> Steps[Tail | None]:
    """Read and sort what a compaction folds; None when it is stale (J8)."""
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
        (stone for stone in stones(database, head.key) if stone.upto < head.folded.upto),
        key=lambda stone: stone.upto,
        default=Stone(START, created_ms),
    )
    stays = head.folded.upto > START and history.is_stone(head.folded, older, retention_ms, now_ms)
    boundary = head.folded.upto if stays else older.upto
    if segments:
        # Times do not go back (J10): only the first window can have been begun by the compaction before.
        begun: dict[int, Segment] = {}
        start_ms = segments[0].window_ms
        yield from segments_of(database, head.key, from_ms=start_ms, to_ms=start_ms, position=boundary, into=begun)
        segments = [history.take_in(segment, begun, boundary) for segment in segments]
    return Tail(head, splitter.latest_ms, segments, stays)


def segments_of(
    database: Database, key: int, *, from_ms: int, to_ms: int, position: Position, into: dict[int, Segment]
) -> Steps[None]:
    """Read the segments of some windows that hold something after a position."""
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


def at(database: Database, document: DocumentId, time_ms: int) -> Steps[list[bytes]]:
    """Read what merges to a moment (J9)."""

    def read(head: Head) -> Steps[list[bytes]]:
        start = history.start_of(stones(database, head.key), time_ms)
        if start is None and head.complete_from:
            raise history.out_of_reach(document, time_ms)
        updates: list[bytes] = []
        position = START
        if start is not None:
            position = start.upto
            state, size = database.rows(
                "SELECT state, state_bytes FROM snapshots WHERE document = ? AND upto = ?", (head.key, position)
            )[0]
            updates.append((yield from database.read_blob(state, size)))
        kept: dict[int, Segment] = {}
        yield from segments_of(
            database, head.key, from_ms=0, to_ms=history.window(time_ms), position=position, into=kept
        )
        for segment in kept.values():
            updates += segment.updates
        rest: list[Entry] = []
        yield from entries(database, head.key, head.folded.upto, head.last, rest.extend)
        return updates + history.updates_until(rest, head.folded.time_ms, time_ms)

    return (yield from steady(database, document, read))


def windows(database: Database, document: DocumentId, since_ms: int) -> Steps[list[Window]]:
    """List who did something when."""

    def read(head: Head) -> Steps[list[Window]]:
        found = [
            Window(*row)
            for row in database.rows(
                "SELECT window_ms, author, bytes FROM segments WHERE document = ? AND window_ms >= ?",
                (head.key, since_ms),
            )
        ]
        splitter = Splitter(head.folded.time_ms)
        yield from entries(database, head.key, head.folded.upto, head.last, splitter.add)
        return history.windows(found, splitter.segments(), since_ms)

    return (yield from steady(database, document, read))


def version(database: Database, document: DocumentId, number: int) -> Steps[Version]:
    """Read a version with its bytes."""
    info, blob = version_row(database, document, number)
    try:
        state = yield from database.read_blob(blob, info.size_bytes)
    except QuarantinedError:
        version_row(database, document, number)  # dropped meanwhile: say that instead
        raise
    return Version(info, state)


def version_row(database: Database, document: DocumentId, number: int) -> tuple[VersionInfo, int]:
    """Look a version and its blob up."""
    rows = database.rows(
        "SELECT id, time_ms, authors, name, bytes, blob FROM versions WHERE document = ? AND id = ?",
        (database.there(document), number),
    )
    if not rows:
        raise ForbiddenError(f"{document} has no version {number}")
    return _version_info(rows[0]), rows[0][5]


def versions(database: Database, document: DocumentId) -> Steps[list[VersionInfo]]:
    """List the versions, newest first."""
    rows = database.rows(
        "SELECT id, time_ms, authors, name, bytes FROM versions WHERE document = ? ORDER BY time_ms DESC, id DESC",
        (database.there(document),),
    )
    yield
    return [_version_info(row) for row in rows]


def _version_info(row: tuple[Any, ...]) -> VersionInfo:
    return VersionInfo(row[0], row[1], tuple(json.loads(row[2])), row[3], row[4])


def purged(database: Database, *, key: int) -> Steps[list[tuple[int, DocumentId]]]:
    """The next purged documents behind a key for which something may be kept elsewhere (J22)."""
    rows = database.rows(
        "SELECT key, name FROM documents WHERE deleted_ms IS NOT NULL AND purged AND NOT cleared AND key > ?"
        " ORDER BY key LIMIT ?",
        (key, _ROWS),
    )
    yield
    return [(row[0], DocumentId(row[1])) for row in rows]


def info(database: Database, document: DocumentId) -> Steps[DocumentInfo | None]:
    """Look a document up."""
    rows = database.rows(f"SELECT {INFO} FROM documents WHERE name = ?", (document,))  # noqa: S608 - our own columns
    yield
    return info_of(rows[0]) if rows else None


def info_of(row: tuple[Any, ...]) -> DocumentInfo:
    """A row of `INFO`."""
    name, created_ms, updated_ms, deleted_ms, purged, title, kind, last, *rest = row
    snapshot, tail_, history_, updated_by, schema, *links = rest
    return DocumentInfo(
        document=name,
        created_ms=created_ms,
        updated_ms=updated_ms,
        deleted_ms=deleted_ms,
        purged=bool(purged),
        title=title,
        kind=kind,
        position=last,
        snapshot_bytes=snapshot,
        tail_bytes=tail_,
        history_bytes=history_,
        updated_by=updated_by,
        schema=schema,
        links=Links(*links),
    )


def probe(database: Database) -> Steps[None]:
    """Read something."""
    database.rows("SELECT count FROM probe")
    yield
