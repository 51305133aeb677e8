"""Inputs that are sequences of parts, each after its length. Any bytes are a sequence, and so is any mutation."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

from raffia.errors import WireError
from raffia.wire.lib0 import read_buf, write_buf

MAX_PARTS = 40


def split(data: bytes) -> list[bytes]:
    """The parts of an input; where no length can be read, the rest is the last part."""
    parts: list[bytes] = []
    at = 0
    while at < len(data) and len(parts) < MAX_PARTS:
        try:
            part, at = read_buf(data, at)
        except WireError:
            parts.append(data[at:])
            break
        parts.append(part)
    return parts


def join(parts: Iterable[bytes]) -> bytes:
    """The input made of these parts."""
    return b"".join(map(write_buf, parts))


def mutate_parts(
    rng: random.Random,
    data: bytes,
    make: Callable[[random.Random], bytes],
    alter: Callable[[random.Random, bytes], bytes],
) -> bytes:
    """Mutate a sequence: add, remove, repeat, move or alter a part."""
    parts = split(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(parts) + 1)
        kind = rng.randrange(8) if parts else 0
        if kind <= 1:
            parts.insert(at, make(rng))
        elif kind == 2:
            del parts[rng.randrange(len(parts))]
        elif kind == 3:
            parts.insert(at, rng.choice(parts))
        elif kind == 4:
            parts.insert(at, parts.pop(rng.randrange(len(parts))))
        else:
            at = rng.randrange(len(parts))
            parts[at] = alter(rng, parts[at])
    return join(parts[:MAX_PARTS])
