"""Everything a journal stores for one document, except versions, as raw bytes for `raffia check`.

`load` refuses a damaged document. These classes hold damaged parts too, marked as not whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from raffia.types import DocumentId, Position


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot as it is stored: the current one, or a base snapshot of the history."""

    upto: Position
    time_ms: int
    state: bytes
    index: bytes
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A history segment as it is stored; `body` was written by `entries.encode_updates`."""

    first: Position
    last: Position
    window_ms: int
    author: str | None
    body: bytes
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry as it is stored; `body` was written by `entries.encode_batch`."""

    position: Position
    body: bytes
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything stored for a document, except its versions.

    Attributes:
        position: position of the last entry. In Redis, all positions here are sequences, without nonces.
        folded: position of the current snapshot; 0 if there is none.
        complete_from: the history before this position is gone.
        snapshots, segments, entries: each ordered by position; entries at or before `folded` are leftovers.
    """

    document: DocumentId
    position: Position
    folded: Position
    complete_from: Position
    snapshots: list[StoredSnapshot]
    segments: list[StoredSegment]
    entries: list[StoredEntry]
