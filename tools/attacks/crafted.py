"""Updates that are short and take long: for the server, or for the editors that it hands them to."""

from __future__ import annotations

import random

from tests.support.lib0 import buf, string, varuint

TEXT, FORMAT, ANY, TYPE = 4, 6, 8, 7
LEFT, RIGHT, KEYED = 0x80, 0x40, 0x20


def root(name: str = "t") -> bytes:
    """A parent by name."""
    return b"\x01" + string(name)


def sections(structs: dict[int, bytes], first: int = 0) -> bytes:
    """One struct of each client, all at the same clock; no deletes."""
    parts = [b"\x01" + varuint(client) + varuint(first) + structs[client] for client in sorted(structs, reverse=True)]
    return varuint(len(parts)) + b"".join(parts) + b"\x00"


def right_origins(count: int, first: int = 1000, anchor: int = 1) -> bytes:
    """`count` clients insert one character each, left of one of as many other characters: quadratic in Yjs and yrs."""
    structs = {
        first + count - 1 - at: bytes([TEXT | RIGHT]) + varuint(anchor) + varuint(at) + b"\x01x" for at in range(count)
    }
    return sections({**structs, anchor: bytes([TEXT]) + root() + string("a" * count)})


def one_place(count: int, first: int = 1000, name: str = "t") -> bytes:
    """`count` clients insert one character each at the very beginning."""
    return sections({first + at: bytes([TEXT]) + root(name) + b"\x01x" for at in range(count)})


def one_key(count: int, first: int = 1000) -> bytes:
    """`count` clients set the same key of a map."""
    return sections(
        {first + at: bytes([ANY | KEYED]) + root("m") + string("k") + b"\x01\x7d\x01" for at in range(count)}
    )


def formats(count: int, first: int = 1000, anchor: int = 1) -> bytes:
    """`count` clients give each its format to the same place of a text."""
    structs = {
        first + at: bytes([FORMAT | RIGHT]) + varuint(anchor) + varuint(0) + string(f"k{at}") + buf(b"true")
        for at in range(count)
    }
    return sections({**structs, anchor: bytes([TEXT]) + root() + string("a" * 100)})


def many_clients(base: int, size_bytes: int) -> bytes:
    """About so many bytes of clients with one character each."""
    count = size_bytes // 11
    return sections({client: bytes([TEXT]) + root() + b"\x01x" for client in range(base, base + count)})


def many_deletes(base: int, size_bytes: int) -> bytes:
    """About so many bytes of deletes, one character of each of many clients."""
    count = size_bytes // 6
    out = b"".join(varuint(client) + b"\x01\x00\x01" for client in range(base + count - 1, base - 1, -1))
    return b"\x00" + varuint(count) + out


def many_roots(base: int, size_bytes: int) -> bytes:
    """About so many bytes of characters, each in a root of its own, by one client."""
    structs = [bytes([TEXT]) + root(f"r{base + at}") + b"\x01x" for at in range(size_bytes // 13)]
    return b"\x01" + varuint(len(structs)) + varuint(base) + b"\x00" + b"".join(structs) + b"\x00"


def many_formats(base: int, size_bytes: int) -> bytes:
    """About so many bytes of short formats in a row, by one client."""
    one = bytes([FORMAT]) + root() + string("b") + buf(b"1")
    structs = [one] * (size_bytes // len(one))
    return b"\x01" + varuint(len(structs)) + varuint(base) + b"\x00" + b"".join(structs) + b"\x00"


def deep_json(base: int, size_bytes: int) -> bytes:
    """An embed of about so many bytes of JSON within JSON, by one client."""
    depth = size_bytes // 2
    return b"\x01\x01" + varuint(base) + b"\x00" + bytes([5]) + root() + buf(b"[" * depth + b"]" * depth) + b"\x00"


def deep_any(base: int, size_bytes: int) -> bytes:
    """A value of about so many bytes, lists within lists, by one client."""
    return (
        b"\x01\x01"
        + varuint(base)
        + b"\x00"
        + bytes([ANY])
        + root()
        + b"\x01"
        + b"\x75\x01" * (size_bytes // 2)
        + b"\x7d\x01"
        + b"\x00"
    )


def natural(people: int = 30, edits: int = 1000, seed: int = 1) -> tuple[bytes, list[int]]:
    """What some people write who take turns, and their client ids: very many small structs."""
    clients, chosen = sorted(range(2**28, 2**28 + people), reverse=True), random.Random(seed)
    out = bytearray(varuint(people))
    for client in clients:
        out += varuint(edits) + varuint(client) + b"\x00"
        for number in range(edits):
            if number == 0:
                out += bytes([TEXT]) + root() + string("hello ")
                continue
            left = chosen.randrange(people) if number > 1 else 0
            clock = chosen.randrange(number - 1) if number > 1 else 0
            origin = clients[left] if number > 1 else client
            out += bytes([TEXT | LEFT]) + varuint(origin) + varuint(clock * 6 + 5) + string("hello ")
    return bytes(out + b"\x00"), clients
