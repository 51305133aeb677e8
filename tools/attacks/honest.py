"""Heavy honest work, alone and beside an attack: limits on attackers have to leave it its time.

The attack is a flood of 20 sockets of one person (flood.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Awaitable, Callable

from tests.support.lib0 import varuint

from tools.attacks.crafted import sections
from tools.attacks.enemy import Enemy
from tools.attacks.figures import Probe
from tools.attacks.flood import flood
from tools.attacks.place import VICTIM
from tools.attacks.registry import attack
from tools.attacks.scene import Scene
from tools.attacks.wire import Wire, step1, typed, update

KIND = "honest work beside an attack"
GRANT = "edit on own/*"
SLOWER, LEAST_S = 2.0, 0.5  # times calm, and so much more
DEADLINE_S = 60.0
SOCKETS = 20
OFFICE = "192.0.2.251"
MIB = 1 << 20


async def timed(scene: Scene, name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Time it in the calm and beside the attack."""
    if scene.attacked:
        await asyncio.sleep(0.3)
    began = time.perf_counter()
    took: float | None = None
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(DEADLINE_S):
            await work()
            took = time.perf_counter() - began
    if not scene.attacked:
        if took is None:
            raise RuntimeError(f"{name} fails in the calm")
        scene.state[name] = took
    else:
        calm = scene.state[name]
        scene.figures.did[f"calm {name}"] = f"{calm:.2f} s"
        scene.add(Probe.below(name, took, round(SLOWER * calm + LEAST_S, 2)))


async def open_(scene: Scene, document: str, can: str, address: str = VICTIM) -> Wire:
    """A socket of somebody honest.

    Raises:
        ConnectionRefusedError: it was refused.
    """
    token = scene.place.token("ana", {document: can})
    wire = await Wire.open(scene.place.port, f"/sync/{document}", token=token, address=address)
    if wire.status != 101:
        wire.end()
        raise ConnectionRefusedError(f"{wire.status}")
    return wire


async def paste(scene: Scene, piece: int, whole: int) -> None:
    """Put a text into a new document in pieces; until it is durable."""
    wire = await open_(scene, f"team/pasted-{os.urandom(4).hex()}", "edit")
    client, text = secrets.randbelow(2**31), secrets.token_hex(piece // 2)
    try:
        for at in range(0, whole, piece):
            await wire.send(update(typed(client, at, text)))
        await wire.settle()
    finally:
        wire.end()


async def paste_split(scene: Scene) -> None:
    """16 MiB in pieces of 64 KiB."""
    await timed(scene, "16 MiB in pieces", lambda: paste(scene, 64 * 1024, 16 * MIB))


async def paste_whole(scene: Scene) -> None:
    """15 MiB in one update."""
    await timed(scene, "15 MiB at once", lambda: paste(scene, 15 * MIB, 15 * MIB))


async def join(scene: Scene, document: str, address: str) -> None:
    """Open a document and wait for its content."""
    wire = await open_(scene, document, "read", address)
    try:
        await wire.send(step1())
        await wire.until(b"\x00\x01")
    finally:
        scene.state.setdefault("wires", []).append(wire)


async def make_old(scene: Scene) -> None:
    """A document that 10,000 people have written a word in, one after the other."""
    if "old" in scene.state:
        return
    scene.state["old"] = True
    structs = {2**20: b"\x04\x01\x01t\x06hello "}
    for number in range(1, 10_000):
        left = 2**20 + number - 1
        structs[2**20 + number] = b"\x84" + varuint(left) + b"\x05\x06hello "
    wire = await open_(scene, "team/old", "edit")
    await wire.send(update(sections(structs)))
    await wire.settle()
    wire.end()


async def old(scene: Scene) -> None:
    """Five open it at once."""
    await make_old(scene)

    async def work() -> None:
        await asyncio.gather(*(join(scene, "team/old", f"192.0.2.{240 + number}") for number in range(5)))

    await timed(scene, "an old document for five", work)
    end_wires(scene)


async def viewers(scene: Scene) -> None:
    """1000 behind one address join one document."""

    async def work() -> None:
        turn = asyncio.Semaphore(50)

        async def one() -> None:
            async with turn:
                await join(scene, "team/shown", OFFICE)

        await asyncio.gather(*(one() for _ in range(1000)))

    await timed(scene, "1000 viewers", work)
    end_wires(scene)
    await asyncio.sleep(0.5)  # until the server has noticed that they are gone


def end_wires(scene: Scene) -> None:
    """They leave."""
    for wire in scene.state.pop("wires", []):
        wire.end()


def beside(name: str, title: str, work: Callable[[Scene], Awaitable[None]], *, short: bool, seconds: float) -> None:
    """Register one piece of honest work."""

    async def load(enemy: Enemy) -> None:
        await flood(enemy, SOCKETS)

    load.__doc__ = title
    attack(f"honest {name}", kind=KIND, grant=GRANT, beside=work, short=short, seconds=seconds)(load)


beside("paste-split", "A paste of 16 MiB, in pieces as clients send it.", paste_split, short=False, seconds=4)
beside("paste-whole", "A paste of 15 MiB in one update.", paste_whole, short=False, seconds=4)
beside("old-document", "A document of 10,000 clients, opened by five.", old, short=True, seconds=3)
beside("viewers", "1000 viewers behind one address who join one document.", viewers, short=False, seconds=8)
