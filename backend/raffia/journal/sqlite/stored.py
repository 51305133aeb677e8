"""What the SQLite journal stores for one document, except its versions: raw bytes for `raffia check`.

`load` refuses a document that has missing pieces or cannot be decoded. This reads whatever is left of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from raffia.journal.sqlite.database import SLICE_BYTES, Database, Steps
from raffia.types import DocumentId, Position

_PIECE_BITS = 20
_ROWS = 256


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot as it is stored: the current one, or a base snapshot of the history."""

    upto: Position
    time_ms: int
    state: bytes
    index: bytes


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A history segment as it is stored; `body` is what `entries.encode_updates` wrote."""

    first: Position
    last: Position
    window_ms: int
    author: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as it is stored; `body` is what `entries.encode_batch` wrote."""

    position: Position
    body: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """What is stored for a document, except its versions.

    Attributes:
        position: position of the last entry.
        folded: position of the current snapshot; 0 if there is none.
        complete_from: the history before this position is gone.
        snapshots, segments, entries: each in the order of their positions; entries at or before `folded` are left over.
    """

    document: DocumentId
    position: Position
    folded: Position
    complete_from: Position
    snapshots: list[StoredSnapshot]
    segments: list[StoredSegment]
    entries: list[StoredEntry]


def stored(database: Database, document: DocumentId) -> Steps[Stored]:
    """Read what is stored except versions, damaged or not, without decoding it."""
    key = database.there(document)
    last, folded, complete_from = database.rows(
        "SELECT last, folded, complete_from FROM documents WHERE key = ?", [key]
    )[0]
    snapshots = []
    for upto, time_ms, state, aside in database.rows(
        "SELECT upto, time_ms, state, aside FROM snapshots WHERE document = ? ORDER BY upto", (key,)
    ):
        state_bytes = yield from _pieces(database, state)
        index_bytes = yield from _pieces(database, aside)
        snapshots.append(StoredSnapshot(upto, time_ms, state_bytes, index_bytes))
    segments = []
    for first, end, window_ms, author, blob in database.rows(
        "SELECT first, last, window_ms, author, blob FROM segments WHERE document = ? ORDER BY first, id", (key,)
    ):
        body = yield from _pieces(database, blob)
        segments.append(StoredSegment(first, end, window_ms, author, body))
    entries: list[StoredEntry] = []
    position = -1
    while True:
        found = database.rows(
            "SELECT position, body FROM entries WHERE document = ? AND position > ? ORDER BY position LIMIT ?",
            (key, position, _ROWS),
        )
        if not found:
            return Stored(document, last, folded, complete_from, snapshots, segments, entries)
        entries += (StoredEntry(*row) for row in found)
        position = found[-1][0]
        yield


def _pieces(database: Database, blob: int) -> Steps[bytes]:
    """Read those pieces of a blob that exist, and join them."""
    if not blob:
        return b""
    parts: list[bytes] = []
    room = SLICE_BYTES
    for (piece,) in database.rows("SELECT id FROM pieces WHERE id BETWEEN ? AND ? ORDER BY id", _range(blob)):
        parts += (content for (content,) in database.rows("SELECT bytes FROM pieces WHERE id = ?", (piece,)))
        room -= len(parts[-1])
        if room <= 0:
            yield
            room = SLICE_BYTES
    return b"".join(parts)


def _range(blob: int) -> tuple[int, int]:
    return blob << _PIECE_BITS, (blob + 1 << _PIECE_BITS) - 1
