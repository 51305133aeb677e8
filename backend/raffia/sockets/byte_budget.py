"""Limits the bytes that a process keeps for its connections, in all and for each payer. No I/O.

There are two budgets. One is for connections that have not signed in: each may keep `preauth_bytes` for each of
`preauth_documents`, which is little for one connection and a lot for many; its payers are addresses. The other is for
large messages of those that have (received.py); its payers are persons.

Rules (tests quote these ids):
    PB1  The bytes that are kept count: messages that wait for a session, each with `MESSAGE_BYTES` for the objects
         around it, and the part of an unfinished message that has arrived.
    PB2  Each connection has `FREE_BYTES` that are not counted, enough to sign in even if others have used up the
         budget. The number of connections is limited elsewhere.
    PB3  If the budget is exceeded, `keep` and `unfinished` return False, and the connection is aborted: a closing
         handshake would keep it, and what it has sent, for longer.
    PB4  What a connection holds is released when it has signed in or is closed.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

PROCESS_BYTES = 64 * 1024 * 1024  # as much as one document of the largest size
ADDRESS_BYTES = 8 * 1024 * 1024  # 100 clients of one office, each with its whole `preauth_bytes` for one document
FREE_BYTES = 4 * 1024
MESSAGE_BYTES = 200


class ByteBudget:
    """The budget of one process; by default that for connections that have not signed in.

    Args:
        process_bytes: limit for all connections together.
        payer_bytes: limit for those of one payer.

    Attributes:
        held_bytes: number of bytes held now.
    """

    __slots__ = ("_held", "_payer_bytes", "_process_bytes", "held_bytes")

    def __init__(self, process_bytes: int = PROCESS_BYTES, payer_bytes: int = ADDRESS_BYTES) -> None:
        self._process_bytes = process_bytes
        self._payer_bytes = payer_bytes
        self._held: dict[str, int] = {}
        self.held_bytes = 0

    def __len__(self) -> int:
        """How many payers hold something."""
        return len(self._held)

    def change(self, payer: str | None, by_bytes: int) -> bool:
        """Hold more or, if `by_bytes` is negative, less.

        Args:
            payer: who pays; None for a client without a limit of its own.
            by_bytes: the difference.

        Returns:
            Whether the budget allows it; if not, nothing has changed.
        """
        held = self._held.get(payer, 0) + by_bytes if payer is not None else 0
        if by_bytes > 0 and (self.held_bytes + by_bytes > self._process_bytes or held > self._payer_bytes):
            return False
        self.held_bytes += by_bytes
        if payer is not None:
            if held > 0:
                self._held[payer] = held
            else:
                self._held.pop(payer, None)
        return True


class ByteShare:
    """One connection's share of a budget.

    Args:
        budget: the process's budget.
        payer: who pays: before sign-in, the client's address as `address_limits.counted` returns it; None for a client
            without a limit of its own.
    """

    __slots__ = ("_budget", "_held_bytes", "_kept_bytes", "_payer", "_unfinished_bytes")

    def __init__(self, budget: ByteBudget, payer: str | None = None) -> None:
        self._budget = budget
        self._payer = payer
        self._kept_bytes = 0
        self._unfinished_bytes = 0
        self._held_bytes = 0

    def keep(self, messages_bytes: int) -> bool:
        """Set how many bytes of waiting messages are held; returns whether the budget allows it (PB3)."""
        self._kept_bytes = messages_bytes
        return self._settle()

    def unfinished(self, message_bytes: int) -> bool:
        """Set how many bytes of an unfinished message are held; returns whether the budget allows it (PB3)."""
        self._unfinished_bytes = message_bytes
        return self._settle()

    def release(self) -> None:
        """Release everything (PB4)."""
        self._kept_bytes = self._unfinished_bytes = 0
        self._settle()

    def _settle(self) -> bool:
        due = max(0, self._kept_bytes + self._unfinished_bytes - FREE_BYTES)
        if due == self._held_bytes:
            return True
        if not self._budget.change(self._payer, due - self._held_bytes):
            return False
        self._held_bytes = due
        return True
