"""One reader stops reading while a hundred go on: it affects neither the others nor the server's memory.

When it reads again, it gets everything it missed in one update.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFault
from tests.interop.judge import YjsJudge
from tests.support.client import YClient, fresh_reader
from tests.support.lib0 import buf, insert, read_buf, read_varuint
from tests.support.server import RaffiaServer

pytestmark = [pytest.mark.slow, pytest.mark.alone]

CLIENTS = 100
WRITERS = 10
RATE_PER_S = 10
SAMPLED = 10
BASELINE_S = 5.0
SHORT_S = 10.0
LONG_S = 60.0
PADDING = "." * 40
PASTE = "é" * 2_000_000  # 4 MB: more than the kernel buffers on loopback, or no reader would ever be behind
RECEIVE_BUFFER_BYTES = 4096
TOKEN = re.compile(rb"<(\d{7})>")


class StalledReader:
    """A y-websocket client on a blocking socket with a tiny receive buffer that reads when told to."""

    def __init__(self, port: int, document: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /sync/{document} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.buffer = b""
        while b"\r\n\r\n" not in self.buffer:
            self.buffer += self.socket.recv(1)
        if not self.buffer.startswith(b"HTTP/1.1 101"):
            raise RuntimeError(self.buffer.decode())
        self.buffer = b""
        self.updates: list[bytes] = []
        self.send(b"\x00\x00\x01\x00")
        self.read_until(lambda: bool(self.updates), 10)

    def send(self, payload: bytes) -> None:
        if len(payload) > 125:
            raise ValueError("this client sends short messages only")
        self.socket.sendall(bytes([0x82, 0x80 | len(payload)]) + bytes(4) + payload)

    def read_until(self, condition: object, seconds: float) -> None:
        """Read messages until the condition holds, or none arrives for a second after the deadline."""
        end = time.monotonic() + seconds
        while not condition():  # type: ignore[operator]
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds:.0f} s; {len(self.updates)} updates")
            try:
                self._message(self._frame())
            except TimeoutError:
                continue

    def _exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError("closed")
            self.buffer += piece
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def _frame(self) -> bytes:
        first, second = self._exactly(2)
        size = second & 127
        if size >= 126:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        payload = self._exactly(size)
        if first & 15 == 8:
            raise ConnectionError(f"closed with {int.from_bytes(payload[:2], 'big')} {payload[2:]!r}")
        return payload if first & 15 == 2 else b""

    def _message(self, payload: bytes) -> None:
        if payload[:1] == b"\x00":
            kind, at = read_varuint(payload, 1)
            if kind:
                self.updates.append(read_buf(payload, at)[0])
            else:
                self.send(b"\x00\x01" + buf(b"\x00\x00"))

    def tokens(self, since: int = 0) -> list[set[int]]:
        return [{int(token) for token in TOKEN.findall(update)} for update in self.updates[since:]]

    def close(self) -> None:
        self.socket.close()


@dataclass
class Traffic:
    """100 clients, of which 10 type 10 tokens per second; records when each token was sent and seen."""

    writers: list[YClient]
    sampled: list[YClient]
    sent: dict[int, float] = field(default_factory=dict)
    clocks: list[int] = field(default_factory=lambda: [0] * WRITERS)

    async def run(self, seconds: float) -> list[float]:
        """Type for some seconds; returns the latencies at the sampled readers, in seconds."""
        first = len(self.sent)
        seen: list[tuple[int, float]] = []

        def note(update: bytes) -> None:
            now = time.monotonic()
            seen.extend((int(token), now) for token in TOKEN.findall(update))

        for client in self.sampled:
            client.on_update = note
        begin = time.monotonic()
        period = 1 / (WRITERS * RATE_PER_S)
        for number in range(int(seconds / period)):
            due = begin + number * period
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            self._type(first + number)
        last = len(self.sent) - 1
        await self.sampled[0].until(lambda: any(token == last for token, _ in seen), "the last token")
        for client in self.sampled:
            await client.settle()
        latencies = [at - self.sent[token] for token, at in seen if token >= first]
        assert len(latencies) == (len(self.sent) - first) * len(self.sampled), "every reader saw every token once"
        return latencies

    def _type(self, number: int) -> None:
        who = number % WRITERS
        clock = self.clocks[who]
        text = f"<{number:07}>{PADDING}"
        self.clocks[who] += len(text)
        self.sent[number] = time.monotonic()
        self.writers[who].update(insert(who + 1, clock, text, clock - 1 if clock else None))


def p99(latencies: list[float]) -> float:
    return sorted(latencies)[int(len(latencies) * 0.99)]


async def quiet_p99(traffic: Traffic, seconds: float) -> float:
    """The p99 in the quieter seconds: the lower quartile of the p99s of each second.

    A slow reader that holds up the others does so in every second; other load on the machine does not.
    """
    found = sorted([p99(await traffic.run(1.0)) for _ in range(round(seconds))])
    return found[len(found) // 4]


async def test_a_reader_that_stops_reading(
    tmp_path: Path, long: bool, fault: MakeFault, request: pytest.FixtureRequest
) -> None:
    row = fault("slow reader of one process, SO_RCVBUF 4096")
    seconds = LONG_S if long else SHORT_S
    document = "slow"
    with RaffiaServer(tmp_path / "data") as server:
        everybody = [await YClient().join(server.ws, document) for _ in range(CLIENTS)]
        traffic = Traffic(everybody[:WRITERS], everybody[-SAMPLED:])
        await traffic.run(1.0)  # warm up
        before = await quiet_p99(traffic, BASELINE_S)
        slow = await asyncio.to_thread(StalledReader, server.port, document)
        request.addfinalizer(slow.close)
        known = set().union(*slow.tokens())
        everybody[0].update(insert(50, 0, PASTE))
        for client in everybody:
            await client.settle()
        memory = server.rss_bytes()
        during = await quiet_p99(traffic, seconds)
        grown = server.rss_bytes() - memory
        row.ran(len(traffic.sent))
        row.note(
            f"p99 for the others in the quieter seconds {before * 1e3:.0f} ms before, {during * 1e3:.0f} ms during "
            f"{seconds:.0f} s; the process grew by {grown / 1e6:.1f} MB"
        )
        step2s = len(slow.updates)
        everything = set(traffic.sent)
        await asyncio.to_thread(slow.read_until, lambda: known.union(*slow.tokens()) == everything, 30)
        frames = slow.tokens(step2s)
        early, catching_up = frames[:-1], frames[-1]
        print(f"slow reader: {len(early)} frames were under way, then one with {len(catching_up)} of {len(everything)}")
        # It gets what was written before it fell behind, then everything it missed in one update.
        assert sum(len(tokens) for tokens in early) + len(catching_up) == len(everything - known), "nothing twice"
        assert len(catching_up) > 5 * max((len(tokens) for tokens in early), default=1)
        with YjsJudge() as judge:
            async with await fresh_reader(server.ws, document) as reader:
                assert judge.describe(*slow.updates).same(judge.describe(*reader.updates))
        # Then it is an ordinary reader again.
        await traffic.run(0.5)
        await asyncio.to_thread(slow.read_until, lambda: known.union(*slow.tokens()) == set(traffic.sent), 10)
        slow.close()
        for client in everybody:
            await client.close()
        assert during < 2 * before + 0.010, "the others noticed"
        typed = sum(traffic.clocks)
        assert grown < 8_000_000 + 4 * typed, f"memory grew by {grown} bytes while {typed} characters were typed"
