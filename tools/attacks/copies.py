"""08: documents made by REST: each request is short, what it makes is large."""

from __future__ import annotations

import os
from typing import Any

from tools.attacks.enemy import Enemy
from tools.attacks.figures import Probe
from tools.attacks.registry import attack
from tools.attacks.scene import Scene
from tools.attacks.wire import typed

KIND = "a short request that makes much, without a quota"
GRANT = "read there, edit on own/*"
BIG = 8_000_000
IMAGE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x10\x00\x00\x00\x10\x00"
DISK_MB = 150.0  # that one person may fill in some seconds


async def prepare(enemy: Enemy) -> None:
    """A document of 40 MB."""
    await enemy.settled("own/big", [typed(9, at, "b" * BIG) for at in range(0, 5 * BIG, BIG)])


async def prepare_files(enemy: Enemy) -> None:
    """A document of a word with ten files of 9.9 MB."""
    await enemy.settled("own/big", [typed(9, 0, "hello")])
    for number in range(10):
        image = IMAGE + os.urandom(9_900_000 - number)
        if await enemy.rest("POST", "/api/documents/own%2Fbig/files", image) != 201:
            raise RuntimeError("an image was not taken")


def disk_mb(scene: Scene) -> float:
    """What the server's folder takes; a file with two names once."""
    found = [path.stat() for path in scene.place.folder.rglob("*") if path.is_file()]
    return sum({one.st_ino: one.st_size for one in found}.values()) / 1e6


async def disk_before(scene: Scene) -> None:
    """In the calm."""
    if not scene.attacked:
        scene.state["disk"] = disk_mb(scene)


async def disk_after(scene: Scene) -> None:
    """How much the disk has filled."""
    scene.add(Probe.below("disk", round(disk_mb(scene) - scene.state["disk"]), DISK_MB, "MB"))


DISK: dict[str, Any] = {"beside": disk_before, "after": disk_after}


async def repeat(enemy: Enemy, method: str, path: str, body: object = b"", hands: int = 3) -> None:
    """The same request again and again."""

    async def ask() -> None:
        while not enemy.over:
            await enemy.rest(method, path, body)

    await enemy.all(*(ask() for _ in range(hands)))


@attack("08-duplicate files", kind=KIND, grant=GRANT, prepare=prepare_files, seconds=3, short=True, **DISK)
async def files(enemy: Enemy) -> None:
    """A document with 99 MB of files is duplicated, three at a time."""
    await repeat(enemy, "POST", "/api/documents/own%2Fbig/duplicate")


@attack("08-duplicate content", kind=KIND, grant=GRANT, prepare=prepare, **DISK)
async def content(enemy: Enemy) -> None:
    """A document of 40 MB is duplicated, three at a time."""
    await repeat(enemy, "POST", "/api/documents/own%2Fbig/duplicate")


@attack("08-duplicate rename", kind=KIND, grant=GRANT, prepare=prepare)
async def rename(enemy: Enemy) -> None:
    """It is given a title again and again, ten at a time."""
    await repeat(enemy, "PATCH", "/api/documents/own%2Fbig", {"title": "x" * 200}, hands=10)


@attack("08-duplicate make", kind=KIND, grant=GRANT)
async def make(enemy: Enemy) -> None:
    """New documents, 20 at a time."""
    await repeat(enemy, "POST", "/api/documents", {"kind": "document", "title": "x", "folder": "own"}, hands=20)
