"""Updates made from the format's grammar: the reader accepts most of them, but no editor has written them.

Few clients and low clocks, so that they overlap, leave gaps and refer to one another.
"""

from __future__ import annotations

import random

from raffia.crdt.update import write_update
from raffia.wire.lib0 import write_buf, write_string, write_varuint

CLIENTS = (1, 2, 7, 300)
TEXTS = ("a", "abc", "é", "naïve", "\n")
_PAIRS = ("😀", "a😀b")
_ANY = tuple(
    bytes.fromhex(text) for text in ("7f", "7e", "78", "79", "7d05", "7702c3a9", "75027f7e", "76010161 7e", "740100")
)


def _text(rng: random.Random, pairs: bool) -> str:
    return rng.choice(TEXTS + _PAIRS if pairs else TEXTS)


def _content(rng: random.Random, kind: int, pairs: bool) -> tuple[bytes, int]:
    """The bytes of one struct's content and how many clocks it covers."""
    if kind in (0, 1, 10):
        length = rng.choice((1, 2, 5))
        return write_varuint(length), length
    if kind == 2:
        return b"\x01" + write_string("1"), 1
    if kind == 3:
        return write_buf(b"\x00\xff"), 1
    if kind == 4:
        text = _text(rng, pairs)
        return write_string(text), len(text.encode("utf-16-le")) // 2
    if kind == 5:
        return write_string('{"é":1}'), 1
    if kind == 6:
        return write_string("bold") + write_string(rng.choice(("true", "null"))), 1
    if kind == 7:
        number = rng.choice((0, 1, 2, 3, 4, 6))  # pycrdt misreads 5, the XML hook: see killers.json
        return bytes((number,)) + (write_string("p") if number in (3, 5) else b""), 1
    count = rng.choice((1, 3))
    return write_varuint(count) + b"".join(rng.choices(_ANY, k=count)), count


def _struct(rng: random.Random, client: int, clock: int, pairs: bool) -> tuple[bytes, int]:
    kind = rng.choice((0, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7, 8, 8, 10))
    content, length = _content(rng, kind, pairs)
    if kind in (0, 10):
        return bytes((kind,)) + content, length
    out = bytearray()
    info = kind
    for flag in (0x80, 0x40):
        if rng.random() < 0.4:
            other = rng.choice((client, rng.choice(CLIENTS)))
            below = clock if other == client else 12
            if below:
                info |= flag
                out += write_varuint(other) + write_varuint(rng.randrange(below))
    if not info & 0xC0:
        other = rng.choice(CLIENTS)
        if rng.random() < 0.8 or (other == client and clock == 0):
            out += b"\x01" + write_string(rng.choice("tm"))
        else:
            out += b"\x00" + write_varuint(other) + write_varuint(rng.randrange(clock if other == client else 12))
        if rng.random() < 0.3:
            info |= 0x20
            out += write_string(rng.choice(("k", "é")))
    return bytes((info,)) + bytes(out) + content, length


def make_update(rng: random.Random, *, pairs: bool = True) -> bytes:
    """One update.

    Args:
        rng: source of every choice.
        pairs: whether text may hold surrogate pairs.
    """
    sections = []
    for client in rng.sample(CLIENTS, rng.choice((0, 1, 1, 1, 2, 3))):
        start = clock = rng.choice((0, 0, rng.randrange(12)))
        structs = bytearray()
        count = rng.choice((1, 1, 2, 4))
        for _ in range(count):
            struct, length = _struct(rng, client, clock, pairs)
            structs += struct
            clock += length
        sections.append((client, start, count, bytes(structs)))
    deletes = []
    for client in rng.sample(CLIENTS, rng.choice((0, 0, 0, 1, 2))):
        ranges, at = [], 0
        for _ in range(rng.choice((1, 1, 2))):
            start = at + rng.randrange(5)
            at = start + rng.choice((1, 2, 4))
            ranges.append((start, at))
        deletes.append((client, ranges))
    return write_update(sorted(sections, reverse=True), sorted(deletes, reverse=True))
