"""One server and some clients, driven by one seed; the invariants that hold under faults.

I1  After a crash, before any writer returns: every acknowledged insert is there, every acknowledged delete is done.
I2  After healing all clients, the room and a cold reload are equal: content, and bytes once loaded and written.
I3  After healing, every Hocuspocus client has been told that everything is stored: each update was answered once.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from typing import Any

from pycrdt import Doc, Map, Text

from raffia.crdt.update import read_update
from raffia.journal.testing.memory import MemoryJournal, MemoryStore
from raffia.rooms.durable.loading import build_document
from raffia.rooms.hub import Hub
from raffia.runtime.jobs import Job
from raffia.runtime.metrics import Metrics
from raffia.runtime.workers import Workers
from raffia.settings import Settings
from tests.simulation.client import DOCUMENT, SimClient
from tests.simulation.clock import virtual_time
from tests.simulation.meter import sim_turns

SETTINGS = Settings(
    coalesce_factor=0.0,
    journal_pause_s=0.001,
    max_step1_per_s=10**6,
    max_presence_per_s=10**6,
    compact_tail_updates=25,
    compact_tail_bytes=3000,
    worker_threshold_bytes=4096,
    room_idle_s=30,
)
KEYS = ("a", "é", "😀")


class SimWorkers(Workers):
    """Long work that takes some turns of the event loop, in this process."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(1)
        self._rng = rng

    async def run_job(self, _job: Job, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        for _ in range(self._rng.randrange(12)):
            await asyncio.sleep(0)
        result = work(*args, **kwargs)
        for _ in range(self._rng.randrange(12)):
            await asyncio.sleep(0)
        return result


def contents(update: bytes) -> tuple[str, dict[str, int], bytes]:
    """The content of a fresh document with this update, and its encoding."""
    doc: Doc[Any] = Doc(client_id=999)
    doc.apply_update(update)
    text, entries = str(doc.get("t", type=Text)), dict(doc.get("m", type=Map))
    return text, entries, doc.get_update()


class Simulation:
    """One run."""

    def __init__(self, seed: int, steps: int) -> None:
        self.rng = random.Random(seed)
        self._steps = steps
        self.store = MemoryStore()
        self.clients = [SimClient(number, hocuspocus=number % 2 == 1) for number in range(4)]
        self.tokens = 0
        self.crashes = 0
        self.waited = 0  # times that a connection waited for its turn
        self.trace: list[str] = []

    async def run(self) -> None:
        await self._start()
        rules: list[tuple[Callable[[], Any], int]] = [
            (self._insert, 30),
            (self._delete, 10),
            (self._set, 8),
            (self._forward, 60),
            (self._receive, 60),
            (self._turns, 30),
            (self._repeat, 4),
            (self._swap, 6),
            (self._connect, 12),
            (self._disconnect, 3),
            (self._hold, 3),
            (self._fail, 3),
            (self._heal, 6),
            (self._time, 4),
            (self._evict, 2),
            (self._crash, 1),
        ]
        chosen = self.rng.choices([rule for rule, _ in rules], [weight for _, weight in rules], k=self._steps)
        for rule in chosen:
            self.trace.append(rule.__name__)
            result = rule()
            if result is not None:
                await result
        await self._check()
        await self._stop()

    # -- the server ---------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self.journal = MemoryJournal(store=self.store)
        await self.journal.__aenter__()
        metrics = Metrics()
        turns = sim_turns(metrics, self.crashes)
        self.hub = Hub(self.journal, SimWorkers(self.rng), SETTINGS, metrics, turns=turns)
        await self.hub.__aenter__()

    async def _stop(self) -> None:
        self.waited += self.hub.metrics.turns_waited
        await self.hub.__aexit__(None, None, None)
        await self.journal.__aexit__(None, None, None)

    async def _crash(self) -> None:
        """Lose everything in memory, and with it what the journal has not written."""
        self.crashes += 1
        self.waited += self.hub.metrics.turns_waited
        self.journal._waiting.clear()
        self.journal.connection.is_open = False
        self.store.connections.remove(self.journal.connection)
        for client in self.clients:
            client.lose()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for room in self.hub.rooms.values():
            await room.abandon()
        self._heal()
        await self._start()
        await self._check_durable()

    async def _check_durable(self) -> None:
        """Check I1: a fresh reader, before any writer returns."""
        document = build_document(await self.journal.load(DOCUMENT), keep_deleted=False)
        text = contents(document.merged())[0]
        for client in self.clients:
            missing = [t for t in client.stored if t not in text and t not in client.deleted]
            assert not missing, f"acknowledged inserts of client {client.number} are lost: {missing}"
            revived = [t for t in client.gone if t in text]
            assert not revived, f"acknowledged deletes of client {client.number} are lost: {revived}"

    # -- rules --------------------------------------------------------------------------------------------------------

    def _any(self) -> SimClient:
        return self.rng.choice(self.clients)

    def _insert(self) -> None:
        self.tokens += 1
        client = self._any()
        filling = "x" * self.rng.choice([0, 0, 0, 0, 40, 400])
        client.insert(self.rng.random(), f"<{client.number}:{self.tokens}é😀{filling}>")

    def _delete(self) -> None:
        client = self._any()
        if client.inserted:
            client.delete(self.rng.choice(client.inserted))

    def _set(self) -> None:
        self._any().set(self.rng.choice(KEYS), self.rng.randrange(1000))

    def _repeat(self) -> None:
        self._any().repeat(self.rng.random())

    def _swap(self) -> None:
        self._any().swap()

    def _forward(self) -> None:
        client = self._any()
        if client.link is not None:
            for _ in range(self.rng.randrange(1, 4)):
                client.link.forward()

    def _receive(self) -> None:
        client = self._any()
        for _ in range(self.rng.randrange(1, 6)):
            if client.link is not None and client.link.down:
                client.receive()

    async def _turns(self) -> None:
        for _ in range(self.rng.randrange(1, 10)):
            await asyncio.sleep(0)

    async def _time(self) -> None:
        await asyncio.sleep(self.rng.choice([0.001, 0.1, 3.0]))

    def _connect(self) -> None:
        client = self._any()
        if not client.is_online:
            client.connect(self.hub)

    def _disconnect(self) -> None:
        self._any().disconnect()

    def _hold(self) -> None:
        self.store.hold()

    def _fail(self) -> None:
        self.store.failing = "no space left on device"

    def _heal(self) -> None:
        self.store.failing = None
        self.store.release()

    async def _evict(self) -> None:
        """All clients leave for long enough, or only stay quiet."""
        if self.rng.random() < 0.5:
            for client in self.clients:
                client.disconnect()
        await asyncio.sleep(40)

    # -- the end ------------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Heal everything and let all frames arrive."""
        self._heal()
        for client in self.clients:
            if not client.is_online:
                client.connect(self.hub)
        quiet = 0
        for _ in range(20_000):
            moved = False
            for client in self.clients:
                link = client.link
                assert link is not None
                assert link.is_open, f"client {client.number} was thrown out after healing"
                if link.up and link.reading:
                    link.forward()
                    moved = True
                while link.down:
                    client.receive()
                    moved = True
            await asyncio.sleep(0.2 if not moved else 0.01)
            quiet = 0 if moved else quiet + 1
            if quiet > 20:
                return
        raise AssertionError("it never becomes quiet")

    async def _check(self) -> None:
        await self._settle()
        room = self.hub.rooms[DOCUMENT]
        assert room.is_settled
        live = contents(room.document.merged())
        cold = contents(build_document(await self.journal.load(DOCUMENT), keep_deleted=False).merged())
        assert cold == live, "a cold reload differs from the room (I2)"
        for client in self.clients:
            assert contents(client.doc.get_update())[:2] == live[:2], f"client {client.number} differs (I2)"
            assert not client.hocuspocus or client.is_acknowledged, f"client {client.number} still waits (I3)"
            for token in client.inserted:
                assert (token in live[0]) == (token not in client.deleted), token
        facts = read_update(room.document.merged())
        assert not any(section.skips for section in facts.sections)


def simulate(seed: int, steps: int = 600) -> Simulation:
    """Run one seed.

    Raises:
        AssertionError: an invariant does not hold; the message names the seed.
    """
    random.seed(seed)
    with virtual_time() as loop:
        simulation = Simulation(seed, steps)
        failures: list[str] = []
        loop.set_exception_handler(lambda _, context: failures.append(repr(context.get("exception") or context)))
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(simulation.run())
        except BaseException as error:
            error.add_note(f"seed {seed}: python -m tests.simulation --seed {seed} --steps {steps}")
            raise
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            asyncio.set_event_loop(None)
        gc.collect()
        assert not failures, f"seed {seed}: {failures[:3]}"
    return simulation
