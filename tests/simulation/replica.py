"""One replica of a simulated cluster, which can be killed without the others noticing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from itertools import count
from typing import Any
from weakref import WeakKeyDictionary

from raffia.journal.testing.memory import MemoryStore
from raffia.journal.testing.memory.bus import MemoryBus
from raffia.rooms.hub import Hub
from raffia.rooms.room import Room
from raffia.runtime.metrics import Metrics
from raffia.runtime.workers import Workers
from raffia.settings import Settings
from raffia.types import DocumentId
from tests.simulation.meter import sim_turns
from tests.simulation.network import SimJournal, SimNetwork

# Every task and timer that a replica's code starts inherits this, so a kill finds what belongs to the replica.
_REPLICA: ContextVar[str | None] = ContextVar("replica", default=None)
_OWNERS: WeakKeyDictionary[asyncio.Task[Any], tuple[int, str | None]] = WeakKeyDictionary()
_NUMBERS = count()


def remember_owners(loop: asyncio.AbstractEventLoop) -> None:
    """Record the owner of each task."""

    def create(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **options)
        context = options.get("context")
        _OWNERS[task] = next(_NUMBERS), context.get(_REPLICA) if context is not None else _REPLICA.get()
        return task

    loop.set_task_factory(create)


class Replica:
    """A process: a hub on its own journal and bus."""

    def __init__(
        self, name: str, store: MemoryStore, network: SimNetwork, workers: Workers, settings: Settings
    ) -> None:
        self.name = name
        self.cut_since_s: float | None = None
        self._network = network
        self._context = copy_context()
        self._context.run(_REPLICA.set, name)
        network.enters[name] = self.enter
        self.bus = MemoryBus(network, name)
        self.journal = SimJournal(store, self.bus, random.Random(random.getrandbits(32)))
        metrics = Metrics()
        self.hub = Hub(self.journal, workers, settings, metrics, turns=sim_turns(metrics, len(name)))

    def enter(self, call: Callable[..., Any], *args: Any) -> Any:
        """Call something as this replica."""
        return self._context.copy().run(call, *args)

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Await something as this replica."""
        return await asyncio.get_running_loop().create_task(work, context=self._context.copy())

    async def start(self) -> None:
        """Start serving."""
        await self.run(self.journal.__aenter__())
        await self.run(self.hub.__aenter__())

    async def stop(self) -> None:
        """Shut down in order."""
        await self.run(self.hub.__aexit__(None, None, None))
        await self.run(self.journal.__aexit__(None, None, None))
        del self._network.enters[self.name]

    async def kill(self) -> None:
        """Lose everything in memory, and with it what the journal has not written."""
        self.bus.cut()
        self.journal._waiting.clear()
        self.journal.connection.is_open = False
        self.journal.store.connections.remove(self.journal.connection)
        tasks = self.tasks()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for room in self.hub.rooms.values():
            await self.run(room.abandon())
        self._network.die(self.name)
        del self._network.enters[self.name]

    def tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks that run here, oldest first."""
        known = ((_OWNERS[task], task) for task in asyncio.all_tasks() if task in _OWNERS)
        mine = ((number, task) for (number, name), task in known if name == self.name)
        return [task for _, task in sorted(mine, key=lambda one: one[0])]

    def room(self, document: DocumentId) -> Room | None:
        """The open room of a document."""
        return self.hub.rooms.get(document)

    def cut(self, *, journal: bool, bus: bool) -> None:
        """Cut connections."""
        if journal:
            self.journal.cut()
        if bus and self.cut_since_s is None:
            self.bus.cut()
            self.cut_since_s = asyncio.get_running_loop().time()

    def heal(self) -> None:
        """Restore them."""
        self.journal.unsure = False
        if self.journal.connection.is_cut:
            self.enter(self.journal.heal)
        if self.bus.is_cut:
            self.cut_since_s = None
            self.enter(self.bus.heal)
