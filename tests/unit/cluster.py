"""Two replicas without sockets: hubs with shared memory journals on one store, and buses on one network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from tests.unit.world import DOCUMENT, World

from raffia.journal.testing.memory import MemoryJournal, MemoryStore
from raffia.journal.testing.memory.bus import MemoryBus, MemoryNetwork
from raffia.rooms.hub import Hub
from raffia.rooms.room import Room
from raffia.runtime.metrics import Metrics
from raffia.runtime.workers import Workers
from raffia.settings import Settings


class Replica(World):
    """A `World` that shares its store with others."""

    def __init__(self, hub: Hub, store: MemoryStore, journal: MemoryJournal, bus: MemoryBus) -> None:
        super().__init__(hub, store)
        self.journal = journal
        self.bus = bus

    @property
    def room(self) -> Room:
        """The room of the document."""
        return self.hub.rooms[DOCUMENT]


@asynccontextmanager
async def cluster(count: int = 2, **settings: object) -> AsyncIterator[tuple[MemoryNetwork, list[Replica]]]:
    """Replicas called r0, r1, …"""
    store, network = MemoryStore(), MemoryNetwork()
    defaults: dict[str, object] = {"journal_pause_s": 0.0, "coalesce_factor": 0.0}
    chosen = Settings(**(defaults | settings))
    async with AsyncExitStack() as stack:
        workers = await stack.enter_async_context(Workers(1))
        replicas = []
        for number in range(count):
            bus = MemoryBus(network, f"r{number}")
            journal = await stack.enter_async_context(MemoryJournal(store, shared=True, bus=bus))
            hub = await stack.enter_async_context(Hub(journal, workers, chosen, Metrics()))
            replicas.append(Replica(hub, store, journal, bus))
        try:
            yield network, replicas
        finally:
            store.failing = None
            store.release()
            for replica in replicas:
                replica.journal.unsure = False
                replica.journal.heal()
