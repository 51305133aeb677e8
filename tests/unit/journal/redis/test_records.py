"""Damaged records of Redis are said to be damaged, whatever is wrong with them (found by fuzzing)."""

from __future__ import annotations

import pytest

from raffia.errors import QuarantinedError
from raffia.journal.redis.keys import position_of
from raffia.journal.redis.records import read_base, read_segment

STONE = b'{"v":1,"time_ms":%s,"blob":"b","state_bytes":3,"index_bytes":4}'
SEGMENT = b'{"v":1,"first":"%s","last":"9-77","window_ms":1,"author":null,"blob":"b","blob_bytes":3,"bytes":2}'


@pytest.mark.parametrize("time_ms", [b"1e999", b"NaN", b"null", b'"x"'])
def test_a_number_that_is_none_is_damage(time_ms: bytes) -> None:
    with pytest.raises(QuarantinedError):
        read_base(b"1-5", STONE % time_ms)


@pytest.mark.parametrize("entry", ["0--5", "-1-5", "1", "1-", "1- 5", "x-1"])
def test_what_is_no_id_of_an_entry_is_damage(entry: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        position_of(entry)
    with pytest.raises(QuarantinedError):
        read_segment(SEGMENT % entry.encode())
