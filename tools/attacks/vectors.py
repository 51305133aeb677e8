"""14: questions that are short, and whose answers take long."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable

from tests.support.lib0 import buf, varuint

from tools.attacks.crafted import natural, one_place
from tools.attacks.enemy import Enemy
from tools.attacks.registry import attack
from tools.attacks.wire import framed, push, step1, update

KIND = "a short question that takes the server long"
GRANT = "read on one document"
DOCUMENT = "own/long"
STRANGERS, FIRST = 45_000, 2**20
ASK_S = 0.11  # about ten a second, which a session may


async def put(enemy: Enemy, content: bytes) -> None:
    """Have the document there."""
    wire = await enemy.wire(DOCUMENT, reads=False)
    await wire.send(update(content))
    await wire.settle()
    wire.end()


async def prepare_natural(enemy: Enemy) -> None:
    """30 people, 1000 edits each, interleaved: 447 KB."""
    content, enemy.kept["clients"] = natural()
    await put(enemy, content)


async def prepare_strangers(enemy: Enemy) -> None:
    """45,000 clients with a character each: 495 KB."""
    await put(enemy, one_place(STRANGERS, FIRST))


async def ask(enemy: Enemy, sessions: int, question: Callable[[], bytes], pause_s: float = ASK_S) -> None:
    """Readers who ask again and again."""

    async def go() -> None:
        while not enemy.over:
            wire = await enemy.wire(DOCUMENT, can="read")
            with contextlib.suppress(OSError):
                while not enemy.over and wire.close_code is None:
                    await wire.send(question())
                    enemy.did["questions"] += 1
                    await asyncio.sleep(pause_s)
            wire.end()

    await enemy.all(*(go() for _ in range(sessions)))


@attack("14-vectors natural", kind=KIND, grant=GRANT, prepare=prepare_natural)
async def natural_(enemy: Enemy) -> None:
    """Ten readers of an honest document ask with ever other state vectors, nine times a second."""
    chosen = random.Random(1)
    clients = enemy.kept["clients"]
    await ask(enemy, 10, lambda: step1(b"\x01" + varuint(chosen.choice(clients)) + varuint(1 + chosen.randrange(5000))))


@attack("14-vectors strangers", kind=KIND, grant=GRANT, prepare=prepare_strangers, short=True)
async def strangers(enemy: Enemy) -> None:
    """One reader of a document of 45,000 clients."""
    chosen = random.Random(1)
    await ask(enemy, 1, lambda: step1(b"\x01" + varuint(FIRST + chosen.randrange(STRANGERS)) + b"\x01"))


@attack("14-vectors long", kind=KIND, grant=GRANT, prepare=prepare_natural)
async def long(enemy: Enemy) -> None:
    """Vectors of 10,000 clients, most of them unknown to the document."""
    chosen = random.Random(1)

    def question() -> bytes:
        base = chosen.randrange(2**30)
        clients = [varuint(base + number) + varuint(1 + number) for number in range(10_000)]
        return step1(varuint(len(clients)) + b"".join(clients))

    await ask(enemy, 10, question)


@attack("14-vectors joins", kind=KIND, grant=GRANT, prepare=prepare_strangers)
async def joins(enemy: Enemy) -> None:
    """Ever new sockets that ask for the whole document once, and go without reading it."""

    async def go() -> None:
        while not enemy.over:
            wire = await enemy.wire(DOCUMENT, can="read", reads=False)
            enemy.did["joins"] += 1
            await asyncio.sleep(0.02)
            wire.end()

    await enemy.all(*(go() for _ in range(5)))


async def storm(enemy: Enemy, message: bytes) -> None:
    """The same short message, hundreds at a time, from 20 sockets."""
    data = framed(message) * 200

    async def go() -> None:
        while not enemy.over:
            wire = await enemy.wire(DOCUMENT, can="read")
            with contextlib.suppress(OSError):
                while not enemy.over and wire.close_code is None:
                    await push(wire.writer, data)
                    enemy.did["messages"] += 200
                    await asyncio.sleep(0.02)
            wire.end()

    await enemy.all(*(go() for _ in range(20)))


async def prepare_presence(enemy: Enemy) -> None:
    """200 people are present in the document."""
    await put(enemy, one_place(10, FIRST))
    for number in range(200):
        wire = await enemy.wire(DOCUMENT)
        state = b'{"name":"' + b"x" * 500 + b'"}'
        await wire.send(b"\x01" + buf(b"\x01" + varuint(9000 + number) + b"\x01" + buf(state)))


@attack("14-vectors presence", kind=KIND, grant=GRANT, prepare=prepare_presence)
async def presence(enemy: Enemy) -> None:
    """Questions for the presence of 200 people (QueryAwareness), within the limit on messages."""
    await storm(enemy, b"\x03")


@attack("14-vectors status", kind=KIND, grant=GRANT, prepare=prepare_presence, short=True)
async def status(enemy: Enemy) -> None:
    """Questions whether all is stored (SyncStatusRequest), within the limit on messages."""
    await storm(enemy, b"\x66" + buf(b"stored?"))
