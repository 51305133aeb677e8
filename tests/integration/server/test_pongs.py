"""Pongs that had to wait (WP7), where the bounds of congestion are closer together than a pong is long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.integration.server.raw import BINARY, PING, PONG, frame, head
from uvicorn.server import ServerState

from raffia.sockets.server.keepalive import UNANSWERED
from raffia.sockets.server.protocol import RaffiaWebSocketProtocol
from raffia.sockets.server.run import make_config
from raffia.wire.transport import Limits, Transport

LIMITS = Limits(high_bytes=100, low_bytes=90)


class Pipe(asyncio.Transport):
    """A transport whose peer reads when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: RaffiaWebSocketProtocol
        self.waiting = b""
        self.paused = False
        self.high_bytes, self.low_bytes = 65_536, 16_384

    def write(self, data: Any) -> None:
        self.waiting += data
        if not self.paused and len(self.waiting) > self.high_bytes:
            self.paused = True
            self.protocol.pause_writing()

    def read(self, size: int) -> bytes:
        """The peer reads so many bytes."""
        data, self.waiting = self.waiting[:size], self.waiting[size:]
        if self.paused and len(self.waiting) <= self.low_bytes:
            self.paused = False
            self.protocol.resume_writing()
        return data

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        assert low is not None
        self.high_bytes, self.low_bytes = high, low

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Notes:
    """A listener that only notes."""

    def __init__(self) -> None:
        self.notes: list[str | bytes] = []

    def opened(self, transport: Transport) -> None:
        self.transport = transport

    def message(self, payload: bytes) -> None:
        self.notes.append(payload)

    def text(self, payload: str) -> None:
        self.notes.append(payload)

    def oversized(self, size_bytes: int, limit_bytes: int, start: bytes) -> None:
        self.notes.append(f"oversized {size_bytes} over {limit_bytes}: {start!r}")

    def refused(self, code: int, reason: str) -> None:
        self.notes.append(f"refused {code}: {reason}")

    def congested(self) -> None:
        self.notes.append("congested")

    def drained(self) -> None:
        self.notes.append("drained")

    def closed(self, code: int) -> None:
        self.notes.append(f"closed {code}")


@pytest.fixture
async def pipe() -> Pipe:
    """A connection that has asked and is not accepted yet."""
    asked = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    config = make_config(app, lifespan="off", log_config=None)
    config.load()
    pipe = Pipe()
    protocol = pipe.protocol = RaffiaWebSocketProtocol(config, ServerState(), {})
    protocol.connection_made(pipe)
    protocol.data_received(head("/"))
    await asked.wait()
    return pipe


async def test_a_pong_that_is_too_much_again_is_no_drain(pipe: Pipe):
    """WP7, O3"""
    listener = Notes()
    protocol = pipe.protocol
    protocol.attach(listener, limits=LIMITS)
    pipe.read(len(pipe.waiting))  # the 101 response
    listener.transport.send(b"x" * 109)  # 111 bytes on the wire
    protocol.data_received(frame(PING, b"first") + frame(PING, b"second"))
    assert listener.notes == ["congested"]
    assert pipe.waiting == b"\x82\x6d" + b"x" * 109

    pipe.read(16)  # 95 wait: still congested
    assert listener.notes == ["congested"]
    protocol.data_received(frame(PING, b"p" * 60))
    pipe.read(6)  # 89 wait, and the pong makes them 151
    assert len(pipe.waiting) == 89 + 62
    assert pipe.waiting.endswith(b"\x8a\x3c" + b"p" * 60)
    assert listener.notes == ["congested"]
    assert protocol.congested

    protocol.data_received(frame(BINARY, b"delivered"))
    pipe.read(100)
    assert listener.notes == ["congested", b"delivered", "drained"]
    assert not protocol.congested
    protocol.data_received(frame(PING, b"at once"))
    assert pipe.waiting.endswith(b"\x8a\x07at once")
    protocol.connection_lost(None)
    assert listener.notes[-1] == "closed 1006"


async def test_a_probe_is_a_ping_that_the_keepalive_does_not_count(pipe: Pipe):
    protocol = pipe.protocol
    protocol.attach(Notes())
    pipe.read(len(pipe.waiting))
    assert protocol.answered()
    protocol.silent |= UNANSWERED  # the keepalive's ping
    protocol.probe()
    assert pipe.waiting == b"\x89\x00"
    assert not protocol.answered()
    protocol.data_received(frame(PONG, b""))
    assert protocol.answered()
    assert not protocol.silent
    protocol.probe()
    assert not protocol.silent & UNANSWERED
    protocol.connection_lost(None)
