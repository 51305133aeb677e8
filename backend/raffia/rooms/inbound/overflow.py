"""Holds updates that do not fit into a full document until deleted content has been squashed away.

A client that filled a document must be able to empty it. When it reconnects, its step 2 contains both its deletes and
the content that was refused before, so the two are judged separately.

Rules (tests quote these ids):
    OV1  If an update does not fit, its deletes of known content are taken at once.
    OV2  If the document has changed since the last fold, folding may make room: the update is held, the document is
         folded, and the update is judged again. If it still does not fit it is refused, and its session ends.
    OV3  At most `max_bytes` are held; an update beyond that is refused at once.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from raffia.crdt.update import UpdateFacts
from raffia.rooms.session import Session, Ticket


class Held(NamedTuple):
    """One update that waits for a fold.

    Attributes:
        update: its bytes.
        facts: the strict reader's result.
        ticket: its pending answer.
        is_step2: whether it came as a step 2.
    """

    update: bytes
    facts: UpdateFacts
    ticket: Ticket
    is_step2: bool


class Overflow:
    """The held updates of one room.

    Args:
        max_bytes: see OV3.
        can_shrink: whether folding the document would change it.
        shrink: folds the document and then calls back.
        retry: judges an update again.
    """

    __slots__ = ("_can_shrink", "_held", "_max_bytes", "_retry", "_shrink")

    def __init__(
        self,
        *,
        max_bytes: int,
        can_shrink: Callable[[], bool],
        shrink: Callable[[Callable[[], None]], None],
        retry: Callable[[Held], None],
    ) -> None:
        self._held: list[Held] = []
        self._max_bytes = max_bytes
        self._shrink = shrink
        self._retry = retry
        self._can_shrink = can_shrink

    @property
    def size_bytes(self) -> int:
        """Size of the held updates."""
        return sum(len(held.update) for held in self._held)

    def may_hold(self, size_bytes: int) -> bool:
        """Whether one more update may be held, and holding it can help (OV2, OV3)."""
        return self.size_bytes + size_bytes <= self._max_bytes and self._can_shrink()

    def hold(self, held: Held) -> None:
        """Hold an update until the document has been folded (OV2)."""
        self._held.append(held)
        self._shrink(self._folded)

    def _folded(self) -> None:
        """Judge the held updates again, in order."""
        todo, self._held = self._held, []
        for held in todo:
            self._retry(held)

    def left(self, session: Session) -> None:
        """Drop the updates of a session that has left."""
        self._held = [held for held in self._held if held.ticket.session is not session]
