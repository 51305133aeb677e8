"""The network of a simulated cluster: a bus that delays, drops, duplicates and reorders messages, and slow journals."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

from raffia.journal import Followed, Loaded, Reset, Snapshot
from raffia.journal.testing.memory import MemoryJournal, MemoryStore
from raffia.journal.testing.memory.bus import MemoryBus, MemoryNetwork
from raffia.types import DocumentId, Position

Enter = Callable[..., Any]


class SimNetwork(MemoryNetwork):
    """A network that loses and reorders messages while it is `rough`.

    Attributes:
        enters: by replica, calls a function as that replica.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rough = True
        self.enters: dict[str, Enter] = {}
        self._rng = rng

    def send(self, sender: str, document: DocumentId, payload: bytes) -> None:
        """Deliver to the others; while `rough`, some messages are dropped, duplicated or late."""
        self.messages += 1
        loop, rng = asyncio.get_running_loop(), self._rng
        for replica in tuple(self.buses):
            if replica == sender:
                continue
            copies = rng.choices((0, 1, 2), (3, 90, 4))[0] if self.rough else 1
            for _ in range(copies):
                delay_s = rng.choice((0.0, 0.0, 0.01, 0.3)) if self.rough else 0.0
                loop.call_later(delay_s, self._deliver, replica, document, payload)

    def _deliver(self, replica: str, document: DocumentId, payload: bytes) -> None:
        bus = self.buses.get(replica)
        if bus is not None and not bus.is_cut:
            self.enters[replica](bus.hear, document, payload)

    def die(self, replica: str) -> None:
        """A replica has died; the others find out."""
        if self.buses.pop(replica, None) is not None:
            self.miss(replica)

    def miss(self, replica: str) -> None:
        """The others have not heard from a replica for too long."""
        for name, bus in tuple(self.buses.items()):
            if name != replica and not bus.is_cut:
                self.enters[name](bus.lose, frozenset((replica,)))


class SimJournal(MemoryJournal):
    """A replica's slow connection to the store.

    Attributes:
        resets: how many its followers have received.
    """

    def __init__(self, store: MemoryStore, bus: MemoryBus, rng: random.Random) -> None:
        super().__init__(store, shared=True, bus=bus)
        self.resets = 0
        self._rng = rng

    async def _pause(self) -> None:
        for _ in range(self._rng.choice((0, 0, 0, 1, 3, 9))):
            await asyncio.sleep(0)
        if self._rng.random() < 0.03:
            await asyncio.sleep(0.05)

    async def load(self, document: DocumentId) -> Loaded:
        """Load at some point between the call and the answer."""
        await self._pause()
        loaded = await super().load(document)
        await self._pause()
        return loaded

    async def compact(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
        """Compact after a delay."""
        await self._pause()
        await super().compact(document, snapshot, upto)
        await self._pause()

    def follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        """Follow with delays."""
        return self._late(super().follow(document, after))

    async def _late(self, items: AsyncIterator[Followed]) -> AsyncIterator[Followed]:
        try:
            while True:
                await self._pause()
                item = await anext(items)
                self.resets += isinstance(item, Reset)
                yield item
        finally:
            await items.aclose()  # type: ignore[attr-defined]
