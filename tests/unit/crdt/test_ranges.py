"""Sets of ids (RG1-RG4 of `ranges`), against plain sets."""

from __future__ import annotations

import itertools
import random
import time
import timeit

import pytest

from raffia.crdt.ranges import IdRanges
from raffia.crdt.update import read_update
from raffia.errors import UpdateError


def covered(ranges: list[tuple[int, int]]) -> set[int]:
    return {clock for start, end in ranges for clock in range(start, end)}


@pytest.mark.parametrize("seed", range(40))
def test_like_a_set(seed: int) -> None:
    rnd = random.Random(seed)
    ranges, clocks = IdRanges(), set[int]()
    for _ in range(60):
        start = rnd.randrange(80)
        end = start + rnd.randint(1, 9)
        asked = set(range(start, end))
        parts = ranges.new_parts(7, [(start, end)])
        assert covered(parts) == asked - clocks
        assert all(start < end for start, end in parts)
        assert ranges.contains(7, start, end) == (asked <= clocks)
        assert covered(ranges.overlap(7, start, end)) == asked & clocks
        ranges.add(7, start, end)
        clocks |= asked
        listed = ranges.ranges(7)
        assert covered(listed) == clocks
        assert all(before[1] < after[0] for before, after in itertools.pairwise(listed))  # RG1
    assert ranges.total == len(clocks)
    assert ranges.count == len(ranges.ranges(7))
    assert IdRanges.decode(ranges.encode()) == ranges


def test_clients_are_apart() -> None:
    ranges = IdRanges([(1, [(0, 5)]), (2, [(3, 4)])])
    assert not ranges.contains(2, 0, 1)
    assert not ranges.contains(3, 0, 1)
    assert ranges.contains(3, 5, 5)
    assert ranges.new_parts(3, [(1, 2)]) == [(1, 2)]
    assert ranges.new_parts(1, [(2, 7), (9, 10)]) == [(5, 7), (9, 10)]
    assert dict(ranges) == {1: [(0, 5)], 2: [(3, 4)]}


def test_rg3_equal_sets_are_equal_bytes() -> None:
    one = IdRanges([(1, [(0, 5)]), (2, [(3, 4)])])
    other = IdRanges([(2, [(3, 4)]), (1, [(3, 5), (0, 3)])])
    assert one == other
    assert one.encode() == other.encode() == bytes.fromhex("02020103010101" + "0005")
    assert read_update(b"\x00" + one.encode()).deletes == [(2, [(3, 4)]), (1, [(0, 5)])]
    assert IdRanges().encode() == b"\x00"
    assert not IdRanges.decode(b"\x00")


def test_touching_ranges_of_others_are_joined() -> None:
    assert IdRanges.decode(bytes.fromhex("01010200050503")).ranges(1) == [(0, 8)]


def test_refusals() -> None:
    with pytest.raises(UpdateError):
        IdRanges.decode(b"\x01\x01\xff\xff\xff\x7a")
    with pytest.raises(ValueError, match=r"5\.\.5 of client 1 is empty"):
        IdRanges().add(1, 5, 5)


def test_rg2_deleting_on_costs_a_microsecond() -> None:
    ranges = IdRanges([(5, [(at * 100, at * 100 + 3) for at in range(10_000)])])
    clocks = iter(range(500_003, 1_000_000))

    def delete() -> None:
        clock = next(clocks)
        ranges.add(5, clock, clock + 1)

    runs = timeit.repeat(delete, number=2_000, repeat=7, timer=time.process_time)
    assert min(runs) / 2_000 <= 2e-6
    assert ranges.contains(5, 500_000, 514_003)


@pytest.mark.parametrize("seed", range(60))
def test_rg4_many_at_once_like_one_by_one(seed: int) -> None:
    rnd = random.Random(seed)
    at_once, one_by_one = IdRanges(), IdRanges()
    for _ in range(8):
        many, at = [], 0
        for _ in range(rnd.choice((0, 3, 256, 257, 500))):
            start = at + rnd.choice((0, 0, 1, 2, 9))  # 0: touches the one before
            at = start + rnd.choice((1, 1, 3, 20))
            many.append((start, at))
        if seed % 3 == 0:
            rnd.shuffle(many)
        if seed % 4 == 0:
            many += [(start, end + rnd.randrange(9)) for start, end in many[::2]]  # overlaps
        at_once.add_all(7, iter(many))
        for start, end in many:
            one_by_one.add(7, start, end)
        assert at_once.ranges(7) == one_by_one.ranges(7)
    assert at_once == one_by_one


def test_rg4_an_empty_range_among_many_adds_nothing() -> None:
    ranges = IdRanges([(7, [(0, 2)])])
    with pytest.raises(ValueError, match=r"9\.\.9 of client 7 is empty"):
        ranges.add_all(7, [(4 * at, 4 * at + 3) for at in range(300)] + [(9, 9)])
    assert dict(ranges) == {7: [(0, 2)]}


def test_rg4_interleaved_ranges_cost_what_they_are() -> None:
    """A hundred thousand between as many: 1.3 s one by one."""
    count = 100_000
    ranges = IdRanges([(7, [(4 * at, 4 * at + 1) for at in range(count)])])
    between = [(4 * at + 2, 4 * at + 3) for at in range(count)]
    began = time.process_time()
    assert ranges.new_parts(7, between) == between
    ranges.add_all(7, between)
    assert time.process_time() - began < 0.5
    assert ranges.count == 2 * count
    began = time.process_time()
    ranges.update([(7, [(4 * at + 1, 4 * at + 2) for at in range(count)])])  # joins them, three and three
    assert time.process_time() - began < 0.5
    assert ranges.count == count
