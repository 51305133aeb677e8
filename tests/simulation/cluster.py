"""Replicas around one store, and clients, driven by one seed; the invariants that hold under faults.

I1  After each crash, before any writer returns: every acknowledged insert is in the log, every acknowledged delete too.
    Only what the log itself has lost may be missing, and only until a live holder has brought it back.
I2  After healing all clients, all rooms of all replicas and a cold reload are equal: content, and bytes once loaded and
    written.
I3  After healing, every Hocuspocus client has been told that everything is stored: each update was answered once.
I4  After healing, nothing is left over: no edit waits, is held back or unsaved, no follower belongs to a client that
    has left, and no task runs once everything has been stopped.
I5  After healing, every client sees exactly those who are present, and a client that moves to another replica is
    visible again at once.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable, Hashable
from typing import Any

from raffia.crdt.document import Document
from raffia.crdt.update import read_update
from raffia.journal import Loaded
from raffia.journal.bus import DEAD_S
from raffia.journal.testing.memory import MemoryStore
from raffia.rooms.durable.loading import build_document, rebuild
from raffia.rooms.inbound.client_owners import GUARD_S
from raffia.rooms.room import Room
from raffia.runtime.jobs import Job
from raffia.types import START
from tests.simulation.client import DOCUMENT, Link, SimClient
from tests.simulation.clock import virtual_time
from tests.simulation.ledger import Known, Ledger, items_of
from tests.simulation.network import SimNetwork
from tests.simulation.replica import Replica, remember_owners
from tests.simulation.world import KEYS, SETTINGS, SimWorkers, contents

WRITERS, READERS = 4, 1
SHARED = SETTINGS.model_copy(update={"worker_threshold_bytes": 512})  # so that edits happen while logs are compared


class SlowWorkers(SimWorkers):
    """Long work that also takes some virtual time."""

    async def run_job(self, job: Job, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if self._rng.random() < 0.3:
            await asyncio.sleep(0.3)
        result = await super().run_job(job, work, *args, **kwargs)
        if self._rng.random() < 0.3:
            await asyncio.sleep(0.3)
        return result


class Cluster:
    """One run.

    Args:
        seed: for everything that happens.
        steps: how many steps to run.
        replicas: how many.
        losses: whether the log may lose its end.
    """

    def __init__(self, seed: int, steps: int, replicas: int, *, losses: bool) -> None:
        self.rng = random.Random(seed)
        self._steps = steps
        self._losses = losses
        self.store = MemoryStore()
        self.network = SimNetwork(self.rng)
        self._copy: Any = None
        self._names = 0
        self.replicas: list[Replica] = []
        self._workers = SlowWorkers(self.rng)
        self._count = replicas
        self._numbers = 0
        self.clients: list[SimClient] = []
        self.dead: list[SimClient] = []
        self.half_open: list[Link] = []
        self.ledger = Ledger()
        self._aware: dict[Replica, int] = {}
        self.tokens = self.crashes = self.deaths = 0
        self.trace: list[str] = []

    async def run(self) -> None:
        for _ in range(self._count):
            await self._start_one()
        for _ in range(WRITERS):
            self._new_client(may_write=True)
        for _ in range(READERS):
            self._new_client(may_write=False)
        ticker = asyncio.create_task(self._tick_forever())
        rules: list[tuple[Callable[[], Any], int]] = [
            (self._insert, 30),
            (self._delete, 10),
            (self._set, 8),
            (self._forward, 60),
            (self._receive, 60),
            (self._turns, 30),
            (self._repeat, 4),
            (self._swap, 6),
            (self._connect, 14),
            (self._disconnect, 3),
            (self._move, 4),
            (self._reap, 4),
            (self._present, 6),
            (self._hold, 2),
            (self._fail, 2),
            (self._unsure, 2),
            (self._cut, 3),
            (self._heal, 8),
            (self._time, 5),
            (self._evict, 1),
            (self._crash, 1),
            (self._restart, 1),
            (self._die, 1),
            *([(self._copy_store, 2), (self._lose, 2), (self._fail_over, 1)] if self._losses else []),
        ]
        chosen = self.rng.choices([rule for rule, _ in rules], [weight for _, weight in rules], k=self._steps)
        for rule in chosen:
            self.trace.append(rule.__name__)
            result = rule()
            if result is not None:
                await result
            self._review()
        await self._settle()
        await self._check()
        await self._check_moves()
        ticker.cancel()
        await self._stop()

    # -- replicas -----------------------------------------------------------------------------------------------------

    async def _start_one(self) -> None:
        self._names += 1
        replica = Replica(f"r{self._names}", self.store, self.network, self._workers, SHARED)
        await replica.start()
        self.replicas.append(replica)

    async def _crash(self) -> None:
        replica = self.rng.choice(self.replicas)
        self.crashes += 1
        self._forget(replica)
        await replica.kill()
        self._check_durable()
        await self._start_one()

    async def _restart(self) -> None:
        """Stop a replica in order. What does not reach the journal in time was never acknowledged."""
        replica = self.rng.choice(self.replicas)
        self.replicas.remove(replica)
        await replica.stop()
        self.replicas.append(replica)
        self._forget(replica)
        await self._start_one()

    def _forget(self, replica: Replica) -> None:
        for client in self.clients:
            if client.link is not None and client.link.enter == replica.enter:
                client.lose()
        for link in self.half_open:
            if link.enter == replica.enter:
                link.is_open = False
        self.half_open = [link for link in self.half_open if link.is_open]
        self.replicas.remove(replica)
        room = replica.room(DOCUMENT)
        if room is not None:
            self.ledger.left(room)
        self._forget_closed_rooms(check=False)

    def _loaded(self) -> Loaded:
        kept = self.store.documents.get(DOCUMENT)
        return Loaded(None, [], START) if kept is None else Loaded(kept.snapshot, list(kept.entries), kept.last)

    def _cold(self) -> Document:
        """The document that a new reader gets now."""
        if self._losses:
            return rebuild(self._loaded(), keep_deleted=False)[0]
        return build_document(self._loaded(), keep_deleted=False)

    def _check_durable(self) -> None:
        """Check I1."""
        document = self._cold()
        log, text = Known(document), contents(document.merged())[0]
        for client in [*self.clients, *self.dead]:
            for item in items_of([client]):
                shown = item.token.text
                if self.ledger.may_lack(item) or shown not in (client.stored if item.sign == "+" else client.gone):
                    continue
                assert item in log, f"acknowledged but lost: {item}"
                if item.sign == "-":
                    assert shown not in text, f"acknowledged delete is undone: {item}"
                elif shown not in client.deleted:
                    assert shown in text, f"acknowledged insert is gone: {item}"

    # -- losses -------------------------------------------------------------------------------------------------------

    def _copy_store(self) -> None:
        if DOCUMENT in self.store.documents:
            self._copy = self.store.copy(DOCUMENT)

    def _lose(self) -> None:
        if DOCUMENT in self.store.documents:
            self._losing(lambda: self.store.lose(DOCUMENT, self.rng.randrange(1, 5)))

    def _fail_over(self) -> None:
        if self._copy is not None:
            self._losing(lambda: self.store.fail_over(DOCUMENT, self._copy))

    def _losing(self, lose: Callable[[], None]) -> None:
        before = Known(self._cold())
        lose()
        after = Known(self._cold())
        self._aware = {replica: replica.journal.resets for replica in self.replicas}
        holders: dict[Hashable, Known] = {c: Known.of_update(c.doc.get_update()) for c in self.clients if c.may_write}
        for replica in self.replicas:
            room = replica.room(DOCUMENT)
            if room is not None and not room.is_lost:
                holders[room] = Known(room.document)
        self.ledger.lost(items_of([*self.clients, *self.dead]), before, after, holders)

    def _review(self) -> None:
        """After each step, note what has come back and which holders are gone."""
        if self.ledger.at_risk:
            self.ledger.found(Known(self._cold()))
            self._forget_closed_rooms(check=True)

    def _forget_closed_rooms(self, *, check: bool) -> None:
        """A room that knew of the loss must have brought everything back before it was closed in order."""
        open_rooms = {replica.room(DOCUMENT) for replica in self.replicas}
        closed = {
            holder
            for holders in self.ledger.at_risk.values()
            for holder in holders
            if isinstance(holder, Room) and holder not in open_rooms
        }
        for room in closed:
            knew = any(
                r.hub.journal is room._append_queue._journal and r.journal.resets > n for r, n in self._aware.items()
            )
            lacking = [item for item, holders in self.ledger.at_risk.items() if room in holders]
            assert not (check and knew), f"a room was closed that held what the log has lost: {lacking}"
            self.ledger.left(room)

    # -- rules: clients -----------------------------------------------------------------------------------------------

    def _new_client(self, *, may_write: bool) -> None:
        number, self._numbers = self._numbers, self._numbers + 1
        client = SimClient(number, hocuspocus=number % 2 == 1, may_write=may_write)
        client.be_present(f'{{"n":{number},"é":"😀"}}'.encode(), self._now_s)
        self.clients.append(client)

    @property
    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _any(self) -> SimClient:
        return self.rng.choice(self.clients)

    def _writer(self) -> SimClient:
        return self.rng.choice([client for client in self.clients if client.may_write])

    def _insert(self) -> None:
        self.tokens += 1
        client = self._writer()
        filling = "x" * self.rng.choice([0, 0, 0, 0, 40, 400])
        client.insert(self.rng.random(), f"<{client.number}:{self.tokens}é😀{filling}>")

    def _delete(self) -> None:
        client = self._writer()
        if client.inserted:
            client.delete(self.rng.choice(client.inserted))

    def _set(self) -> None:
        self._writer().set(self.rng.choice(KEYS), self.rng.randrange(1000))

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

    def _connect_to(self, client: SimClient, replica: Replica) -> None:
        client.connect(replica.hub, replica.enter)

    def _connect(self) -> None:
        client = self._any()
        if not client.is_online:
            self._connect_to(client, self.rng.choice(self.replicas))

    def _disconnect(self) -> None:
        self._any().disconnect()

    def _move(self) -> None:
        """A client connects elsewhere before the old server knows that it has left."""
        client = self._any()
        link = client.drop()
        if link is not None and link.is_open:
            self.half_open.append(link)
        self._connect_to(client, self.rng.choice(self.replicas))

    def _reap(self) -> None:
        if self.half_open:
            link = self.half_open.pop(self.rng.randrange(len(self.half_open)))
            link.end()

    def _present(self) -> None:
        state = self.rng.choice((None, b"{}", f'{{"at":{self.rng.randrange(99)}}}'.encode()))
        self._any().be_present(state, self._now_s)

    def _die(self) -> None:
        """A client is gone for good, with its copy; another one joins."""
        client = self._any()
        self.deaths += 1
        client.disconnect()
        self.clients.remove(client)
        self.dead.append(client)
        self.ledger.left(client)
        self._new_client(may_write=client.may_write)

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(3.0)
            for client in self.clients:
                client.tick(self._now_s)

    # -- rules: the world ---------------------------------------------------------------------------------------------

    async def _turns(self) -> None:
        for _ in range(self.rng.randrange(1, 10)):
            await asyncio.sleep(0)

    async def _time(self) -> None:
        await asyncio.sleep(self.rng.choice([0.001, 0.1, 0.6, 3.0, 12.0]))
        for replica in self.replicas:
            if replica.cut_since_s is not None and self._now_s > replica.cut_since_s + DEAD_S:
                self.network.miss(replica.name)

    def _hold(self) -> None:
        self.store.hold()

    def _fail(self) -> None:
        self.store.failing = "no space left on device"

    def _unsure(self) -> None:
        self.rng.choice(self.replicas).journal.unsure = True

    def _cut(self) -> None:
        which = self.rng.choice([(True, True), (True, False), (False, True)])
        self.rng.choice(self.replicas).cut(journal=which[0], bus=which[1])

    def _heal(self) -> None:
        self.store.failing = None
        self.store.release()
        for replica in self.replicas:
            if self.rng.random() < 0.7:
                replica.heal()

    async def _evict(self) -> None:
        """All clients leave for long enough, or leave one replica, or only stay quiet."""
        leaving = self.rng.choice([*self.replicas, None, "nobody"])
        for client in self.clients:
            if leaving is None or (
                isinstance(leaving, Replica) and client.link is not None and client.link.enter == leaving.enter
            ):
                client.disconnect()
        while self.half_open:
            self._reap()
        await asyncio.sleep(40)

    # -- the end ------------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Heal everything and let all frames arrive."""
        self.store.failing = None
        self.store.release()
        self.network.rough = False
        for replica in self.replicas:
            replica.heal()
        while self.half_open:
            self._reap()
        if self.ledger.gone or self.dead:
            # Readers cannot bring back what no writer holds any more, or what was never acknowledged.
            for client in [client for client in self.clients if not client.may_write]:
                client.disconnect()
                self.clients.remove(client)
                self._new_client(may_write=False)
        await self._quiet(connects=30)
        await asyncio.sleep(0)
        # States that are not renewed are forgotten after 30 s: by then presence is right, whatever was dropped. Updates
        # parked for a client that has left go on once its ids are no longer guarded.
        for _ in range(14 + round(GUARD_S / 3)):
            await asyncio.sleep(3.0)
            await self._quiet()

    async def _quiet(self, *, connects: int = 0) -> None:
        """Let all frames arrive until there have been none for a while."""
        quiet = 0
        for _ in range(20_000):
            moved = False
            for client in self.clients:
                if not client.is_online:
                    assert connects > 0, f"client {client.number} was thrown out after healing"
                    connects -= 1
                    self._connect_to(client, self.rng.choice(self.replicas))
                link = client.link
                assert link is not None
                if link.up and link.reading and link.is_open:
                    link.forward()
                    moved = True
                while client.link is not None and client.link.down:
                    client.receive()
                    moved = True
            await asyncio.sleep(0.1 if not moved and connects else 0.01)
            self._review()
            quiet = 0 if moved else quiet + 1
            if quiet > 20:
                return
        raise AssertionError("it never becomes quiet")

    async def _check(self) -> None:
        self._review()
        rooms = {replica: room for replica in self.replicas if (room := replica.room(DOCUMENT)) is not None}
        assert not self.ledger.at_risk, f"somebody holds what the log lacks: {self.ledger.at_risk}"
        cold = build_document(self._loaded(), keep_deleted=False)
        shown = contents(cold.merged())
        self._check_durable()
        for replica, room in rooms.items():
            self._check_room(replica, room)
            assert contents(room.document.merged()) == shown, f"{replica.name} differs from a cold reload (I2)"
        for client in self.clients:
            assert contents(client.doc.get_update())[:2] == shown[:2], f"client {client.number} differs (I2)"
            waits = client.hocuspocus and client.may_write and not client.is_acknowledged
            assert not waits, f"client {client.number} still waits (I3)"
            for token in client.inserted:
                assert (token in shown[0]) == (token not in client.deleted), token
        assert not any(section.skips for section in read_update(cold.merged()).sections)
        self._check_presence()

    def _check_room(self, replica: Replica, room: Room) -> None:
        """Check I4 for one room."""
        name, metrics = replica.name, replica.hub.metrics
        assert room.is_settled, f"{name} is not settled"
        early_entries, waiting = room._intake.early_entries.pieces, room._intake.waiting
        assert not early_entries, f"{name} holds back {len(early_entries)} updates of the log"
        assert room._follower is not None
        assert room._follower.position == self._loaded().position, f"{name} does not follow to the end of the log"
        assert not any(session.open_tickets for session in room.sessions), f"{name} owes answers"
        assert len(waiting) == metrics.waiting_updates == metrics.waiting_bytes == 0, f"{name}: something waits"
        assert room._append_queue.unsaved_bytes == metrics.journal_unsaved_bytes == 0, f"{name} has unsaved bytes"
        owners = {session.owner for session in room.sessions}
        owners |= {entry.owner for entry in room._presence.table._live.values()}
        assert set(room._presence.table._speakers) <= owners, f"{name} remembers sessions that have gone"
        assert replica.journal._readers._readers.keys() == {DOCUMENT}, f"{name} follows for nobody"

    def _check_presence(self) -> None:
        """Check I5."""
        present = {c.number + 1: c.awareness.states[c.number + 1] for c in self.clients if c.awareness.own()}
        for client in self.clients:
            assert client.awareness.states == present, f"client {client.number} sees {client.awareness.states}"

    async def _check_moves(self) -> None:
        """Check I5: every client moves once; the ways to move take turns."""
        for number, client in enumerate(self.clients):
            if client.awareness.own() is None:
                client.be_present(b"{}", self._now_s)
                await self._quiet()
            began_s = self._now_s
            link = client.drop()
            assert link is not None
            if number % 3 == 0:
                link.end()
            self._connect_to(
                client, self.rng.choice([r for r in self.replicas if r.enter != link.enter] or self.replicas)
            )
            if number % 3 == 1:
                await asyncio.sleep(0)
                link.end()
            await self._quiet(connects=1)  # loading takes its time
            link.end()
            await self._quiet()
            assert self._now_s < began_s + 6  # in that time no state was renewed, except by chance
            blind = [c.number for c in self.clients if client.number + 1 not in c.awareness.states]
            assert not blind, f"client {client.number} moved and clients {blind} do not see it"
            # Its copy of their clocks outlives its socket, but they are announced again above these (P12).
            lost = [c.number for c in self.clients if c.awareness.own() and c.number + 1 not in client.awareness.states]
            assert not lost, f"client {client.number} moved and does not see clients {lost}"
            await asyncio.sleep(20.0)
            await self._quiet()
            self._check_presence()

    async def _stop(self) -> None:
        assert self._loaded().position == START or build_document(self._loaded(), keep_deleted=False)
        for client in self.clients:
            client.disconnect()
        for replica in self.replicas:
            await replica.stop()
            left = [task for task in replica.tasks() if not task.done()]
            assert not left, f"{replica.name} leaves {left}"
            assert not replica.hub.rooms
        assert not self.store.connections
        assert not self.network.buses
        self._check_durable()


def simulate_cluster(seed: int, steps: int = 600, replicas: int = 3, *, losses: bool | None = None) -> Cluster:
    """Run one seed; every second one has losses.

    Raises:
        AssertionError: an invariant does not hold; the message names the seed.
    """
    random.seed(seed)
    with virtual_time() as loop:
        cluster = Cluster(seed, steps, replicas, losses=seed % 2 == 1 if losses is None else losses)
        failures: list[str] = []
        loop.set_exception_handler(lambda _, context: failures.append(repr(context)))
        remember_owners(loop)
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(cluster.run())
        except BaseException as error:
            error.add_note(
                f"seed {seed}: python -m tests.simulation --replicas {replicas} --seed {seed} --steps {steps}"
            )
            raise
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
        gc.collect()
        assert not failures, f"seed {seed}: {failures[:3]}"
    return cluster
