"""Limits the bytes of messages that are arriving or being read on connections that have signed in. No I/O.

Rules (tests quote these ids):
    RM1  The part of an unfinished message that has arrived counts, and so does a large update until it has been read.
         Both count towards a budget of the process and a smaller one of the person, so that one person cannot make the
         server hold megabytes on each of many connections.
    RM2  Clients that are no person (PE1 of person.py) share only the budget of the process.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from raffia.sockets.byte_budget import ByteBudget, ByteShare

PROCESS_BYTES = 128 * 1024 * 1024
MESSAGES = 2  # of the largest size, that one person may have on the way


def received_budget(max_message_bytes: int) -> ByteBudget:
    """The budget of a process.

    Args:
        max_message_bytes: size of the largest message.
    """
    person_bytes = MESSAGES * max_message_bytes
    return ByteBudget(max(PROCESS_BYTES, 2 * person_bytes), person_bytes)


class Received:
    """One connection's part of the budget.

    Args:
        budget: the budget of the process; None for no limit.
    """

    __slots__ = ("_budget", "_share")

    def __init__(self, budget: ByteBudget | None) -> None:
        self._budget = budget
        self._share: ByteShare | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is a budget."""
        return self._budget is not None

    def signed_in(self, person: str | None) -> None:
        """Charge a person from now on."""
        if self._budget is not None and self._share is None:
            self._share = ByteShare(self._budget, person)

    def arriving(self, message_bytes: int) -> bool:
        """Set how many bytes of an unfinished message are held; returns whether the budget allows it."""
        return self._share is None or self._share.unfinished(message_bytes)

    def reading(self, update_bytes: int) -> bool:
        """Set the size of the update being read, 0 for none; returns whether the budget allows it."""
        if self._share is None:
            return True
        self._share.unfinished(0)
        return self._share.keep(update_bytes)

    def release(self) -> None:
        """Release everything."""
        if self._share is not None:
            self._share.release()
