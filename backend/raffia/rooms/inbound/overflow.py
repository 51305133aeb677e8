"""Updates that a full document has no room for: they wait until deleted content has been squashed away.

Whoever filled a document must be able to empty it. On a reconnect, the deletes come in one step 2 with what was refused
before, so the two are judged apart.

Rules (tests quote these ids):
    OV1  The deletes of known content in an update that does not fit are taken at once.
    OV2  If the document has changed since the last fold, folding may make room: the update is held, the document is
         folded, and the update is judged by what is left. If it still does not fit it is refused, and its session ends.
    OV3  No more than `max_bytes` are held; what exceeds that is refused at once.
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
        ticket: what it is owed.
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
        """Whether one more update may be held, and it is of use (OV2, OV3)."""
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
