"""What waits in a room: parts of updates whose references are not known yet. Pure: time and sockets do not occur.

Rules (tests quote these ids):
    Q1  An update that waits is looked at again only when a clock that it needs has been passed: an edit costs nothing
        for what waits for other clients.
    Q2  Whoever can never become ready holds back nothing else, and nobody else pays for it.
    Q3  All of it is bounded, per session and per room, the needs of one update too; "full" closes 1013, and nothing of
        the update is acknowledged.
    Q4  What waits goes with its session. It is never relayed, journaled or counted as known.
    Q6  What is parked waits for the owner of the client ids in it (client_owners.py), or until he has left.
    Q5  The author is the one at the time of sending; whoever has lost the right to write meanwhile is refused.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import count

from raffia.crdt.update import UpdateFacts
from raffia.errors import WaitingFullError
from raffia.rooms.session import Session, Ticket

MAX_NEEDS = 256  # of one update; an editor's needs are the few clients that it heard of and we did not
ROOM_FACTOR = 4  # so many sessions' worth may wait in one room


class Waiting:
    """One update of which a part waits.

    Attributes:
        update: the whole update, as it came; what of it is known by now is cut away at the next try.
        facts: what the strict reader found in it: reading it again at every try would cost a second for megabytes.
        ticket: its answer.
        author: whose edit it is.
        is_parked: whether it waits for an owner (Q6).
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
        self.generation = 0  # needs that were noted before the latest try are void


class WaitingList:
    """All that waits in one room.

    Attributes:
        size_bytes: of the updates.
    """

    __slots__ = ("_by_client", "_by_session", "_max_bytes", "_max_updates", "_order", "_updates", "size_bytes")

    def __init__(self, *, max_updates: int, max_bytes: int) -> None:
        self._max_updates = max_updates
        self._max_bytes = max_bytes
        self._by_session: dict[Session, dict[Waiting, None]] = {}
        # client -> heap of (clock that must be passed, order, generation, who waits)
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
            WaitingFullError: too many, too much, or too many needs.
        """
        if len(needs) > MAX_NEEDS:
            raise WaitingFullError(
                f"an update refers to {len(needs)} clients whose updates have not come; the limit is {MAX_NEEDS}; "
                "reconnect to send what is missing first"
            )
        own = self._by_session.get(session, {})
        own_bytes = sum(len(waiting.update) for waiting in own)
        if (
            len(own) >= self._max_updates
            or own_bytes + len(update) > self._max_bytes
            or self._updates >= ROOM_FACTOR * self._max_updates
            or self.size_bytes + len(update) > ROOM_FACTOR * self._max_bytes
        ):
            raise WaitingFullError(
                f"{len(own)} updates of {own_bytes} bytes wait for what they refer to and {len(update)} bytes more "
                f"came; the limits are {self._max_updates} and {self._max_bytes}; "
                "reconnect to send what is missing first"
            )

    def add(self, waiting: Waiting, needs: list[tuple[int, int]]) -> None:
        """Let an update wait; `check` was asked before."""
        self._by_session.setdefault(waiting.ticket.session, {})[waiting] = None
        self._updates += 1
        self.size_bytes += len(waiting.update)
        self.note(waiting, needs)

    def note(self, waiting: Waiting, needs: list[tuple[int, int]]) -> None:
        """Note what an update needs after a try; what it needed before is void."""
        waiting.generation += 1
        for client, clock in needs:
            heap = self._by_client.setdefault(client, [])
            heappush(heap, (clock, next(self._order), waiting.generation, waiting))

    def remove(self, waiting: Waiting) -> None:
        """An update waits no more."""
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
        """What waits for a session, oldest first."""
        return list(self._by_session.get(session, ()))

    def parked(self) -> list[Waiting]:
        """What waits for an owner (Q6)."""
        return [waiting for own in self._by_session.values() for waiting in own if waiting.is_parked]

    def passed(self, ends: Iterable[tuple[int, int]]) -> list[Waiting]:
        """Who waits for one of these clocks (client, next clock) to be passed; each is to be tried and noted again."""
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
