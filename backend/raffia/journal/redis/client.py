"""The engine: calls with a deadline, and channels, on redis-py's connections to the servers of a topology.

redis-py's cluster pipelines resend refused commands one by one, in any order, and its sharded pub/sub polls the nodes
in turn (tests/integration/redis/test_redis_py.py shows both), so routing is done here.

Rules (tests quote these ids):
    RE1  Each server has one connection for appends and four for reads, so that an append never waits behind a large
         read. A call waits for a free connection within its own deadline, and fails if there is none.
    RE2  A refusal takes the place of the reply, in Redis's words; `replies.error_of` knows which ones are temporary.
    RE3  Commands go to the owner of their slot, one pipeline for each node. Commands refused with MOVED, ASK or
         TRYAGAIN were not executed and are resent, in order, at most `ROUNDS` times and within the deadline: one
         document whose slot is moving must not delay the others for long. Commands of one slot never overtake each
         other (E2): none is resent if a later one was executed, or may have been.
    RE4  A node that did not answer gets a short deadline until it answers again, so that the documents of other nodes
         do not wait for it in every call.
    RE5  The topology is read again after a redirection, a refusal or a lost connection, while a channel has no server,
         and from time to time: a primary that only this process can still reach would accept edits that are later lost.
    RE6  A channel is subscribed at the owner of its slot, and moves when the topology changes.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence, Set
from contextlib import suppress
from itertools import takewhile
from typing import Self

from redis.asyncio.connection import BlockingConnectionPool
from redis.exceptions import RedisClusterException, RedisError

from raffia.errors import JournalUnavailableError
from raffia.journal.redis import pipeline
from raffia.journal.redis.address import read_url
from raffia.journal.redis.engine import Argument, Command, Lane, Listener, Reply
from raffia.journal.redis.pipeline import code_of
from raffia.journal.redis.scripts import Script
from raffia.journal.redis.setup_check import QUESTIONS, judge
from raffia.journal.redis.subscriber import Subscriber, end
from raffia.journal.redis.topology import Cluster, Place, Primary, Route, Topology
from raffia.runtime.logs import get_logger

log = get_logger("raffia.journal.redis")

TIMEOUT_S = 3.0
READ_PAUSE_S = 0.2
TRY_AGAIN_S = 0.05
ROUNDS = 16
CONNECTIONS = {Lane.APPEND: 1, Lane.READ: 4}
REFUSED = frozenset({"MOVED", "ASK", "TRYAGAIN"})
STALE = frozenset({"CLUSTERDOWN", "MOVED", "READONLY"})


class Engine:
    """Connections to Redis. One lifecycle: `async with`, which succeeds even while Redis is unavailable.

    Args:
        topology: which server serves what.
        timeout_s: longest time of a call, connecting and redirections included.

    Attributes:
        listener: hears what is published; set before the first `subscribe`.
    """

    listener: Listener

    def __init__(self, topology: Topology, *, timeout_s: float = TIMEOUT_S) -> None:
        self._topology, self._timeout_s = topology, timeout_s
        self._end_by_s = math.inf
        self._pools: dict[tuple[Place, Lane], BlockingConnectionPool] = {}
        self._silent: set[Place] = set()  # did not answer last time (RE4)
        self._channels: dict[str, Place | None] = {}  # where each is subscribed; None if no known server serves it
        self._subscribers: dict[Place, Subscriber] = {}
        self._problem = ""  # of the last reading of the topology
        self._is_stale, self._was_read = asyncio.Event(), asyncio.Event()
        self._reader: asyncio.Task[None] | None = None

    @property
    def is_cluster(self) -> bool:
        """Whether keys live on several nodes, so that channels are sharded (SSUBSCRIBE, SPUBLISH).

        A script may SPUBLISH there (tried on 7.0.15; on one server it uses PUBLISH). Name in KEYS what is read and
        written, and nothing else: while a slot moves, a script is refused (TRYAGAIN, nothing of it executed) as long as
        one of several KEYS is not there. So the channel, which never is, goes into ARGV, and keys that may not exist
        are best touched by scripts of their own. What is published on a slot while it moves may be lost.
        """
        return self._topology.is_cluster

    async def __aenter__(self) -> Self:
        if (read_s := self._topology.read_s) is not None:
            self._reader = asyncio.get_running_loop().create_task(self._keep_reading(read_s))
        return self

    async def __aexit__(self, *error: object) -> None:
        await end(self._reader)
        self._channels.clear()
        await self._drop(set())
        await self._topology.close()
        self._end_by_s = math.inf

    def hurry(self) -> None:
        """Give all further calls together the time limit of one, because the process is stopping."""
        self._end_by_s = self._deadline_s()

    def _deadline_s(self) -> float:
        return min(self._end_by_s, asyncio.get_running_loop().time() + self._timeout_s)

    async def run(self, commands: Sequence[Command], *, lane: Lane = Lane.READ) -> list[Reply]:
        """Send commands in one round trip for each node and return their replies, in the order of the commands (E1-E3).

        One call at a time on `Lane.APPEND`, by the one task that writes.
        """
        topology, time = self._topology, asyncio.get_running_loop().time
        deadline_s = await self._begin()
        replies: list[Reply] = [None] * len(commands)

        async def send(route: Route, some: list[int]) -> None:
            answers = await self._ask(*route, [commands[i] for i in some], lane, deadline_s)
            for i, reply in zip(some, answers, strict=True):
                replies[i] = reply

        pending: dict[int, list[int]] = {}  # the commands of each slot
        for i, command in enumerate(commands):
            pending.setdefault(topology.slot(command.key), []).append(i)
        routes = {slot: (topology.owner(slot), False) for slot in pending}
        for number in range(ROUNDS):
            groups: dict[Route, list[int]] = {}
            for slot, some in pending.items():
                groups.setdefault(routes[slot], []).extend(some)
            sent = [send(route, some) for route, some in groups.items()]
            await (sent[0] if len(sent) == 1 else asyncio.gather(*sent))
            ends = {
                slot: list(takewhile(lambda i: code_of(replies[i]) in REFUSED, reversed(some)))[::-1]
                for slot, some in pending.items()
            }
            pending = {slot: some for slot, some in ends.items() if some}
            if not pending or not self.is_cluster or time() + TRY_AGAIN_S >= deadline_s:
                break
            # The first that was refused decides for all of its slot.
            routes = {slot: await topology.redirect(str(replies[some[0]]), slot) for slot, some in pending.items()}
            if number:  # nodes may disagree for a while
                await asyncio.sleep(TRY_AGAIN_S)
        return replies

    async def run_scripts(
        self, calls: Sequence[tuple[Script, Sequence[str], Sequence[Argument]]], *, lane: Lane = Lane.READ
    ) -> list[Reply]:
        """Run many scripts in one round trip for each node, two where one is not known yet. Calls with the same key run
        the same script."""
        commands = [
            Command(keys[0] if keys else "", ("EVALSHA", script.sha, len(keys), *keys, *args), script)
            for script, keys, args in calls
        ]
        return await self.run(commands, lane=lane)

    def subscribe(self, channel: str) -> None:
        """Subscribe to a channel (E4); a channel of a cluster carries the hash tag of its document."""
        place = self._topology.owner(self._topology.slot(channel))
        if self._channels.get(channel) != place:
            self.unsubscribe(channel)
        self._channels[channel] = place
        if place is None:
            self._is_stale.set()
            return
        if place not in self._subscribers:
            connection = self._topology.pool(place, 1).make_connection()  # type: ignore[no-untyped-call]
            given_up = self._given_up if self.is_cluster else None
            self._subscribers[place] = Subscriber(
                connection, self.listener, self._timeout_s, self._is_stale.set, given_up
            )
        self._subscribers[place].subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        if (place := self._channels.pop(channel, None)) is not None:
            self._subscribers[place].unsubscribe(channel)

    def _given_up(self, channel: str) -> None:
        """Handle a channel that its server no longer serves."""
        self._channels[channel] = None
        self._is_stale.set()

    async def warnings(self) -> list[str]:
        """What is wrong with how Redis is set up, in whole sentences with what to do: persistence off, an eviction
        policy that may drop documents, a version below 7.0. Empty when all is well, or when it does not answer."""
        deadline_s = await self._begin()
        questions = [Command("", question) for question in QUESTIONS]
        found = []
        for host, port in sorted(self._topology.places):
            replies = await pipeline.run(self._pool((host, port), Lane.READ), questions, deadline_s)
            found += judge(f"{host}:{port}" if port else host, replies, as_cluster=self.is_cluster)
        return found

    # -- commands

    async def _ask(
        self, place: Place | None, asking: bool, commands: Sequence[Command], lane: Lane, deadline_s: float
    ) -> list[Reply]:
        """Send commands to one server, and note whether it answers (RE4, RE5)."""
        if place is None:
            self._is_stale.set()
            why = f"Redis: no known server takes this key; {self._problem}"
            return [JournalUnavailableError(why) for _ in commands]
        if self.is_cluster and place in self._silent:
            deadline_s = min(deadline_s, asyncio.get_running_loop().time() + self._timeout_s / 4)
        replies = await pipeline.run(self._pool(place, lane), commands, deadline_s, asking=asking)
        codes = {code_of(reply) for reply in replies}
        if "READONLY" in codes:  # it may be a replica now: reconnecting finds out (RS1)
            for each in Lane:
                await self._pool(place, each).disconnect()
        self._silent.discard(place)
        if any(isinstance(reply, JournalUnavailableError) for reply in replies):
            self._silent.add(place)
        if place in self._silent or codes & STALE:
            self._is_stale.set()
        return replies

    def _pool(self, place: Place, lane: Lane) -> BlockingConnectionPool:
        if (place, lane) not in self._pools:
            self._pools[place, lane] = self._topology.pool(place, CONNECTIONS[lane])
        return self._pools[place, lane]

    # -- the topology

    async def _begin(self) -> float:
        """Wait until the topology is known, at most until a call's deadline; returns that deadline."""
        deadline_s = self._deadline_s()
        if not self._topology.places:
            self._is_stale.set()
            with suppress(TimeoutError):  # the caller sees that it knows no server
                async with asyncio.timeout_at(deadline_s):
                    await self._was_read.wait()
        return deadline_s

    async def _keep_reading(self, read_s: float) -> None:
        """Read the topology whenever it may be out of date, and apply it (RE5)."""
        while True:
            self._is_stale.clear()
            try:
                await self._topology.read()
                await self._settle()
                self._problem = ""
                self._was_read.set()
            except (RedisError, RedisClusterException, OSError) as error:
                self._problem = str(error)
                log.debug("nobody says which Redis server to use", why=self._problem)
            except Exception as error:
                # Whatever went wrong once: a replica that did not read again would never see another server.
                if self._problem != repr(error):
                    log.exception("reading the topology of Redis failed")
                self._problem = repr(error)
            await asyncio.sleep(READ_PAUSE_S)
            if not self._problem and None not in self._channels.values():
                with suppress(TimeoutError):
                    async with asyncio.timeout(read_s * random.uniform(0.8, 1.2)):  # noqa: S311 - spreads load
                        await self._is_stale.wait()

    async def _settle(self) -> None:
        """Move channels to their owners (RE6), and drop servers without channels and servers that have left."""
        topology = self._topology
        owners = {channel: topology.owner(topology.slot(channel)) for channel in self._channels}
        moved = {channel for channel, owner in owners.items() if owner not in (None, self._channels[channel])}
        if any(self._channels[channel] is not None for channel in moved):
            self.listener.disconnected()
        for channel in moved:
            self.subscribe(channel)
        await self._drop(topology.places)

    async def _drop(self, places: Set[Place]) -> None:
        """Close subscribers without channels, and connections to servers other than these."""
        for place in list(self._subscribers):
            if place not in self._channels.values():
                await self._subscribers.pop(place).close()
        for place, lane in list(self._pools):
            if place not in places:
                self._silent.discard(place)
                await self._pools.pop((place, lane)).disconnect()


def open_engine(url: str, *, timeout_s: float = TIMEOUT_S) -> Engine:
    """The engine for `url` (address.py says how it is written); nothing is connected before it is entered.

    Args:
        url: where Redis is.
        timeout_s: longest time of a call.

    Raises:
        SettingsError: the URL cannot work; the message says what would.
    """
    address = read_url(url)
    topologies = {"": Topology, "sentinel": Primary, "cluster": Cluster}
    return Engine(topologies[address.kind](address), timeout_s=timeout_s)
