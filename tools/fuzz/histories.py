"""Whole histories of a document, struct by struct: valid, causal, with every shape in the format.

Each update follows those before it, like an editor's: sections continue where their client stopped, references point to
existing structs, and deletes to inserted ones. It also has what no editor writes (parents that are not types, left and
right origins in any order), since the gate, merge, diff and squash accept that. Views are not tested here: reading an
array that contains itself never ends in pycrdt.
"""

from __future__ import annotations

import random

from raffia.crdt.update import write_update
from raffia.wire.lib0 import write_buf, write_string, write_varuint

CLIENTS = (1, 2, 300, 2**40)
TEXTS = ("a", "ab", "é", "😀", "a😀b", "\0", "\ufeff", "👩‍👩‍👧")
ANY_VALUES = tuple(
    bytes.fromhex(text)
    for text in (
        *("7f", "7e", "79", "78", "7d05", "7d40", "7dbfffffffffffff1f", "7c3f800000"),
        *("7b7ff8000000000000", "7bfff0000000000000", "7b4340000000000000", "7bc340000000000000", "7b8000000000000000"),
        *("7a8000000000000000", "7a7fffffffffffffff", "770361c3a9", "76020161 7e 0161 79", "75027e7f", "7401ff"),
    )
)
OPTIONS = tuple(bytes.fromhex(text) for text in ("7600", "7e", "7601046d657461770178", "760201617e016179"))
# The numbers near 53 and 64 bits are what JSON.stringify makes of large ones.
JSON_TEXTS = (
    *("1", "1e308", "-0", "1.5", "0.1e-400", "[]", "null", "true", '{"":""}', ' {"b" : [1, 2] } ', '{"a":1,"a":2}'),
    *('"\\u0000"', '"\\ud83d\\ude00"', '"😀"', '"__proto__"'),
    *("9007199254740993", "9223372036854775807", "9223372036854775808", "12000000000000000000"),
    *("18446744073709551615", "18446744073709551616", "-9223372036854775808", "-9223372036854775809"),
    '{"é":[12000000000000000000,"12000000000000000000"]}',
)
_KINDS = (0, 1, 3, 4, 4, 4, 5, 5, 6, 7, 8, 8, 9)


class Chances(random.Random):
    """Random choices that come from bytes, and are 0 when the bytes run out, so that a fuzzer can steer them."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data = data
        self._at = 0

    def getrandbits(self, k: int, /) -> int:
        """The next `k` bits; each call takes whole bytes."""
        begin, self._at = self._at, self._at + (k + 7) // 8
        return int.from_bytes(self._data[begin : self._at], "little") & ((1 << k) - 1)

    def random(self) -> float:
        """The next two bytes as a number from 0 up to, not including, 1."""
        return self.getrandbits(16) / (1 << 16)


def _content(rng: random.Random, kind: int) -> tuple[bytes, int]:
    """The bytes of one struct's content and how many clocks it covers."""
    length = 1
    if kind in (0, 1):
        length = rng.randint(1, 5)
        content = write_varuint(length)
    elif kind == 3:
        content = write_buf(rng.choice((b"", b"\x00\xff")))
    elif kind == 4:
        text = rng.choice(TEXTS)
        content, length = write_string(text), len(text.encode("utf-16-le")) // 2
    elif kind == 5:
        content = write_string(rng.choice(JSON_TEXTS))
    elif kind == 6:
        content = write_string(rng.choice(("bold", "", "é"))) + write_string(rng.choice(JSON_TEXTS))
    elif kind == 7:
        number = rng.choice((0, 1, 2, 3, 4, 6))
        content = bytes((number,)) + (write_string(rng.choice(("p", ""))) if number == 3 else b"")
    elif kind == 8:
        length = rng.randint(1, 3)
        content = write_varuint(length) + b"".join(rng.choices(ANY_VALUES, k=length))
    else:
        content = write_string("guid") + rng.choice(OPTIONS)
    return content, length


def _struct(rng: random.Random, clocks: dict[int, int]) -> tuple[bytes, int]:
    """One struct that refers to existing ones: its bytes and how many clocks it covers."""
    kind = rng.choice(_KINDS)
    content, length = _content(rng, kind)
    if kind == 0:
        return b"\x00" + content, length
    ids = [(client, rng.randrange(clock)) for client, clock in clocks.items() if clock]
    info, place = kind, b""
    for flag, share in ((0x80, 0.6), (0x40, 0.4)):
        if ids and rng.random() < share:
            info |= flag
            place += b"".join(map(write_varuint, rng.choice(ids)))
    keyed = rng.random() < 0.3
    if keyed:
        info |= 0x20
    if not info & 0xC0:
        if ids and rng.random() < 0.4:
            place += b"\x00" + b"".join(map(write_varuint, rng.choice(ids)))
        else:
            place += b"\x01" + write_string(rng.choice(("t", "", "é")))
        if keyed:
            place += write_string(rng.choice(("k", "")))
    return bytes((info,)) + place + content, length


def make_history(rng: random.Random) -> list[bytes]:
    """Make updates in causal order, without gaps."""
    clocks: dict[int, int] = {}
    updates = []
    for _ in range(rng.randint(1, 8)):
        sections = []
        for client in rng.sample(CLIENTS, rng.choice((1, 1, 2))):
            start, count, structs = clocks.setdefault(client, 0), rng.randint(1, 4), b""
            for _ in range(count):
                struct, length = _struct(rng, clocks)
                structs += struct
                clocks[client] += length
            sections.append((client, start, count, structs))
        deletes = []
        for client in rng.sample(sorted(clocks), rng.randint(0, len(clocks))):
            start = rng.randrange(clocks[client])
            deletes.append((client, [(start, rng.randint(start + 1, clocks[client]))]))
        updates.append(write_update(sections, deletes))
    return updates
