"""The strict reader, rule by rule (U1-U9 of `update`, AV1-AV4 of `anyvalue`)."""

from __future__ import annotations

import itertools
import time
import timeit

import pytest
from tests.unit.crdt.build import everything, item, number, string, text, typing, update

from raffia.crdt.anyvalue import MAX_DEPTH
from raffia.crdt.update import (
    CLOCK_LIMIT,
    MAX_CLIENTS,
    MAX_DELETE_CLIENTS,
    read_state_vector,
    read_update,
    write_state_vector,
    write_update,
)
from raffia.errors import TooLargeError, UpdateError
from raffia.types import EMPTY_STATE_VECTOR, EMPTY_UPDATE

WIDE = 3_141_592_653  # a client id of the usual size


def any_values(*values: bytes) -> bytes:
    return update((1, 0, [item(8, number(len(values)) + b"".join(values))]))


def test_empty_update() -> None:
    facts = read_update(EMPTY_UPDATE)
    assert (facts.size, facts.sections, facts.deletes, facts.deletes_at) == (2, [], [], 1)


def test_facts_of_a_section() -> None:
    structs = [
        string("é😀", root="t"),
        string("b", left=(WIDE, 102), right=(7, 300)),
        b"\x0a" + number(4),
        b"\x00" + number(5),
        item(1, number(6), right=(WIDE, 100)),
        item(7, b"\x01", parent=(9, 2), key="k"),
    ]
    data = update((WIDE, 100, structs), deletes={WIDE: [(100, 102), (110, 115)], 7: [(0, 300)]})
    facts = read_update(data)
    (section,) = facts.sections
    assert (section.client, section.start, section.end) == (WIDE, 100, 120)
    assert section.clocks == [100, 103, 104, 108, 113, 119]
    assert section.skips == [(104, 108)]
    assert section.refs == [(1, 7, 300), (5, 9, 2)]
    assert section.chained == [1]
    begins = [*section.offsets, section.stop]
    assert [data[a:b] for a, b in itertools.pairwise(begins)] == structs
    assert data[section.contents[0] :].startswith(text("é😀"))
    assert data[section.contents[4]] == 6
    assert facts.deletes == [(WIDE, [(100, 102), (110, 115)]), (7, [(0, 300)])]
    assert facts.deletes_at == section.stop


def test_u6_text_is_counted_in_utf16_units() -> None:
    assert read_update(typing(1, "aé漢😀")).sections[0].end == 5


def test_everything_that_pycrdt_writes_is_read() -> None:
    data = everything()
    facts = read_update(data)
    kinds = {data[offset] & 31 for section in facts.sections for offset in section.offsets}
    assert {1, 4, 5, 6, 7, 8, 9} <= kinds


