"""03: what strangers write into the log is searched for secrets, with patterns that take quadratic time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time

from tests.support.lib0 import string

from tools.attacks.enemy import Enemy
from tools.attacks.place import ATTACKER
from tools.attacks.registry import attack
from tools.attacks.wire import Wire, request_head

KIND = "a pattern of quadratic time on the text of strangers"
GRANT = "none"
EVIL = ("eyJaaaaaaaa-" * 700)[:7900]
SPACES = ("token=" + "a" * 4 + " ") * 700
IN_FLIGHT, BURST = 10, 20
ANSWER_S = 10.0
_numbers = itertools.count()


async def refused(enemy: Enemy, path: str, *, address: str = ATTACKER, **headers: str) -> None:
    """A request that is refused, on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", enemy.port)
    try:
        writer.write(request_head("GET", path, address=address, **headers))
        await asyncio.wait_for(reader.read(100), ANSWER_S)
        enemy.did["requests"] += 1
    finally:
        writer.transport.abort()


UPGRADE = {
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec_websocket_version": "13",
}


async def handshake(enemy: Enemy, text: str) -> None:
    """A refused handshake that carries a text wherever it may be logged, each from another address."""
    address = f"203.0.113.{100 + next(_numbers) % 150}"
    await refused(
        enemy, f"/sync/{text[:7900]}", host=text[:8000], origin=f"http://{text[:7900]}", address=address, **UPGRADE
    )


async def again(enemy: Enemy, text: str, pause_s: float) -> None:
    """Handshakes one after the other; a pause in between makes a rate."""
    while not enemy.over:
        began = time.monotonic()
        with contextlib.suppress(OSError, TimeoutError):
            await handshake(enemy, text)
        await asyncio.sleep(max(0.0, began + pause_s - time.monotonic()))


@attack("03-redact handshakes", kind=KIND, grant=GRANT, short=True)
async def handshakes(enemy: Enemy) -> None:
    """Refused handshakes with 8 KB of `eyJ..-eyJ..` in path, Host and Origin, 20 at once, again and again."""
    while not enemy.over:
        await enemy.all(*(handshake(enemy, EVIL) for _ in range(BURST)))


@attack("03-redact rate", kind=KIND, grant=GRANT)
async def rate(enemy: Enemy) -> None:
    """The same, 15 a second."""
    await enemy.all(*(again(enemy, EVIL, 0.2) for _ in range(3)))


@attack("03-redact parameters", kind=KIND, grant=GRANT)
async def parameters(enemy: Enemy) -> None:
    """Other patterns: runs of `token=`, of words before `key=`, of `bearer`, with and without an end."""
    texts = [
        SPACES.replace(" ", "&"),
        "w" * 7800 + "key",
        "?" + "token" * 1500,
        "bearer%20" * 800,
        "&" + "a_key=" * 1200,
    ]
    await enemy.all(*(again(enemy, text, 0.0) for text in texts * 2))


@attack("03-redact rest", kind=KIND, grant=GRANT)
async def rest_paths(enemy: Enemy) -> None:
    """REST requests with such paths and queries, which end with 404 or 401 in the access log."""

    async def ask() -> None:
        while not enemy.over:
            with contextlib.suppress(OSError, TimeoutError):
                await refused(enemy, f"/api/documents/{EVIL[:4000]}?search={EVIL[:3900]}", authorization=f"x {EVIL}")

    await enemy.all(*(ask() for _ in range(IN_FLIGHT)))


@attack("03-redact names", kind=KIND, grant="none, one Hocuspocus socket")
async def names(enemy: Enemy) -> None:
    """Documents whose names are such texts are denied on Hocuspocus sockets, and so logged, a hundred a socket."""

    async def deny() -> None:
        while not enemy.over:
            wire = await Wire.open(enemy.port, "/sync", address=ATTACKER)
            wire.swallow()
            try:
                for number in range(100):
                    name = string(f"{number}{EVIL[:240]}")
                    await wire.send(name + b"\x02\x00" + string(EVIL))
                    enemy.did["documents"] += 1
                await asyncio.sleep(0.1)
            finally:
                wire.end()

    await enemy.all(*(deny() for _ in range(5)))
