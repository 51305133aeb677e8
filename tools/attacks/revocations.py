"""05: the list of revocations, which is bounded, filled by somebody who may revoke a little."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import time

from raffia.journal.sqlite.rows import seal
from tools.attacks.enemy import Enemy
from tools.attacks.figures import Probe
from tools.attacks.place import ATTACKER, VICTIM
from tools.attacks.registry import attack
from tools.attacks.scene import Scene
from tools.attacks.wire import rest, typed

KIND = "a shared bounded table that one person can fill"
GRANT = "admin on own/*"
FULL = 99_999  # rows, one below the limit
AT_ONCE = 20


async def revoke(enemy: Enemy, body: object) -> None:
    """One revocation by the administrator of a pattern."""
    token = enemy.token("mallory", {"own/*": "admin"})
    await enemy.rest("POST", "/api/revocations", body, token=token)


@attack("05-revocations rate", kind=KIND, grant=GRANT)
async def rate(enemy: Enemy) -> None:
    """Links of documents that are not there are revoked, as fast as it goes."""
    numbers = itertools.count()

    async def ask() -> None:
        while not enemy.over:
            await revoke(enemy, {"links": f"own/x{next(numbers)}"})

    await enemy.all(*(ask() for _ in range(AT_ONCE)))


async def fill(scene: Scene) -> None:
    """Fill the list in the database, in place of 100,000 requests."""
    place = scene.place
    server = place.server
    root = place.token("root", {"*": "admin"})
    await rest(server.port, "POST", "/api/revocations", {"token": "first"}, token=root, address=ATTACKER)
    scene.state["bob"] = place.token("bob", {"*": "edit"})
    server.stop()
    databases = [path for path in server.data.iterdir() if path.is_file() and path.read_bytes()[:6] == b"SQLite"]
    now_ms = int(time.time() * 1000)
    with sqlite3.connect(databases[0]) as database:
        columns = [name for _, name, *_ in database.execute("PRAGMA table_info(revocations)")]
        rows = [
            {"kind": "links", "subject": f"own/x{number}", "before_ms": now_ms, "until_ms": None}
            for number in range(FULL)
        ]
        for row in rows:
            row["checksum"] = seal("revocations", *row.values())  # before checksums, builds have no column for it
        names = [name for name in columns if name in rows[0]]
        database.executemany(
            f"INSERT OR REPLACE INTO revocations ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
            [tuple(row[name] for name in names) for row in rows],
        )
    database.close()
    server.start()


async def counts(scene: Scene) -> None:
    """A real revocation counts at once, and after a restart."""
    place = scene.place
    port, bob = place.port, scene.state["bob"]
    root = place.token("root", {"*": "admin"})
    answer, _ = await rest(port, "POST", "/api/revocations", {"user": "bob"}, token=root, address=VICTIM)
    scene.add(Probe("revoking a user", f"{answer}", answer == 200, "200"))
    await asyncio.to_thread(place.server.restart)
    status, _ = await rest(port, "GET", "/api/documents", token=bob, address=VICTIM)
    scene.add(Probe("his token after a restart", f"{status}", status == 401, "401"))


@attack("05-revocations full", kind=KIND, grant=GRANT, setup=fill, after=counts, short=True)
async def full(enemy: Enemy) -> None:
    """The list is full of links; then an administrator revokes a user, and the server is restarted."""
    await asyncio.gather(*(revoke(enemy, {"links": f"own/more-{number}"}) for number in range(3)))


@attack("05-revocations rechecks", kind=KIND, grant=GRANT)
async def rechecks(enemy: Enemy) -> None:
    """The same few links are revoked again and again, with 50 sessions on that document which have to look."""
    await enemy.settled("own/shared", [typed(5, 0, "hello")])
    for _ in range(50):
        await enemy.wire("own/shared", token=enemy.token(None, {"own/*": "edit"}, lnk="own/shared", jti="l"))

    async def ask() -> None:
        while not enemy.over:
            await revoke(enemy, {"links": "own/shared"})

    await enemy.all(*(ask() for _ in range(AT_ONCE)))
