"""What one connection that has signed in holds of the budget for messages that are arriving or being read. No I/O.

Rules (tests quote these ids):
    RM1  What has arrived of an unfinished message counts, and a large update until it has been read. Both count for one
         budget of the process, and for the part of it that the person has. So one person cannot make the server hold
         megabytes on each of many connections.
    RM2  A person is a user; without a name, a token with an id, such as a link; without a token id, an address. The
         same person pays for the time that its messages take (X13 of connection.py).
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from raffia.sockets.preauth import PreauthBudget, PreauthShare
from raffia.types import Grant

PROCESS_BYTES = 128 * 1024 * 1024
MESSAGES = 2  # of the largest size, that one person may have on the way


def received_budget(max_message_bytes: int) -> PreauthBudget:
    """The budget of a process.

    Args:
        max_message_bytes: of the largest message.
    """
    person_bytes = MESSAGES * max_message_bytes
    return PreauthBudget(max(PROCESS_BYTES, 2 * person_bytes), person_bytes)


def person_of(grant: Grant, address: str | None) -> str | None:
    """Whom a connection counts for (RM2).

    Args:
        grant: of the first session.
        address: the client's, as `address_limits.counted` has it.

    Returns:
        None for a client on this machine without a name.
    """
    if grant.user is not None:
        return f"user {grant.user}"
    token = grant.claims.get("jti")
    if isinstance(token, str):
        return f"token {token}"
    return None if address is None else address_person(address)


def address_person(address: str) -> str:
    """Whom a connection on which nobody has signed in counts for."""
    return f"address {address}"


class Received:
    """What one connection holds.

    Args:
        budget: of the process; None for no limit.
    """

    __slots__ = ("_budget", "_share")

    def __init__(self, budget: PreauthBudget | None) -> None:
        self._budget = budget
        self._share: PreauthShare | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is a budget."""
        return self._budget is not None

    def signed_in(self, person: str | None) -> None:
        """Count for a person from now on."""
        if self._budget is not None and self._share is None:
            self._share = PreauthShare(self._budget, person)

    def arriving(self, message_bytes: int) -> bool:
        """Hold so much of an unfinished message, instead of what was held before; returns whether it may."""
        return self._share is None or self._share.unfinished(message_bytes)

    def reading(self, update_bytes: int) -> bool:
        """Hold an update that has arrived until it has been read, then 0; returns whether it may."""
        if self._share is None:
            return True
        self._share.unfinished(0)
        return self._share.keep(update_bytes)

    def release(self) -> None:
        """Hold nothing any more."""
        if self._share is not None:
            self._share.release()
