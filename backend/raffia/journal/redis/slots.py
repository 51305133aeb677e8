"""Which node of a cluster owns which slot.

Rules (tests quote these ids):
    SL1  A key's slot is that of its hash tag, so all keys and channels of a document are on one node.
    SL2  The map is what some node says; `MOVED` corrects one slot at once. An empty host means the host that was asked.
"""

from __future__ import annotations

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from raffia.journal.redis.address import Place
from raffia.journal.redis.engine import Reply


def slot_of(key: str) -> int:
    """The slot of a key or of a sharded channel (SL1)."""
    return int(key_slot(key.encode()))


class SlotMap:
    """Slots and their owners."""

    def __init__(self) -> None:
        self._owners: list[Place | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._nodes: frozenset[Place] = frozenset()

    @property
    def known(self) -> bool:
        """Whether any node has said anything."""
        return bool(self._nodes)

    @property
    def nodes(self) -> frozenset[Place]:
        """All nodes, replicas too."""
        return self._nodes

    @property
    def owners(self) -> list[Place]:
        """Nodes that own slots, in the order of their first slot."""
        return list(dict.fromkeys(place for place in self._owners if place is not None))

    def owner(self, key: str) -> Place | None:
        """Who owns the slot of `key`."""
        return self._owners[slot_of(key)]

    def read(self, reply: Reply, asked: Place) -> bool:
        """Take a reply to `CLUSTER SLOTS`; returns whether it could be read."""
        if not isinstance(reply, list) or not reply:
            return False
        owners: list[Place | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        nodes: set[Place] = set()
        for first, last, *servers in reply:
            places = [_place(server[0], server[1], asked) for server in servers]
            nodes.update(place for place in places if place is not None)
            owners[first : last + 1] = [places[0] if places else None] * (last + 1 - first)
        self._owners, self._nodes = owners, frozenset(nodes)
        return True

    def correct(self, redirection: str, asked: Place) -> None:
        """Take what `MOVED <slot> <host>:<port>` says (SL2)."""
        _, slot, _ = redirection.split(" ")
        self._owners[int(slot)] = target(redirection, asked)


def target(redirection: str, asked: Place) -> Place:
    """Where `MOVED` or `ASK` sends us (SL2)."""
    host, _, port = redirection.split(" ")[2].rpartition(":")
    return Place(host or asked.host, int(port))


def _place(host: bytes | None, port: int, asked: Place) -> Place | None:
    if host == b"?":  # a node of which the one that was asked knows no name
        return None
    return Place(host.decode() if host else asked.host, int(port))
