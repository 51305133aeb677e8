"""The common scene: honest people who are measured, first in the calm and then under attack, in the same run.

Rules:
    ATS1  The victims are a pair on one document, with an address of their own; a neighbour pair has the attacker's
         address. One of each pair types every 50 ms, the other says when it arrives, however late the server is: who
         cannot send any more has waited all the same.
    ATS2  Newcomers come every half a second, each from an address of its own. Who has not got the document within
         `JOIN_DEADLINE_S`, or within `LATE_S` of the end of the attack, has not got in.
    ATS3  Memory is the highest that was seen, of the server and of its workers apart. An attack is ended early when it
         has grown so much that all is said.
    ATS4  Every wait has a deadline, so that a dead server ends the scene.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.support.server import ROOT, RaffiaServer

from tools.attacks.figures import ALIVE_S, NOISE_MS, Delays, Figures, Probe
from tools.attacks.place import ATTACKER, FRONT, VICTIM, Build, Place, children, in_front_of_others, load_core
from tools.attacks.registry import Attack
from tools.attacks.wire import Wire, framed, rest, step1, typed, update
from tools.bench.servers import LOAD_CORE, pinned

PACE_S = 0.05
NEWCOMER_S = 0.5
JOIN_DEADLINE_S = 3.0
ENOUGH_MB = 1500.0  # growth after which an attack is stopped (ATS3)
LATE_S = 1.0  # after the end of the attack
SAMPLE_S = 0.05
BEAT_S = 0.005
READY_S = 60.0
_numbers = itertools.count(1)


class Pair:
    """Two clients of one document (ATS1).

    Args:
        place: where.
        document: which.
        address: theirs.
    """

    def __init__(self, place: Place, document: str, address: str) -> None:
        self._port, self._document, self._address = place.port, document, address
        self._token = place.token(f"honest-{document.replace('/', '-')}", {document: "edit"})
        self._pending: dict[bytes, float] = {}
        self._delays: list[float] = []
        self._lost: str | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        path = f"/sync/{self._document}"
        self._writer, self._reader = [
            await Wire.open(self._port, path, token=self._token, address=self._address) for _ in range(2)
        ]
        for wire in (self._writer, self._reader):
            await wire.send(step1())
        self._writer.swallow()
        self._tasks = [asyncio.create_task(self._type()), asyncio.create_task(self._read())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._writer.end()
        self._reader.end()

    async def _type(self) -> None:
        client, clock = 0x7EAA + next(_numbers), 0
        began = time.perf_counter()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number * PACE_S - time.perf_counter()))
            word = f"<{number:06}>"
            self._pending[word.encode()] = time.perf_counter()
            # Not drained: a server that does not read any more must not make us count fewer edits.
            self._writer.writer.write(framed(update(typed(client, clock, word))))
            clock += len(word)

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            while True:
                message = await self._reader.receive()
                now = time.perf_counter()
                for word in [word for word in self._pending if word in message]:
                    self._delays.append(now - self._pending.pop(word))

    def take(self) -> Delays:
        """What was measured since the last time; an edit that is under way counts with its wait so far."""
        now = time.perf_counter()
        waits = [now - sent for sent in self._pending.values() if now - sent > PACE_S]
        delays, self._delays = self._delays + waits, []
        return Delays.of(delays)


class Newcomers:
    """Those who come every half a second (ATS2)."""

    def __init__(self, place: Place, document: str) -> None:
        self._place, self._document = place, document
        self.seconds: list[float] = []
        self.tried = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self) -> None:
        """Until cancelled; then wait for those who are at the door."""
        began = time.monotonic()
        for number in itertools.count(1):
            self._tasks.append(asyncio.create_task(self._join(number)))
            await asyncio.sleep(max(0.0, began + number * NEWCOMER_S - time.monotonic()))

    async def settle(self) -> None:
        """Wait for those who are at the door, a little."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=LATE_S)
            for task in late:
                task.cancel()

    async def _join(self, number: int) -> None:
        self.tried += 1
        address = f"192.0.2.{number % 250 + 1}"
        token = self._place.token(f"newcomer-{number}", {self._document: "read"})
        began = time.perf_counter()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(JOIN_DEADLINE_S):
                wire = await Wire.open(self._place.port, f"/sync/{self._document}", token=token, address=address)
                try:
                    if wire.status == 101:
                        await wire.send(step1())
                        await wire.until(b"\x00\x01")
                        self.seconds.append(time.perf_counter() - began)
                finally:
                    wire.end()


