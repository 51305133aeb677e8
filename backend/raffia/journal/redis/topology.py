"""Which Redis server owns which slot, as found by redis-py: one server, the primary of sentinels, or a cluster.

Rules (tests quote these ids):
    RS1  A server that sentinels name is used only if it confirms that it is a master.
    RS2  A sentinel, or a node of a cluster, has `ASK_S` to answer: a silent one must not use up a whole deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis.asyncio.cluster import ClusterNode, NodesManager
from redis.asyncio.connection import AbstractConnection, SSLConnection
from redis.asyncio.sentinel import Sentinel
from redis.cluster import PRIMARY
from redis.crc import key_slot
from redis.exceptions import AskError

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.address import Address
from raffia.journal.redis.link import OPTIONS, Link, greet
from raffia.runtime.logs import get_logger

log = get_logger("raffia.journal.redis")

ASK_S = 1.0
ASKING: dict[str, Any] = {
    "socket_timeout": ASK_S,
    "socket_connect_timeout": ASK_S,
    **{name: OPTIONS[name] for name in ("protocol", "retry", "driver_info")},
}
Place = tuple[str, int]
"""Host and port; the path of a socket and 0."""


async def greet_primary(connection: AbstractConnection) -> None:
    """Sign in, and refuse a server that is not a primary (RS1)."""
    await greet(connection)
    await connection.send_command("ROLE")
    role = await connection.read_response()
    if role[0] != b"master":
        raise JournalUnavailableError(f"sentinels name it, but it is no master ({role[0].decode()})")


class Topology:
    """One server.

    Attributes:
        is_cluster: whether keys live on several nodes.
        read_s: seconds between two reads without a special reason; None if it cannot change.
    """

    is_cluster = False
    read_s: float | None = None
    greet = staticmethod(greet)

    def __init__(self, address: Address) -> None:
        self._options: dict[str, Any] = {**address.options, **OPTIONS, "redis_connect_func": self.greet}
        self._class: Callable[..., AbstractConnection] = self._options.pop("connection_class")
        self._place: Place | None = address.places[0]

    def link(self, place: Place) -> Link:
        """A connection to a server."""
        host, port = place
        where = {"host": host, "port": port} if port else {"path": host}
        return Link(self._class(**self._options, **where), f"{host}:{port}" if port else host)

    @property
    def is_known(self) -> bool:
        """Whether any server is known."""
        return self._place is not None

    @property
    def places(self) -> set[Place]:
        """The servers in use."""
        return {self._place} if self._place else set()

    def slot(self, key: str) -> int:
        """The slot of a key or of a sharded channel."""
        return 0

    def owner(self, slot: int) -> Place | None:
        """The server that owns a slot."""
        return self._place

    async def read(self, silent: Place | None) -> None:
        """Read the topology again; raises what redis-py raises. `silent` has not answered lately and is asked last."""

    async def moved(self, refusal: str, place: Place) -> Place:
        """The server that a MOVED (which is noted) or an ASK names."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close its own connections."""


class Primary(Topology):
    """The primary that sentinels name."""

    read_s = 2.0
    greet = staticmethod(greet_primary)

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._place, self._name = None, address.primary
        options = {name: value for name, value in address.options.items() if name.startswith("ssl")} | ASKING
        options |= {"ssl": self._class is SSLConnection, **address.sentinel_options}
        self._sentinel = Sentinel(address.places, sentinel_kwargs=options)  # type: ignore[no-untyped-call]

    async def read(self, silent: Place | None) -> None:
        """Ask the sentinels."""
        host, port = await self._sentinel.discover_master(self._name)
        if self._place != (host, port):
            log.info("redis primary", place=f"{host}:{port}", before=self._place)
            self._place = host, port

    async def close(self) -> None:
        """Close its own connections."""
        await self._sentinel.aclose()


class Cluster(Topology):
    """The nodes of a cluster."""

    is_cluster = True
    read_s = 15.0

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        options = {**self._options, **ASKING, "connection_class": self._class}
        self._seeds = {node.name: node for node in (ClusterNode(*place, **options) for place in address.places)}
        self._nodes = NodesManager([*self._seeds.values()], require_full_coverage=False, connection_kwargs=options)

    @property
    def is_known(self) -> bool:
        """Whether any node has answered."""
        return bool(self._nodes.slots_cache)

    @property
    def places(self) -> set[Place]:
        """The primaries."""
        return {(node.host, int(node.port)) for node in self._nodes.get_nodes_by_server_type(PRIMARY)}

    def slot(self, key: str) -> int:
        """The slot of the hash tag, which all keys of a document share."""
        return int(key_slot(key.encode()))

    def owner(self, slot: int) -> Place | None:
        """The primary that owns a slot."""
        nodes = self._nodes.slots_cache.get(slot)
        return (nodes[0].host, int(nodes[0].port)) if nodes else None

    async def read(self, silent: Place | None) -> None:
        """Ask the nodes one by one, including those of the URL, until one answers."""
        self._nodes.startup_nodes |= self._seeds
        await self._nodes.initialize(last_failed_node_name=f"{silent[0]}:{silent[1]}" if silent else None)

    async def moved(self, refusal: str, place: Place) -> Place:
        """The server that a redirection names; an empty host means the node that was asked."""
        code, _, target = refusal.partition(" ")
        error = AskError(target)
        error.host = error.host or place[0]
        if code == "MOVED" and error.slot_id in self._nodes.slots_cache:
            await self._nodes.move_slot(error)
        return error.host, error.port

    async def close(self) -> None:
        """Close its own connections."""
        await self._nodes.aclose()
        await self._nodes.aclose("startup_nodes")
