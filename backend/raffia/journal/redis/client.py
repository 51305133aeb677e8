"""The engine: calls with a deadline, and channels, on redis-py's connections to the servers of a topology.

redis-py's cluster pipelines resend refused commands one by one, in any order, and its sharded pub/sub polls the nodes
in turn (tests/integration/redis/test_redis_py.py shows both), so routing is done here.

Rules (tests quote these ids):
    RE1  Each server has one connection for appends and four for reads, so that an append never waits behind a large
         read. A call waits for a free connection within its own deadline, and fails if there is none.
    RE2  If Redis cannot accept a command at the moment (`NOT_NOW`), the call gets a `JournalUnavailableError` with
         Redis's text: the command was not executed, and retrying can help. Every other error takes the place of its
         reply.
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
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from types import TracebackType
from typing import Self

from redis.exceptions import RedisClusterException, RedisError, ResponseError

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.address import read_url
from raffia.journal.redis.engine import Argument, Command, Lane, Listener, Reply, Script
from raffia.journal.redis.link import Link, code_of
from raffia.journal.redis.setup_check import QUESTIONS, judge
from raffia.journal.redis.subscriber import Subscriber, end
from raffia.journal.redis.topology import Cluster, Place, Primary, Topology
from raffia.runtime.logs import get_logger

log = get_logger("raffia.journal.redis")

TIMEOUT_S = 3.0
READ_PAUSE_S = 0.2
TRY_AGAIN_S = 0.05
ROUNDS = 16
CONNECTIONS = {Lane.APPEND: 1, Lane.READ: 4}
REFUSED = ("MOVED", "ASK", "TRYAGAIN")
NOT_NOW = frozenset(
    {"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "NOAUTH", "NOREPLICAS", "OOM", "READONLY", *REFUSED}
)


class Server:
    """The connections to one server, for commands (RE1)."""

    def __init__(self, topology: Topology, place: Place) -> None:
        self._links = {lane: [topology.link(place) for _ in range(count)] for lane, count in CONNECTIONS.items()}
        self._free: dict[Lane, asyncio.LifoQueue[Link]] = {lane: asyncio.LifoQueue() for lane in CONNECTIONS}
        for lane, links in self._links.items():
            for link in links:
                self._free[lane].put_nowait(link)

    async def run(
        self, commands: Sequence[Command], lane: Lane, deadline_s: float, *, asking: bool = False
    ) -> list[Reply]:
        """Run commands in one round trip; raises nothing except cancellation."""
        free = self._free[lane]
        try:
            async with asyncio.timeout_at(deadline_s if free.empty() else None):
                link = await free.get()
        except TimeoutError:
            return [JournalUnavailableError("Redis: no connection became free in time") for _ in commands]
        try:
            return await link.run(commands, deadline_s, asking=asking)
        finally:
            free.put_nowait(link)

    async def close(self) -> None:
        """Close all connections; the next calls open new ones."""
        for links in self._links.values():
            for link in links:
                await link.close()


class Engine:
    """Connections to Redis. One lifecycle: `async with`, which succeeds even while Redis is unavailable.

    Args:
        topology: which server serves what.
        timeout_s: longest time of a call, connecting and redirections included.
    """

    def __init__(self, topology: Topology, *, timeout_s: float = TIMEOUT_S) -> None:
        self._topology, self._timeout_s = topology, timeout_s
        self._end_by_s = math.inf
        self._listener: Listener | None = None
        self._servers: dict[Place, Server] = {}
        self._silent: set[Place] = set()  # did not answer last time (RE4)
        self._homeless: set[str] = set()  # channels that no known server serves
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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end(self._reader)
        while self._subscribers:
            await self._subscribers.popitem()[1].close()
        while self._servers:
            await self._servers.popitem()[1].close()
        await self._topology.close()
        self._homeless.clear()
        self._end_by_s = math.inf

    def hurry(self) -> None:
        """From now on, all calls together may take no longer than one call: the process wants to stop."""
        self._end_by_s = self._deadline_s()

    def _deadline_s(self) -> float:
        return min(self._end_by_s, asyncio.get_running_loop().time() + self._timeout_s)

    async def run(self, commands: Sequence[Command], *, lane: Lane = Lane.READ) -> list[Reply]:
        """Send commands in one round trip for each node and return their replies, in the order of the commands (E1-E3).

        One call at a time on `Lane.APPEND`, by the one task that writes.
        """
        if not commands:
            return []
        replies = await self._run(commands, lane, self._deadline_s())
        for i, reply in enumerate(replies):
            if type(reply) is ResponseError and code_of(reply) in NOT_NOW:
                replies[i] = JournalUnavailableError(f"Redis takes no command now: {reply}")
        return replies

    async def run_script(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument], *, lane: Lane = Lane.READ
    ) -> Reply:
        """Run one script, loading it on servers that do not know it; returns the reply or the error (E1)."""
        return (await self.run_scripts([(script, keys, args)], lane=lane))[0]

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

    def listen(self, listener: Listener) -> None:
        """Set the listener; once, before the first `subscribe`."""
        assert self._listener is None, "one listener"
        self._listener = listener

    def subscribe(self, channel: str) -> None:
        """Subscribe to a channel (E4); a channel of a cluster carries the hash tag of its document."""
        place = self._topology.owner(self._topology.slot(channel))
        self._homeless.discard(channel)
        for other, subscriber in self._subscribers.items():
            if other != place:
                subscriber.unsubscribe(channel)
        if place is None:
            self._given_up(channel)
            return
        if place not in self._subscribers:
            assert self._listener is not None, "say who listens first"
            given_up = self._given_up if self.is_cluster else None
            self._subscribers[place] = Subscriber(
                self._topology.link(place), self._listener, self._timeout_s, self._is_stale.set, given_up
            )
        self._subscribers[place].subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        self._homeless.discard(channel)
        for subscriber in self._subscribers.values():
            subscriber.unsubscribe(channel)

    async def warnings(self) -> list[str]:
        """What is wrong with how Redis is set up, in whole sentences with what to do: persistence off, an eviction
        policy that may drop documents, a version below 7.0. Empty when all is well, or when it does not answer."""
        deadline_s = self._deadline_s()
        await self._read_by(deadline_s)
        questions = [Command("", question) for question in QUESTIONS]
        found = []
        for host, port in sorted(self._topology.places):
            replies = await self._server((host, port)).run(questions, Lane.READ, deadline_s)
            found += judge(f"{host}:{port}" if port else host, replies, as_cluster=self.is_cluster)
        return found

    # -- commands

    async def _run(self, commands: Sequence[Command], lane: Lane, deadline_s: float) -> list[Reply]:
        """Replies as Redis sent them, in order; raises nothing except cancellation (RE3)."""
        topology = self._topology
        await self._read_by(deadline_s)
        if not self.is_cluster:
            return await self._ask(topology.owner(0), commands, lane, deadline_s)
        slots = [topology.slot(command.key) for command in commands]
        replies: list[Reply] = [None] * len(commands)
        pending: Sequence[int] = range(len(commands))
        asked: dict[int, Place] = {}  # slots whose commands are sent elsewhere for once
        for number in range(ROUNDS):
            groups: dict[tuple[Place | None, bool], list[int]] = {}
            for i in pending:
                slot = slots[i]
                groups.setdefault((asked.get(slot) or topology.owner(slot), slot in asked), []).append(i)
            sent = [
                self._ask(place, [commands[i] for i in some], lane, deadline_s, asking=asking)
                for (place, asking), some in groups.items()
            ]
            answers = await asyncio.gather(*sent) if len(sent) > 1 else [await sent[0]]
            pending, asked = [], {}
            for ((place, _), some), answered in zip(groups.items(), answers, strict=True):
                for i, reply in zip(some, answered, strict=True):
                    replies[i] = reply
                if place is not None and any(code_of(reply) in REFUSED for reply in answered):
                    again, elsewhere = await self._refused(place, some, slots, replies)
                    pending += again
                    asked |= elsewhere
            if not pending or asyncio.get_running_loop().time() + TRY_AGAIN_S >= deadline_s:
                break
            if number > 1 or any(code_of(replies[i]) == "TRYAGAIN" for i in pending):  # nodes may disagree for a while
                await asyncio.sleep(TRY_AGAIN_S)
        return replies

    async def _ask(
        self, place: Place | None, commands: Sequence[Command], lane: Lane, deadline_s: float, *, asking: bool = False
    ) -> list[Reply]:
        """Send commands to one server, and note whether it answers (RE4, RE5)."""
        if place is None:
            self._is_stale.set()
            return [
                JournalUnavailableError(f"Redis: no known server takes this key; {self._problem}") for _ in commands
            ]
        if self.is_cluster and place in self._silent:
            deadline_s = min(deadline_s, asyncio.get_running_loop().time() + self._timeout_s / 4)
        replies = await self._server(place).run(commands, lane, deadline_s, asking=asking)
        self._silent.discard(place)
        for error in [reply for reply in replies if isinstance(reply, Exception)]:
            if isinstance(error, JournalUnavailableError):
                self._silent.add(place)
                self._is_stale.set()
            elif code_of(error) in ("CLUSTERDOWN", "READONLY"):
                self._is_stale.set()
                if code_of(error) == "READONLY":  # it may be a replica now: whoever connects again is told (RS1)
                    await self._server(place).close()
        return replies

    async def _refused(
        self, place: Place, some: Sequence[int], slots: Sequence[int], replies: Sequence[Reply]
    ) -> tuple[list[int], dict[int, Place]]:
        """The commands to resend, in order, and the slots for which they go to another server (RE3)."""
        again: list[int] = []
        elsewhere: dict[int, Place] = {}
        for slot in {slots[i] for i in some}:
            last = reversed([i for i in some if slots[i] == slot])
            refused = list(takewhile(lambda i: code_of(replies[i]) in REFUSED, last))
            if not refused:
                continue
            again += refused
            first = replies[refused[-1]]  # decides for all of the slot
            if code_of(first) == "TRYAGAIN":
                continue
            target = await self._topology.moved(str(first), place)
            if code_of(first) == "ASK":
                elsewhere[slot] = target
            else:
                self._is_stale.set()
        return sorted(again), elsewhere

    def _server(self, place: Place) -> Server:
        if place not in self._servers:
            self._servers[place] = Server(self._topology, place)
        return self._servers[place]

    # -- the topology

    async def _read_by(self, deadline_s: float) -> None:
        """Wait until the topology is known."""
        if self._topology.is_known:
            return
        self._is_stale.set()
        with suppress(TimeoutError):  # the caller sees that it knows no server
            async with asyncio.timeout_at(deadline_s):
                await self._was_read.wait()

    async def _keep_reading(self, read_s: float) -> None:
        """Read the topology whenever it may be out of date, and apply it (RE5)."""
        while True:
            self._is_stale.clear()
            try:
                await self._topology.read(next(iter(self._silent), None))
                self._problem = ""
            except (RedisError, RedisClusterException, OSError) as error:
                self._problem = str(error)
                log.debug("nobody says which Redis server to use", why=self._problem)
            await self._settle()
            self._was_read.set()
            self._was_read = asyncio.Event()
            await asyncio.sleep(READ_PAUSE_S)
            if not self._problem and not self._homeless:
                with suppress(TimeoutError):
                    async with asyncio.timeout(read_s * random.uniform(0.8, 1.2)):  # noqa: S311 - spreads load
                        await self._is_stale.wait()

    async def _settle(self) -> None:
        """Move channels to their owners (RE6), and drop servers without channels and servers that have left."""
        topology = self._topology
        strays = [
            channel
            for place, subscriber in self._subscribers.items()
            for channel in subscriber.wanted.values()
            if topology.owner(topology.slot(channel)) not in (None, place)
        ]
        for channel in (*self._homeless, *strays):
            self.subscribe(channel)
        if strays and self._listener is not None:
            self._listener.disconnected()
        for place, subscriber in list(self._subscribers.items()):
            if not subscriber.wanted:
                await self._subscribers.pop(place).close()
        for place in self._servers.keys() - topology.places:
            self._silent.discard(place)
            await self._servers.pop(place).close()

    def _given_up(self, channel: str) -> None:
        """A channel has no known server."""
        self._homeless.add(channel)
        self._is_stale.set()


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
