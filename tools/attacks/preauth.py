"""06: what a connection may make the server keep before it has shown that it may be there."""

from __future__ import annotations

import asyncio
import itertools

from tests.support.lib0 import string

from tools.attacks.enemy import Enemy
from tools.attacks.place import ATTACKER
from tools.attacks.registry import attack
from tools.attacks.wire import CONTINUED, Wire, framed, hocuspocus, push, update

KIND = "memory for what has not been paid for"
GRANT = "none"
MIB = 1 << 20
SOCKETS = 60


async def half(enemy: Enemy, document: str | None) -> None:
    """Announce 16 MiB and send all of it but the last; again when the server ends it."""
    while not enemy.over:
        wire = await enemy.wire(document, can="read", asks=False)
        wire.writer.write(framed(b"", announced=16 * MIB))
        try:
            for _ in range(15):
                await push(wire.writer, bytes(MIB))
                enemy.did["MiB"] += 1
            await enemy.rest_of_time()
        except OSError:
            enemy.did["ended"] += 1
            await asyncio.sleep(0.05)
        finally:
            wire.end()


@attack("06-preauth half-sent", kind=KIND, grant=GRANT, short=True)
async def half_sent(enemy: Enemy) -> None:
    """60 sockets on /sync, each with a message of 16 MiB half sent, before any sign-in."""
    await enemy.all(*(half(enemy, None) for _ in range(SOCKETS)))


@attack("06-preauth half-sent-document", kind=KIND, grant="read on one document", short=True)
async def half_sent_document(enemy: Enemy) -> None:
    """The same on /sync/DOCUMENT, by one reader."""
    await enemy.all(*(half(enemy, "own/read") for _ in range(SOCKETS)))


@attack("06-preauth documents", kind=KIND, grant=GRANT, short=True)
async def documents(enemy: Enemy) -> None:
    """300 sockets with 64 KiB for each of 100 documents that were never signed in to."""
    message = update(bytes(64 * 1024 - 60))

    async def knock() -> None:
        wire = await enemy.wire()
        for number in range(100):
            await wire.send(hocuspocus(f"d{number}", message))
            enemy.did["messages"] += 1
        await enemy.rest_of_time()

    await enemy.all(*(knock() for _ in range(300)))


@attack("06-preauth fragments", kind=KIND, grant=GRANT, short=True)
async def fragments(enemy: Enemy) -> None:
    """A message in a million fragments of one byte, on 20 sockets, never finished."""

    async def knock() -> None:
        wire = await enemy.wire()
        wire.writer.write(framed(b"x", fin=False))
        piece = framed(b"x", CONTINUED, fin=False) * 2000
        while not enemy.over:
            await push(wire.writer, piece)
            enemy.did["fragments"] += 2000

    await enemy.all(*(knock() for _ in range(20)))


@attack("06-preauth tokens", kind=KIND, grant=GRANT)
async def tokens(enemy: Enemy) -> None:
    """Sign-ins with tokens of 8 KiB that are no good, for ever other documents, from 50 sockets that come again."""

    async def knock() -> None:
        for number in itertools.count():
            if enemy.over:
                return
            wire = await Wire.open(enemy.port, "/sync", address=ATTACKER)
            if wire.status != 101:
                enemy.did[f"refused {wire.status}"] += 1
                wire.end()
                await asyncio.sleep(0.05)
                continue
            wire.swallow()
            try:
                for document in range(100):
                    token = f"eyJhbGciOiJIUzI1NiJ9.{'A' * 8000}.{document}"
                    await wire.send(string(f"d{number}.{document}") + b"\x02\x00" + string(token))
                    enemy.did["sign-ins"] += 1
                await asyncio.sleep(0.2)
            finally:
                wire.end()

    await enemy.all(*(knock() for _ in range(50)))
