"""The frame reader, against its rules and against the websockets library as a second opinion."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.server.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_frame, frame
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from raffia.sockets.server.frames import OVERSIZED, FrameError, FrameReader
from raffia.wire.transport import SKIP_FACTOR, START_BYTES

LIMIT = 1000


def read(pieces: list[bytes], limit: int = LIMIT, *, skips: bool = False) -> tuple[list, int | None]:
    """All events of a stream up to a close, and the code of the broken rule."""
    reader = FrameReader(limit, skips=skips)
    events: list = []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (event := reader.next()) is not None:
                events.append(event)
                if event[0] == CLOSE:
                    return events, None
        except FrameError as error:
            return events, error.code if len(error.reason.encode()) <= 123 else -1
    return events, None


def theirs(stream: bytes) -> tuple[list, int | None]:
    """The same by the websockets library, fragments joined."""
    protocol = ServerProtocol(state=OPEN, max_size=LIMIT)
    protocol.receive_data(stream)
    events: list = []
    parts: list[bytes] = []
    kind = 0
    for event in protocol.events_received():
        assert isinstance(event, TheirFrame)
        if event.opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE):
            events.append((int(event.opcode), bytes(event.data)))
            continue
        if event.opcode is not Opcode.CONT:
            kind = int(event.opcode)
        parts.append(bytes(event.data))
        if event.fin:
            whole = b"".join(parts)
            parts = []
            if kind == TEXT:
                try:
                    events.append((kind, whole.decode()))
                except UnicodeDecodeError:
                    return events, 1007
            else:
                events.append((kind, whole))
    failed = protocol.parser_exc is not None and not (events and events[-1][0] == CLOSE)
    return events, protocol.close_sent.code if failed and protocol.close_sent else None


payloads = st.one_of(st.binary(max_size=140), st.text(max_size=40).map(str.encode), st.just("🎈é".encode()))
masks = st.binary(min_size=4, max_size=4)
data_frames = st.builds(
    frame, st.sampled_from([CONT, TEXT, BINARY, BINARY]), payloads, fin=st.sampled_from([True, True, False]), mask=masks
)
control_frames = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125), mask=masks)
closes = st.builds(close_frame, st.one_of(st.none(), st.integers(0, 5000)), st.binary(max_size=20))
odd_frames = st.builds(frame, st.integers(0, 15), payloads, rsv=st.sampled_from([0, 0, 0, 1, 4]), fin=st.booleans())
streams = st.lists(st.one_of(data_frames, data_frames, control_frames, closes, odd_frames), max_size=8).map(b"".join)


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(n % (len(stream) + 1) for n in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(places)]


@settings(max_examples=400, deadline=None)
@given(streams, st.lists(st.integers(0, 2000), max_size=12))
def test_pieces_make_no_difference(stream: bytes, cuts: list[int]):
    """F7"""
    assert read(cut(stream, cuts)) == read([stream]) == read([bytes([octet]) for octet in stream])


@settings(max_examples=400, deadline=None)
@given(streams)
def test_agrees_with_the_websockets_library(stream: bytes):
    events, code = read([stream])
    their_events, their_code = theirs(stream)
    # They refuse a close within a fragmented message (Autobahn 7.1.5) and see bad text only when it has ended (FR5).
    if code == 1007:
        assert their_events[: len(events)] == events
    elif events and events[-1][0] == CLOSE and their_code == 1002:
        assert events[:-1] == their_events
    else:
        assert (events, code) == (their_events, their_code)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200), st.integers(1, 7))
def test_any_bytes_are_read_or_refused(stream: bytes, piece: int):
    read([stream[at : at + piece] for at in range(0, len(stream), piece)])


@pytest.mark.parametrize("pieces", [1, 2])
def test_is_idle_only_between_messages(pieces: int):
    reader = FrameReader(LIMIT)
    assert reader.idle
    stream = frame(BINARY, b"a", fin=False) + frame(PING) + frame(CONT, "é".encode())
    seen = []
    for at in range(0, len(stream), pieces):
        reader.feed(stream[at : at + pieces])
        while (event := reader.next()) is not None:
            seen.append(event)
        seen.append(reader.idle)
    assert seen[-1] is True
    assert seen.count(True) == 1
    assert [event for event in seen if isinstance(event, tuple)] == [(PING, b""), (BINARY, "aé".encode())]


def test_a_large_message_in_small_pieces_takes_linear_time():
    reader = FrameReader(10_000_000)
    stream = frame(BINARY, bytes(4_000_000))
    started = time.perf_counter()
    for at in range(0, len(stream), 1400):
        reader.feed(stream[at : at + 1400])
        event = reader.next()
    assert event == (BINARY, bytes(4_000_000))
    assert time.perf_counter() - started < 2


def test_limit_is_exact():
    """F4"""
    assert read([frame(BINARY, b"x" * LIMIT)]) == ([(BINARY, b"x" * LIMIT)], None)
    assert read([frame(BINARY, b"x" * (LIMIT + 1))[:8]]) == ([], 1009)


@pytest.mark.parametrize("size", [LIMIT + 1, START_BYTES - 1, START_BYTES, START_BYTES + 1, 3 * START_BYTES])
@pytest.mark.parametrize("fragments", [1, 2, 7])
@pytest.mark.parametrize("piece", [1, 3, 1000, 100_000])
def test_a_message_over_the_limit_is_dropped_and_told(size: int, fragments: int, piece: int):
    """FR4, O7: once, with its start; what comes before, within and after it is read as ever."""
    payload = bytes(n % 251 for n in range(size))
    cuts = [size * n // fragments for n in range(fragments + 1)]
    stream = frame(BINARY, b"before")
    for number, (a, b) in enumerate(itertools.pairwise(cuts)):
        stream += frame(BINARY if number == 0 else CONT, payload[a:b], fin=b == size, mask=b"\1\2\3\4")
        stream += frame(PING, b"within")
    stream += frame(BINARY, b"after")
    events, code = read([stream[at : at + piece] for at in range(0, len(stream), piece)], skips=True)
    assert code is None
    told = [payload for kind, payload in events if kind == OVERSIZED]
    ((seen, start),) = told
    assert LIMIT < seen <= size
    assert payload.startswith(start)
    assert len(start) == START_BYTES or len(start) == size
    rest = [event for event in events if event[0] != OVERSIZED]
    assert rest == [(BINARY, b"before"), *[(PING, b"within")] * fragments, (BINARY, b"after")]


def test_what_is_dropped_is_not_kept_and_has_a_limit_too():
    """FR4"""
    reader = FrameReader(LIMIT, skips=True)
    reader.feed(frame(BINARY, bytes(SKIP_FACTOR * LIMIT))[:-1])
    assert reader.next() == (OVERSIZED, (SKIP_FACTOR * LIMIT, bytes(START_BYTES)))
    assert reader.next() is None
    assert reader.held_bytes <= START_BYTES
    assert not reader.idle
    reader.feed(b"x" + frame(BINARY, b"y" * LIMIT))
    assert reader.next() == (BINARY, b"y" * LIMIT)
    assert reader.next() is None
    assert reader.idle
    assert read([frame(BINARY, bytes(SKIP_FACTOR * LIMIT + 1))[:14]], skips=True) == ([], 1009)
    assert read([frame(TEXT, b"x" * (LIMIT + 1))[:14]], skips=True) == ([], 1009)
    many = frame(BINARY, bytes(LIMIT), fin=False) + frame(CONT, bytes(LIMIT), fin=False) * (SKIP_FACTOR - 1)
    events, code = read([many + frame(CONT, b"x")], skips=True)
    assert (len(events), code) == (1, 1009)
