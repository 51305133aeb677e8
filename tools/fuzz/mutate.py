"""Seeded mutators: bytes in, damaged bytes out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from raffia.wire import awareness, lib0

MAX_BYTES = 8192

HOSTILE = tuple(
    bytes.fromhex(text)
    for text in (
        "ffffff7a",  # 257,949,695: what made a library allocate half a gigabyte
        "8080808001",
        "8080808008",
        "ffffffff07",
        "ffffffff0f",
        "ffffffffffffff0f",
        "ffffffffffffffffff01",
        "8000",
        "80",
    )
)
_BYTES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0x20, 0x40, 0x7E, 0x7F, 0x80, 0x84, 0xC4, 0xFE, 0xFF)
TOKENS = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"null", b"true", b"[", b"{", b"}", b"]", b'"', b"\\", b"\\u0000"),
    *(b"\\ud83d", b"\xed\xa0\x80", b"\xf0\x9f", b"\xff", b"9" * 400, b" ", b"\x00", b'{"a":', b"[" * 40, b'{"a":' * 40),
)


def _random(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 2, 5, 12, 40, 200)))


def _truncate(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _behead(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    return data[rng.randrange(len(data) + 1) :]


def _flip(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    if not data:
        return data
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def _set(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    if not data:
        return data
    out = bytearray(data)
    # The first bytes are types and counts: damage them as often as all the others together.
    out[rng.randrange(min(len(out), 6) if rng.random() < 0.5 else len(out))] = rng.choice(_BYTES)
    return bytes(out)


def _count(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(HOSTILE) + data[at + rng.choice((0, 1)) :]


def _splice(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _repeat(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    piece = data[start : start + rng.choice((1, 2, 3, 8, 30))]
    return data[:start] + piece * rng.choice((2, 3, 40)) + data[start:]


def _delete(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 3, 8)) :]


def _append(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return data + (other if rng.random() < 0.5 else bytes(rng.choice((1, 2, 70))))


def _token(rng: random.Random, data: bytes, _other: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    token = rng.choice(TOKENS)
    return data[:at] + token + data[at + rng.choice((0, len(token))) :]


MUTATORS: tuple[Callable[[random.Random, bytes, bytes], bytes], ...] = (
    _random,
    _truncate,
    _behead,
    _flip,
    _flip,
    _set,
    _set,
    _set,
    _count,
    _splice,
    _repeat,
    _delete,
    _append,
    _token,
)


def mutate(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One input: a member of the corpus, damaged up to four times (one in twenty stays intact)."""
    data = rng.choice(corpus)
    if rng.random() < 0.05:
        return data
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        data = rng.choice(MUTATORS)(rng, data, rng.choice(corpus))
    return data[:MAX_BYTES]


def mutate_one(rng: random.Random, data: bytes) -> bytes:
    """One input, damaged once."""
    return rng.choice(MUTATORS)(rng, data, data)[:MAX_BYTES]


def mutate_state(rng: random.Random, state: bytes) -> bytes:
    """Damaged JSON: deep, or with tokens that don't belong."""
    kind = rng.random()
    if kind < 0.1:
        depth = rng.choice((10, 31, 32, 33, 100, 1500))
        opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
        return b'{"a":' + opening * depth + b"1" + closing * rng.choice((depth, depth, depth - 1)) + b"}"
    for _ in range(rng.choice((1, 1, 2))):
        state = rng.choice((_token, _token, _flip, _truncate))(rng, state, b"")
    return state


def mutate_payload(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """A presence payload with an intact frame and damaged states, ids or clocks."""
    entries = awareness.read_entries(rng.choice(corpus))
    parts = []
    for client, clock, state, encoded in entries:
        if rng.random() < 0.5:
            parts.append(encoded)
            continue
        moved = min(max(clock + rng.choice((-1, 0, 1, 1, 1, 5, 1 << 20, 1 << 31)), 0), lib0.MAX_UINT)
        parts.append(
            awareness.write_entry(
                rng.choice((client, client, 9)), moved, mutate_state(rng, state) if rng.random() < 0.5 else state
            )
        )
    return lib0.write_varuint(len(parts)) + b"".join(parts)
