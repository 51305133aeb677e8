"""Updates of sessions that wait in a room for their dependencies.

Rules (tests quote these ids):
    Q1  A waiting update is tried again only when a clock that it needs has been passed, so an edit costs nothing for
        updates that wait for other clients.
    Q2  An update that can never become ready does not hold back other updates; it only counts towards the bounds of Q3.
    Q3  Waiting updates are bounded, per session and per room, and so are the needs of one update. Beyond that the
        session is closed with 1013, and nothing of the update is acknowledged. A single update may exceed a session's
        bound in bytes, because it may bring back a whole document; a room has space for two of these, because two
        people who wrote a document together each wait for the other's part.
    Q4  Waiting updates are dropped when their session leaves. They are never relayed, journaled or counted as known.
    Q5  The author is the user at the time of sending. If the session may no longer write by then, the update is
        refused.
    Q6  Parked updates wait for the owner of their client ids (client_owners.py), or until the owner has left.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import count

from raffia.crdt.update import UpdateFacts
from raffia.errors import WaitingFullError
from raffia.rooms.session import Session, Ticket

MAX_NEEDS = 256  # of one update; an editor needs only the few clients that it has heard of and we have not
ROOM_FACTOR = 4  # a room's bounds, as a multiple of a session's


class Waiting:
    """One update that waits, in whole or in part.

    Attributes:
        update: the whole update; parts that are known by then are cut off at the next try.
        facts: the strict reader's result, kept because reading megabytes again at every try would take a second.
        ticket: its pending answer.
        author: the user who sent it.
        is_parked: whether it waits for an owner (Q6).
        generation: counts the tries; needs recorded before the latest try no longer apply.
    """

    __slots__ = ("author", "facts", "generation", "is_parked", "ticket", "update")

    def __init__(
        self, update: bytes, facts: UpdateFacts, ticket: Ticket, author: str | None, *, is_parked: bool = False
    ) -> None:
        self.is_parked = is_parked
        self.update = update
        self.facts = facts
        self.ticket = ticket
        self.author = author
        self.generation = 0


class WaitingList:
    """All waiting updates of one room.

    Args:
        max_updates, max_bytes: see Q3, per session.
        max_update_bytes: the size of the largest update; 0 if it is not known.

    Attributes:
        size_bytes: their total size.
    """

    __slots__ = (
        "_by_client",
        "_by_session",
        "_max_bytes",
        "_max_room_bytes",
        "_max_updates",
        "_order",
        "_updates",
        "size_bytes",
    )

    def __init__(self, *, max_updates: int, max_bytes: int, max_update_bytes: int = 0) -> None:
        self._max_updates = max_updates
        self._max_bytes = max_bytes
        self._max_room_bytes = max(ROOM_FACTOR * max_bytes, 2 * max_update_bytes)
        self._by_session: dict[Session, dict[Waiting, None]] = {}
        # client -> heap of (clock that must be passed, order, generation, waiting update)
        self._by_client: dict[int, list[tuple[int, int, int, Waiting]]] = {}
        self._order = count()
        self._updates = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        return self._updates

    def __contains__(self, waiting: Waiting) -> bool:
        return waiting in self._by_session.get(waiting.ticket.session, ())

    def check(self, session: Session, update: bytes, needs: list[tuple[int, int]]) -> None:
        """Check that one more update may wait (Q3).

        Raises:
            WaitingFullError: too many updates, too many bytes, or too many needs.
        """
        if len(needs) > MAX_NEEDS:
            raise WaitingFullError(
                f"an update refers to {len(needs)} clients whose updates are missing; the limit is {MAX_NEEDS}; "
                "reconnect to send what is missing first"
            )
        own = self._by_session.get(session, {})
        own_bytes = sum(len(waiting.update) for waiting in own)
        if (
            len(own) >= self._max_updates
            or (own and own_bytes + len(update) > self._max_bytes)
            or self._updates >= ROOM_FACTOR * self._max_updates
            or self.size_bytes + len(update) > self._max_room_bytes
        ):
            raise WaitingFullError(
                f"{len(own)} updates of {own_bytes} bytes wait for missing updates and {len(update)} bytes more "
                f"arrived; the limits are {self._max_updates} and {self._max_bytes}; "
                "reconnect to send what is missing first"
            )

    def add(self, waiting: Waiting, needs: list[tuple[int, int]]) -> None:
        """Let an update wait; call `check` first."""
        self._by_session.setdefault(waiting.ticket.session, {})[waiting] = None
        self._updates += 1
        self.size_bytes += len(waiting.update)
        self.note(waiting, needs)

    def note(self, waiting: Waiting, needs: list[tuple[int, int]]) -> None:
        """Record what an update still lacks after a try, in place of what it lacked before."""
        waiting.generation += 1
        for client, clock in needs:
            heap = self._by_client.setdefault(client, [])
            heappush(heap, (clock, next(self._order), waiting.generation, waiting))

    def remove(self, waiting: Waiting) -> None:
        """Remove an update."""
        session = waiting.ticket.session
        own = self._by_session[session]
        del own[waiting]
        if not own:
            del self._by_session[session]
        self._updates -= 1
        self.size_bytes -= len(waiting.update)
        waiting.generation += 1
        if not self._updates:
            self._by_client.clear()

    def of(self, session: Session) -> list[Waiting]:
        """The waiting updates of a session, oldest first."""
        return list(self._by_session.get(session, ()))

    def parked(self) -> list[Waiting]:
        """The parked updates (Q6)."""
        return [waiting for own in self._by_session.values() for waiting in own if waiting.is_parked]

    def passed(self, ends: Iterable[tuple[int, int]]) -> list[Waiting]:
        """The updates to try again because a clock that they need has been passed; `ends` are (client, next clock)."""
        found: dict[Waiting, None] = {}
        for client, end in ends:
            heap = self._by_client.get(client)
            if heap is None:
                continue
            while heap and (heap[0][0] < end or heap[0][2] != heap[0][3].generation):
                _, _, generation, waiting = heappop(heap)
                if generation == waiting.generation:
                    found[waiting] = None
            if not heap:
                del self._by_client[client]
        return list(found)
