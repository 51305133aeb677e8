"""Reads everything the SQLite journal stores for one document, except versions, as raw bytes for `raffia check`.

`load` refuses a damaged document. This returns damaged parts too, marked as not whole. The
indexes of snapshots are not checked: they can be rebuilt.
"""

from __future__ import annotations

from raffia.journal.sqlite.database import PIECE_BITS, PIECE_MASK, SLICE_BYTES, Database, Steps
from raffia.journal.sqlite.rows import SEALED, entry_is_whole, is_whole, key_of, piece_is_whole
from raffia.journal.stored import Stored, StoredEntry, StoredSegment, StoredSnapshot
from raffia.types import DocumentId, Position

_ROWS = 256


def stored(database: Database, document: DocumentId) -> Steps[Stored]:
    """Read everything stored for a document, damaged or not, without decoding it.

    Raises:
        QuarantinedError: the document's row is damaged or lost.
    """
    row = database.check_row(key_of(document))
    key = row.key
    found = Stored(document, Position(row.last), Position(row.folded), Position(row.complete_from), [], [], [])
    sql = f"SELECT checksum, {SEALED['snapshots']} FROM snapshots WHERE document = ? ORDER BY upto"  # noqa: S608
    for sealed, *values in database.rows(sql, (key,)):
        _, upto, time_ms, state, state_bytes, aside, _ = values
        state, whole = yield from _pieces(database, key, state)
        index, _ = yield from _pieces(database, key, aside)
        whole = whole and len(state) == state_bytes and is_whole("snapshots", sealed, *values)
        found.snapshots.append(StoredSnapshot(upto, time_ms, state, index, whole))
    sql = f"SELECT checksum, {SEALED['segments']} FROM segments WHERE document = ? ORDER BY first, id"  # noqa: S608
    for sealed, *values in database.rows(sql, (key,)):
        _, first, end, window_ms, author, blob, size = values
        body, whole = yield from _pieces(database, key, blob)
        whole = whole and len(body) == size and is_whole("segments", sealed, *values)
        found.segments.append(StoredSegment(first, end, window_ms, author, body, whole))
    position = -1
    while rows := database.rows(
        "SELECT position, checksum, time_ms, body FROM entries WHERE document = ? AND position > ?"
        " ORDER BY position LIMIT ?",
        (key, position, _ROWS),
    ):
        for place, sealed, time_ms, body in rows:
            whole = entry_is_whole(sealed, key, place, time_ms, body)
            found.entries.append(StoredEntry(place, body if isinstance(body, bytes) else b"", whole))
        position = rows[-1][0]
        yield
    return found


def _pieces(database: Database, key: int, blob: object) -> Steps[tuple[bytes, bool]]:
    """Return the existing pieces of a blob, joined, and whether all of these are whole."""
    if not isinstance(blob, int) or not blob:
        return b"", blob == 0
    parts: list[bytes] = []
    whole, room = True, SLICE_BYTES
    for place in piece_ids(database, blob):
        for sealed, piece in database.rows("SELECT checksum, bytes FROM pieces WHERE id = ?", (place,)):
            whole = whole and piece_is_whole(sealed, place, key, piece)
            parts.append(piece if isinstance(piece, bytes) else b"")
            room -= len(parts[-1])
        if room <= 0:
            yield
            room = SLICE_BYTES
    return b"".join(parts), whole


def piece_ids(database: Database, blob: int) -> list[int]:
    """Return the ids of the pieces of a blob that exist."""
    first = blob << PIECE_BITS
    sql = "SELECT id FROM pieces WHERE id BETWEEN ? AND ? ORDER BY id"
    return [place for (place,) in database.rows(sql, (first, first | PIECE_MASK))]
