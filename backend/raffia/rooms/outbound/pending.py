"""What a room has taken since its last flush: for its readers, and for the saver."""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from raffia.rooms.session import Session, Ticket
from raffia.types import Edit


class Item(NamedTuple):
    """One update; without an edit it only rides, without a session it comes from the log or was held back."""

    session: Session | None
    edit: Edit | None
    ticket: Ticket | None
    is_durable: bool = False


class Pending:
    """The batch of the next flush.

    Args:
        schedule: called when something has been added: a flush has to come.

    Attributes:
        unsaved_bytes: of those updates that are not durable.
    """

    __slots__ = ("_items", "_schedule", "unsaved_bytes")

    def __init__(self, schedule: Callable[[], None]) -> None:
        self._items: list[Item] = []
        self._schedule = schedule
        self.unsaved_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, session: Session | None, edit: Edit, ticket: Ticket | None, *, is_durable: bool = False) -> None:
        """An update that is part of the document now."""
        self._items.append(Item(session, edit, ticket, is_durable))
        if not is_durable:
            self.unsaved_bytes += len(edit.update)
        self._schedule()

    def ride(self, ticket: Ticket) -> bool:
        """Have a ticket answered when what is pending now is durable; says whether anything is."""
        if not self._items:
            return False
        self._items.append(Item(ticket.session, None, ticket))
        return True

    def take(self) -> list[Item]:
        """All of it; nothing is pending any more."""
        items, self._items, self.unsaved_bytes = self._items, [], 0
        return items
