"""The engine for a Redis cluster.

Rules (tests quote these ids):
    CT1  Commands go to the owner of their key's slot, one pipeline for each node. Those that a node refuses with MOVED,
         ASK or TRYAGAIN were not executed and are sent again, in order, `ROUNDS` times at most and within the deadline
         of the call: one document whose slot is on its way must not hold up the others in the call for long.
    CT2  Commands with the same hash tag never overtake each other (ER2): the first refused one decides where all
         refused ones of its tag go, and it is not sent again when a later one has been executed, or may have been.
    CT3  A node that did not answer gets a short deadline until it has answered again: the documents of other nodes must
         not wait for it in every call.
    CT4  The map of slots is asked for anew after a redirection, a lost node or CLUSTERDOWN, of any node, at most every
         `REFRESH_PAUSE_S`; and now and then without a reason.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.address import Address, Place
from raffia.journal.redis.connections import TIMEOUT_S, BaseEngine, survey
from raffia.journal.redis.engine import Lane, Listener, Reply
from raffia.journal.redis.link import Link, code_of, connect
from raffia.journal.redis.node import Call, Node
from raffia.journal.redis.sharding import ShardedChannels
from raffia.journal.redis.slots import SlotMap, target
from raffia.runtime.logs import get_logger

log = get_logger("raffia.journal.redis")

REFRESH_S = 15.0
REFRESH_PAUSE_S = 0.2
ASK_S = 1.0  # longest time for one node to tell the map
TRY_AGAIN_S = 0.05
ROUNDS = 16
REFUSED = ("MOVED", "ASK", "TRYAGAIN")


def tag_of(key: str) -> str:
    """What keys of one document share: the hash tag, or the whole key without one."""
    start = key.find("{")
    end = key.find("}", start + 1)
    return key[start + 1 : end] if start >= 0 and end > start + 1 else key


class ClusterEngine(BaseEngine):
    """A Redis cluster (engine.py says what it does).

    Args:
        url: some of its nodes.
        timeout_s: longest time of a call, redirections included.
    """

    def __init__(self, url: Address | str, *, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(url, timeout_s=timeout_s)
        self._slots = SlotMap()
        self._nodes: dict[Place, Node] = {}
        self._silent: set[Place] = set()  # did not answer last time (CT3)
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at_s = float("-inf")
        self._channels: ShardedChannels | None = None
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_cluster(self) -> bool:
        """Keys live on several nodes."""
        return True

    async def __aenter__(self) -> Self:
        self._watch = asyncio.get_running_loop().create_task(self._keep_watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True  # nothing asks for the map from here on
        tasks = [task for task in (self._watch, self._refreshing) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await super().__aexit__(kind, error, trace)

    def listen(self, listener: Listener) -> None:
        """See `Engine.listen`."""
        super().listen(listener)
        self._channels = ShardedChannels(
            lambda place: partial(self._connect, place), self._slots, self.refresh, listener, timeout_s=self._timeout_s
        )

    def subscribe(self, channel: str) -> None:
        """See `Engine.subscribe`."""
        assert self._channels is not None, "say who listens first"
        self._channels.subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        """See `Engine.unsubscribe`."""
        assert self._channels is not None, "say who listens first"
        self._channels.unsubscribe(channel)

    async def warnings(self) -> list[str]:
        """See `Engine.warnings`."""
        deadline_s = self._deadline_s()
        if not self._slots.known:
            await self.refresh()
        found = await asyncio.gather(
            *(survey(self._node(place), str(place), deadline_s, as_cluster=True) for place in self._slots.owners)
        )
        return [sentence for sentences in found for sentence in sentences]

    # -- commands

    async def _send(self, keys: Sequence[str], calls: Sequence[Call], lane: Lane, deadline_s: float) -> list[Reply]:
        loop = asyncio.get_running_loop()
        replies: list[Reply] = [None] * len(calls)
        pending = list(range(len(calls)))
        asked: dict[str, Place] = {}  # tags whose calls are redirected for once
        for number in range(ROUNDS):
            if any(self._slots.owner(keys[i]) is None for i in pending):
                await self._refresh_by(deadline_s)
            groups: dict[Place, list[int]] = {}
            for i in pending:
                place = asked.get(tag_of(keys[i])) or self._slots.owner(keys[i])
                if place is None:
                    replies[i] = JournalUnavailableError("Redis cluster: no known node serves the slot of this key")
                else:
                    groups.setdefault(place, []).append(i)
            sent = {
                place: [calls[i]._replace(asking=True) if tag_of(keys[i]) in asked else calls[i] for i in some]
                for place, some in groups.items()
            }
            answers = await asyncio.gather(*(self._ask(place, some, lane, deadline_s) for place, some in sent.items()))
            for some, answered in zip(groups.values(), answers, strict=True):
                for i, reply in zip(some, answered, strict=True):
                    replies[i] = reply
            pending, asked = self._again(keys, groups, replies)
            if not pending or loop.time() + TRY_AGAIN_S >= deadline_s:
                break
            if number > 1 or any(code_of(replies[i]) == "TRYAGAIN" for i in pending):  # nodes may disagree for a while
                await asyncio.sleep(TRY_AGAIN_S)
        return replies

    async def _ask(self, place: Place, calls: Sequence[Call], lane: Lane, deadline_s: float) -> list[Reply]:
        """Send calls to one node, and note whether it answers (CT3)."""
        if place in self._silent:
            deadline_s = min(deadline_s, asyncio.get_running_loop().time() + self._timeout_s / 4)
        replies = await self._node(place).run(calls, lane, deadline_s)
        if any(isinstance(reply, JournalUnavailableError) for reply in replies):
            self._silent.add(place)
            self._want_refresh()
        else:
            self._silent.discard(place)
        return replies

    def _again(
        self, keys: Sequence[str], groups: dict[Place, list[int]], replies: list[Reply]
    ) -> tuple[list[int], dict[str, Place]]:
        """Which calls to send again, and for which tags elsewhere (CT1, CT2)."""
        again: list[int] = []
        asked: dict[str, Place] = {}
        for place, some in groups.items():
            passed: set[str] = set()  # tags of which a later call got through, or may have
            refused: list[int] = []
            for i in reversed(some):
                code, tag = code_of(replies[i]), tag_of(keys[i])
                if code == "CLUSTERDOWN":
                    self._want_refresh()
                if code not in REFUSED:
                    passed.add(tag)
                elif tag not in passed:
                    refused.append(i)
            first: set[str] = set()
            for i in reversed(refused):
                code, tag, text = code_of(replies[i]), tag_of(keys[i]), str(replies[i])
                if tag not in first:
                    first.add(tag)
                    if code == "MOVED":
                        self._slots.correct(text, place)
                        self._want_refresh()
                    elif code == "ASK":
                        asked[tag] = target(text, place)
                again.append(i)
        return sorted(again), asked

    # -- nodes

    def _node(self, place: Place) -> Node:
        node = self._nodes.get(place)
        if node is None:
            node = self._nodes[place] = Node(partial(self._connect, place))
        return node

    async def _connect(self, place: Place, deadline_s: float) -> Link:
        return await connect(place, self._address.access, deadline_s)

    def _want_refresh(self) -> None:
        if not self._closed and (self._refreshing is None or self._refreshing.done()):
            self._refreshing = asyncio.get_running_loop().create_task(self._refresh())

    async def refresh(self) -> None:
        """Ask for the map of slots; those who want it at the same time share one question (CT4)."""
        self._want_refresh()
        if self._refreshing is not None:
            await asyncio.wait([self._refreshing])

    async def _refresh_by(self, deadline_s: float) -> None:
        try:
            async with asyncio.timeout_at(deadline_s):
                await self.refresh()
        except TimeoutError:
            return  # the caller sees that the map knows nothing still

    async def _refresh(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._refreshed_at_s + REFRESH_PAUSE_S - loop.time()))
        self._refreshed_at_s = loop.time()
        places = list({*self._slots.nodes, *self._address.places})
        random.shuffle(places)
        places.sort(key=lambda place: place in self._silent)
        problems = []
        for place in places:
            deadline_s = loop.time() + min(self._timeout_s, ASK_S)
            try:
                link = await self._connect(place, deadline_s)
            except JournalUnavailableError as error:
                problems.append(str(error))
                continue
            [reply] = await link.call([("CLUSTER", "SLOTS")], deadline_s)
            link.close()
            if self._slots.read(reply, place):
                self._forget_gone()
                if self._channels is not None:
                    self._channels.settle()
                return
            problems.append(f"{place}: {reply}")
        log.warning("no node of the redis cluster tells which slots are where", why="; ".join(problems))

    def _forget_gone(self) -> None:
        """Let nodes go that serve nothing; one that imports its first slot is busy, and not on the map yet."""
        gone = [place for place, node in self._nodes.items() if place not in self._slots.nodes and not node.busy]
        for place in gone:
            self._nodes.pop(place).close("it has left the cluster")
            self._silent.discard(place)

    async def _keep_watch(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(REFRESH_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads load, guards nothing

    async def _close(self) -> None:
        if self._channels is not None:
            await self._channels.aclose()
        for node in self._nodes.values():
            node.close()
