"""Who writes under which client id, so that nobody can silence anybody. Pure.

New structs under somebody else's client id are legitimate at times (after a loss of the log, or heard from another tab
or by WebRTC, they may be the only copy), and an attack at others: they make the victim's own next edits look known.

Rules (tests quote these ids):
    OW1  An id belongs to the user whose presence holds it, or who wrote its very first struct, whichever this process
        has seen first. Anonymous sessions own nothing.
    OW2  An id is guarded while its user is here, with a session of this replica or present through another, and for
        `GUARD_S` after: an editor whose connection drops for a moment comes back with the same id.
    OW3  New structs under an id that is guarded for another user are parked: cut out of the update, to wait for the
        owner's own. The rest of the update goes on.
    OW4  What is remembered is bounded, of each user too, so that nobody can push out others by making ids; the longest
        unused is forgotten first. What is forgotten is as before O1.
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
MAX_IDS_OF_USER = 256  # each tab that is opened has an id of its own


class Split(NamedTuple):
    """An update without what is parked, and what is.

    Attributes:
        free: the rest as an update; None when nothing is left.
        parked: the structs under guarded ids as an update.
        needs: (client, last clock) of each of them: passed once the owner's own structs are there.
        owners: whose ids these are.
    """

    free: bytes | None
    parked: bytes
    needs: list[tuple[int, int]]
    owners: frozenset[str]


class ClientOwners:
    """The client ids of one room.

    Attributes:
        clock: see below.

    Args:
        present_user: the user whose presence holds a client id, or has held it within `GUARD_S`; None when nobody's.
        is_present: whether a user is present, or was within `GUARD_S`, through whichever replica.
        clock: monotonic seconds.
        max_ids: how many are remembered (OW4).
        max_ids_of_user: how many of one user.
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
        self._left: OrderedDict[str, float] = OrderedDict()  # when users have left, oldest first
        self._max_ids = max_ids
        self._max_ids_of_user = max_ids_of_user
        self._users: OrderedDict[int, str] = OrderedDict()  # the longest unused first
        self._ids: dict[str, OrderedDict[int, None]] = {}  # the same, by user
        self._here: Counter[str] = Counter()

    def joined(self, user: str | None) -> None:
        """A session of a user is here."""
        if user is not None:
            self._here[user] += 1

    def left(self, user: str | None) -> bool:
        """A session of a user is gone; whether it was the user's last one on this replica."""
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
        """A user has written new structs of one client alone, in a live update or in an entry of the log (OW1).

        Who goes on under an id that others have used before is not believed to own it: its owner may be away.
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
        """The user to whom an id belongs (OW1)."""
        user = self._users.get(client)
        if user is None:
            return self._present_user(client)
        self._used(client, user)
        return user

    def is_foreign(self, client: int, user: str | None) -> bool:
        """Whether an id is guarded for somebody else (OW2)."""
        owner = self.owner(client)
        if owner is None or owner == user:
            return False
        if owner in self._here or self._is_present(owner):
            return True
        left_s = self._left.get(owner)
        return left_s is not None and self.clock() - left_s < GUARD_S

    def split(self, update: bytes, facts: UpdateFacts, clocks: Mapping[int, int], user: str | None) -> Split | None:
        """Cut what has to be parked out of an update (OW3); None when nothing has.

        Args:
            update: as it came.
            facts: what the strict reader found in it.
            clocks: client -> next known clock.
            user: whose session it came from.
        """
        guarded: list[Section] = []
        for section in facts.sections:
            client = section.client
            # The common case first: one's own id, or nothing new.
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
