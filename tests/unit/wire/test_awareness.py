"""Awareness payloads, rules AW1 to AW5 of `raffia.wire.awareness`."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raffia.errors import PresenceError, TooLargeError
from raffia.wire import awareness, lib0

STATE = '{"user":{"name":"Zoë 😀","color":"#ff8800"},"pointer":{"x":12.5,"y":-3}}'.encode()

JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))
    | st.text()
    | st.sampled_from(["é", "😀", "\\", '"', "{[", "]}"]),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=20,
)
STATES = st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=5)
ENTRIES = st.lists(
    st.tuples(st.integers(0, lib0.MAX_UINT), st.integers(0, 2**31 - 1), st.none() | STATES.map(json.dumps)), max_size=8
)


def payload_of(*entries: bytes) -> bytes:
    return lib0.write_varuint(len(entries)) + b"".join(entries)


@given(ENTRIES)
def test_aw5_round_trip(entries: list[tuple[int, int, str | None]]) -> None:
    written = [
        awareness.write_entry(client, clock, None if state is None else state.encode())
        for client, clock, state in entries
    ]
    read = awareness.read_entries(payload_of(*written))
    assert [(client, clock) for client, clock, _, _ in read] == [(client, clock) for client, clock, _ in entries]
    assert [state for _, _, state, _ in read] == [b"null" if s is None else s.encode() for _, _, s in entries]
    assert [encoded for _, _, _, encoded in read] == written


def test_aw5_recorded_payloads() -> None:
    assert awareness.read_entries(bytes.fromhex("01 01 00 02 7b 7d")) == [
        (1, 0, b"{}", bytes.fromhex("01 00 02 7b 7d"))
    ]
    assert awareness.read_entries(b"\x00") == []
    assert awareness.write_entry(1, 5, None) == bytes.fromhex("01 05 04 6e 75 6c 6c")


@given(STATES)
def test_aw3_real_states_are_accepted(state: dict[str, object]) -> None:
    assert (
        awareness.check_state(json.dumps(state, ensure_ascii=False, default=str).encode("utf-8", "replace")) is not None
    )
    assert awareness.check_state(json.dumps(state).encode()) == json.loads(json.dumps(state))


@pytest.mark.parametrize(
    ("hex_bytes", "message"),
    [
        ("", "count of states is cut short"),
        ("01", "announces 1 states but 0 bytes follow"),
        ("ff ff ff 7a", "announces 257949695 states but 0 bytes follow"),
        ("02 01 00 02 7b 7d", "announces 2 states but 5 bytes follow"),
        ("01 01 00 05 7b 7d", "state announces 5 bytes but 2 follow"),
        ("01 01 00 ff ff ff 7a", "state announces 257949695 bytes but 0 follow"),
        ("01 ff ff ff", "client id is cut short"),
        ("01 01 ff ff", "clock is cut short"),
        ("01 80 80 80 80 80 80 80 80 80 01 00 00", "client id has more than 53 bits"),
        ("01 01 00 02 7b 7d 00", "1 bytes follow the last state"),
    ],
)
def test_aw1_aw4_malformed_payloads(hex_bytes: str, message: str) -> None:
    with pytest.raises(PresenceError, match=message):
        awareness.read_entries(bytes.fromhex(hex_bytes))


def test_aw1_a_long_varint_costs_nothing() -> None:
    started = time.process_time()
    for payload in (b"\xff" * 200_000, b"\x01" + b"\xff" * 200_000, b"\x01\x01" + b"\xff" * 200_000):
        with pytest.raises(PresenceError, match="53 bits"):
            awareness.read_entries(payload)
    assert time.process_time() - started < 0.5


def test_aw1_aw2_too_large() -> None:
    entry = awareness.write_entry(1, 1, b"{}")
    with pytest.raises(TooLargeError, match="3 states is over the limit of 2"):
        awareness.read_entries(payload_of(entry, entry, entry), max_entries=2)
    large = awareness.write_entry(1, 1, b"x" * 16_385)
    assert awareness.read_entries(payload_of(entry, large, entry)) == [
        (1, 1, b"{}", entry),
        (1, 1, None, b""),
        (1, 1, b"{}", entry),
    ]


@pytest.mark.parametrize(
    "state",
    [
        b"",
        b"{",
        b"{}{}",
        b"{} x",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\n"}',
        b"\xef\xbb\xbf{}",
        b"{'a':1}",
        b'{"a":01}',
        b"true",
        b"1",
        b'"null"',
        b"[]",
        b" null",
    ],
)
def test_aw3_what_is_not_a_json_object_is_refused(state: bytes) -> None:
    with pytest.raises(PresenceError, match="presence state"):
        awareness.check_state(state)


def test_aw3_depth() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)

    assert awareness.check_state(nested(32))
    for state in (nested(33), nested(2500), b'{"a":' + b"[" * 16_000, b'{"a":' + b"[" * 8000 + b"]" * 8000 + b"}"):
        with pytest.raises(PresenceError, match="32 levels deep"):
            awareness.check_state(state)


def test_aw3_many_brackets_that_are_not_deep_are_fine() -> None:
    points = json.dumps({"points": [[x, [x]] for x in range(800)], "text": "[" * 99 + '"' + "{" * 99 + "\\"}).encode()
    assert awareness.check_state(points)["text"].startswith("[[[")


@pytest.mark.parametrize(
    "state",
    [
        b'{"a":"' + b'\\"' * 8000,
        b'"' * 16_000 + b"[" * 40,
        b"[" * 40 + b'"' + b"\\" * 16_000,
        b"[]" * 8000,
        b"[{" * 8000,
    ],
)
def test_aw3_hostile_states_cost_little(state: bytes) -> None:
    started = time.process_time()
    for _ in range(20):
        with pytest.raises(PresenceError):
            awareness.check_state(state)
    assert time.process_time() - started < 1
