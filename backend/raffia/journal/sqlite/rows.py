"""The checksums of rows, and the number that identifies a document in the database.

Rules (tests quote these ids):
    ROW1  Rows have a checksum. `SEALED` lists the columns that it covers; `seal_entry` and `seal_piece` show what it
         covers for entries and pieces. Some columns of `documents` are left out, such as those that every append
         changes; damage to them is detected in another way (ROW2), or affects only sizes and the order in which
         history is pruned.
    ROW2  `last` is also stored inverted, and no entry between the snapshot and `last` may be missing. An `updated_ms`
         that is not within `EDITED_MS` after `edited_ms`, which has its own checksum, is replaced by `edited_ms`.
    ROW3  A document's number is derived from its name. If its row is missing although other rows of the document
         exist, the row was lost: the document is quarantined, not treated as a new one.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any, NamedTuple

from raffia.errors import QuarantinedError
from raffia.journal.checksum import checksum, checksum_after, matches
from raffia.journal.search import EDITED_MS

SEALED = {
    "documents": (
        "key, name, created_ms, deleted_ms, purged, title, kind, folded, folded_ms, complete_from, segments,"
        " schema, links_generation, link_read_ms, link_edit_ms, cleared"
    ),
    "edits": "key, edited_ms, updated_by",
    "snapshots": "document, upto, time_ms, state, state_bytes, aside, aside_bytes",
    "segments": "document, first, last, window_ms, author, blob, bytes",
    "versions": "id, document, time_ms, authors, name, blob, bytes",
    "revocations": "kind, subject, before_ms, until_ms",
}
"""The columns that a checksum covers, in order. "edits" has the columns of `documents` that describe the last edit."""


def key_of(name: str) -> int:
    """Return the number of a document (ROW3), between 2**62 and 2**63."""
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") & ((1 << 62) - 1) | 1 << 62


def seal(table: str, *values: Any) -> bytes:
    """Return the checksum of a row, given the values of its `SEALED` columns."""
    return checksum(table, *values)


def is_whole(table: str, found: object, *values: Any) -> bool:
    """Return whether a checksum belongs to the values of its `SEALED` columns."""
    return matches(found, table, *values)


def checked(table: str, what: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values of a row that begins with its checksum.

    Raises:
        QuarantinedError: the checksum does not match.
    """
    found, *values = row
    if not matches(found, table, *values):
        raise QuarantinedError(f"{what} is damaged: the row does not match its checksum")
    return tuple(values)


def seal_edit(document: int, edited_ms: int, author: str | None) -> bytes:
    """Return `seal("edits", ...)`, but faster."""
    return checksum_after(b'["edits",%d,%d,%b]' % (document, edited_ms, _json(author)), b"")


@lru_cache(1024)
def _json(author: str | None) -> bytes:
    return json.dumps(author).encode()


def seal_entry(document: int, position: int, time_ms: int, body: bytes) -> bytes:
    """Return the checksum of an entry."""
    return checksum_after(b'["entries",%d,%d,%d]' % (document, position, time_ms), body)


def entry_is_whole(found: object, document: int, position: object, time_ms: object, body: object) -> bool:
    """Return whether a checksum belongs to an entry."""
    if not isinstance(position, int) or not isinstance(time_ms, int) or not isinstance(body, bytes):
        return False
    return found == seal_entry(document, position, time_ms, body)


def seal_piece(piece: int, document: int, content: bytes) -> bytes:
    """Return the checksum of a piece of a blob."""
    return checksum("pieces", piece, document, content=content)


def piece_is_whole(found: object, piece: int, document: object, content: object) -> bool:
    """Return whether a checksum belongs to a piece of a blob."""
    return matches(found, "pieces", piece, document, content=content)


ROW = (
    f"checksum, {SEALED['documents']}, edited_checksum, edited_ms, updated_by, updated_ms, last, last_inverted,"
    " snapshot_bytes, tail_bytes, history_bytes"
)
"""The columns of `documents` that `document_row` reads."""


class DocumentRow(NamedTuple):
    """An undamaged row of `documents`; see schema.sql."""

    key: int
    name: str
    created_ms: int
    deleted_ms: int | None
    purged: int
    title: str | None
    kind: str | None
    folded: int
    folded_ms: int
    complete_from: int
    segments: int
    schema: int | None
    links_generation: int
    link_read_ms: int | None
    link_edit_ms: int | None
    cleared: int
    edited_ms: int
    updated_by: str | None
    updated_ms: int
    last: int
    snapshot_bytes: int
    tail_bytes: int
    history_bytes: int


_SEALED_COLUMNS = SEALED["documents"].count(",") + 1


def document_row(row: tuple[Any, ...]) -> DocumentRow:
    """Check a row that was read with the columns `ROW`.

    Raises:
        QuarantinedError: it is damaged (ROW1, ROW2).
    """
    values = row[1 : 1 + _SEALED_COLUMNS]
    edited_checksum, edited_ms, updated_by, updated_ms, last, inverted, *sizes = row[1 + _SEALED_COLUMNS :]
    if not is_whole("documents", row[0], *values) or values[0] != key_of(values[1]):
        raise QuarantinedError("its row is damaged: it does not match its checksum")
    if not is_whole("edits", edited_checksum, values[0], edited_ms, updated_by):
        raise QuarantinedError("its row is damaged: the last edit does not match its checksum")
    if not isinstance(last, int) or last != ~inverted:
        raise QuarantinedError(f"its row is damaged: the last position is {last!r}, and inverted {inverted!r}")
    if not isinstance(updated_ms, int) or not edited_ms <= updated_ms < edited_ms + EDITED_MS:
        updated_ms = edited_ms
    sizes = [_size(value) for value in sizes]
    return DocumentRow._make((*values, edited_ms, updated_by, updated_ms, last, *sizes))


def _size(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
