"""How a batch, and the updates of a history segment, are encoded into one blob. Pure; docs/formats.md describes it.

Rules:
    EN1  The first byte is the format. A format this code does not know is refused, never guessed.
    EN2  Reading returns exactly what was written; a truncated blob, or bytes left over, are an error.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import struct
from collections.abc import Sequence

from raffia.errors import QuarantinedError
from raffia.types import Batch, Edit

FORMAT = 1

_HEAD = struct.Struct("<BI")  # format, number of edits or updates
_EDIT = struct.Struct("<qiI")  # time in ms, bytes of the author (-1: anonymous), bytes of the update
_LENGTH = struct.Struct("<I")


def encode_batch(batch: Batch) -> bytes:
    """Encode a batch: the head, then for each edit its lengths, author (UTF-8) and update."""
    parts = [_HEAD.pack(FORMAT, len(batch))]
    for edit in batch:
        update = edit.update
        if edit.author is None:
            parts.append(_EDIT.pack(edit.time_ms, -1, len(update)))
        else:
            author = edit.author.encode()
            parts.append(_EDIT.pack(edit.time_ms, len(author), len(update)))
            parts.append(author)
        parts.append(update)
    return b"".join(parts)


def decode_batch(body: bytes) -> Batch:
    """Read what `encode_batch` wrote.

    Raises:
        QuarantinedError: the bytes are anything else (EN1, EN2).
    """
    count = _count(body)
    at = _HEAD.size
    edits = []
    try:
        for _ in range(count):
            time_ms, author_bytes, update_bytes = _EDIT.unpack_from(body, at)
            at += _EDIT.size
            author = None
            if author_bytes >= 0:
                author = body[at : at + author_bytes].decode()
                at += author_bytes
            elif author_bytes != -1:
                raise QuarantinedError(f"entry of {len(body)} bytes has an author of {author_bytes} bytes (byte {at})")
            edits.append(Edit(author, time_ms, body[at : at + update_bytes]))
            at += update_bytes
    except (struct.error, UnicodeDecodeError) as error:
        raise QuarantinedError(f"entry of {len(body)} bytes cannot be read at byte {at}: {error}") from error
    if at != len(body):
        raise QuarantinedError(f"entry of {len(body)} bytes ends at byte {at}")
    return tuple(edits)


def salvage_batch(body: bytes) -> list[Edit]:
    """Return the edits of a damaged batch that are intact before the damage; none if its head is damaged."""
    edits: list[Edit] = []
    at = _HEAD.size
    if body[:1] != bytes([FORMAT]):
        return edits
    while at + _EDIT.size <= len(body):
        time_ms, author_bytes, update_bytes = _EDIT.unpack_from(body, at)
        start = at + _EDIT.size + max(author_bytes, 0)
        at = start + update_bytes
        if author_bytes < -1 or at > len(body):
            break
        author = body[start - author_bytes : start].decode(errors="replace") if author_bytes >= 0 else None
        edits.append(Edit(author, time_ms, body[start:at]))
    return edits


def encode_updates(updates: Sequence[bytes]) -> bytes:
    """Encode the updates of one segment: the head, then each update after its length."""
    parts = [_HEAD.pack(FORMAT, len(updates))]
    for update in updates:
        parts += (_LENGTH.pack(len(update)), update)
    return b"".join(parts)


def decode_updates(body: bytes) -> list[bytes]:
    """Read what `encode_updates` wrote.

    Raises:
        QuarantinedError: the bytes are anything else (EN1, EN2).
    """
    count = _count(body)
    at = _HEAD.size
    updates = []
    try:
        for _ in range(count):
            (length,) = _LENGTH.unpack_from(body, at)
            at += _LENGTH.size
            updates.append(body[at : at + length])
            at += length
    except struct.error as error:
        raise QuarantinedError(f"segment of {len(body)} bytes cannot be read at byte {at}: {error}") from error
    if at != len(body):
        raise QuarantinedError(f"segment of {len(body)} bytes ends at byte {at}")
    return updates


def _count(body: bytes) -> int:
    if len(body) < _HEAD.size:
        raise QuarantinedError(f"record of {len(body)} bytes is shorter than its head of {_HEAD.size}")
    form, count = _HEAD.unpack_from(body)
    if form != FORMAT:
        raise QuarantinedError(f"record of format {form}; this Raffia reads format {FORMAT}: update Raffia")
    # Each edit or update needs at least its length field, so a larger count is false and would only cost time.
    if count > len(body) // _LENGTH.size:
        raise QuarantinedError(f"record announces {count} parts but has {len(body)} bytes")
    return int(count)
