"""17: updates of ordinary size, made of as many parts as fit: limits go by bytes, cost by parts.

Below 32 KiB an update is read on the loop, above in a worker.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from tools.attacks.crafted import deep_any, deep_json, many_clients, many_deletes, many_formats, many_roots
from tools.attacks.enemy import Enemy
from tools.attacks.registry import attack
from tools.attacks.wire import typed, update

KIND = "price by size, cost by shape"
BELOW, ABOVE = 28_000, 36_000  # bytes asked for; what is made is a little larger
VARIANTS = 60
SHORT = {("below", "clients", "read"), ("below", "clients", "edit")}
PAUSE_S = 0.003
DOCUMENT = "own/paced"


async def prepare(enemy: Enemy) -> None:
    """A document that readers can open."""
    await enemy.settled(DOCUMENT, [typed(5, 0, "hello")])


def paced(name: str, title: str, craft: Callable[[int, int], bytes], size: int, can: str, *, short: bool) -> None:
    """Register one shape of update."""

    async def load(enemy: Enemy) -> None:
        updates = [update(craft(2**25 + number * 40_000, size)) for number in range(VARIANTS)]
        enemy.did["bytes each"] = len(updates[0])
        while not enemy.over:
            wire = await enemy.wire(DOCUMENT, can=can)
            with contextlib.suppress(OSError):
                for number in range(10**9):
                    if enemy.over:
                        break
                    await wire.send(updates[number % VARIANTS])
                    enemy.did["updates"] += 1
                    await asyncio.sleep(PAUSE_S)
            wire.end()
            await asyncio.sleep(0.05)

    load.__doc__ = title
    attack(f"17-pace {name}", kind=KIND, grant=f"{can} on one document", prepare=prepare, short=short)(load)


for _can, _who in (("read", "a reader"), ("edit", "a writer")):
    for _shape, _craft in (("clients", many_clients), ("deletes", many_deletes)):
        for _side, _size in (("below", BELOW), ("above", ABOVE)):
            _title = f"Updates of {_who} with as many {_shape} as fit, just {_side} 32 KiB, in one session."
            paced(f"{_shape}-{_can}-{_side}", _title, _craft, _size, _can, short=(_side, _shape, _can) in SHORT)

for _shape, _craft, _title in (
    ("roots", many_roots, "as many roots as fit"),
    ("formats", many_formats, "as many short formats as fit"),
    ("json", deep_json, "an embed of JSON as deep as fits"),
    ("values", deep_any, "lists in lists as deep as fits"),
):
    _title_read = f"Updates of a reader with {_title}, below 32 KiB."
    paced(f"{_shape}-read", _title_read, _craft, BELOW, "read", short=False)
    paced(f"{_shape}-edit", f"Updates of a writer with {_title}, below 32 KiB.", _craft, BELOW, "edit", short=False)
