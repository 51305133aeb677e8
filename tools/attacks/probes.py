"""Honest work of others that is timed in the calm and under attack."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Awaitable, Callable

from tools.attacks.figures import Probe
from tools.attacks.place import VICTIM
from tools.attacks.scene import Scene
from tools.attacks.wire import Wire, rest, typed, update

CALM_DEADLINE_S = 20.0
BEGIN_S = 0.5  # into the attack
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x10\x00\x00\x00\x10\x00" + bytes(100)
SLOWER_S = 1.5  # than calm, at most
CALM_S = 1.0  # is believed at most: what the attacker has prepared may be in the way already


async def timed(scene: Scene, name: str, work: Callable[[], Awaitable[bool]]) -> None:
    """Time a piece of work; under attack it becomes a probe, with calm as its measure."""
    bound_s = deadline_s = CALM_DEADLINE_S
    if scene.attacked:
        await asyncio.sleep(BEGIN_S)
        # A little longer than the bound, so that the figure says by how much; longer in a long attack.
        bound_s = min(scene.state[name], CALM_S) + SLOWER_S
        deadline_s = max(bound_s + 0.5, scene.place.seconds)
    began = time.perf_counter()
    took: float | None = None
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(deadline_s):
            if await work():
                took = time.perf_counter() - began
    if not scene.attacked:
        scene.state[name] = took
        if took is None:
            raise RuntimeError(f"{name} fails in the calm")
        return
    calm = scene.state[name]
    scene.figures.did[f"calm {name}"] = f"{calm:.2f} s"
    scene.add(Probe.below(name, took, round(bound_s, 2)))


async def fill(scene: Scene, document: str, characters: int) -> None:
    """Put an honest text into a document, if it is not there yet."""
    if document in scene.state:
        return
    scene.state[document] = True
    wire = await _open(scene, document)
    await wire.send(update(typed(secrets.randbelow(2**31), 0, secrets.token_hex(characters // 2))))
    await wire.settle()
    wire.end()


async def _open(scene: Scene, document: str) -> Wire:
    token = scene.place.token("vera", {document: "edit"})
    return await Wire.open(scene.place.port, f"/sync/{document}", token=token, address=VICTIM)


async def rename(scene: Scene) -> None:
    """Rename a document of 40 KB over REST."""
    await fill(scene, "team/renamed", 40_000)
    token = scene.place.token("vera", {"team/renamed": "edit"})

    async def work() -> bool:
        title = {"title": secrets.token_hex(4)}
        path = "/api/documents/team%2Frenamed"
        return (await rest(scene.place.port, "PATCH", path, title, token=token, address=VICTIM))[0] == 200

    await timed(scene, "rename by another", work)


async def paste(scene: Scene) -> None:
    """Paste 40 KB into a new document; timed until it is durable."""
    text = secrets.token_hex(20_000)

    async def work() -> bool:
        wire = await _open(scene, f"team/pasted-{os.urandom(4).hex()}")
        try:
            await wire.send(update(typed(secrets.randbelow(2**31), 0, text)))
            await wire.settle()
        finally:
            wire.end()
        return True

    await timed(scene, "paste by another", work)


async def rename_and_paste(scene: Scene) -> None:
    """Both at once."""
    await asyncio.gather(rename(scene), paste(scene))


async def upload(scene: Scene) -> None:
    """Upload a small image."""
    await fill(scene, "team/pictures", 1000)
    token = scene.place.token("vera", {"team/pictures": "edit"})

    async def work() -> bool:
        path = "/api/documents/team%2Fpictures/files"
        return (await rest(scene.place.port, "POST", path, PNG, token=token, address=VICTIM))[0] == 201

    await timed(scene, "upload by another", work)
