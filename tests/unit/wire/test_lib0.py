"""The lib0 codec, rules LB1 to LB5 of `raffia.wire.lib0`."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raffia.errors import WireError
from raffia.wire import lib0

UINTS = st.integers(0, lib0.MAX_UINT)
TEXTS = st.one_of(st.text(), st.sampled_from(["é", "😀", "a😀é\0b", "naïve café"]))


@pytest.mark.parametrize(
    ("value", "hex_bytes"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "80 01"),
        (300, "ac 02"),
        ((1 << 31) - 1, "ff ff ff ff 07"),
        ((1 << 53) - 1, "ff ff ff ff ff ff ff 0f"),
    ],
)
def test_lb1_varuint_bytes(value: int, hex_bytes: str) -> None:
    assert lib0.write_varuint(value) == bytes.fromhex(hex_bytes)
    assert lib0.read_varuint(bytes.fromhex(hex_bytes), 0) == (value, len(bytes.fromhex(hex_bytes)))


@given(UINTS, st.binary(max_size=4), st.binary(max_size=4))
def test_lb1_varuint_round_trip_anywhere(value: int, before: bytes, after: bytes) -> None:
    encoded = lib0.write_varuint(value)
    assert lib0.read_varuint(before + encoded + after, len(before)) == (value, len(before) + len(encoded))


@pytest.mark.parametrize(
    ("hex_bytes", "message"),
    [
        ("", "cut short after 0 bytes"),
        ("80", "cut short after 1 bytes"),
        ("ff ff ff", "cut short after 3 bytes"),
        ("80 00", "not in its shortest form"),
        ("81 80 00", "not in its shortest form"),
        ("ff ff ff ff ff ff ff 10", "more than 53 bits"),
        ("ff ff ff ff ff ff ff ff 01", "more than 53 bits"),
        ("80 80 80 80 80 80 80 80 80 80 01", "more than 53 bits"),
    ],
)
def test_lb1_varuint_refused(hex_bytes: str, message: str) -> None:
    with pytest.raises(WireError, match=message):
        lib0.read_varuint(bytes.fromhex(hex_bytes), 0)


def test_lb1_a_long_run_of_continuation_bytes_costs_nothing() -> None:
    run = b"\xff" * 200_000
    started = time.process_time()
    for _ in range(100):
        with pytest.raises(WireError, match="53 bits"):
            lib0.read_varuint(run, 0)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("value", [-1, 1 << 53])
def test_lb1_varuint_out_of_range_is_our_fault(value: int) -> None:
    with pytest.raises(ValueError, match="varUint"):
        lib0.write_varuint(value)


@pytest.mark.parametrize(
    ("value", "hex_bytes"), [(0, "00"), (-1, "41"), (63, "3f"), (64, "80 01"), (-64, "c0 01"), (-10_000, "d0 9c 01")]
)
def test_lb4_varint_bytes(value: int, hex_bytes: str) -> None:
    assert lib0.write_varint(value) == bytes.fromhex(hex_bytes)
    assert lib0.read_varint(bytes.fromhex(hex_bytes), 0)[0] == value


@given(st.integers(-lib0.MAX_UINT, lib0.MAX_UINT), st.binary(max_size=4))
def test_lb4_varint_round_trip(value: int, after: bytes) -> None:
    encoded = lib0.write_varint(value)
    assert lib0.read_varint(encoded + after, 0) == (value, len(encoded))


@pytest.mark.parametrize("hex_bytes", ["", "80", "ff ff", "bf ff ff ff ff ff ff ff 01", "bf ff ff ff ff ff ff 7f"])
def test_lb4_varint_refused(hex_bytes: str) -> None:
    with pytest.raises(WireError, match=r"cut short|53 bits"):
        lib0.read_varint(bytes.fromhex(hex_bytes), 0)


def test_lb4_varint_out_of_range_is_our_fault() -> None:
    with pytest.raises(ValueError, match="varInt"):
        lib0.write_varint(-(1 << 53))


@given(st.binary(max_size=300), st.binary(max_size=4))
def test_lb2_buf_round_trip(content: bytes, after: bytes) -> None:
    encoded = lib0.write_buf(content)
    assert lib0.read_buf(encoded + after, 0) == (content, len(encoded))


@given(TEXTS, st.binary(max_size=4))
def test_lb3_string_round_trip(text: str, after: bytes) -> None:
    encoded = lib0.write_string(text)
    assert lib0.read_string(encoded + after, 0) == (text, len(encoded))


def test_lb3_a_string_is_measured_in_bytes() -> None:
    assert lib0.write_string("é") == bytes.fromhex("02 c3 a9")
    assert lib0.write_string("😀") == bytes.fromhex("04 f0 9f 98 80")


@pytest.mark.parametrize(
    "hex_bytes",
    ["01 ff", "02 c0 80", "03 ed a0 80", "02 c3 28", "01 c3", "05 f8 88 80 80 80", "04 f5 80 80 80"],
)
def test_lb3_what_is_not_utf8_is_refused(hex_bytes: str) -> None:
    with pytest.raises(WireError, match=r"string is not UTF-8 \(byte \d\)"):
        lib0.read_string(bytes.fromhex(hex_bytes), 0)


def test_lb3_a_surrogate_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        lib0.write_string("\ud83d")


@pytest.mark.parametrize("hex_bytes", ["ff ff ff 7a", "ff ff ff ff ff ff ff 0f", "05 01 02", "01"])
def test_lb2_a_length_beyond_the_bytes_is_refused(hex_bytes: str) -> None:
    with pytest.raises(WireError, match=r"announces \d+ bytes but \d follow"):
        lib0.read_buf(bytes.fromhex(hex_bytes), 0)


def test_lb5_a_refusal_says_what_how_much_and_where() -> None:
    with pytest.raises(WireError) as refused:
        lib0.read_buf(bytes.fromhex("00 02 05 01 02"), 2, "update")
    assert str(refused.value) == "update announces 5 bytes but 2 follow (byte 3)"
    assert refused.value.close_code == 4400
