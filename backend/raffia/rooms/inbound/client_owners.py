"""Which user owns which client id, so that no client can suppress another's edits.

New structs under another user's client id are sometimes legitimate: after a loss of the log, or received from another
tab or by WebRTC, they may be the only copy. They can also be an attack: they make the victim's next edits look known.

Rules (tests quote these ids):
    OW1  An id belongs to the user who is present under it, or to the user who wrote its first struct, whichever this
         process sees first. Anonymous sessions own nothing.
    OW2  An id is guarded while its owner has a session on this replica or is present through another one, and for
         `GUARD_S` after that, because an editor whose connection drops for a moment comes back with the same id.
    OW3  New structs under an id that is guarded for another user are parked: they are cut out of the update and wait
         for the owner's own structs. The rest of the update proceeds.
    OW4  The number of remembered ids is bounded, in total and per user, so that no user can push out those of others.
         The longest unused id is forgotten first and then has no owner.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from raffia.crdt.gate import slice_structs
from raffia.crdt.update import Section, UpdateFacts, write_update

MAX_IDS = 10_000
GUARD_S = 60.0
MAX_IDS_OF_USER = 256  # each open tab has its own id


class Split(NamedTuple):
    """An update in two parts: what may proceed, and what is parked.

    Attributes:
        free: the part that may proceed, as an update; None if nothing is left.
        parked: the structs under guarded ids, as an update.
        needs: (client, last clock) for each guarded id: passed when the owner's own structs have arrived.
        owners: the owners of these ids.
    """

    free: bytes | None
    parked: bytes
    needs: list[tuple[int, int]]
    owners: frozenset[str]


class ClientOwners:
    """The client ids of one room.

    Attributes:
        clock: as the argument.

    Args:
        present_user: returns the user who is present under a client id, or was within `GUARD_S`; None if there is none.
        is_present: returns whether a user is present through any replica, or was within `GUARD_S`.
        clock: returns monotonic seconds.
        max_ids: how many ids are remembered (OW4).
        max_ids_of_user: how many ids are remembered per user (OW4).
    """

    __slots__ = (
        "_here",
        "_ids",
        "_is_present",
        "_left",
        "_max_ids",
        "_max_ids_of_user",
        "_present_user",
        "_users",
        "clock",
    )

    def __init__(
        self,
        present_user: Callable[[int], str | None],
        is_present: Callable[[str], bool],
        clock: Callable[[], float],
        max_ids: int = MAX_IDS,
        max_ids_of_user: int = MAX_IDS_OF_USER,
    ) -> None:
        self._present_user = present_user
        self._is_present = is_present
        self.clock = clock
        self._left: OrderedDict[str, float] = OrderedDict()  # when users left, oldest first
        self._max_ids = max_ids
        self._max_ids_of_user = max_ids_of_user
        self._users: OrderedDict[int, str] = OrderedDict()  # owners by id, longest unused first
        self._ids: dict[str, OrderedDict[int, None]] = {}  # ids by owner, longest unused first
        self._here: Counter[str] = Counter()

    def joined(self, user: str | None) -> None:
        """Count a session of a user that has joined."""
        if user is not None:
            self._here[user] += 1

    def left(self, user: str | None) -> bool:
        """Count a session of a user that has left; returns whether it was the user's last one on this replica."""
        if user is None:
            return False
        self._here[user] -= 1
        if self._here[user] > 0:
            return False
        del self._here[user]
        self._left.pop(user, None)
        self._left[user] = self.clock()
        if len(self._left) > self._max_ids:
            self._left.popitem(last=False)
        return True

    def wrote(self, client: int, start: int, user: str | None) -> None:
        """Note that a user has sent a live update with new structs of one client only (OW1).

        A user who continues an id that is not new does not become its owner: the owner may be offline.

        Args:
            client: the client id.
            start: the clock of its first new struct; 0 if the client has no earlier ones.
            user: who sent the update.
        """
        if user is None:
            return
        known = self._users.get(client)
        if known is not None:
            if known == user:
                self._used(client, known)
            return
        owner = self._present_user(client) or (user if start == 0 else None)
        if owner is not None:
            self._users[client] = owner
            own = self._ids.setdefault(owner, OrderedDict())
            own[client] = None
            if len(own) > self._max_ids_of_user:
                self._forget(next(iter(own)))
            elif len(self._users) > self._max_ids:
                self._forget(next(iter(self._users)))

    def _used(self, client: int, user: str) -> None:
        self._users.move_to_end(client)
        self._ids[user].move_to_end(client)

    def _forget(self, client: int) -> None:
        user = self._users.pop(client)
        own = self._ids[user]
        del own[client]
        if not own:
            del self._ids[user]

    def owner(self, client: int) -> str | None:
        """The user who owns an id; None for no user (OW1)."""
        user = self._users.get(client)
        if user is None:
            return self._present_user(client)
        self._used(client, user)
        return user

    def is_foreign(self, client: int, user: str | None) -> bool:
        """Whether an id is guarded for another user (OW2)."""
        owner = self.owner(client)
        if owner is None or owner == user:
            return False
        if owner in self._here or self._is_present(owner):
            return True
        left_s = self._left.get(owner)
        return left_s is not None and self.clock() - left_s < GUARD_S

    def split(self, update: bytes, facts: UpdateFacts, clocks: Mapping[int, int], user: str | None) -> Split | None:
        """Cut the structs that must be parked out of an update (OW3); None if there are none.

        Args:
            update: the update bytes.
            facts: the strict reader's result.
            clocks: client -> next known clock.
            user: the user of the session that sent it.
        """
        guarded: list[Section] = []
        for section in facts.sections:
            client = section.client
            # The common case first: the sender's own id.
            if self._users.get(client) == user and user is not None:
                continue
            if section.end > clocks.get(client, 0) and self.is_foreign(client, user):
                guarded.append(section)
        if not guarded:
            return None
        ids = {section.client for section in guarded}
        free = [_structs(update, section) for section in facts.sections if section.client not in ids]
        owners = frozenset(owner for client in ids if (owner := self.owner(client)) is not None)
        return Split(
            write_update(free, facts.deletes) if free or facts.deletes else None,
            write_update([_structs(update, section) for section in guarded], []),
            [(section.client, section.end - 1) for section in guarded],
            owners,
        )


def _structs(update: bytes, section: Section) -> tuple[int, int, int, bytes]:
    return slice_structs(update, section, 0, len(section.clocks))