def test_every_cut_is_refused() -> None:
    """U1: an update without its end is refused, wherever it was cut."""
    data = everything()
    for size in range(len(data)):
        with pytest.raises(UpdateError):
            read_update(data[:size])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "cut short", id="U1-empty"),
        pytest.param(bytes.fromhex("ffffff7a"), "257949695 clients but 0 bytes follow", id="U1-clients"),
        pytest.param(bytes.fromhex("01ffffff7a0100"), "257949695 structs but 2 bytes follow", id="U1-structs"),
        pytest.param(bytes.fromhex("00ffffff7a"), "257949695 clients but 0 bytes follow", id="U1-delete-clients"),
        pytest.param(bytes.fromhex("000101ffffff7a"), "257949695 ranges but 0 bytes follow", id="U1-ranges"),
        pytest.param(bytes.fromhex("0101010004010174ff7f61"), "text announces 16383 bytes but 1", id="U1-text"),
        pytest.param(bytes.fromhex("0101010008010174ff7f"), "16383 values but 0", id="U1-values"),
        pytest.param(EMPTY_UPDATE + b"\x00", "1 more bytes follow", id="U1-trailing"),
        pytest.param(bytes.fromhex("01018100000401017401610000"), "padded", id="U2-padded"),
        pytest.param(bytes.fromhex("0101ffffffffffffff7f00"), "over 9007199254740991", id="U2-client"),
        pytest.param(b"\x01\x01\x01" + number(CLOCK_LIMIT - 1) + b"\x00\x01\x00", "over 2147483647", id="U2-end"),
        pytest.param(b"\x01\x01\x01" + number(CLOCK_LIMIT) + b"\x00\x01\x00", "over 2147483647", id="U2-start"),
        pytest.param(update((1, 0, [b"\x00" + number(CLOCK_LIMIT)])), "over 2147483647", id="U2-length"),
        pytest.param(update((1, 0, [string("a", left=(2, CLOCK_LIMIT))])), "over 2147483647", id="U2-reference"),
        pytest.param(update(deletes={1: [(5, CLOCK_LIMIT)]}), "over 2147483647", id="U2-deletes"),
        pytest.param(update((1, 0, [string("")])), "covers no clocks", id="U3-text"),
        pytest.param(update((1, 0, [b"\x00\x00"])), "covers no clocks", id="U3-gc"),
        pytest.param(update((1, 0, [item(1, b"\x00")])), "covers no clocks", id="U3-deleted"),
        pytest.param(any_values(), "covers no clocks", id="U3-values"),
        pytest.param(bytes.fromhex("0100010000"), "has no structs", id="U3-section"),
        pytest.param(update((1, 0, [string("a")]), (1, 1, [string("b")])), "second section", id="U3-client"),
        pytest.param(update((1, 5, [string("a", left=(1, 5))])), "left origin 5 of struct 5", id="U4-left"),
        pytest.param(update((1, 5, [string("a", right=(1, 9))])), "right origin 9 of struct 5", id="U4-right"),
        pytest.param(update((1, 5, [string("a", parent=(1, 5))])), "parent 5 of struct 5", id="U4-parent"),
        pytest.param(update((1, 0, [b"\x80\x02\x00\x01"])), "flags 0x80", id="U5-gc-flags"),
        pytest.param(update((1, 0, [b"\x04\x02" + text("t") + text("a")])), "marked 2", id="U5-parent"),
        pytest.param(update((1, 0, [item(2, b"\x01" + text("1"))])), "unknown kind 2", id="U5-json"),
        pytest.param(update((1, 0, [item(11, b"")])), "unknown kind 11", id="U5-kind"),
        pytest.param(update((1, 0, [item(7, b"\x07")])), "unknown number 7", id="U5-type"),
        pytest.param(update((1, 0, [item(7, b"\x05" + text("p"))])), "unknown number 5", id="U5-hook"),
        pytest.param(update((1, 0, [item(4, b"\x02\xc3\x28")])), "not UTF-8 (byte 9)", id="U6-utf8"),
        pytest.param(bytes.fromhex("0001010209010501"), "before the last one ends", id="U7-unsorted"),
        pytest.param(update(deletes={1: [(5, 5)]}), "is empty", id="U7-zero"),
        pytest.param(update(deletes={1: [(5, 9), (8, 12)]}), "before the last one ends", id="U7-overlap"),
        pytest.param(b"\x00\x02\x01\x01\x00\x01\x01\x01\x05\x01", "second list", id="U7-client"),
        pytest.param(any_values(b"\x75\x01" * (MAX_DEPTH + 1) + b"\x7e"), "deeper than 64", id="A1-depth"),
        pytest.param(any_values(b"\x75\x01" * 26_400 + b"\x7e"), "deeper than 64", id="A1-deep"),
        pytest.param(any_values(b"\x73"), "unknown tag 115", id="A1-tag"),
        pytest.param(any_values(b"\x75\xff\x7f"), "16383 values but", id="A2-array"),
        pytest.param(any_values(b"\x76\xff\x7f"), "16383 values but", id="A2-object"),
        pytest.param(any_values(b"\x74\xff\x7f"), "16383 bytes but", id="A2-bytes"),
        pytest.param(any_values(b"\x7b\x00"), "8 bytes but 2", id="A2-float"),
        pytest.param(any_values(b"\x77\x01\xff"), "not UTF-8", id="A3-utf8"),
        pytest.param(any_values(b"\x7d" + b"\xff" * 7 + b"\x7f"), "over 9007199254740991", id="A3-integer"),
        pytest.param(any_values(b"\x7d" + b"\x80" * 200_000 + b"\x00"), "over 9007199254740991", id="A3-endless"),
        *(
            pytest.param(update((1, 0, [item(5, text(json))])), says, id=f"A4-{name}")
            for name, json, says in [
                ("empty", "", "cannot be read"),
                ("cut", '{"a":', "cannot be read"),
                ("nan", "NaN", "NaN is not JSON"),
                ("infinity", "[-Infinity]", "-Infinity is not JSON"),
                ("float", "1e999", "beyond a double"),
                ("integer", "9" * 400, "beyond a double"),
                ("digits", "9" * 10_000, "beyond a double"),
                ("half", '"\\ud83d"', "half a surrogate pair"),
                ("deep", "[" * 65 + "]" * 65, "deeper than 64"),
                ("deeper", "[" * 50_000, "deeper than 64"),
            ]
        ),
        pytest.param(update((1, 0, [item(6, text("bold") + text("True"))])), "cannot be read", id="A4-format"),
    ],
)
def test_refused(data: bytes, says: str) -> None:
    """U8: what, how much, at which byte."""
    with pytest.raises(UpdateError) as refusal:
        read_update(data)
    assert says in str(refusal.value)
    assert "byte" in str(refusal.value)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(update((1, 0, [item(5, text('{"é": ["😀", "\\ud83d\\ude00", 1e300, -0.5, null]}'))])), id="embed"),
        pytest.param(update((1, 0, [item(5, text("[" * 64 + "]" * 64))])), id="as-deep-as-allowed"),
        pytest.param(update((1, 0, [item(5, text('"' + "[" * 100 + '\\"{{"'))])), id="brackets-in-text"),
        pytest.param(any_values(b"\x75\x01" * MAX_DEPTH + b"\x7e"), id="values-as-deep-as-allowed"),
        pytest.param(any_values(b"\x7f", b"\x7e", b"\x7d\x41", b"\x7c" + bytes(4), b"\x7a" + bytes(8)), id="values"),
        pytest.param(update((1, 0, [string("a", key="k")])), id="key"),
        pytest.param(update((1, 4, [string("a", left=(1, 3), key="k")])), id="key-with-origin"),
        pytest.param(update(deletes={1: [(5, 9), (9, 12)]}), id="touching-ranges"),
        pytest.param(b"\x00\x01\x01\x00", id="no-ranges"),
        pytest.param(update((1, 0, [b"\x00" + number(CLOCK_LIMIT - 1)])), id="largest-clock"),
        pytest.param(update(((1 << 53) - 1, 0, [string("a")])), id="largest-client"),
        pytest.param(typing(1, "a😀b", deletes={1: [(1, 2)]}), id="half-of-a-pair-deleted"),
        pytest.param(update((1, 0, [item(9, text("guid") + b"\x76\x00")])), id="subdocument"),
        pytest.param(update((1, 0, [item(3, b"\x02\x00\xff")])), id="binary"),
        pytest.param(update((1, 0, [item(7, b"\x03" + text("p"))])), id="element"),
    ],
)
def test_accepted(data: bytes) -> None:
    assert read_update(data).size == len(data)


