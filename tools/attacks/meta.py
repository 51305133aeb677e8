"""01: a few bytes whose clocks are many: whoever walks clocks in place of bytes stands still for good.

Structs say in one number how many clocks they cover, up to 2^31 and beyond. The server reads title, kind and schema
out of the root map `meta` on its loop, and reads delete sets and ranges everywhere.
"""

from __future__ import annotations

from tests.support.lib0 import buf, insert, string, varuint

from tools.attacks.enemy import Enemy
from tools.attacks.registry import attack
from tools.attacks.wire import update

KIND = "a loop over a number that the client wrote"
GRANT = "edit on one document"
HUGE = 2**31 - 2
DELETED, ANY, TYPE, GC = 1, 8, 7, 0
BY_ORIGIN, KEYED = 0x80, 0x20
DOCUMENT = "own/bomb"


def section(client: int, clock: int, *structs: bytes) -> bytes:
    """The structs of one client."""
    return varuint(len(structs)) + varuint(client) + varuint(clock) + b"".join(structs)


def whole(*sections: bytes, deletes: bytes = b"\x00") -> bytes:
    """An update of some clients."""
    return varuint(len(sections)) + b"".join(sections) + deletes


def entry(content: bytes, kind: int, key: str = "title", root: str = "meta") -> bytes:
    """A struct that is the first entry of a key of a root map."""
    return bytes([kind | KEYED]) + b"\x01" + string(root) + string(key) + content


def text(value: str) -> bytes:
    """A ContentAny of one text."""
    return b"\x01\x77" + buf(value.encode())


BOMB = whole(section(77, 0, entry(varuint(HUGE), DELETED)))


async def open_first(enemy: Enemy) -> None:
    """Open the document at every server."""
    enemy.kept["wires"] = [await enemy.wire(DOCUMENT, port=port) for port in enemy.ports]


async def throw(enemy: Enemy, *bombs: bytes) -> None:
    """Send them, half a second apart."""
    for bomb in bombs:
        await enemy.kept["wires"][-1].send(update(bomb))
        enemy.did["updates"] += 1
    await enemy.rest_of_time()


@attack("01-meta live", kind=KIND, grant=GRANT, prepare=open_first)
async def live(enemy: Enemy) -> None:
    """23 bytes: `meta.title` is a deleted content of 2^31-2 clocks."""
    await throw(enemy, BOMB)


async def bury(enemy: Enemy) -> None:
    """Have it stored; the server is killed before it reads it."""
    wire = await enemy.wire(DOCUMENT, reads=False)
    await wire.send(update(BOMB))
    await wire.settle()


@attack("01-meta restart", kind=KIND, grant=GRANT, prepare=bury, crash=True, short=True)
async def restart(enemy: Enemy) -> None:
    """The bomb is stored, the server was killed and started again; somebody edits that document honestly."""
    wire = await enemy.wire(DOCUMENT)
    await wire.send(update(insert(5, 0, "hello é")))
    enemy.did["honest edits"] += 1
    await enemy.rest_of_time()


@attack("01-meta redis", kind=KIND, grant=GRANT, prepare=open_first, replicas=2, short=True)
async def redis(enemy: Enemy) -> None:
    """Two replicas have the document open; the bomb is sent to one of them."""
    await throw(enemy, BOMB)


@attack("01-meta later-entry", kind=KIND, grant=GRANT, prepare=open_first)
async def later_entry(enemy: Enemy) -> None:
    """The bomb is no first entry: it follows on an honest title, and others on clocks in its middle."""
    title = section(78, 0, entry(text("honest"), ANY))
    follows = bytes([DELETED | BY_ORIGIN]) + varuint(78) + varuint(0) + varuint(HUGE)
    middle = bytes([ANY | BY_ORIGIN]) + varuint(77) + varuint(HUGE // 2) + text("middle")
    await throw(enemy, whole(section(78, 0, entry(text("honest"), ANY))), whole(section(77, 0, follows)))
    await throw(enemy, whole(title, section(77, 0, follows), section(76, 0, middle)))


@attack("01-meta nested", kind=KIND, grant=GRANT, prepare=open_first)
async def nested(enemy: Enemy) -> None:
    """`meta.title` is a map whose entry is the bomb; and one in a map of a root of another name, and in a text."""
    child = bytes([DELETED | KEYED]) + b"\x00" + varuint(78) + varuint(0) + string("title") + varuint(HUGE)
    await throw(
        enemy,
        whole(section(78, 0, entry(b"\x01", TYPE))),
        whole(section(77, 0, child)),
        whole(section(76, 0, entry(varuint(HUGE), DELETED, root="blocks"))),
        whole(section(75, 0, bytes([DELETED]) + b"\x01" + string("t") + varuint(HUGE))),
        whole(section(74, 0, entry(text("new"), ANY, key="kind"))),
    )


@attack("01-meta ranges", kind=KIND, grant=GRANT, prepare=open_first)
async def ranges(enemy: Enemy) -> None:
    """Collected structs and a delete set of 2^31-2 clocks, cut into pieces, around an honest title."""
    deletes = varuint(2) + b"".join(
        varuint(client) + varuint(2) + varuint(0) + varuint(HUGE // 2) + varuint(HUGE // 2 + 1) + varuint(HUGE // 2 - 2)
        for client in (78, 77)
    )
    await throw(
        enemy,
        whole(section(78, 0, entry(text("honest"), ANY))),
        whole(section(77, 0, bytes([GC]) + varuint(HUGE))),
        whole(deletes=deletes),
        whole(section(79, 0, entry(text("later"), ANY, key="schema"))),
    )
