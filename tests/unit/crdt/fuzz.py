"""Mutates updates and state vectors; run as a program, so that an abort of the process is seen by the test.

    python -m tests.unit.crdt.fuzz SEED COUNT

The reader may refuse a mutant with `UpdateError` and in no other way. What it accepts must go through everything that
a document does with it: merged, diffed and squashed without an error, and with the same clocks and deletes whether
pycrdt or `splice` merged it.
"""

from __future__ import annotations

import random
import sys

from tests.unit.crdt.build import everything, item, string, text, typing, update

from raffia.crdt.merge import diff, merge, state_vector
from raffia.crdt.ranges import IdRanges
from raffia.crdt.splice import diff_exactly, merge_exactly
from raffia.crdt.squash import squash
from raffia.crdt.update import read_state_vector, read_update, write_state_vector
from raffia.crdt.view import View
from raffia.errors import CrdtError, UpdateError

HOSTILE = (b"\xff\xff\xff\x7a", b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x08", b"\x00", b"\x7f", b"\x81\x00")
OTHER = update((3, 0, [string("zz😀", root="text")]), (1, 0, [string("a😀c")]), deletes={3: [(1, 3)], 1: [(0, 1)]})
OTHER_KNOWS = write_state_vector({3: 4, 1: 4})


def corpus() -> list[bytes]:
    return [
        everything(),
        everything(5),
        typing(1, "a😀b é", deletes={1: [(1, 2), (4, 5)]}),
        update((9, 40, [string("x", left=(9, 39), right=(4, 2))])),
        update(
            (1, 0, [item(7, b"\x01", key="k"), string("é", parent=(1, 0)), b"\x0a\x03", b"\x00\x05"]),
            (2, 0, [item(7, b"\x03" + text("p"), root="x"), item(6, text("b") + text("true"), parent=(2, 0))]),
            (4, 2, [item(8, b"\x02\x76\x01\x01a\x7d\x05\x77\x01b", left=(1, 1)), item(5, text('{"é":[1]}'))]),
            deletes={1: [(0, 1)], 2: [(0, 1), (1, 2)], 8: [(3, 9)]},
        ),
    ]


def mutate(data: bytes, rnd: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rnd.choice((1, 1, 1, 2, 4))):
        at = rnd.randrange(len(out) + 1)
        roll = rnd.randrange(7)
        if roll == 0 and at < len(out):
            out[at] ^= 1 << rnd.randrange(8)
        elif roll == 1 and at < len(out):
            out[at] = rnd.randrange(256)
        elif roll == 2:
            out[at:at] = rnd.choice(HOSTILE)
        elif roll == 3:
            del out[at : at + rnd.randint(1, 4)]
        elif roll == 4:
            out[at:at] = out[at : at + rnd.randint(1, 12)]
        elif roll == 5 and at < len(out):
            out[at] = max(0, min(255, out[at] + rnd.choice((-1, 1))))
        elif roll == 6:
            out[at : at + 4] = rnd.choice(HOSTILE)
    return bytes(out[:20_000])


def clocks(data: bytes) -> dict[int, list[tuple[int, int]]]:
    """Which clocks an update holds, Skips left out."""
    held = IdRanges()
    for section in read_update(data).sections:
        skips = IdRanges([(section.client, section.skips)])
        held.update([(section.client, skips.new_parts(section.client, [(section.start, section.end)]))])
    return {client: ranges for client, ranges in held if ranges}


def deletes(data: bytes) -> IdRanges:
    return IdRanges.decode(data[read_update(data).deletes_at :])


def use(data: bytes, rnd: random.Random) -> None:
    """Everything that happens to an accepted update."""
    squashed = squash(data)
    assert clocks(squashed) == clocks(data)
    assert deletes(squashed) == deletes(data)
    assert squash(squashed) == squashed
    news = diff_exactly(data, OTHER_KNOWS)  # the gate cuts what is known: pycrdt miscounts overlaps in surrogate pairs
    merged, exactly = merge([OTHER, news]), merge_exactly([OTHER, news])
    assert clocks(merged) == clocks(exactly), "clocks merged"
    assert deletes(merged) == deletes(exactly), "deletes merged"
    assert squash(merged)
    state_vector(data)
    known = write_state_vector({1: rnd.randrange(6), 3_141_592_653: rnd.randrange(60), 4: rnd.randrange(5)})
    if not any(section.skips or section.start for section in read_update(data).sections):
        # A document never diffs what has gaps; pycrdt and Yjs cut them differently.
        assert clocks(diff(data, known)) == clocks(diff_exactly(data, known)), "clocks of the diff"
    try:
        View(data).json()
    except CrdtError:
        return  # refused to show it, and said so


def run(seed: int, count: int) -> tuple[int, int]:
    rnd = random.Random(seed)
    seeds = corpus()
    accepted = refused = 0
    for at in range(count):
        data = mutate(rnd.choice(seeds), rnd)
        try:
            read_update(data)
        except UpdateError:
            refused += 1
        else:
            accepted += 1
            try:
                use(data, rnd)
            except BaseException:
                print(f"mutant {at} of seed {seed}: {data.hex()}", file=sys.stderr, flush=True)
                raise
        try:
            read_state_vector(mutate(b"\x02\x01\x05\xcd\xcc\x83\xda\x0b\x80\x02", rnd))
        except UpdateError:
            refused += 1
    return accepted, refused


if __name__ == "__main__":
    print(*run(int(sys.argv[1]), int(sys.argv[2])))
