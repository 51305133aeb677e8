"""Rules EN1 and EN2 of `raffia.journal.entries`."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raffia.errors import QuarantinedError
from raffia.journal.entries import decode_batch, decode_updates, encode_batch, encode_updates
from raffia.types import Edit

edits = st.builds(Edit, st.none() | st.text(max_size=20), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=50))


@given(st.lists(edits, max_size=5).map(tuple))
def test_en2_a_batch_comes_back_as_it_was(batch: tuple[Edit, ...]) -> None:
    assert decode_batch(encode_batch(batch)) == batch


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_en2_updates_come_back_as_they_were(updates: list[bytes]) -> None:
    assert decode_updates(encode_updates(updates)) == updates


def test_the_encoding_is_the_documented_one() -> None:
    assert encode_batch((Edit("é", 258, b"\x00\x00"), Edit(None, -1, b""))).hex() == (
        "01" "02000000"
        "0201000000000000" "02000000" "02000000" "c3a9" "0000"
        "ffffffffffffffff" "ffffffff" "00000000"
    )  # fmt: skip
    assert encode_updates([b"\x00\x00"]).hex() == "0101000000020000000000"


@pytest.mark.parametrize("read", [decode_batch, decode_updates])
def test_en1_a_newer_format_is_refused(read: object) -> None:
    with pytest.raises(QuarantinedError, match="format 2"):
        read(b"\x02\x00\x00\x00\x00")  # type: ignore[operator]


def test_en2_everything_cut_short_or_left_over_is_an_error() -> None:
    body = encode_batch((Edit("zoë", 1, b"abc"), Edit(None, 2, b"xyz")))
    for damaged in [body[:end] for end in range(len(body))] + [body + b"\x00"]:
        with pytest.raises(QuarantinedError):
            decode_batch(damaged)
    body = encode_updates([b"abc", b""])
    for damaged in [body[:end] for end in range(len(body))] + [body + b"\x00"]:
        with pytest.raises(QuarantinedError):
            decode_updates(damaged)


@given(st.binary(max_size=60))
def test_en2_any_other_bytes_are_refused_by_name(body: bytes) -> None:
    try:
        batch = decode_batch(body)
    except QuarantinedError:
        return
    assert encode_batch(batch) == body


@pytest.mark.parametrize("author_bytes", [-2, -(1 << 31), -0xFFFFFF])
def test_en2_only_one_number_says_that_nobody_is_the_author(author_bytes: int) -> None:
    """Found by fuzzing: any number below zero was read as that, and written back as another."""
    body = bytearray(encode_batch((Edit(None, 5, b"abc"),)))
    body[13:17] = struct.pack("<i", author_bytes)
    with pytest.raises(QuarantinedError, match=f"author of {author_bytes} bytes"):
        decode_batch(bytes(body))


def test_en2_a_hostile_count_costs_nothing() -> None:
    with pytest.raises(QuarantinedError, match="announces"):
        decode_batch(b"\x01\xff\xff\xff\xff" + bytes(40))
