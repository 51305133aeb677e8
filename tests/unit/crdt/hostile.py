"""Short updates that take editors long, by the number of their insertions."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.lib0 import string, varuint
from tools.attacks.crafted import LEFT, RIGHT, TEXT, TYPE, one_key, right_origins, root, sections


def left_origins(count: int) -> bytes:
    """Every insertion is right of another character, and has no right origin: each passes over the rest of the text."""
    structs = {1000 + at: bytes([TEXT | LEFT]) + varuint(1) + varuint(at) + b"\x01x" for at in range(count)}
    return sections({**structs, 1: bytes([TEXT]) + root() + string("a" * count)})


def one_client(count: int) -> bytes:
    """All insertions are by one client, at the beginning, left of different characters."""
    structs = b"".join(bytes([TEXT | RIGHT]) + varuint(1) + varuint(at) + b"\x01x" for at in range(count))
    letters = b"".join(
        bytes([TEXT | (LEFT if at else 0)]) + (varuint(1) + varuint(at - 1) if at else root()) + b"\x01a"
        for at in range(count)
    )
    return b"\x02" + varuint(count) + varuint(5) + b"\x00" + structs + varuint(count) + b"\x01\x00" + letters + b"\x00"


def ascending(count: int) -> bytes:
    """Each client inserts at the beginning after the one before it: the order in which Yjs has to pass over all."""
    parts = []
    for at in range(count, 0, -1):
        chain = bytes([TEXT]) + root("d") if at == 1 else bytes([TEXT | LEFT]) + varuint(1000 + at - 1) + varuint(1)
        parts.append(b"\x02" + varuint(1000 + at) + b"\x00" + chain + b"\x01d" + bytes([TEXT]) + root() + b"\x01x")
    return varuint(count) + b"".join(parts) + b"\x00"


def beside_a_text(count: int) -> bytes:
    """An honest text of single characters; clients insert at its beginning as if only its end was there."""
    letters = b"".join(
        bytes([TEXT | (LEFT if at else 0)]) + (varuint(1) + varuint(at - 1) if at else root()) + b"\x01a"
        for at in range(count)
    )
    many = b"".join(
        b"\x01" + varuint(2**20 - at) + b"\x00" + bytes([TEXT | RIGHT]) + b"\x01" + varuint(count - 1) + b"\x01x"
        for at in range(count)
    )
    return varuint(count + 1) + many + varuint(count) + b"\x01\x00" + letters + b"\x00"


def nested(count: int) -> bytes:
    """Elements within each other."""
    inner = b"".join(bytes([TYPE]) + b"\x00" + varuint(1) + varuint(at) + b"\x03\x01p" for at in range(count - 1))
    return b"\x01" + varuint(count) + b"\x01\x00" + bytes([TYPE]) + root("x") + b"\x03\x01p" + inner + b"\x00"


SHAPES: dict[str, Callable[[int], bytes]] = {
    "right origins": right_origins,
    "left origins": left_origins,
    "ascending": ascending,
    "beside a text": beside_a_text,
    "one key": lambda count: one_key(10 * count),
    "nested": nested,
}
