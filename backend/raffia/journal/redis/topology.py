"""Which Redis server owns which slot, as found by redis-py: one server, the primary of sentinels, or a cluster.

redis-py's own clients ask sentinels only when they connect, and use a replica that a sentinel names
(tests/integration/redis/test_redis_py.py shows both); so the primary is watched here.

Rules (tests quote these ids):
    RS1  A server that sentinels name is used only if it confirms that it is a master.
    RS2  A sentinel, or a node of a cluster, has `ASK_S` to answer: a silent one must not use up a whole deadline.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio.cluster import ClusterNode, NodesManager
from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool, SSLConnection
from redis.asyncio.sentinel import Sentinel
from redis.cluster import PRIMARY
from redis.crc import key_slot
from redis.exceptions import AskError, ConnectionError, RedisClusterException  # noqa: A004 - redis-py's

from raffia.journal.redis.address import Address
from raffia.journal.redis.pipeline import OPTIONS, aborting, greet
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
Route = tuple[Place | None, bool]
"""Where commands go, if that is known, and whether with ASKING, since their slot is on its way there."""


async def greet_primary(connection: AbstractConnection) -> None:
    """Sign in, and refuse a server that is not a primary (RS1)."""
    await greet(connection)
    await connection.send_command("ROLE")
    role = await connection.read_response()
    if role[0] != b"master":
        raise ConnectionError(f"sentinels name it, but it is no master ({role[0].decode()})")


class Topology:
    """One server.

    Attributes:
        is_cluster: whether keys live on several nodes.
        read_s: how often it is read without a reason; None when it cannot change.
        places: the servers in use; none before they are known.
    """

    is_cluster = False
    read_s: float | None = None

    def __init__(self, address: Address) -> None:
        made = aborting(address.options["connection_class"])
        self._options = {**address.options, **OPTIONS, "connection_class": made}
        self.places = {address.places[0]}

    def pool(self, place: Place, size: int) -> BlockingConnectionPool:
        """Connections to a server."""
        host, port = place
        where = {"host": host, "port": port} if port else {"path": host}
        return BlockingConnectionPool(size, timeout=None, **self._options, **where)

    def slot(self, key: str) -> int:
        """The slot of a key or of a sharded channel."""
        return 0

    def owner(self, slot: int) -> Place | None:
        """The server that owns a slot."""
        return next(iter(self.places), None)

    async def read(self) -> None:
        """Read the topology again; raises what redis-py raises."""

    async def redirect(self, refusal: str, slot: int) -> Route:
        """Where commands of a slot go that were refused with TRYAGAIN, MOVED (which is noted) or ASK."""
        return self.owner(slot), False

    async def close(self) -> None:
        """Close its own connections."""


class Primary(Topology):
    """The primary that sentinels name."""

    read_s = 2.0

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._options["redis_connect_func"] = greet_primary
        self.places, self._name = set(), address.primary
        options = {name: value for name, value in address.options.items() if name.startswith("ssl")} | ASKING
        options |= {"ssl": address.options["connection_class"] is SSLConnection, **address.sentinel_options}
        self._sentinel = Sentinel(address.places, sentinel_kwargs=options)  # type: ignore[no-untyped-call]

    async def read(self) -> None:
        """Ask the sentinels."""
        place = await self._sentinel.discover_master(self._name)
        if place not in self.places:
            log.info("redis primary", place="{}:{}".format(*place), before=self.owner(0))
            self.places = {place}

    async def close(self) -> None:
        """Close its own connections."""
        await self._sentinel.aclose()


class Cluster(Topology):
    """The nodes of a cluster."""

    is_cluster = True
    read_s = 15.0

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        options = {**self._options, **ASKING}
        self._seeds = {node.name: node for node in (ClusterNode(*place, **options) for place in address.places)}
        self._nodes = NodesManager([*self._seeds.values()], require_full_coverage=False, connection_kwargs=options)
        self.places = set()

    def slot(self, key: str) -> int:
        """The slot of the hash tag, which all keys of a document share."""
        return int(key_slot(key.encode()))

    def owner(self, slot: int) -> Place | None:
        """The primary that owns a slot."""
        nodes = self._nodes.slots_cache.get(slot)
        return (nodes[0].host, int(nodes[0].port)) if nodes else None

    async def read(self) -> None:
        """Ask one node after the other, including those of the URL, until one answers."""
        self._nodes.startup_nodes |= self._seeds
        try:
            await self._nodes.initialize()
        except IndexError:  # of redis-py, which looks for a primary in an empty map
            raise RedisClusterException("no node of the cluster has a slot") from None
        self.places = {(node.host, int(node.port)) for node in self._nodes.get_nodes_by_server_type(PRIMARY)}

    async def redirect(self, refusal: str, slot: int) -> Route:
        """Where refused commands go; an empty host means the node that was asked."""
        code, _, target = refusal.partition(" ")
        if code == "TRYAGAIN":
            return self.owner(slot), False
        error = AskError(target)
        if not error.host and (asked := self.owner(slot)):
            error.host = asked[0]
        if code == "MOVED" and slot in self._nodes.slots_cache:
            await self._nodes.move_slot(error)
        return (error.host, error.port), code == "ASK"

    async def close(self) -> None:
        """Close its own connections."""
        await self._nodes.aclose()
        await self._nodes.aclose("startup_nodes")
