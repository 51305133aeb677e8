"""09: places for uploads, which are few, and who counts as one person."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tools.attacks.enemy import Enemy
from tools.attacks.probes import upload
from tools.attacks.registry import attack
from tools.attacks.wire import push, request_head, typed

KIND = "a quota by a name that the attacker chooses"
DOCUMENT = "own/pictures"


async def prepare(enemy: Enemy) -> None:
    """A document to upload to."""
    await enemy.settled(DOCUMENT, [typed(5, 0, "hello")])


async def slow(enemy: Enemy, token: str, address: str) -> None:
    """An upload of 9 MB, one byte a second."""
    while not enemy.over:
        reader, writer = await asyncio.open_connection("127.0.0.1", enemy.port)
        path = f"/api/documents/{DOCUMENT.replace('/', '%2F')}/files"
        writer.write(request_head("POST", path, token=token, address=address, content_length=9_000_000) + b"\x89")
        enemy.did["uploads"] += 1
        try:
            while not reader.at_eof():
                await asyncio.sleep(1)
                await push(writer, b"x")
        except OSError:
            enemy.did["ended"] += 1
        finally:
            writer.transport.abort()


async def nine(enemy: Enemy, token: Callable[[int], str], address: Callable[[int], str]) -> None:
    """More than there are places, three each of three people who are one."""
    await enemy.all(*(slow(enemy, token(number // 3), address(number // 3)) for number in range(9)))


@attack(
    "09-uploads one-net", kind=KIND, grant="edit by a link", prepare=prepare, beside=upload, seconds=3.5, short=True
)
async def one_net(enemy: Enemy) -> None:
    """A link without a user, from three addresses of one /64."""
    link = enemy.token(None)
    await nine(enemy, lambda _: link, lambda who: f"2001:db8::{who + 1}")


@attack("09-uploads one-link", kind=KIND, grant="edit by a link", prepare=prepare, beside=upload, seconds=3.5)
async def one_link(enemy: Enemy) -> None:
    """One link (the same `jti`), from three addresses of three networks."""
    link = enemy.token(None, jti="link-1", lnk="own")
    await nine(enemy, lambda _: link, lambda who: f"2001:db8:{who + 1}::1")


@attack("09-uploads three-people", kind=KIND, grant="edit, three tokens", prepare=prepare, beside=upload, seconds=3.5)
async def three_people(enemy: Enemy) -> None:
    """Three signed-in users behind one address."""
    await nine(enemy, lambda who: enemy.token(f"mallory-{who}"), lambda _: "203.0.113.66")
