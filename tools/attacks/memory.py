"""12: memory over many documents of one person, each within its own limit."""

from __future__ import annotations

import asyncio
import contextlib
import json

from tests.support.lib0 import buf, string, varuint

from tools.attacks.enemy import Enemy
from tools.attacks.registry import attack
from tools.attacks.wire import typed, update

KIND = "a bound for each, and none for all"
GRANT = "edit on own/*"
PIECE = 14_900_000


@attack(
    "12-memory documents",
    kind=KIND,
    grant=GRANT,
    seconds=3,
    short=True,
    settings={"max_open_documents_bytes": "64MiB"},
)
async def documents(enemy: Enemy) -> None:
    """Documents of 60 MB, four at a time, kept open."""

    async def fill(hand: int) -> None:
        for number in range(3):
            wire = await enemy.wire(f"own/{hand}.{number}")
            for piece in range(4):
                if enemy.over:
                    return
                await wire.send(update(typed(9, piece * PIECE, "b" * PIECE)))
                enemy.did["MB"] += PIECE // 1_000_000

    await enemy.all(*(fill(hand) for hand in range(4)))


@attack("12-memory presence", kind=KIND, grant=GRANT)
async def presence(enemy: Enemy) -> None:
    """As many presence states of 15 KB as are taken, in 20 documents."""
    state = string(json.dumps({"name": "x" * 15_000}))

    async def announce(number: int) -> None:
        wire = await enemy.wire(f"own/present{number}")
        for client in range(5000):
            if enemy.over:
                return
            await wire.send(b"\x01" + buf(b"\x01" + varuint(1000 + client) + varuint(1) + state))
            enemy.did["states"] += 1
            if client % 50 == 49:
                await asyncio.sleep(0.2)

    await enemy.all(*(announce(number) for number in range(20)))


@attack("12-memory waiting", kind=KIND, grant=GRANT)
async def waiting(enemy: Enemy) -> None:
    """Updates that wait for others which never come, 14 MB in each of 40 sessions."""

    async def wait(number: int) -> None:
        with contextlib.suppress(OSError):
            wire = await enemy.wire(f"own/waiting{number}")
            for piece in range(14):
                # Right of a clock that nobody has written.
                await wire.send(update(typed(9, 10 + piece * 2_000_000, "w" * 1_000_000)))
                enemy.did["MB"] += 1
        await enemy.rest_of_time()

    await enemy.all(*(wait(number) for number in range(40)))


@attack("12-memory unread", kind=KIND, grant=GRANT)
async def unread(enemy: Enemy) -> None:
    """A document of 15 MB, asked for by 100 sockets that read nothing."""
    await enemy.settled("own/large", [typed(9, 0, "b" * PIECE)])

    async def ask() -> None:
        wire = await enemy.wire("own/large", can="read", reads=False)
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
        enemy.did["questions"] += 1
        await enemy.rest_of_time()

    await enemy.all(*(ask() for _ in range(100)))
