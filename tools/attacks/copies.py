"""08: documents made by REST: each request is short, what it makes is large."""

from __future__ import annotations

import os
from pathlib import Path

from tools.attacks.enemy import Enemy
from tools.attacks.figures import Probe
from tools.attacks.registry import attack
from tools.attacks.scene import Scene
from tools.attacks.wire import typed

KIND = "a short request that makes much, without a quota"
GRANT = "read there, edit on own/*"
BIG = 8_000_000
IMAGE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x10\x00\x00\x00\x10\x00"
DISK_MB = 1000.0


async def prepare(enemy: Enemy) -> None:
    """A document of 16 MB with three files of 9.9 MB."""
    await enemy.settled("own/big", [typed(9, at, "b" * BIG) for at in (0, BIG)])
    for number in range(3):
        image = IMAGE + os.urandom(9_900_000 - number)
        assert await enemy.rest("POST", "/api/documents/own%2Fbig/files", image) == 201


async def disk_before(scene: Scene) -> None:
    """Say how much is there before and after."""
    used = sum(path.stat().st_blocks * 512 for path in Path(scene.place.folder).rglob("*") if path.is_file()) / 1e6
    if not scene.attacked:
        scene.state["disk"] = used


async def disk_after(scene: Scene) -> None:
    """How much the disk has filled."""
    used = sum(path.stat().st_blocks * 512 for path in Path(scene.place.folder).rglob("*") if path.is_file()) / 1e6
    scene.add(Probe.below("disk", round(used - scene.state["disk"]), DISK_MB, "MB"))


async def repeat(enemy: Enemy, method: str, path: str, body: object = b"", hands: int = 3) -> None:
    """The same request again and again."""

    async def ask() -> None:
        while not enemy.over:
            await enemy.rest(method, path, body)

    await enemy.all(*(ask() for _ in range(hands)))


@attack("08-duplicate", kind=KIND, grant=GRANT, prepare=prepare, beside=disk_before, after=disk_after, short=True)
async def duplicate(enemy: Enemy) -> None:
    """A document of 16 MB with 30 MB of files is duplicated, three at a time."""
    await repeat(enemy, "POST", "/api/documents/own%2Fbig/duplicate")


@attack("08-duplicate rename", kind=KIND, grant=GRANT, prepare=prepare)
async def rename(enemy: Enemy) -> None:
    """It is given a title again and again, ten at a time."""
    await repeat(enemy, "PATCH", "/api/documents/own%2Fbig", {"title": "x" * 200}, hands=10)


@attack("08-duplicate make", kind=KIND, grant=GRANT)
async def make(enemy: Enemy) -> None:
    """New documents, 20 at a time."""
    await repeat(enemy, "POST", "/api/documents", {"kind": "document", "title": "x", "folder": "own"}, hands=20)
