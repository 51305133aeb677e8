"""11: long jobs of one person in the worker processes, or short enough to be done on the loop."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from tools.attacks.crafted import many_clients, one_place, right_origins
from tools.attacks.enemy import Enemy
from tools.attacks.figures import Probe
from tools.attacks.place import children, end_leftovers
from tools.attacks.probes import rename_and_paste
from tools.attacks.registry import attack
from tools.attacks.scene import Scene
from tools.attacks.wire import update

KIND = "cost that is quadratic in bytes, paid by others"
GRANT = "edit on own/*"
LARGE, SMALL = 32_000, 2100  # clients: 352 KB, and 23 KB, which are worked on inline
ORPHAN_S = 2.0


async def put(enemy: Enemy, clients: int) -> None:
    """A document that takes long to load; if the server refuses it, one of as many clients who do not conflict."""
    try:
        await enemy.settled("own/evil", [right_origins(clients)])
    except ConnectionResetError:
        enemy.did["refused documents"] += 1
        await enemy.settled("own/evil", [one_place(clients)])


async def prepare(enemy: Enemy) -> None:
    """A document of 352 KB that takes two minutes to load."""
    await put(enemy, LARGE)


async def prepare_small(enemy: Enemy) -> None:
    """A document of 23 KB that takes half a second to load."""
    await put(enemy, SMALL)


async def again(enemy: Enemy, method: str, path: str, body: object, hands: int) -> None:
    """The same request, some at a time."""

    async def ask() -> None:
        while not enemy.over:
            await enemy.rest(method, path, body)

    await enemy.all(*(ask() for _ in range(hands)))


@attack("11-worker rename", kind=KIND, grant=GRANT, prepare=prepare, beside=rename_and_paste, short=True)
async def rename(enemy: Enemy) -> None:
    """Three renames of such a document, while others rename and paste."""
    await again(enemy, "PATCH", "/api/documents/own%2Fevil", {"title": "x"}, 3)


@attack("11-worker duplicate", kind=KIND, grant=GRANT, prepare=prepare, beside=rename_and_paste)
async def duplicate(enemy: Enemy) -> None:
    """Three duplicates of it."""
    await again(enemy, "POST", "/api/documents/own%2Fevil/duplicate", b"", 3)


@attack("11-worker inline", kind=KIND, grant=GRANT, prepare=prepare_small, beside=rename_and_paste, short=True)
async def inline(enemy: Enemy) -> None:
    """Renames of such a document of 23 KB, four at a time."""
    await again(enemy, "PATCH", "/api/documents/own%2Fevil", {"title": "x"}, 4)


@attack("11-worker pastes", kind=KIND, grant=GRANT, beside=rename_and_paste)
async def pastes(enemy: Enemy) -> None:
    """Updates of 1.5 MB with 130,000 clients, from eight sockets: each is read in a worker."""
    message = update(many_clients(2**24, 1_500_000))

    async def send(number: int) -> None:
        while not enemy.over:
            wire = await enemy.wire(f"own/paste{number}")
            try:
                while not enemy.over:
                    await wire.send(message)
                    enemy.did["updates"] += 1
            except OSError:
                enemy.did["ended"] += 1
            finally:
                wire.end()

    await enemy.all(*(send(number) for number in range(8)))


async def kill(scene: Scene) -> None:
    """End the server with SIGKILL while a worker is busy: does the worker end too?"""
    server = scene.place.server
    workers = children(server.pid)
    os.kill(server.pid, signal.SIGKILL)
    began = time.monotonic()
    server.kill()
    left = await asyncio.to_thread(end_leftovers, workers, ORPHAN_S)
    took = None if left else time.monotonic() - began
    scene.add(Probe.below(f"end of {len(workers)} workers after SIGKILL", took, ORPHAN_S))


@attack("11-worker orphan", kind=KIND, grant=GRANT, prepare=prepare, after=kill, seconds=3, short=True)
async def orphan(enemy: Enemy) -> None:
    """A worker is busy with such a document, and the server is killed."""
    await again(enemy, "PATCH", "/api/documents/own%2Fevil", {"title": "x"}, 1)
