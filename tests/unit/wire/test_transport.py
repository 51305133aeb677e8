"""Frames and close payloads."""

from __future__ import annotations

import pytest
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode

from raffia.wire.transport import Frame, close_payload, wire_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_wire_is_what_the_websockets_library_writes(size: int):
    payload = ("é🎈" * (size // 6 + 1)).encode()[:size]
    frame = Frame(payload)
    assert frame.wire == TheirFrame(Opcode.BINARY, payload).serialize(mask=False)
    assert wire_frame(1, payload) == TheirFrame(Opcode.TEXT, payload).serialize(mask=False)


def test_wire_is_made_once():
    """O1"""
    frame = Frame(b"x")
    assert frame.wire is frame.wire
    assert frame.payload == b"x"


def test_a_close_reason_is_cut_between_characters():
    assert close_payload(1000, "") == b"\x03\xe8"
    assert close_payload(4999, "é" * 200)[2:].decode() == "é" * 61
    assert close_payload(4999, "🎈" * 200)[2:].decode() == "🎈" * 30
    assert len(close_payload(4999, "x" * 200)) == 125
