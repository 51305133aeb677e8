"""The Hocuspocus dialect, rules HO1 to HO6 of `raffia.wire.hocuspocus`, with bytes of published providers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raffia.errors import WireError
from raffia.wire import hocuspocus as wire
from raffia.wire import lib0, ywebsocket
from raffia.wire.messages import (
    Auth,
    Awareness,
    CloseDocument,
    Message,
    Ping,
    Pong,
    QueryAwareness,
    Stateless,
    Step1,
    Step2,
    Update,
)

KEYSTROKE = bytes.fromhex("0101010004010174016100")

FROM_CLIENT: list[tuple[str, str, Message]] = [
    ("01 64 02 00 02 74 6b 05 34 2e 35 2e 30", "d", Auth("tk", "4.5.0")),
    ("01 64 02 00 02 74 6b", "d", Auth("tk", None)),
    ("01 64 02 00 00", "d", Auth("", None)),
    ("01 64 00 00 01 00", "d", Step1(b"\x00")),
    ("01 64 01 06 01 01 00 02 7b 7d", "d", Awareness(bytes.fromhex("01 01 00 02 7b 7d"))),
    ("01 64 00 01 02 00 00", "d", Step2(b"\x00\x00")),
    ("01 64 00 02 0b" + KEYSTROKE.hex(), "d", Update(KEYSTROKE)),
    ("01 64 03", "d", QueryAwareness()),
    ("01 64 05 02 c3 a9", "d", Stateless("é")),
    ("01 64 07", "d", CloseDocument("")),
    ("01 64 07 03 62 79 65", "d", CloseDocument("bye")),
    ("04 64 00 73 31 00 02 02 00 00", "d\0s1", Update(b"\x00\x00")),
    ("09", "", Ping()),
    ("0a", "", Pong()),
]

ADDRESSES = st.one_of(st.text(min_size=1, max_size=90), st.sampled_from(["café/😀", "d\0é\0😀", "x" * 200]))


@pytest.mark.parametrize(("hex_bytes", "address", "message"), FROM_CLIENT)
def test_ho1_recorded_frames(hex_bytes: str, address: str, message: Message) -> None:
    assert wire.decode(bytes.fromhex(hex_bytes)) == (address, message)


@pytest.mark.parametrize("address", ["d", wire.prefix("d")])
def test_ho1_encoders_write_the_recorded_bytes(address: str | bytes) -> None:
    recorded = {
        "01 64 02 02 0a 72 65 61 64 2d 77 72 69 74 65": wire.authenticated(address, read_only=False),
        "01 64 02 02 08 72 65 61 64 6f 6e 6c 79": wire.authenticated(address, read_only=True),
        "01 64 02 01 03 6e c3 a9": wire.denied(address, "né"),
        "01 64 02 00": wire.ask_token(address),
        "01 64 00 00 01 00": wire.step1(address, b"\x00"),
        "01 64 00 01 02 00 00": wire.step2(address, b"\x00\x00"),
        "01 64 00 02 02 00 00": wire.update(address, b"\x00\x00"),
        "01 64 01 06 01 01 00 02 7b 7d": wire.awareness(address, bytes.fromhex("01 01 00 02 7b 7d")),
        "01 64 01 01 00": wire.keep_alive(address),
        "01 64 05 02 c3 a9": wire.stateless(address, "é"),
        "01 64 07 03 62 79 65": wire.close(address, "bye"),
        "01 64 08 01": wire.sync_status(address, ok=True),
        "01 64 08 00": wire.sync_status(address, ok=False),
        "0a": wire.pong(),
    }
    for hex_bytes, frame in recorded.items():
        assert frame == bytes.fromhex(hex_bytes)


@given(ADDRESSES, st.binary(max_size=300), st.text(max_size=50))
def test_ho1_round_trips(address: str, content: bytes, text: str) -> None:
    assert wire.decode(wire.step1(address, content)) == (address, Step1(content))
    assert wire.decode(wire.step2(address, content)) == (address, Step2(content))
    assert wire.decode(wire.update(address, content)) == (address, Update(content))
    assert wire.decode(wire.awareness(address, content)) == (address, Awareness(content))
    assert wire.decode(wire.stateless(address, text)) == (address, Stateless(text))
    assert wire.decode(wire.close(address, text)) == (address, CloseDocument(text))


@pytest.mark.parametrize("address_size", [1, 126, 127, 128, 129, 1024])
@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 129, 16_384])
def test_ho1_lengths_at_the_edges(address_size: int, size: int) -> None:
    address = "a" * address_size
    assert wire.decode(wire.update(address, b"\xc3" * size)) == (address, Update(b"\xc3" * size))
    assert wire.decode(wire.awareness(address, b"\xc3" * size)) == (address, Awareness(b"\xc3" * size))


@pytest.mark.parametrize("frame", [bytes.fromhex(recorded) for recorded, _, _ in FROM_CLIENT])
def test_ho1_every_cut_of_a_frame_is_refused(frame: bytes) -> None:
    optional = {bytes.fromhex("01 64 02 00 02 74 6b"), bytes.fromhex("01 64 07")}  # Auth and CLOSE have optional ends
    for end in range(len(frame)):
        if frame[:end] not in optional:
            with pytest.raises(WireError):
                wire.decode(frame[:end])


@pytest.mark.parametrize("frame", [bytes.fromhex(recorded) for recorded, _, _ in FROM_CLIENT])
def test_ho1_what_follows_a_message_is_refused(frame: bytes) -> None:
    with pytest.raises(WireError):
        wire.decode(frame + b"\x03\x03\x03\x03\x03\x03")
    if frame[2:3] == b"\x00":  # no tolerance for bare heads in this dialect
        with pytest.raises(WireError, match="1 bytes follow the message"):
            wire.decode(frame + b"\x00")


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("d", ("d", None)),
        ("d\0s", ("d", "s")),
        ("d\0", ("d", "")),
        ("d\0s\0t", ("d", "s\0t")),
        ("café/😀\0é", ("café/😀", "é")),
        ("\0s", ("", "s")),
    ],
)
def test_ho2_an_address_is_split_at_the_first_nul(address: str, parts: tuple[str, str | None]) -> None:
    assert wire.split_address(address) == parts


@given(ADDRESSES, st.binary(max_size=200))
def test_ho2_the_exact_address_is_echoed(address: str, content: bytes) -> None:
    decoded, _ = wire.decode(wire.update(address, content))
    assert wire.prefix(decoded) == lib0.write_string(address)
    assert wire.update(wire.prefix(decoded), content) == wire.update(address, content)


@given(st.binary(max_size=200))
def test_ho2_bodies_are_shared_with_the_other_dialect(content: bytes) -> None:
    head = wire.prefix("café/😀")
    assert wire.update("café/😀", content) == head + wire.update(b"", content) == head + ywebsocket.update(content)
    assert wire.awareness("café/😀", content) == head + ywebsocket.awareness(content)
    assert wire.step2(b"", content) == ywebsocket.step2(content)
    assert wire.keep_alive(b"") == ywebsocket.KEEP_ALIVE


@pytest.mark.parametrize(
    ("hex_bytes", "message"),
    [
        ("", "address is cut short"),
        ("00 00 00 01 00", "address has 0 bytes; 1 to 1024 are allowed (byte 0)"),
        ("ff ff ff 7a", "address has 257949695 bytes; 1 to 1024 are allowed (byte 0)"),
        ("05 64", "address announces 5 bytes but 1 follow (byte 1)"),
        ("02 64 ff 00 02 02 00 00", "address is not UTF-8 (byte 2)"),
        ("02 64 ff 03", "address is not UTF-8 (byte 2)"),
        ("01 64", "message type is cut short after 0 bytes (byte 2)"),
        ("01 64 04 01 00", "unknown message type 4 (byte 2)"),
        ("01 64 06 01 61", "unknown message type 6 (byte 2)"),
        ("01 64 08 01", "unknown message type 8 (byte 2)"),
        ("01 64 09", "unknown message type 9 (byte 2)"),
        ("01 64 66 00", "unknown message type 102 (byte 2)"),
        ("01 64 00 03 00", "unknown sync message type 3 (byte 3)"),
        ("01 64 02 01 00", "unknown auth message type 1 (byte 3)"),
        ("01 64 02 00 05 74", "token announces 5 bytes but 1 follow (byte 5)"),
        ("01 64 02 00 01 ff", "token is not UTF-8 (byte 5)"),
        ("01 64 02 00 01 74 01 ff", "provider version is not UTF-8 (byte 7)"),
        ("01 64 05 01 ff", "stateless message is not UTF-8 (byte 4)"),
        ("01 64 00 02 ff ff ff 7a", "update announces 257949695 bytes but 0 follow (byte 8)"),
        ("01 64 01 ff ff ff 7a", "awareness announces 257949695 bytes but 0 follow (byte 7)"),
    ],
)
def test_ho3_refusals_name_type_and_byte(hex_bytes: str, message: str) -> None:
    with pytest.raises(WireError) as refused:
        wire.decode(bytes.fromhex(hex_bytes))
    assert message in str(refused.value)


def test_ho3_an_address_over_its_limit_is_refused() -> None:
    with pytest.raises(WireError, match="address has 1025 bytes"):
        wire.decode(wire.update("a" * 1025, KEYSTROKE))
