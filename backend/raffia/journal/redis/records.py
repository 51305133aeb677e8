"""Encodes what Redis stores apart from pieces: entries, and base snapshots, segments and versions as JSON. Pure.

Rules (tests quote these ids):
    RR1  Each line has its format in `v`. A format that this code does not know quarantines the document.
    RR2  Unknown fields are skipped.
    RR3  Each ends with its checksum (CS1): lines in their last field `sum`, entries and version names in their last
         4 bytes. An entry's place is its nonce (RKY3), because Redis assigns the sequence, which must have no gaps.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from raffia.errors import QuarantinedError
from raffia.journal.checksum import CHECKSUM_BYTES, checksum, corrected, sealed, unsealed
from raffia.journal.entries import decode_batch, encode_batch
from raffia.journal.history import BaseSnapshot
from raffia.journal.protocol import VersionInfo
from raffia.journal.redis.keys import id_of, nonce_of, position_of
from raffia.types import Batch, DocumentId, Position

FORMAT = 2
_SUM = b',"sum":"'
_SUM_BYTES = len(_SUM) + 2 * CHECKSUM_BYTES + len(b'"}')


@dataclass(frozen=True, slots=True)
class BaseRecord:
    """A stored snapshot: the name of its blob, and its sizes."""

    base: BaseSnapshot
    blob: str
    state_bytes: int
    index_bytes: int

    @property
    def size_bytes(self) -> int:
        """Size of state and index."""
        return self.state_bytes + self.index_bytes


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A stored history segment and the name of its blob. `member` is its line in the sorted set."""

    member: bytes
    first: Position
    last: Position
    window_ms: int
    author: str | None
    blob: str
    blob_bytes: int
    size_bytes: int


def encode_entry(document: DocumentId, nonce: int, batch: Batch) -> bytes:
    """Encode an entry of a log."""
    return sealed(encode_batch(batch), "entries", document, nonce)


def decode_entry(document: DocumentId, position: Position, payload: bytes) -> Batch:
    """Read what `encode_entry` wrote.

    Raises:
        QuarantinedError: it is damaged.
    """
    try:
        return decode_batch(unsealed(payload, "it", "entries", document, nonce_of(position)))
    except QuarantinedError as error:
        raise QuarantinedError(f"{document}: entry {position} cannot be read: {error}") from error


def encode_name(document: DocumentId, name: str) -> bytes:
    """Encode the name of a version."""
    return sealed(name.encode(), "names", document)


def write_base(document: DocumentId, record: BaseRecord) -> bytes:
    """Encode a base snapshot; its position is the name of the field."""
    return _line(
        ("stones", document, id_of(record.base.upto)),
        time_ms=record.base.time_ms,
        blob=record.blob,
        state_bytes=record.state_bytes,
        index_bytes=record.index_bytes,
    )


def read_base(document: DocumentId, upto: bytes, line: bytes) -> BaseRecord:
    """Read what `write_base` wrote."""
    try:
        found = _fields(("stones", document, upto.decode()), line)
        base = BaseSnapshot(position_of(upto), int(found["time_ms"]))
        return BaseRecord(base, str(found["blob"]), int(found["state_bytes"]), int(found["index_bytes"]))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise _damaged("base snapshot", line, error) from error


def write_segment(
    document: DocumentId,
    *,
    first: Position,
    last: Position,
    window_ms: int,
    author: str | None,
    blob: str,
    blob_bytes: int,
    size_bytes: int,
) -> SegmentRecord:
    """Build the record of a new segment, with its member."""
    member = _line(
        ("segments", document),
        first=id_of(first),
        last=id_of(last),
        window_ms=window_ms,
        author=author,
        blob=blob,
        blob_bytes=blob_bytes,
        bytes=size_bytes,
    )
    return SegmentRecord(member, first, last, window_ms, author, blob, blob_bytes, size_bytes)


def read_segment(document: DocumentId, member: bytes) -> SegmentRecord:
    """Read a member of the sorted set."""
    try:
        found = _fields(("segments", document), member)
        author = found["author"]
        return SegmentRecord(
            member,
            position_of(str(found["first"])),
            position_of(str(found["last"])),
            int(found["window_ms"]),
            None if author is None else str(author),
            str(found["blob"]),
            int(found["blob_bytes"]),
            int(found["bytes"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise _damaged("segment", member, error) from error


def write_version(document: DocumentId, time_ms: int, authors: tuple[str, ...], blob: str, size_bytes: int) -> bytes:
    """Encode a version without its name, which is stored separately."""
    return _line(("versions", document), time_ms=time_ms, authors=list(authors), blob=blob, bytes=size_bytes)


def read_version(document: DocumentId, number: int, line: bytes, name: bytes | None) -> tuple[VersionInfo, str]:
    """Read a version and the name of its blob."""
    try:
        found = _fields(("versions", document), line)
        authors = tuple(str(author) for author in found["authors"])
        called = None if name is None else unsealed(name, f"the name of version {number}", "names", document).decode()
        return VersionInfo(number, int(found["time_ms"]), authors, called, int(found["bytes"])), str(found["blob"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise _damaged("version", line, error) from error


def blob_of(line: bytes) -> str | None:
    """Read the name of the blob of any record, to drop it; None if the record is damaged."""
    try:
        return str(json.loads(line)["blob"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def corrected_line(place: tuple[str, ...], line: bytes) -> bytes | None:
    """Undo the change of a single bit in a line; None if it is whole, or if the damage is something else."""
    content, rest = line[:-_SUM_BYTES], line[-_SUM_BYTES:]
    expected = _tail(place, content)
    if rest == expected or len(rest) != _SUM_BYTES:
        return None
    if sum([(one ^ other).bit_count() for one, other in zip(rest, expected, strict=True)]) == 1:
        return content + expected
    digits = rest[len(_SUM) : -len(b'"}')]
    if rest != _SUM + digits + b'"}' or not all(digit in b"0123456789abcdef" for digit in digits):
        return None
    before = corrected(bytes.fromhex(digits.decode()), *place, content=content)
    return None if before is None else before + _tail(place, before)


def _tail(place: tuple[str, ...], content: bytes) -> bytes:
    return _SUM + checksum(*place, content=content).hex().encode() + b'"}'


def _line(place: tuple[str, ...], **fields: object) -> bytes:
    line = json.dumps({"v": FORMAT, **fields}, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
    return line + _tail(place, line)


def _fields(place: tuple[str, ...], line: bytes) -> dict[str, Any]:
    content, rest = line[:-_SUM_BYTES], line[-_SUM_BYTES:]
    if rest != _tail(place, content):
        newer = json.loads(line).get("v")
        if isinstance(newer, int) and newer != FORMAT:
            raise ValueError(f"format {newer}; this Raffia reads format {FORMAT}")
        raise ValueError("it does not match its checksum")
    found: dict[str, Any] = json.loads(line)
    if found["v"] != FORMAT:
        raise ValueError(f"format {found['v']}; this Raffia reads format {FORMAT}: update Raffia")
    return found


def _damaged(what: str, line: bytes, error: Exception) -> QuarantinedError:
    return QuarantinedError(f"{what} of {len(line)} bytes cannot be read: {error!r}")
