"""Merging and diffing: the guard around pycrdt (M1-M7) and `splice`, which is exact where pycrdt is not (SP1-SP4)."""

from __future__ import annotations

import asyncio
import time

import pycrdt
import pytest
from tests.unit.crdt.build import item, string, text, typing, update

from raffia.crdt.merge import Guard, diff, merge, state_vector
from raffia.crdt.splice import diff_exactly, merge_exactly, state_vector_exactly
from raffia.crdt.update import read_update, write_state_vector
from raffia.errors import CrdtError, UpdateError
from raffia.types import EMPTY_STATE_VECTOR, EMPTY_UPDATE

SUBDOCUMENT = item(
    9, text("guid") + b"\x76\x01" + text("meta") + b"\x76\x01" + text("é") + b"\x7d\x01", key="k", root="m"
)

WIDE_NUMBER = "12000000000000000000"  # what JSON.stringify makes of 1.2e19; beyond 64 bits with a sign


class TestGuard:
    def test_m2_errors_of_pycrdt(self) -> None:
        with pytest.raises(CrdtError, match="cannot merge updates: ValueError"):
            merge([b"\x01\x01", EMPTY_UPDATE])
        with pytest.raises(CrdtError, match="cannot diff an update"):
            diff(b"\x01\x01", EMPTY_STATE_VECTOR)
        with pytest.raises(CrdtError, match="cannot read the state vector"):
            state_vector(b"\x01\x01")

    def test_m2_panics(self) -> None:
        with pytest.raises(CrdtError, match="PanicException") as refusal, Guard("merge updates"):
            pycrdt.merge_updates([EMPTY_UPDATE])  # type: ignore[arg-type]
        assert not isinstance(refusal.value.__cause__, Exception)

    @pytest.mark.parametrize("error", [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_m2_what_ends_work_passes(self, error: type[BaseException]) -> None:
        with pytest.raises(error), Guard("merge updates"):
            raise error

    def test_m2_own_errors_pass(self) -> None:
        with pytest.raises(UpdateError, match="é"), Guard("merge updates"):
            raise UpdateError("é")


class TestMerge:
    def test_few(self) -> None:
        assert merge([]) == EMPTY_UPDATE
        one = typing(1, "é😀")
        assert merge([one]) is one

    def test_both_agree(self) -> None:
        updates = [typing(2, "x"), typing(1, "a😀b", deletes={1: [(1, 2)]}), update((3, 0, [string("é", left=(1, 0))]))]
        assert merge(updates) == merge_exactly(updates)

    def test_m4_many_updates_take_milliseconds(self) -> None:
        structs = [string("é", left=(1, n - 1) if n else None) for n in range(20_000)]
        keystrokes = [update((1, n, [struct])) for n, struct in enumerate(structs)]
        began = time.process_time()
        merged = merge(keystrokes)
        assert time.process_time() - began < 1  # 1.4 s in one go, 20 ms in groups
        assert merged == update((1, 0, structs))

    def test_m5_subdocuments_stay_as_they_are(self) -> None:
        data = update((1, 0, [SUBDOCUMENT]))
        assert b"meta" not in pycrdt.merge_updates(data, EMPTY_UPDATE)  # why
        assert merge([data, typing(2, "é")]) == update((2, 0, [string("é")]), (1, 0, [SUBDOCUMENT]))
        assert diff(data, EMPTY_STATE_VECTOR) == data

    def test_m6_diff_inside_a_surrogate_pair(self) -> None:
        data = update((1, 0, [string("a😀b")]))
        assert diff(data, write_state_vector({1: 2})) == update((1, 2, [string("\ufffdb", left=(1, 1))]))
        alone = typing(1, "a😀")
        assert diff(alone, write_state_vector({1: 2})) == update((1, 2, [string("\ufffd", left=(1, 1))]))
        assert diff(data, write_state_vector({1: 3})) == update((1, 3, [string("b", left=(1, 2))]))

    @pytest.mark.parametrize("number", [WIDE_NUMBER, "9223372036854775808", "18446744073709551615"])
    @pytest.mark.parametrize("kind", [5, 6])
    def test_m7_whole_numbers_that_pycrdt_cannot_read(self, kind: int, number: str) -> None:
        content = (text("é") if kind == 6 else b"") + text(f'{{"id":[{number},"😀"]}}')
        data = update((1, 0, [item(kind, content), string("😀", left=(1, 0))]))
        with pytest.raises(ValueError, match="merge"):
            pycrdt.merge_updates(data, EMPTY_UPDATE)  # why
        merged = update((9, 0, [string("é")]), (1, 0, [item(kind, content), string("😀", left=(1, 0))]))
        assert merge([data, typing(9, "é")]) == merged
        assert diff(merged, write_state_vector({9: 1})) == data
        assert diff(data, write_state_vector({1: 1})) == update((1, 1, [string("😀", left=(1, 0))]))
        assert state_vector(merged) == write_state_vector({1: 3, 9: 1})

    def test_m7_one_among_many_updates(self) -> None:
        structs = [string("é", left=(1, n - 1) if n else None) for n in range(200)]
        structs[70] = item(5, text(WIDE_NUMBER), left=(1, 69))
        assert merge([update((1, n, [struct])) for n, struct in enumerate(structs)]) == update((1, 0, structs))

    def test_state_vector(self) -> None:
        assert state_vector(typing(1, "é😀")) == write_state_vector({1: 3})


class TestSplice:
    def test_sp1_overlap(self) -> None:
        early, late = update((1, 0, [string("abcd")])), update((1, 2, [string("CDef", left=(1, 1))]))
        joined = update((1, 0, [string("abcd"), string("ef", left=(1, 3))]))
        assert merge_exactly([early, late]) == merge_exactly([late, early]) == joined
        assert merge_exactly([early, early]) == early

    def test_sp1_cuts_every_kind(self) -> None:
        structs = [
            b"\x00\x03",
            item(1, b"\x03", right=(2, 0)),
            item(8, b"\x03\x7d\x01\x77\x02\xc3\xa9\x7e"),
            b"\x0a\x03",
        ]
        data = update((1, 0, structs))
        assert diff_exactly(data, write_state_vector({1: 1})) == update((1, 1, [b"\x00\x02", *structs[1:]]))
        cut = item(1, b"\x01", left=(1, 4), right=(2, 0))
        assert diff_exactly(data, write_state_vector({1: 5})) == update((1, 5, [cut, *structs[2:]]))
        cut = item(8, b"\x02\x77\x02\xc3\xa9\x7e", left=(1, 6))
        assert diff_exactly(data, write_state_vector({1: 7})) == update((1, 7, [cut, structs[3]]))
        assert diff_exactly(data, write_state_vector({1: 10})) == EMPTY_UPDATE  # nothing but a gap is left

    def test_sp2_gaps(self) -> None:
        early, late = update((1, 2, [string("é", left=(1, 1))])), update((1, 7, [string("x", left=(1, 6))]))
        merged = merge_exactly([late, early])
        assert merged == update((1, 2, [string("é", left=(1, 1)), b"\x0a\x04", string("x", left=(1, 6))]))
        filled = merge_exactly([merged, update((1, 3, [string("1234", left=(1, 2))]))])
        assert [section.skips for section in read_update(filled).sections] == [[]]

    def test_sp3_deletes_are_united(self) -> None:
        merged = merge_exactly([update(deletes={1: [(0, 3)]}), update(deletes={1: [(2, 5)], 2: [(1, 2)]})])
        assert merged == update(deletes={1: [(0, 5)], 2: [(1, 2)]})

    def test_sp4_state_vectors_end_at_the_first_gap(self) -> None:
        data = update((1, 0, [string("é"), b"\x0a\x02", string("x", left=(1, 2))]), (2, 5, [string("y", left=(2, 4))]))
        assert state_vector_exactly(data) == state_vector(data) == write_state_vector({1: 1})

    def test_refused(self) -> None:
        with pytest.raises(UpdateError):
            merge_exactly([b"\x01"])
        with pytest.raises(UpdateError):
            diff_exactly(EMPTY_UPDATE, b"\x01")
