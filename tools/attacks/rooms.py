"""07: documents that are opened and hold nothing."""

from __future__ import annotations

import asyncio
import json

from tests.support.lib0 import buf, string, varuint

from tools.attacks.enemy import Enemy
from tools.attacks.registry import attack
from tools.attacks.wire import hocuspocus, sign_in, step1

KIND = "memory for names that cost the sender nothing"
GRANT = "edit on own/*"
DOCUMENTS = 1000  # that one connection may open
SOCKETS = 20


async def open_many(enemy: Enemy, prefix: str, message: bytes) -> None:
    """One socket that opens as many documents as it may, with a message to each."""
    wire = await enemy.wire()
    token = enemy.token()
    for number in range(DOCUMENTS):
        name = f"own/{prefix}.{number}"
        await wire.send(sign_in(name, token))
        await wire.send(hocuspocus(name, message))
        enemy.did["documents"] += 1
        if number % 90 == 89:
            await asyncio.sleep(0.1)
    await enemy.rest_of_time()


@attack("07-rooms empty", kind=KIND, grant=GRANT, short=True)
async def empty(enemy: Enemy) -> None:
    """20 sockets open 1000 empty documents each."""
    await enemy.all(*(open_many(enemy, f"{number}", step1()) for number in range(SOCKETS)))


@attack("07-rooms presence", kind=KIND, grant=GRANT)
async def presence(enemy: Enemy) -> None:
    """The same with a presence of 15 KB in each."""
    state = json.dumps({"name": "x" * 15_000})
    message = b"\x01" + buf(b"\x01" + varuint(7) + varuint(1) + string(state))
    await enemy.all(*(open_many(enemy, f"{number}", message) for number in range(SOCKETS)))


@attack("07-rooms in-and-out", kind=KIND, grant=GRANT)
async def in_and_out(enemy: Enemy) -> None:
    """Sockets that open a new document, ask for it and go: rooms stay for a while without anybody."""

    async def go(hand: int) -> None:
        number = 0
        while not enemy.over:
            wire = await enemy.wire(f"own/{hand}.{number}")
            number += 1
            enemy.did["documents"] += 1
            wire.end()

    await enemy.all(*(go(hand) for hand in range(10)))
