"""10: bytes that the server hands on and that take the editors of everybody seconds, at each opening.

What is measured is the processor time of Yjs in Node for what a newcomer is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Sequence

from tests.support.lib0 import read_buf, varuint
from tests.support.server import ROOT

from tools.attacks.crafted import formats, one_key, one_place, right_origins
from tools.attacks.enemy import Enemy
from tools.attacks.figures import Probe
from tools.attacks.place import VICTIM
from tools.attacks.registry import attack
from tools.attacks.scene import Scene
from tools.attacks.wire import Wire, step1, update

KIND = "bytes that are short and take editors long"
GRANT = "edit on one document"
DOCUMENT = "own/shared"
YJS = ROOT / "tests" / "interop" / "judge"
EDITOR_S = 1.0  # of processor time
GIVE_UP_S = 3.0  # or twice the length of the attack
STATE_S = 20.0


async def open_in_yjs(scene: Scene) -> None:
    """What a newcomer is sent, and what Yjs takes for it."""
    place = scene.place
    token = place.token("reader", {DOCUMENT: "read"})
    state: bytes | None = None
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(STATE_S):
            wire = await Wire.open(place.port, f"/sync/{DOCUMENT}", token=token, address=VICTIM)
            await wire.send(step1())
            state, _ = read_buf(await wire.until(b"\x00\x01"), 2)
            wire.end()
    if state is None:
        scene.add(Probe.below("opening it", None, STATE_S))
        return
    path = place.folder / "state"
    path.write_bytes(state)
    node = shutil.which("node")
    if node is None or not (YJS / "node_modules" / "yjs").exists():
        raise RuntimeError(f"this needs Node, and Yjs in {YJS}; run `make clients`")
    process = await asyncio.create_subprocess_exec(
        node, str(ROOT / "tools/attacks/apply.mjs"), str(YJS), str(path), stdout=asyncio.subprocess.PIPE
    )
    took: float | None = None
    try:
        async with asyncio.timeout(max(GIVE_UP_S, 2 * place.seconds)):
            out, _ = await process.communicate()
        took = float(out)
    except TimeoutError:
        process.kill()
        await process.wait()
    scene.add(Probe.below(f"Yjs on the {len(state)} bytes", took, EDITOR_S))


async def send(enemy: Enemy, updates: Sequence[bytes]) -> None:
    """Write them into the document."""
    wire = await enemy.wire(DOCUMENT)
    for one in updates:
        await wire.send(update(one))
        enemy.did["bytes"] += len(one)
    await enemy.rest_of_time()


@attack("10-editors right-origins", kind=KIND, grant=GRANT, after=open_in_yjs, short=True)
async def conflicts(enemy: Enemy) -> None:
    """One update of 44 KB: 4000 clients insert left of 4000 different characters."""
    await send(enemy, [right_origins(4000)])


@attack("10-editors sessions", kind=KIND, grant=GRANT, after=open_in_yjs)
async def sessions(enemy: Enemy) -> None:
    """2000 such clients in small updates, from 20 sockets."""

    async def part(number: int) -> None:
        wire = await enemy.wire(DOCUMENT)
        first = number * 100
        for at in range(first, first + 100):
            struct = bytes([0x44]) + b"\x01" + varuint(at) + b"\x01x"
            await wire.send(update(b"\x01\x01" + varuint(3000 - at) + b"\x00" + struct + b"\x00"))
            enemy.did["updates"] += 1
        await enemy.rest_of_time()

    anchor = await enemy.wire(DOCUMENT)
    await anchor.send(update(b"\x01\x01\x01\x00\x04\x01\x01t" + varuint(2000) + b"a" * 2000 + b"\x00"))
    await asyncio.sleep(0.3)
    await enemy.all(*(part(number) for number in range(20)))


@attack("10-editors one-place", kind=KIND, grant=GRANT, after=open_in_yjs)
async def one_place_(enemy: Enemy) -> None:
    """One update of 220 KB: 20,000 clients insert at the very beginning."""
    await send(enemy, [one_place(20_000)])


@attack("10-editors one-key", kind=KIND, grant=GRANT, after=open_in_yjs)
async def one_key_(enemy: Enemy) -> None:
    """One update of 520 KB: 40,000 clients set the same key of a map."""
    await send(enemy, [one_key(40_000)])


@attack("10-editors formats", kind=KIND, grant=GRANT, after=open_in_yjs)
async def formats_(enemy: Enemy) -> None:
    """One update of 80 KB: 5000 clients give formats to the same character."""
    await send(enemy, [formats(5000)])
