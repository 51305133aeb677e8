"""13: one person with many hands, each within the limits of its session."""

from __future__ import annotations

import asyncio
import itertools

from tools.attacks.enemy import Enemy
from tools.attacks.registry import attack
from tools.attacks.wire import framed, hocuspocus, push, sign_in, step1, typed, update

KIND = "limits for each session, and none for a person"
GRANT = "edit on own/*"
BURST, PAUSE_S = 20, 0.01  # 2000 updates a second, which one session may


async def type_fast(enemy: Enemy, number: int) -> None:
    """One socket that types into a document of its own."""
    wire = await enemy.wire(f"own/mine{number}")
    clock = 0
    while not enemy.over:
        data = b"".join(framed(update(typed(1000 + number, at, "x"))) for at in range(clock, clock + BURST))
        clock += BURST
        await push(wire.writer, data)
        enemy.did["updates"] += BURST
        await asyncio.sleep(PAUSE_S)


async def flood(enemy: Enemy, sockets: int) -> None:
    """So many of them."""
    await enemy.all(*(type_fast(enemy, number) for number in range(sockets)))


@attack("13-flood sockets", kind=KIND, grant=GRANT, short=True)
async def sockets(enemy: Enemy) -> None:
    """100 sockets with tiny updates, below 2000 a second each, in documents of their own."""
    await flood(enemy, 100)


@attack("13-flood few", kind=KIND, grant=GRANT)
async def few(enemy: Enemy) -> None:
    """The same with 20 sockets."""
    await flood(enemy, 20)


@attack("13-flood rest", kind=KIND, grant=GRANT)
async def over_rest(enemy: Enemy) -> None:
    """New documents, renames and listings over REST, 30 at a time."""
    numbers = itertools.count()

    async def ask() -> None:
        while not enemy.over:
            title = f"{next(numbers)}"
            await enemy.rest("POST", "/api/documents", {"kind": "document", "title": title, "folder": "own"})
            await enemy.rest("GET", "/api/documents?search=x&limit=100")

    await enemy.all(*(ask() for _ in range(30)))


@attack("13-flood one-socket", kind=KIND, grant=GRANT)
async def one_socket(enemy: Enemy) -> None:
    """Hocuspocus sockets with 200 documents each, typing in all of them in turn."""

    async def go(hand: int) -> None:
        wire = await enemy.wire()
        token = enemy.token()
        names = [f"own/hp{hand}.{number}" for number in range(200)]
        for name in names:
            await wire.send(sign_in(name, token))
            await wire.send(hocuspocus(name, step1()))
        for clock in itertools.count():
            if enemy.over:
                return
            message = update(typed(2000 + hand, clock, "x"))
            await push(wire.writer, b"".join(framed(hocuspocus(name, message)) for name in names))
            enemy.did["updates"] += len(names)
            await asyncio.sleep(PAUSE_S)

    await enemy.all(*(go(hand) for hand in range(10)))


@attack("13-flood one-document", kind=KIND, grant=GRANT)
async def one_document(enemy: Enemy) -> None:
    """30 sockets in one document: each update goes to all the others."""

    async def go(hand: int) -> None:
        wire = await enemy.wire("own/crowded")
        for clock in itertools.count(0, BURST):
            if enemy.over:
                return
            parts = (framed(update(typed(3000 + hand, at, "x"))) for at in range(clock, clock + BURST))
            await push(wire.writer, b"".join(parts))
            enemy.did["updates"] += BURST
            await asyncio.sleep(PAUSE_S)

    await enemy.all(*(go(hand) for hand in range(30)))