def test_limit() -> None:
    data = typing(1, "é😀")
    assert read_update(data, limit=len(data)).size == len(data)
    with pytest.raises(TooLargeError, match=f"{len(data)} bytes is over the limit of {len(data) - 1}"):
        read_update(data, limit=len(data) - 1)


def test_u9_clients_of_an_update_from_outside_are_bounded() -> None:
    """Counted before a section is read: what is refused costs nothing."""
    limit = 16 << 20
    many = update(*((1000 + n, 0, [b"\x00\x01"]) for n in range(MAX_CLIENTS + 1)))
    assert len(read_update(many).sections) == MAX_CLIENTS + 1  # our own base is as large as it is
    began = time.process_time()
    with pytest.raises(UpdateError, match="update names 50001 clients; 50000 is the most"):
        read_update(many, limit=limit)
    assert time.process_time() - began < 0.02
    fewer = update(*((1000 + n, 0, [b"\x00\x01"]) for n in range(MAX_CLIENTS)))
    assert len(read_update(fewer, limit=limit).sections) == MAX_CLIENTS


def test_u9_clients_of_a_delete_set_from_outside_are_bounded() -> None:
    limit = 16 << 20
    many = {1000 + n: [(0, 1)] for n in range(MAX_DELETE_CLIENTS + 1)}
    assert len(read_update(update(deletes=many)).deletes) == MAX_DELETE_CLIENTS + 1
    with pytest.raises(UpdateError, match="delete set names 200001 clients; 200000 is the most"):
        read_update(update(deletes=many), limit=limit)
    del many[1000]
    assert len(read_update(update(deletes=many), limit=limit).deletes) == MAX_DELETE_CLIENTS


def test_written_parts_are_the_update() -> None:
    """Sections and deletes come out in descending order of clients, as Yjs writes them."""
    data = update((5, 3, [string("é", left=(9, 0))]), (9, 0, [string("x")]), deletes={5: [(0, 2)], 9: [(0, 1)]})
    facts = read_update(data)
    assert [section.client for section in facts.sections] == [9, 5]
    assert [client for client, _ in facts.deletes] == [9, 5]
    parts = [
        (section.client, section.start, len(section.clocks), data[section.offsets[0] : section.stop])
        for section in reversed(facts.sections)
    ]
    assert write_update(parts, facts.deletes) == data
    assert write_update([(1, 0, 0, b"")], [(1, [])]) == EMPTY_UPDATE


def test_state_vectors() -> None:
    clocks = {1: 5, WIDE: 2_000_000, 77: 1}
    assert read_state_vector(write_state_vector(clocks)) == clocks
    assert write_state_vector({4: 0}) == EMPTY_STATE_VECTOR
    assert write_state_vector({1: 2, 3: 4}).hex() == "0203040102"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cut short"),
        (bytes.fromhex("8080808001"), "268435456 clients but 0 bytes follow"),
        (bytes.fromhex("0201010102"), "has client 1 twice"),
        (bytes.fromhex("010101ff"), "1 more bytes follow"),
        (bytes.fromhex("01018080808008"), "over 2147483647"),
        (bytes.fromhex("0101"), "1 clients but 1 bytes"),
        (bytes.fromhex("020101ff80"), "cut short"),
    ],
)
def test_state_vectors_refused(data: bytes, says: str) -> None:
    with pytest.raises(UpdateError, match=says):
        read_state_vector(data)


def test_a_keystroke_takes_seven_microseconds_at_most() -> None:
    keystroke = update((WIDE, 20_000, [string("a", left=(WIDE, 19_999), right=(WIDE, 19_500))]))
    runs = timeit.repeat(lambda: read_update(keystroke), number=5_000, repeat=7, timer=time.process_time)
    assert min(runs) / 5_000 <= 7e-6
