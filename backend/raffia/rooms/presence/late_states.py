"""Presence states that arrived faster than their session's rate allows: the latest of each client id waits its turn.

The last state of a burst shows where the cursor stays, so it should arrive even if it exceeds the rate limit.

Rules (tests quote these ids):
    LS1  Only one state of each client id waits: a newer one replaces it, if it fits. Replaced states are dropped and
         counted.
    LS2  The waiting states are bounded: `max_ids` for each session, `max_bytes` in all. What does not fit is dropped.
    LS3  A waiting state is dropped once the session has removed the id or announced a newer state.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Iterable

from raffia.rooms.presence.entries import Owner
from raffia.wire.awareness import RawEntry
from raffia.wire.lib0 import write_varuint


class LateStates:
    """The waiting states of one room, by session.

    Args:
        max_ids: ids of one session.
        max_bytes: size of all waiting entries.
    """

    __slots__ = ("_by_owner", "_bytes", "_max_bytes", "_max_ids")

    def __init__(self, *, max_ids: int, max_bytes: int) -> None:
        self._max_ids = max_ids
        self._max_bytes = max_bytes
        self._bytes = 0
        self._by_owner: dict[Owner, dict[int, RawEntry]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_owner)

    @property
    def size_bytes(self) -> int:
        """Size of all waiting entries."""
        return self._bytes

    def owners(self) -> list[Owner]:
        """The sessions with waiting states."""
        return list(self._by_owner)

    def keep(self, owner: Owner, entries: Iterable[RawEntry]) -> int:
        """Let the latest states wait (LS1, LS2); returns how many entries were dropped."""
        dropped = 0
        own = self._by_owner.setdefault(owner, {})
        for entry in entries:
            waiting = own.get(entry[0])
            if waiting is not None:
                dropped += 1
                if waiting[1] > entry[1]:
                    continue
            elif len(own) >= self._max_ids:
                dropped += 1
                continue
            grown = len(entry[3]) - (len(waiting[3]) if waiting is not None else 0)
            if self._bytes + grown > self._max_bytes:
                dropped += waiting is None
                continue
            own[entry[0]] = entry
            self._bytes += grown
        if not own:
            del self._by_owner[owner]
        return dropped

    def forget(self, owner: Owner, clients: Iterable[int]) -> None:
        """Drop the waiting states of these ids (LS3)."""
        own = self._by_owner.get(owner)
        if own is None:
            return
        for client in clients:
            entry = own.pop(client, None)
            if entry is not None:
                self._bytes -= len(entry[3])
        if not own:
            del self._by_owner[owner]

    def take(self, owner: Owner) -> bytes:
        """Take all waiting states of a session, as the payload of one message."""
        parts = [entry[3] for entry in self._by_owner.pop(owner, {}).values()]
        self._bytes -= sum(map(len, parts))
        return write_varuint(len(parts)) + b"".join(parts)
