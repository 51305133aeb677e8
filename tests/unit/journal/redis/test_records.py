"""Damaged records of Redis are said to be damaged, whatever is wrong with them (found by fuzzing)."""

from __future__ import annotations

import pytest

from raffia.errors import QuarantinedError
from raffia.journal.checksum import checksum
from raffia.journal.history import BaseSnapshot
from raffia.journal.redis.keys import position_at, position_of
from raffia.journal.redis.records import (
    BaseRecord,
    decode_entry,
    encode_entry,
    read_base,
    read_segment,
    read_version,
    write_base,
    write_segment,
    write_version,
)
from raffia.journal.testing.contract import DOCUMENT, OTHER, edit

STONE = b'{"v":2,"time_ms":%s,"blob":"b","state_bytes":3,"index_bytes":4'
SEGMENT = b'{"v":2,"first":"%s","last":"9-77","window_ms":1,"author":null,"blob":"b","blob_bytes":3,"bytes":2'


def line(content: bytes, *place: str) -> bytes:
    """The line with the checksum that belongs to it."""
    return content + b',"sum":"' + checksum(*place, content=content).hex().encode() + b'"}'


@pytest.mark.parametrize("time_ms", [b"1e999", b"NaN", b"null", b'"x"'])
def test_a_number_that_is_none_is_damage(time_ms: bytes) -> None:
    with pytest.raises(QuarantinedError):
        read_base(DOCUMENT, b"1-5", line(STONE % time_ms, "stones", DOCUMENT, "1-5"))


@pytest.mark.parametrize("entry", ["0--5", "-1-5", "1", "1-", "1- 5", "x-1"])
def test_what_is_no_id_of_an_entry_is_damage(entry: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        position_of(entry)
    with pytest.raises(QuarantinedError):
        read_segment(DOCUMENT, line(SEGMENT % entry.encode(), "segments", DOCUMENT))


def test_rr3_any_changed_bit_of_a_line_or_an_entry_is_damage() -> None:
    batch = (edit(b"\x00\x00"), edit(b"\x01\xff", author=None))
    position = position_at(7, 99)
    stored = {
        encode_entry(DOCUMENT, 99, batch): lambda some: decode_entry(DOCUMENT, position, some),
        write_base(DOCUMENT, BaseRecord(BaseSnapshot(position, 5), "b", 3, 4)): lambda some: read_base(
            DOCUMENT, b"7-99", some
        ),
        write_segment(
            DOCUMENT, first=position, last=position, window_ms=1, author="é", blob="b", blob_bytes=3, size_bytes=2
        ).member: lambda some: read_segment(DOCUMENT, some),
        write_version(DOCUMENT, 5, ("é",), "b", 3): lambda some: read_version(DOCUMENT, 1, some, None),
    }
    for content, read in stored.items():
        read(content)
        for at in range(len(content)):
            for bit in range(8):
                with pytest.raises(QuarantinedError):
                    read(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])


def test_cs1_a_whole_record_in_the_wrong_place_is_damage() -> None:
    position = position_at(7, 99)
    entry = encode_entry(DOCUMENT, 99, (edit(b"\x00\x00"),))
    stone = write_base(DOCUMENT, BaseRecord(BaseSnapshot(position, 5), "b", 3, 4))
    for attempt in (
        lambda: decode_entry(OTHER, position, entry),
        lambda: decode_entry(DOCUMENT, position_at(7, 98), entry),
        lambda: read_base(OTHER, b"7-99", stone),
        lambda: read_base(DOCUMENT, b"7-98", stone),
    ):
        with pytest.raises(QuarantinedError, match="checksum"):
            attempt()