class Heartbeat:
    """What the machine adds to delays: how late this process is, and for how long the server waits for its core.

    Args:
        pid: of the server.
    """

    def __init__(self, pid: int) -> None:
        self._schedule = Path(f"/proc/{pid}/schedstat")
        self._worst_s = 0.0

    async def beat(self) -> None:
        """Until cancelled."""
        waited, before = self._waited_s(), 0.0
        while True:
            due = time.perf_counter() + BEAT_S
            await asyncio.sleep(BEAT_S)
            late_s, now = time.perf_counter() - due, self._waited_s()
            # One edit may fall into two beats.
            self._worst_s = max(self._worst_s, late_s + now - waited + before)
            waited, before = now, late_s + now - waited

    def _waited_s(self) -> float:
        try:
            return int(self._schedule.read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    def take_ms(self) -> float:
        """The worst since the last time."""
        worst_s, self._worst_s = self._worst_s, 0.0
        return 1000 * worst_s


class Memory:
    """Watches the memory of servers (ATS3)."""

    def __init__(self, servers: list[RaffiaServer]) -> None:
        self._pids = [server.pid for server in servers]
        self._base = [_rss_mb(pid) for pid in self._pids]
        self.grown_mb = self.workers_mb = 0.0

    async def watch(self) -> None:
        """Until cancelled, or until it is enough."""
        while self.grown_mb < ENOUGH_MB and self.workers_mb < 2 * ENOUGH_MB:
            self.look()
            await asyncio.sleep(SAMPLE_S)

    def look(self) -> None:
        """Once."""
        for pid, base in zip(self._pids, self._base, strict=True):
            self.grown_mb = max(self.grown_mb, _rss_mb(pid) - base)
            self.workers_mb = max(self.workers_mb, sum(map(_rss_mb, children(pid))))


def _rss_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, IndexError):
        return 0.0


class Scene:
    """What checks of an attack get.

    Attributes:
        place: where it is played.
        figures: what they add their probes to.
        attacked: whether the attack is on.
        state: between their calls.
    """

    def __init__(self, place: Place, figures: Figures) -> None:
        self.place, self.figures = place, figures
        self.attacked = False
        self.state: dict[str, Any] = {}

    def add(self, probe: Probe) -> None:
        """One more figure."""
        self.figures.probes.append(probe)

    async def healthy(self, server: RaffiaServer) -> bool:
        """Whether it answers in time."""
        try:
            return (await rest(server.port, "GET", "/healthz", timeout_s=ALIVE_S))[0] == 200
        except (OSError, TimeoutError):
            return False


class Child:
    """The attacker's process, see enemy.py."""

    def __init__(self, attack: Attack, place: Place) -> None:
        ports = [part for server in place.servers for part in ("--port", str(server.port))]
        self._command = [
            *in_front_of_others(),
            *pinned(LOAD_CORE),
            sys.executable,
            "-m",
            "tools.attacks.enemy",
            attack.name,
            *ports,
            *("--command", " ".join(place.build.command), "--seconds", str(place.seconds)),
        ]
        self._log = place.folder / "enemy.txt"

    async def __aenter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _line(self, deadline_s: float) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(deadline_s):
            return (await self._process.stdout.readline()).decode()

    async def ready(self) -> None:
        """Wait until it has prepared.

        Raises:
            RuntimeError: it has failed; carries what it said.
        """
        self.go()
        if await self._line(READY_S) != "ready\n":
            raise RuntimeError(f"the attacker failed:\n{self._log.read_text()[-3000:]}")

    def go(self) -> None:
        """Say that it may go on: prepare, or attack."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def done(self, deadline_s: float) -> dict[str, Any]:
        """Wait until it is done; what it says that it did.

        Raises:
            RuntimeError: it has failed.
        """
        line = await self._line(deadline_s)
        if not line:
            raise RuntimeError(f"the attacker failed:\n{self._log.read_text()[-3000:]}")
        did: dict[str, Any] = json.loads(line)
        return did


@contextlib.contextmanager
def in_front() -> Iterator[None]:
    """Those who measure go on core 1, before the attacker there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, load_core())
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, FRONT)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        if os.geteuid() == 0:
            os.setpriority(os.PRIO_PROCESS, 0, nice)


