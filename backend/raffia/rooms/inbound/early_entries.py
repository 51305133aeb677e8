"""What of the log refers to something that the log lacks: it waits in the room, and no snapshot covers it (R8).

A log has such a gap when Redis has lost what stood before; whoever still has that appends it again.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import NamedTuple, Protocol

from raffia.crdt.document import Admission, Document
from raffia.crdt.merge import merge
from raffia.crdt.update import read_update

MAX_EARLY_ENTRIES = 16  # pieces; more are merged


class Accept(Protocol):
    """Takes what has become ready into the document."""

    def __call__(self, admission: Admission, *, is_durable: bool) -> None:
        """`is_durable` says whether the log still holds it."""
        ...


class Piece(NamedTuple):
    """One update that waits."""

    update: bytes
    is_durable: bool  # whether the log still holds it, as far as is known


class EarlyEntries:
    """All pieces of one room.

    Args:
        pieces: what the log held too early when it was loaded.
    """

    __slots__ = ("pieces",)

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces

    def __bool__(self) -> bool:
        return bool(self.pieces)

    @property
    def is_last_copy(self) -> bool:
        """Whether some of it may be nowhere else."""
        return not all(piece.is_durable for piece in self.pieces)

    def add(self, update: bytes) -> None:
        """The log holds this; each reading of the log brings it again."""
        self.pieces = [other for other in self.pieces if other.update != update]
        self.pieces.append(Piece(update, is_durable=True))
        if len(self.pieces) > MAX_EARLY_ENTRIES:
            is_durable = not self.is_last_copy
            self.pieces = [Piece(merge([other.update for other in self.pieces]), is_durable)]

    def cut(self) -> None:
        """The log may not hold it any more: if it becomes ready it is appended."""
        self.pieces = [piece._replace(is_durable=False) for piece in self.pieces]

    def retry(self, document: Document, accept: Accept) -> list[tuple[int, int]]:
        """Try again what the log held too early, until nothing more of it is ready.

        Args:
            document: what it may refer to by now.
            accept: takes what has become ready.

        Returns:
            The clocks that were passed by it.
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
