"""Limits the bytes of messages that are arriving or being read on connections that have signed in. No I/O.

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
        max_message_bytes: size of the largest message.
    """
    person_bytes = MESSAGES * max_message_bytes
    return PreauthBudget(max(PROCESS_BYTES, 2 * person_bytes), person_bytes)


def person_of(grant: Grant, address: str | None) -> str | None:
    """The person that a connection is charged to (RM2).

    Args:
        grant: the grant of the first session.
        address: the client's address, as `address_limits.counted` returns it.

    Returns:
        None for a client on this machine without a user or token id.
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
    """One connection's part of the budget.

    Args:
        budget: the budget of the process; None for no limit.
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
        """Charge a person from now on."""
        if self._budget is not None and self._share is None:
            self._share = PreauthShare(self._budget, person)

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