async def play(attack: Attack, build: Build, seconds: float, calm_s: float) -> Figures:
    """Play one attack against one build, once.

    Raises:
        RuntimeError: the server did not start, or the attacker could not do its work.
    """
    began = time.monotonic()
    figures = Figures(attack.name, build.name)
    seconds = max(seconds, attack.seconds)
    with Place(build, attack.settings, attack.files, attack.replicas, seconds, calm_s) as place:
        scene = Scene(place, figures)
        async with Child(attack, place) as child:  # it loads while the server starts
            await asyncio.to_thread(place.start)
            if attack.setup is not None:
                await attack.setup(scene)
            with in_front():
                await child.ready()
                if attack.crash:
                    place.servers[-1].kill()
                    place.servers[-1].start()
                await _measure(attack, scene, child)
                if attack.after is not None:
                    await attack.after(scene)
    figures.took_s = round(time.monotonic() - began, 1)
    return figures


async def _measure(attack: Attack, scene: Scene, child: Child) -> None:
    """The calm, the attack, and what is left of the server."""
    place, figures = scene.place, scene.figures
    newcomers = Newcomers(place, "team/victim")
    async with Pair(place, "team/victim", VICTIM) as victim, Pair(place, "team/neighbour", ATTACKER) as neighbour:
        await asyncio.sleep(0.2)  # the first edits open the documents
        victim.take(), neighbour.take()
        memory = Memory(place.servers)
        heart = Heartbeat(place.server.pid)
        beating = asyncio.create_task(heart.beat())
        await _beside(attack, scene, place.calm_s)
        figures.calm, figures.neighbour_calm = victim.take(), neighbour.take()
        heart.take_ms()

        scene.attacked = True
        coming = asyncio.create_task(newcomers.come())
        watching = asyncio.create_task(memory.watch())
        child.go()
        ending = asyncio.create_task(child.done(place.seconds + 20))
        beside = asyncio.create_task(_beside(attack, scene, 0.0))
        await asyncio.wait([ending, watching], return_when=asyncio.FIRST_COMPLETED)
        figures.attacked, figures.neighbour = victim.take(), neighbour.take()
        figures.noise_ms = round(min(NOISE_MS, heart.take_ms()), 1)
        beating.cancel()
        memory.look()
        coming.cancel()
        if not ending.done():
            ending.cancel()
            figures.did[f"stopped at {ENOUGH_MB:.0f} MB"] = 1
        else:
            figures.did |= ending.result()
        await newcomers.settle()
        figures.alive = all([await scene.healthy(server) for server in place.servers])
        await beside
        watching.cancel()
        memory.look()
    figures.newcomers, figures.joined = newcomers.tried, len(newcomers.seconds)
    figures.join = Delays.of(newcomers.seconds)
    figures.rss_mb, figures.workers_mb = round(memory.grown_mb), round(memory.workers_mb)


async def _beside(attack: Attack, scene: Scene, at_least_s: float) -> None:
    """The honest work that this attack is measured beside, if any."""
    began = time.monotonic()
    if attack.beside is not None:
        await attack.beside(scene)
    await asyncio.sleep(max(0.0, began + at_least_s - time.monotonic()))
