"""Every reader of ours is linear in bytes, whatever clocks, counts and lengths a client has written into them.

Steps are lines of Python, which are the same on each machine; work in C that is hidden from them (slices, searches,
sorting) shows in the processor time of the thorough form, at 1 MiB. The search climbs: it keeps what costs most.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from tests.support.lib0 import buf, string, varuint
from tests.unit.crdt.hostile import SHAPES
from tools.attacks.crafted import (
    ANY,
    KEYED,
    LEFT,
    TEXT,
    deep_any,
    deep_json,
    formats,
    many_clients,
    many_deletes,
    many_formats,
    many_roots,
    one_key,
    one_place,
)
from tools.fuzz.grammar import make_update
from tools.fuzz.mutate import mutate_one

from raffia.crdt import contention as contention_module
from raffia.crdt.contention import contention, unproven
from raffia.crdt.document import Document
from raffia.crdt.halves import show_halves
from raffia.crdt.letters import show_letters
from raffia.crdt.meta import read_meta, set_meta
from raffia.crdt.nesting import nests_deeper
from raffia.crdt.numbers import show_numbers
from raffia.crdt.ranges import IdRanges
from raffia.crdt.roots import root_kinds
from raffia.crdt.splice import diff_exactly, merge_exactly, state_vector_exactly
from raffia.crdt.squash import squash
from raffia.crdt.update import read_state_vector, read_update, write_state_vector
from raffia.errors import RaffiaError
from raffia.wire import awareness, hocuspocus, ywebsocket

KIB = 1024
STEPS_PER_BYTE = 60
BASE_STEPS = 3000
GROWTH = 1.5  # steps per byte at 24 KiB may be this many times those at 3 KiB
S_PER_MIB = 12.0
SMALL, CLIMBS = 400, 100
NUMBERS = [varuint(number) for number in (2, 3, 127, 128, 1000, 1 << 20, (1 << 31) - 2, (1 << 53) - 1)]


class RunawayError(BaseException):
    """More steps than any reader may take."""


def steps_of(reader: Callable[[bytes], object], data: bytes, most: int) -> int:
    """How many lines a reader executes; stops it after `most`."""
    count = 0

    def trace(_frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        if event == "line":
            count += 1
            if count > most:
                raise RunawayError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        reader(data)
    except (RaffiaError, RecursionError):
        pass
    finally:
        sys.settrace(before)
    return count


def gate(data: bytes) -> None:
    """Twice: new at first, known the second time, and all of it waits in a document that lacks the first half."""
    facts = read_update(data)
    document = Document()
    document.absorb(document.admit(data, facts))
    document.admit(data, facts)
    clocks = {section.client: section.start + 1 for section in facts.sections[::2]}
    Document(clocks=clocks).admit(data, facts)


def of_update(work: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """A reader of ours that is given only what the strict reader has accepted."""

    def read(data: bytes) -> None:
        read_update(data)
        work(data)

    return read


def half_known(data: bytes) -> bytes:
    sections = read_update(data).sections
    return diff_exactly(
        data, write_state_vector({section.client: (section.start + section.end) // 2 for section in sections})
    )


def states(data: bytes) -> None:
    for _, _, state, _ in awareness.read_entries(data):
        if state is not None:
            awareness.check_state(state)


READERS: dict[str, Callable[[bytes], object]] = {
    "update": read_update,
    "gate": gate,
    "state vector": read_state_vector,
    "ranges": lambda data: IdRanges.decode(data[read_update(data).deletes_at :]),
    "squash": of_update(squash),
    "merge exactly": of_update(lambda data: merge_exactly([data, data])),
    "diff exactly": of_update(half_known),
    "state vector exactly": of_update(state_vector_exactly),
    "halves": of_update(show_halves),
    "letters": of_update(show_letters),
    "numbers": of_update(show_numbers),
    "roots": of_update(root_kinds),
    "meta": of_update(lambda data: read_meta([data])),
    "set meta": of_update(lambda data: set_meta([data], {"title": "é", "schema": 1})),
    "unproven": lambda data: unproven(read_update(data).sections),
    "awareness": states,
    "nesting": lambda data: nests_deeper(data, 32),
    "y-websocket": ywebsocket.decode,
    "hocuspocus": hocuspocus.decode,
}


def chain(kind: int, named: bytes, content: bytes, size: int, length: int) -> bytes:
    """Structs of one client that follow on each other."""
    first = bytes([kind | (KEYED if kind != TEXT else 0)]) + named + content
    count, clock = 1, length
    out = bytearray(first)
    while len(out) < size:
        out += bytes([kind | LEFT]) + varuint(7) + varuint(clock - 1) + content
        clock += length
        count += 1
    return b"\x01" + varuint(count) + varuint(7) + b"\x00" + bytes(out) + b"\x00"


def sawtooth(size: int) -> bytes:
    """Deletes of every other clock of a text."""
    count = size // 3
    ranges = b"".join(varuint(2 * at) + b"\x01" for at in range(count))
    text = string("ab" * count)
    return b"\x01\x01\x07\x00" + bytes([TEXT]) + b"\x01\x01t" + text + b"\x01\x07" + varuint(count) + ranges


def presence(size: int) -> bytes:
    entries = [varuint(at) + b"\x01" + buf(b"{}") for at in range(min(size // 6, 10_000))]
    return varuint(len(entries)) + b"".join(entries)


META = b"\x01" + string("meta") + string("title")
SIZED: dict[str, Callable[[int], bytes]] = {
    "clients": lambda size: many_clients(1 << 20, size),
    "deletes": lambda size: many_deletes(1 << 20, size),
    "roots": lambda size: many_roots(1, size),
    "formats": lambda size: many_formats(1, size),
    "deep json": lambda size: deep_json(1, size),
    "deep any": lambda size: deep_any(1, size),
    "one place": lambda size: one_place(size // 11),
    "one place of the metadata": lambda size: one_place(size // 14, name="meta"),
    "one key": lambda size: one_key(size // 13),
    "formats of clients": lambda size: formats(size // 18),
    "titles": lambda size: chain(ANY, META, b"\x01\x77" + string("x"), size, 1),
    "deleted titles": lambda size: chain(1, META, varuint(1 << 10), size, 1 << 10),
    "sawtooth": sawtooth,
    "astral": lambda size: chain(TEXT, b"\x01\x01t", string("🦊🦊"), size, 4),
    "vector": lambda size: (
        varuint(size // 6) + b"".join(varuint((1 << 20) + at) + varuint(1000) for at in range(size // 6))
    ),
    "presence": presence,
    "y-websocket": lambda size: b"\x00\x02" + buf(b"x" * size),
    "hocuspocus": lambda size: string("d" * (size // 2)) + b"\x00\x02" + buf(b"x" * (size // 2)),
    **{name: lambda size, shape=shape: shape(size // 30) for name, shape in SHAPES.items()},  # type: ignore[misc]
}


def bound(data: bytes) -> int:
    return BASE_STEPS + STEPS_PER_BYTE * len(data)


def climb(reader: Callable[[bytes], object], seed: int, climbs: int) -> tuple[float, bytes]:
    """The most steps per byte that were found, and the bytes."""
    chance = random.Random(seed)
    best = [make_update(chance) for _ in range(3)]
    cost = [0.0] * 3
    for _ in range(climbs):
        at = chance.randrange(3)
        data = best[at] if chance.random() < 0.9 else make_update(chance)
        if chance.random() < 0.5 and data:
            place = chance.randrange(len(data))
            data = data[:place] + chance.choice(NUMBERS) + data[place + 1 :]
        else:
            data = mutate_one(chance, data)
        data = data[:SMALL]
        steps = steps_of(reader, data, bound(data))
        if steps / (len(data) + 20) >= cost[at]:
            best[at], cost[at] = data, steps / (len(data) + 20)
    top = max(range(3), key=cost.__getitem__)
    return cost[top], best[top]


@pytest.mark.parametrize("name", READERS)
def test_no_reader_loops_over_a_number_that_was_written(name: str) -> None:
    per_byte, worst = climb(READERS[name], 1, CLIMBS)
    print(f"{name}: {per_byte:.1f} steps a byte for {worst.hex()}")


@pytest.mark.parametrize("name", READERS)
def test_the_steps_grow_with_the_bytes(name: str) -> None:
    reader = READERS[name]
    for shape, make in SIZED.items():
        small, large = make(1 * KIB), make(8 * KIB)
        few, many = (steps_of(reader, data, bound(data)) for data in (small, large))
        assert many / len(large) <= GROWTH * few / len(small) + 2, (name, shape, few, many)


def test_contention_is_linear_beyond_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step over an insertion is about ten lines."""
    monkeypatch.setattr(contention_module, "MAX_STEPS", 1000)
    for shape, make in SIZED.items():
        data = make(8 * KIB)
        most = BASE_STEPS + 2 * STEPS_PER_BYTE * len(data) + 12 * 1000
        assert steps_of(of_update(lambda update: contention([update])), data, most) < most, shape


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", READERS)
def test_no_reader_loops_over_a_number_at_length(name: str, seed: int) -> None:
    per_byte, worst = climb(READERS[name], 100 + seed, 3000)
    print(f"{name}: {per_byte:.1f} steps a byte for {worst.hex()}")


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("name", [*READERS, "contention"])
def test_the_time_grows_with_the_bytes(name: str) -> None:
    """At 24 KiB and at 1 MiB."""
    reader = READERS.get(name) or of_update(lambda update: contention([update]))
    for shape, make in SIZED.items():
        took = {}
        for size in (24 * KIB, 1024 * KIB):
            data = make(size)
            began_s = time.process_time()
            with contextlib.suppress(RaffiaError, RecursionError):
                reader(data)
            took[size] = time.process_time() - began_s
        print(f"{name} on {shape}: {1000 * took[24 * KIB]:.1f} ms, {took[1024 * KIB]:.2f} s")
        assert took[24 * KIB] < 0.3 + S_PER_MIB / 40, (name, shape)
        assert took[1024 * KIB] < S_PER_MIB, (name, shape)
