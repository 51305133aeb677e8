"""Large values in pieces: snapshots, history segments, the states of versions.

Rules (tests quote these ids):
    RB1  A blob is a hash: field `<n>` is a piece of at most 1 MiB, preceded by its checksum (CS1), which also covers
         the names of document and blob, and its number. A blob's name is random and never reused, so pieces of two
         blobs cannot be mixed.
    RB2  A blob is written first and referred to afterwards. Until a script refers to it, it expires, so that blobs of a
         writer that was killed disappear.
    RB3  Readers know the sizes. A missing piece is a `GoneError`: the blob may have been replaced in the meantime, and
         the caller looks up its new name. A damaged piece is a `QuarantinedError`.
    RB4  No command carries or returns more than a few MiB, so that none delays others for long.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from raffia.errors import QuarantinedError
from raffia.journal.checksum import CHECKSUM_BYTES, checksum, matches
from raffia.journal.redis.base import Base
from raffia.journal.redis.engine import Command
from raffia.journal.redis.replies import all_checked, checked
from raffia.types import DocumentId

PIECE_BYTES = 1024 * 1024
STAGED_MS = 600_000  # after this long a blob that nothing refers to expires
_TRIP_BYTES = 4 * 1024 * 1024
_TRIP_BLOBS = 256


class GoneError(Exception):
    """A blob, or a piece of it, is missing."""


async def write_blob(base: Base, document: DocumentId, *contents: bytes) -> str:
    """Store some values one after the other, each starting with a new piece; return the blob's name."""
    return (await write_blobs(base, document, [contents]))[0]


async def write_blobs(base: Base, document: DocumentId, blobs: Sequence[Sequence[bytes]]) -> list[str]:
    """Store several blobs in as few round trips as their sizes allow."""
    names = []
    commands: list[Command] = []
    size = 0
    for contents in blobs:
        name = secrets.token_hex(8)
        names.append(name)
        key = base.keys.blob(document, name)
        number = 0
        for content in contents:
            view = memoryview(content)
            for start in range(0, len(view), PIECE_BYTES):
                piece = view[start : start + PIECE_BYTES]
                commands.append(Command(key, ("HSET", key, number, _stored(document, name, number, piece))))
                if number == 0:
                    commands.append(Command(key, ("PEXPIRE", key, STAGED_MS)))
                number += 1
                size += len(piece)
                if size >= _TRIP_BYTES:
                    all_checked(await base.engine.run(commands))
                    commands, size = [], 0
        if number == 0:
            # An empty value: a hash without fields does not exist.
            empty = _stored(document, name, 0, memoryview(b""))
            commands += (Command(key, ("HSET", key, 0, empty)), Command(key, ("PEXPIRE", key, STAGED_MS)))
        if len(commands) >= 2 * _TRIP_BLOBS:
            all_checked(await base.engine.run(commands))
            commands, size = [], 0
    if commands:
        all_checked(await base.engine.run(commands))
    return names


async def read_blob(base: Base, document: DocumentId, name: str, *sizes: int) -> list[bytes]:
    """Read the values of a blob (RB3)."""
    return (await read_blobs(base, document, [(name, sizes)]))[0]


async def read_blobs(base: Base, document: DocumentId, blobs: Sequence[tuple[str, Sequence[int]]]) -> list[list[bytes]]:
    """Read several blobs in as few round trips as their sizes allow.

    Args:
        base: Redis.
        document: the document to which they belong.
        blobs: the name of each and the sizes of its values.

    Raises:
        GoneError: a piece is missing.
        QuarantinedError: a piece is damaged.
    """
    wanted: list[tuple[str, int, int]] = []  # name, number, size of the piece
    for name, sizes in blobs:
        number = 0
        for size in sizes:
            for start in range(0, size, PIECE_BYTES):
                wanted.append((name, number, min(PIECE_BYTES, size - start)))
                number += 1
    pieces: list[bytes] = []
    at = 0
    while at < len(wanted):
        end, trip_bytes = at, 0
        while end < len(wanted) and trip_bytes < _TRIP_BYTES and end - at < _TRIP_BLOBS:
            trip_bytes += wanted[end][2]
            end += 1
        chosen = wanted[at:end]
        names = [base.keys.blob(document, name) for name, _, _ in chosen]
        commands = [Command(key, ("HGET", key, piece[1])) for key, piece in zip(names, chosen, strict=True)]
        for reply, piece in zip(await base.engine.run(commands), chosen, strict=True):
            pieces.append(_checked_piece(document, checked(reply), *piece))
        at = end
    found: list[list[bytes]] = []
    pieces.reverse()
    for _, sizes in blobs:
        found.append([b"".join([pieces.pop() for _ in range(0, size, PIECE_BYTES)]) for size in sizes])
    return found


def _stored(document: DocumentId, name: str, number: int, piece: memoryview) -> bytes:
    content = bytes(piece)
    return checksum("pieces", document, name, number, content=content) + content


def _checked_piece(document: DocumentId, stored: object, name: str, number: int, size: int) -> bytes:
    if stored is None:
        raise GoneError(f"{document}: piece {number} of {name} is missing")
    assert isinstance(stored, bytes)
    piece = stored[CHECKSUM_BYTES:]
    if len(piece) != size or not matches(stored[:CHECKSUM_BYTES], "pieces", document, name, number, content=piece):
        raise QuarantinedError(
            f"{document}: piece {number} of {name} is damaged ({len(piece)} bytes where {size} were stored)"
        )
    return piece
