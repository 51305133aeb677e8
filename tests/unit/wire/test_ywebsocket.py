"""The y-websocket dialect, rules W1 to W4 of `raffia.wire.ywebsocket`, with bytes recorded from published clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raffia.errors import WireError
from raffia.wire import lib0
from raffia.wire import ywebsocket as wire
from raffia.wire.messages import (
    Awareness,
    Message,
    Nothing,
    QueryAwareness,
    Step1,
    Step2,
    SyncStatusRequest,
    Update,
)

KEYSTROKE = bytes.fromhex("0101010004010174016100")
PRESENCE = lib0.write_string('{"name":"Zoë 😀"}')

RECORDED: list[tuple[str, Message]] = [
    ("00 00 01 00", Step1(b"\x00")),
    ("00 01 02 00 00", Step2(b"\x00\x00")),
    ("00 02 02 00 00", Update(b"\x00\x00")),
    ("00 02 0b" + KEYSTROKE.hex(), Update(KEYSTROKE)),
    ("01 01 00", Awareness(b"\x00")),
    ("01 06 01 01 00 02 7b 7d", Awareness(bytes.fromhex("01 01 00 02 7b 7d"))),
    ("03", QueryAwareness()),
    ("66 01 07", SyncStatusRequest(b"\x07")),
    ("66 00", SyncStatusRequest(b"")),
]


@pytest.mark.parametrize(("hex_bytes", "message"), RECORDED)
def test_w2_recorded_frames(hex_bytes: str, message: Message) -> None:
    assert wire.decode(bytes.fromhex(hex_bytes)) == message


def test_w3_encoders_write_the_recorded_bytes() -> None:
    assert wire.step1(b"\x00") == bytes.fromhex("00 00 01 00")
    assert wire.step2(b"\x00\x00") == bytes.fromhex("00 01 02 00 00")
    assert wire.update(KEYSTROKE) == bytes.fromhex("00 02 0b") + KEYSTROKE
    assert wire.awareness(bytes.fromhex("01 01 00 02 7b 7d")) == bytes.fromhex("01 06 01 01 00 02 7b 7d")
    assert wire.denied("né") == bytes.fromhex("02 00 03 6e c3 a9")
    assert wire.echo_status(b"\x07") == bytes.fromhex("66 01 07")
    assert bytes.fromhex("01 01 00") == wire.KEEP_ALIVE


@given(st.binary(max_size=400))
def test_w1_round_trips(content: bytes) -> None:
    assert wire.decode(wire.update(content)) == Update(content)
    assert wire.decode(wire.awareness(content)) == Awareness(content)
    assert wire.decode(wire.echo_status(content)) == SyncStatusRequest(content)
    if content:  # an empty step 2 and an empty step 1 are told apart from bare heads only by their content
        assert wire.decode(wire.step2(content)) == Step2(content)


@given(st.one_of(st.just(b"\x00"), st.binary(min_size=3, max_size=300)))
def test_w1_state_vectors_round_trip(sv: bytes) -> None:
    assert wire.decode(wire.step1(sv)) == Step1(sv)


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 129, 16_383, 16_384, 70_000])
def test_w1_lengths_at_the_edges(size: int) -> None:
    assert wire.decode(wire.update(b"\xc3" * size)) == Update(b"\xc3" * size)
    assert wire.decode(wire.awareness(b"\xc3" * size)) == Awareness(b"\xc3" * size)


@pytest.mark.parametrize("frame", [bytes.fromhex(recorded) for recorded, _ in RECORDED])
def test_w1_every_cut_of_a_frame_is_refused_or_says_nothing(frame: bytes) -> None:
    for end in range(len(frame)):
        if not any(frame[:end]) and end:
            assert wire.decode(frame[:end]) == Nothing()
            continue
        with pytest.raises(WireError):
            wire.decode(frame[:end])


@pytest.mark.parametrize("frame", [bytes.fromhex(recorded) for recorded, _ in RECORDED])
def test_w1_what_follows_a_message_is_refused(frame: bytes) -> None:
    with pytest.raises(WireError, match="follow the message"):
        wire.decode(frame + b"\x03")


def test_w1_two_messages_in_a_frame_are_refused() -> None:
    with pytest.raises(WireError, match="one message per frame"):
        wire.decode(wire.update(KEYSTROKE) + wire.awareness(b"\x00"))


@pytest.mark.parametrize(
    ("hex_bytes", "message"),
    [
        ("", "message type is cut short"),
        ("02 00 01 61", "unknown message type 2 (byte 0)"),
        ("04", "unknown message type 4 (byte 0)"),
        ("09", "unknown message type 9 (byte 0)"),
        ("ac 02", "unknown message type 300 (byte 0)"),
        ("80 00", "message type is not in its shortest form (byte 0)"),
        ("00 03 00", "unknown sync message type 3 (byte 1)"),
        ("00 ac 02", "unknown sync message type 300 (byte 1)"),
        ("00 02 ff ff ff 7a", "update announces 257949695 bytes but 0 follow (byte 6)"),
        ("00 00 ff ff ff 7a", "state vector announces 257949695 bytes but 0 follow (byte 6)"),
        ("01 ff ff ff 7a", "awareness announces 257949695 bytes but 0 follow (byte 5)"),
        ("00 02 05 01", "update announces 5 bytes but 1 follow (byte 3)"),
        ("66 05 01", "sync status announces 5 bytes but 1 follow (byte 2)"),
    ],
)
def test_w2_refusals_name_type_and_byte(hex_bytes: str, message: str) -> None:
    with pytest.raises(WireError) as refused:
        wire.decode(bytes.fromhex(hex_bytes))
    assert message in str(refused.value)


@pytest.mark.parametrize("zeros", [1, 2, 7, 64])
def test_w4_trailing_heads_are_ignored_after_sync_messages(zeros: int) -> None:
    assert wire.decode(wire.step2(KEYSTROKE) + bytes(zeros)) == Step2(KEYSTROKE)
    assert wire.decode(wire.update(KEYSTROKE) + bytes(zeros)) == Update(KEYSTROKE)
    assert wire.decode(wire.step1(b"\x00") + bytes(zeros)) == Step1(b"\x00")
    assert wire.decode(bytes(zeros)) == Nothing()


def test_w4_a_head_before_a_reply_is_ignored() -> None:
    assert wire.decode(b"\x00" + wire.step2(b"\x00\x00")) == Step2(b"\x00\x00")
    assert wire.decode(b"\x00" + wire.step2(KEYSTROKE * 20)) == Step2(KEYSTROKE * 20)


def test_w4_the_tolerance_is_bounded_and_only_for_sync() -> None:
    for frame in (bytes(70), wire.update(KEYSTROKE) + bytes(65), wire.awareness(b"\x00") + b"\x00", b"\x03\x00"):
        with pytest.raises(WireError):
            wire.decode(frame)
