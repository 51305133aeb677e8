"""What Redis stores besides entries and pieces: base snapshots, segments and versions, each a line of JSON. Pure.

Rules:
    RR1  Each has its format in `v`. A format that this code does not know quarantines the document.
    RR2  Unknown fields are skipped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from raffia.errors import QuarantinedError
from raffia.journal.history import BaseSnapshot
from raffia.journal.protocol import VersionInfo
from raffia.journal.redis.keys import id_of, position_of
from raffia.types import Position

FORMAT = 1


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


def write_base(record: BaseRecord) -> bytes:
    """Encode a base snapshot; its position is the name of the field."""
    return _line(
        time_ms=record.base.time_ms, blob=record.blob, state_bytes=record.state_bytes, index_bytes=record.index_bytes
    )


def read_base(upto: bytes, line: bytes) -> BaseRecord:
    """Read what `write_base` wrote."""
    try:
        found = _fields(line)
        base = BaseSnapshot(position_of(upto), int(found["time_ms"]))
        return BaseRecord(base, str(found["blob"]), int(found["state_bytes"]), int(found["index_bytes"]))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise _damaged("base snapshot", line, error) from error


def write_segment(
    *, first: Position, last: Position, window_ms: int, author: str | None, blob: str, blob_bytes: int, size_bytes: int
) -> SegmentRecord:
    """Build the record of a new segment, with its member."""
    member = _line(
        first=id_of(first),
        last=id_of(last),
        window_ms=window_ms,
        author=author,
        blob=blob,
        blob_bytes=blob_bytes,
        bytes=size_bytes,
    )
    return SegmentRecord(member, first, last, window_ms, author, blob, blob_bytes, size_bytes)


def read_segment(member: bytes) -> SegmentRecord:
    """Read a member of the sorted set."""
    try:
        found = _fields(member)
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


def write_version(time_ms: int, authors: tuple[str, ...], blob: str, size_bytes: int) -> bytes:
    """Encode a version without its name, which is stored separately."""
    return _line(time_ms=time_ms, authors=list(authors), blob=blob, bytes=size_bytes)


def read_version(number: int, line: bytes, name: bytes | None) -> tuple[VersionInfo, str]:
    """Read a version and the name of its blob."""
    try:
        found = _fields(line)
        authors = tuple(str(author) for author in found["authors"])
        called = None if name is None else name.decode()
        return VersionInfo(number, int(found["time_ms"]), authors, called, int(found["bytes"])), str(found["blob"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise _damaged("version", line, error) from error


def blob_of(line: bytes) -> str | None:
    """Read the name of the blob of any record, to drop it; None if the record is damaged."""
    try:
        return str(json.loads(line)["blob"])
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _line(**fields: object) -> bytes:
    return json.dumps({"v": FORMAT, **fields}, ensure_ascii=False, separators=(",", ":")).encode()


def _fields(line: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    if found["v"] != FORMAT:
        raise ValueError(f"format {found['v']}; this Raffia reads format {FORMAT}: update Raffia")
    return found


def _damaged(what: str, line: bytes, error: Exception) -> QuarantinedError:
    return QuarantinedError(f"{what} of {len(line)} bytes cannot be read: {error!r}")
