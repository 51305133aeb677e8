"""Log entries whose dependencies are missing: they wait in the room, and no snapshot covers them (R8).

A log has such a gap when Redis has lost earlier entries. A replica that still has those appends them again.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import NamedTuple, Protocol

from raffia.crdt.document import Admission, Document
from raffia.crdt.merge import merge
from raffia.crdt.update import read_update

MAX_EARLY_ENTRIES = 16  # more are merged into one


class Accept(Protocol):
    """Takes the ready part of an admission into the document."""

    def __call__(self, admission: Admission, *, is_durable: bool) -> None:
        """`is_durable` says whether the log still contains the entry."""
        ...


class Piece(NamedTuple):
    """One waiting update."""

    update: bytes
    is_durable: bool  # whether the log still holds it, as far as is known


class EarlyEntries:
    """The waiting entries of one room.

    Args:
        pieces: the entries that were waiting when the log was loaded.
    """

    __slots__ = ("pieces",)

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces

    def __bool__(self) -> bool:
        return bool(self.pieces)

    @property
    def is_last_copy(self) -> bool:
        """Whether this may be the only copy of some entries."""
        return not all(piece.is_durable for piece in self.pieces)

    def add(self, update: bytes) -> None:
        """Add an entry that the log contains; reading the log again adds it again."""
        self.pieces = [other for other in self.pieces if other.update != update]
        self.pieces.append(Piece(update, is_durable=True))
        if len(self.pieces) > MAX_EARLY_ENTRIES:
            is_durable = not self.is_last_copy
            self.pieces = [Piece(merge([other.update for other in self.pieces]), is_durable)]

    def cut(self) -> None:
        """Note that the log may no longer contain the entries: they are appended if they become ready."""
        self.pieces = [piece._replace(is_durable=False) for piece in self.pieces]

    def retry(self, document: Document, accept: Accept) -> list[tuple[int, int]]:
        """Try all entries again until none of them is ready.

        Args:
            document: may contain their dependencies by now.
            accept: takes the parts that are ready.

        Returns:
            The clocks that the document has passed as a result.
        """
        ends: list[tuple[int, int]] = []
        moved = True
        while moved and self.pieces:
            moved = False
            pieces, self.pieces = self.pieces, []
            for piece in pieces:
                admission = document.admit(piece.update, read_update(piece.update))
                if admission.waiting is not None:
                    self.pieces.append(piece._replace(update=admission.waiting))
                if admission.ready is not None:
                    accept(admission, is_durable=piece.is_durable)
                    ends += admission.ends
                    moved = True
        return ends
