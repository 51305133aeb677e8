"""Sharded channels of a cluster: each is heard on the node that owns its slot, and follows it.

Rules (tests quote these ids):
    SH1  A channel is subscribed at the owner of its slot. One that has no known owner, or was given up by its node,
        waits for the next map of slots, which is asked for until every channel is somewhere.
    SH2  A node that was lost may have been replaced: the map is asked for after every failed connection too, while the
        connection is also tried again.
    SH3  A node on which nothing is heard any more is let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from raffia.journal.redis.address import Place
from raffia.journal.redis.engine import Listener
from raffia.journal.redis.node import Connect
from raffia.journal.redis.slots import SlotMap
from raffia.journal.redis.subscriber import Subscriber, pause_s


class ShardedChannels:
    """All channels that a replica hears, spread over the nodes; made in a running event loop.

    Args:
        connect: makes what connects to a node.
        slots: who owns what; `settle` is called after it has changed.
        refresh: asks for the map of slots.
        listener: who is told.
        timeout_s: longest time to connect, and for a PONG.
    """

    def __init__(
        self,
        connect: Callable[[Place], Connect],
        slots: SlotMap,
        refresh: Callable[[], Awaitable[None]],
        listener: Listener,
        *,
        timeout_s: float,
    ) -> None:
        self._connect = connect
        self._slots = slots
        self._refresh = refresh
        self._listener = listener
        self._timeout_s = timeout_s
        self._homes: dict[str, Place | None] = {}
        self._homeless: set[str] = set()
        self._subscribers: dict[Place, Subscriber] = {}
        self._mending: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    def subscribe(self, channel: str) -> None:
        """Hear a channel (SH1)."""
        home = self._homes.get(channel) or self._slots.owner(channel)
        self._homes[channel] = home
        if home is None:
            self._homeless.add(channel)
            self._mend()
        else:
            self._subscriber(home).subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        """Hear it no more (SH3)."""
        home = self._homes.pop(channel, None)
        self._homeless.discard(channel)
        if home is not None:
            self._subscribers[home].unsubscribe(channel)
            self._let_go(home)

    def settle(self) -> None:
        """Move every channel to the owner of its slot, after the map was read."""
        for channel, home in list(self._homes.items()):
            owner = self._slots.owner(channel)
            if owner is None or owner == home:
                continue
            self._homes[channel] = owner
            self._homeless.discard(channel)
            if home is not None:
                self._subscribers[home].unsubscribe(channel)
                self._let_go(home)
            self._subscriber(owner).subscribe(channel)
        for place in list(self._subscribers):
            self._let_go(place)

    async def aclose(self) -> None:
        """End all of it."""
        self._closed = True
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.wait([self._mending])
        for subscriber in self._subscribers.values():
            await subscriber.aclose()
        if self._ending:
            await asyncio.wait(self._ending)

    def _subscriber(self, place: Place) -> Subscriber:
        subscriber = self._subscribers.get(place)
        if subscriber is None:
            subscriber = self._subscribers[place] = Subscriber(
                self._connect(place),
                self._listener,
                timeout_s=self._timeout_s,
                sharded=True,
                on_moved=self._moved,
                on_failed=self._mend,
            )
        return subscriber

    def _let_go(self, place: Place) -> None:
        if not self._subscribers[place].channels:
            ending = asyncio.get_running_loop().create_task(self._subscribers.pop(place).aclose())
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)

    def _moved(self, channels: Sequence[str]) -> None:
        """A node does not serve these any more (SH1)."""
        for channel in channels:
            if channel in self._homes:
                self._homes[channel] = None
                self._homeless.add(channel)
        self._mend()

    def _mend(self) -> None:
        if not self._closed and (self._mending is None or self._mending.done()):
            self._mending = asyncio.get_running_loop().create_task(self._find_homes())

    async def _find_homes(self) -> None:
        """Ask for the map until every channel is somewhere; at least once."""
        attempt = 0
        while True:
            await self._refresh()  # settles
            if not self._homeless:
                return
            await asyncio.sleep(pause_s(attempt))
            attempt += 1
