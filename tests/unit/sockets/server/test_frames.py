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

from raffia.sockets.server.frames import FrameError, FrameReader

LIMIT = 1000


def read(pieces: list[bytes], limit: int = LIMIT) -> tuple[list, int | None]:
    """All events of a stream up to a close, and the code of the broken rule."""
    reader = FrameReader(limit)
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
