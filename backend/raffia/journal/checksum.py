"""The checksums of stored records.

Rules (tests quote these ids):
    CS1  A checksum covers the content and where it belongs: for example the kind of record, its document and its
         position. So a changed bit is detected, and so is an intact record in the wrong place.
    CS2  Document content that does not match its checksum is never returned, merged or folded; normally a
         `QuarantinedError` is raised. Only `raffia check` reads it: with `--repair` it corrects single changed bits
         where it can, and leaves out and reports the rest.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import json
import zlib
from typing import Any

from raffia.errors import QuarantinedError

CHECKSUM_BYTES = 4
_CORRECTED_BYTES = 256 * 1024
_CRC_OF = [zlib.crc32(bytes([byte])) ^ zlib.crc32(b"\0") for byte in range(256)]

_encode = json.JSONEncoder(separators=(",", ":")).encode


def checksum(*place: str | int | None, content: bytes = b"") -> bytes:
    """Compute the checksum of a record: CRC-32 of its place as a JSON array (ASCII) followed by its content (CS1)."""
    return checksum_after(_encode(place).encode(), content)


def checksum_after(place: bytes, content: bytes) -> bytes:
    """Compute the same checksum from the JSON of the place, which some callers build faster by hand."""
    return zlib.crc32(content, zlib.crc32(place)).to_bytes(CHECKSUM_BYTES, "little")


def matches(found: object, *place: Any, content: object = b"") -> bool:
    """Return whether a stored checksum matches a record, whose values may be damaged and of any type."""
    if not isinstance(content, bytes):
        return False
    try:
        return found == checksum(*place, content=content)
    except (TypeError, ValueError):
        return False  # a value of a type that is never stored


def corrected(found: object, *place: str | int | None, content: bytes) -> bytes | None:
    """Undo the change of a single bit in the content or its checksum; None if the damage is something else.

    A record of `n` bytes with other damage is mistaken for one with a changed bit with a probability of about
    `n` / 2**29.
    """
    if not isinstance(found, bytes) or len(found) != CHECKSUM_BYTES or len(content) > _CORRECTED_BYTES:
        return None
    difference = int.from_bytes(checksum(*place, content=content), "little") ^ int.from_bytes(found, "little")
    if difference.bit_count() <= 1:
        return content
    # What each bit of the last byte changes in the checksum, then of the one before, and so on.
    changes = [_CRC_OF[1 << bit] for bit in range(8)]
    for at in range(len(content) - 1, -1, -1):
        if difference in changes:
            changed = content[at] ^ 1 << changes.index(difference)
            return content[:at] + bytes([changed]) + content[at + 1 :]
        changes = [change >> 8 ^ _CRC_OF[change & 255] for change in changes]
    return None


def sealed(content: bytes, *place: str | int | None) -> bytes:
    """Return the content with its checksum appended."""
    return content + checksum(*place, content=content)


def unsealed(stored: bytes, what: str, *place: str | int | None) -> bytes:
    """Return the content that `sealed` was given.

    Raises:
        QuarantinedError: the checksum does not match; the message begins with `what`.
    """
    content = stored[:-CHECKSUM_BYTES]
    if len(stored) < CHECKSUM_BYTES or not matches(stored[-CHECKSUM_BYTES:], *place, content=content):
        raise QuarantinedError(f"{what} is damaged: its {len(stored)} bytes do not match their checksum")
    return content
