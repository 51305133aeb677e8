"""Test clients for both dialects that send raw bytes over a real socket and have no CRDT.

They record everything that arrives, and answer the server's step 1 with the update that a test gives them. Tests wait
with `await client.until(condition)`, which has a deadline and names the condition when it fails.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from typing import Any, Self

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from tests.support.lib0 import (
    EMPTY_UPDATE,
    EMPTY_VECTOR,
    buf,
    parse_update,
    read_buf,
    read_string,
    read_varuint,
    string,
    varuint,
)

DEADLINE_S = 15.0
MAX_FRAME_BYTES = 1 << 28
FAILURES: list[Exception] = []  # frames that a server must not send, seen by any client since the last `drop_all`
OPEN: set[Client] = set()  # clients that `drop_all` closes when a test fails halfway


class Listener(WSListener):
    """Called by picows; assembles whole messages and passes them to its client."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.parts: list[bytes] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.client.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()
            code = int.from_bytes(payload[:2], "big") if payload else 1005
            self.client.closed_with(code, payload[2:].decode(errors="replace"))
            transport.disconnect()
            return
        if kind in (WSMsgType.PING, WSMsgType.PONG):
            return
        self.parts.append(frame.get_payload_as_bytes())
        if frame.fin:
            payload = self.parts[0] if len(self.parts) == 1 else b"".join(self.parts)
            self.parts = []
            try:
                self.client.frame(payload, text=kind == WSMsgType.TEXT)
            except Exception as error:
                self.client.fail(error)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.client.closed_with(1006, "")


class Client:
    """Common to both dialects.

    Attributes:
        updates: the update bytes of every step 2 and update received, in order.
        skips: Skip structs seen in them (only when `inspect`).
        synced: a step 2 has arrived.
        closed: close code and reason, once closed; 1006 if the socket ended without a close frame.
        held: the update with which this client answers the server's step 1.
    """

    def __init__(self, *, inspect: bool = False, held: bytes = EMPTY_UPDATE) -> None:
        self.transport: WSTransport | None = None
        self.frames: list[bytes] = []
        self.frames_in = 0
        self.keep_frames = False
        self.updates: list[bytes] = []
        self.skips: list[tuple[int, int, int]] = []
        self.inspect = inspect
        self.held = held
        self.synced = False
        self.step1s: list[bytes] = []
        self.presence: dict[int, tuple[int, Any]] = {}
        self.last_frame_s = 0.0
        self.closed: tuple[int, str] | None = None
        self.failure: Exception | None = None
        self.on_update: Callable[[bytes], None] | None = None
        self._changed = asyncio.Event()

    # -- life

    async def open(self, url: str, *, sock: socket.socket | None = None, headers: dict[str, str] | None = None) -> Self:
        options: dict[str, Any] = {} if sock is None else {"socket_factory": lambda _: sock}
        OPEN.add(self)
        await ws_connect(
            lambda: Listener(self),
            url,
            max_frame_size=MAX_FRAME_BYTES,
            websocket_handshake_timeout=30,
            use_aiofastnet=False,
            extra_headers=headers,
            **options,
        )
        if self.transport is None:  # closed in the event loop turn in which it was opened
            raise ConnectionResetError(f"{url}: the connection ended before it was open")
        return self

    def send(self, payload: bytes) -> None:
        if self.transport is None:
            raise RuntimeError("not connected")
        self.transport.send(WSMsgType.BINARY, payload)

    def send_text(self, text: str) -> None:
        if self.transport is None:
            raise RuntimeError("not connected")
        self.transport.send(WSMsgType.TEXT, text.encode())

    async def close(self) -> None:
        """Close with a close frame; returns when the socket has ended."""
        if self.transport is not None and self.closed is None:
            self.transport.send_close(WSCloseCode.OK)
            try:
                await asyncio.wait_for(self.transport.wait_disconnected(), 5)
            except TimeoutError:
                self.transport.disconnect(False)

    def drop(self) -> None:
        """End the socket without a close frame, like a crash or a lost network."""
        if self.transport is not None:
            self.transport.disconnect(False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # -- waiting

    async def until(self, condition: Callable[[], object], what: str = "", deadline_s: float = DEADLINE_S) -> None:
        """Wait until `condition()` holds; fails with its name after `deadline_s`, or if the socket closes first."""
        end = time.monotonic() + deadline_s
        while not condition():
            self._changed.clear()
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not within {deadline_s:.0f} s: {what or condition}; {self}")
            if self.failure is not None:
                raise AssertionError(f"what the server sent was wrong: {self.failure}") from self.failure
            if self.closed is not None:
                raise AssertionError(f"closed with {self.closed} before: {what or condition}")
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue

    async def until_synced(self, deadline_s: float = DEADLINE_S) -> Self:
        await self.until(lambda: self.synced, "synced", deadline_s)
        return self

    async def until_closed(self, deadline_s: float = DEADLINE_S) -> tuple[int, str]:
        """Wait for the server to close; returns its code and reason."""
        end = time.monotonic() + deadline_s
        while self.closed is None:
            self._changed.clear()
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"not closed within {deadline_s:.0f} s; {self}")
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue
        return self.closed

    async def changed(self) -> None:
        """Wait until something arrives or the socket ends; the caller sets a deadline."""
        self._changed.clear()
        await self._changed.wait()

    def holds(self, token: bytes) -> bool:
        """Whether anything received contains the text `token`."""
        return any(token in update for update in self.updates)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(synced={self.synced}, updates={len(self.updates)}, frames={self.frames_in}, "
            f"closed={self.closed})"
        )

    # -- called by the listener

    def closed_with(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
        OPEN.discard(self)
        self._changed.set()

    def fail(self, error: Exception) -> None:
        """Record that the server sent something wrong; the next wait reports it, and so does the end of the test."""
        self.failure = self.failure or error
        FAILURES.append(error)
        self._changed.set()

    def frame(self, payload: bytes, *, text: bool) -> None:
        self.frames_in += 1
        self.last_frame_s = time.monotonic()
        if self.keep_frames:
            self.frames.append(payload)
        if text:
            raise AssertionError(f"the server sent a text frame: {payload[:80]!r}")
        self.message(payload)
        self._changed.set()

    def message(self, payload: bytes) -> None:
        raise NotImplementedError

    def _sync(self, payload: bytes, at: int) -> None:
        kind, at = read_varuint(payload, at)
        body, at = read_buf(payload, at)
        if at != len(payload):
            raise AssertionError(f"more than one message in a frame: {payload[:80].hex()}")
        if kind == 0:
            self.step1s.append(body)
            self.answer_step1()
            return
        if self.inspect:
            self.skips += parse_update(body).skips
        self.updates.append(body)
        if kind == 1:
            self.synced = True
        if self.on_update is not None:
            self.on_update(body)

    def answer_step1(self) -> None:
        """Send `held`: the empty update unless a test has set another one."""
        self.step2(self.held)

    def _awareness(self, payload: bytes) -> None:
        count, at = read_varuint(payload, 0)
        for _ in range(count):
            client, at = read_varuint(payload, at)
            clock, at = read_varuint(payload, at)
            state, at = read_string(payload, at)
            self.presence[client] = (clock, json.loads(state))

    async def settle(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until everything this client sent is durable; everything stored by then has arrived here."""
        raise NotImplementedError

    # -- sent by tests; `prefix` is the Hocuspocus address

    prefix = b""

    def step1(self, vector: bytes = EMPTY_VECTOR) -> None:
        self.send(self.prefix + b"\x00\x00" + buf(vector))

    def step2(self, update: bytes) -> None:
        self.send(self.prefix + b"\x00\x01" + buf(update))

    def update(self, update: bytes) -> None:
        self.send(self.prefix + b"\x00\x02" + buf(update))

    def announce(self, client: int, clock: int, state: object) -> None:
        entry = varuint(client) + varuint(clock) + string(json.dumps(state))
        self.send(self.prefix + b"\x01" + buf(b"\x01" + entry))


class YClient(Client):
    """One y-websocket connection.

    Attributes:
        marks: payloads of sync statuses (message 102) that the server has echoed.
        denied: reasons of permission-denied messages.
    """

    def __init__(self, *, inspect: bool = False, held: bytes = EMPTY_UPDATE) -> None:
        super().__init__(inspect=inspect, held=held)
        self.marks: list[bytes] = []
        self.denied: list[str] = []

    async def join(self, ws: str, document: str, *, vector: bytes = EMPTY_VECTOR, **options: Any) -> Self:
        """Open `{ws}/{document}`, send step 1 and wait for step 2."""
        await self.open(f"{ws}/{document}", **options)
        self.step1(vector)
        return await self.until_synced()

    def mark(self, payload: bytes) -> None:
        """Ask for a sync status, which is echoed once everything sent before it is durable."""
        self.send(b"\x66" + buf(payload))

    async def settle(self, deadline_s: float = DEADLINE_S) -> None:
        """See `Client`; uses a sync status."""
        await self.until_stored(b"settle", deadline_s)

    async def until_stored(self, payload: bytes = b"stored", deadline_s: float = DEADLINE_S) -> None:
        """Wait until everything sent so far is durable."""
        before = self.marks.count(payload)
        self.mark(payload)
        await self.until(lambda: self.marks.count(payload) > before, "sync status", deadline_s)

    def message(self, payload: bytes) -> None:
        kind, at = read_varuint(payload, 0)
        if kind == 0:
            self._sync(payload, at)
        elif kind == 1:
            self._awareness(read_buf(payload, at)[0])
        elif kind == 2:
            self.denied.append(read_string(payload, at + 1)[0])
        elif kind == 0x66:
            self.marks.append(read_buf(payload, at)[0])
        else:
            raise AssertionError(f"unknown message {kind}: clients print an error for it")


class HocuspocusClient(Client):
    """One Hocuspocus connection with one document.

    Attributes:
        sent: step 2s and updates sent that providers count; statuses: the answers, in order (1 stored, 0 refused).
        scope: `read-write` or `readonly` once authenticated; denied: reasons of denials; closes: reasons of CLOSE.
    """

    def __init__(
        self, document: str, *, token: str = "", inspect: bool = False, held: bytes = EMPTY_UPDATE, address: str = ""
    ) -> None:
        super().__init__(inspect=inspect, held=held)
        self.address = address or document
        self.prefix = string(self.address)
        self.token = token
        self.sent = 0
        self._asked = 0
        self.statuses: list[int] = []
        self.scope = ""
        self.denied: list[str] = []
        self.closes: list[str] = []
        self.stateless: list[str] = []

    async def join(self, ws: str, *, vector: bytes = EMPTY_VECTOR, **options: Any) -> Self:
        """Open `ws`, authenticate, send step 1 and wait for step 2."""
        await self.open(ws, **options)
        self.authenticate()
        self.step1(vector)
        return await self.until_synced()

    def authenticate(self) -> None:
        self.send(self.prefix + b"\x02\x00" + string(self.token) + string("4.8.0"))

    def step1(self, vector: bytes = EMPTY_VECTOR) -> None:
        self._asked += 1
        super().step1(vector)

    def answer_step1(self) -> None:
        """Providers count only the step 2 that follows from their own step 1, so only that one is answered."""
        if self._asked:
            self._asked -= 1
            self.step2(self.held)
        else:
            super().step2(self.held)

    def step2(self, update: bytes) -> None:
        self.sent += 1
        super().step2(update)

    def update(self, update: bytes) -> None:
        self.sent += 1
        super().update(update)

    async def settle(self, deadline_s: float = DEADLINE_S) -> None:
        """See `Client`; uses an empty update."""
        self.update(EMPTY_UPDATE)
        await self.until_stored(deadline_s)

    async def until_stored(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until every step 2 and update sent so far is answered; fails if one was refused."""
        sent = self.sent
        await self.until(lambda: len(self.statuses) >= sent, f"{sent} statuses", deadline_s)
        if 0 in self.statuses:
            raise AssertionError(f"refused: {self.statuses.count(0)} of {len(self.statuses)}")

    def message(self, payload: bytes) -> None:
        if payload == b"\x09":
            raise AssertionError("the server sent Ping: v2 and v3 providers throw on it")
        if payload == b"\x0a":
            return
        address, at = read_string(payload, 0)
        if address != self.address:
            raise AssertionError(f"a message for {address!r} came to {self.address!r}")
        kind, at = read_varuint(payload, at)
        if kind == 0:
            self._sync(payload, at)
        elif kind == 1:
            self._awareness(read_buf(payload, at)[0])
        elif kind == 2:
            self._auth(payload, at)
        elif kind == 5:
            self.stateless.append(read_string(payload, at)[0])
        elif kind == 7:
            self.closes.append(read_string(payload, at)[0])
        elif kind == 8:
            self.statuses.append(read_varuint(payload, at)[0])
        else:
            raise AssertionError(f"unknown message {kind} from the server")

    def _auth(self, payload: bytes, at: int) -> None:
        what, at = read_varuint(payload, at)
        if what == 2:
            self.scope = read_string(payload, at)[0]
        elif what == 1:
            self.denied.append(read_string(payload, at)[0])
        else:
            self.authenticate()


class Follower(YClient):
    """Records which structs and deletes have arrived, without a CRDT; an author can wait for what an edit builds on."""

    def __init__(self) -> None:
        super().__init__(inspect=True)
        self.clocks: dict[int, int] = {}
        self.deleted: set[tuple[int, int]] = set()
        self.on_update = self._note

    def _note(self, update: bytes) -> None:
        parsed = parse_update(update)
        for client, (_, end) in parsed.structs.items():
            self.clocks[client] = max(self.clocks.get(client, 0), end)
        self.deleted |= deletes_of(parsed.deletes)

    def has(self, clocks: dict[int, int], deletes: set[tuple[int, int]]) -> bool:
        reached = all(self.clocks.get(client, 0) >= clock for client, clock in clocks.items())
        return reached and deletes <= self.deleted


def deletes_of(ranges: dict[int, list[tuple[int, int]]]) -> set[tuple[int, int]]:
    """Delete ranges as single (client, clock) ids."""
    return {
        (client, clock) for client, listed in ranges.items() for start, end in listed for clock in range(start, end)
    }


async def drop_all() -> None:
    """Close every client that a test has left open; a fixture calls it after each test."""
    for client in list(OPEN):
        OPEN.discard(client)
        if client.transport is not None and client.closed is None:
            client.drop()
            await client.transport.wait_disconnected()
    failures, FAILURES[:] = FAILURES[:], []
    if failures:
        raise AssertionError(f"{len(failures)} frames were wrong, the first: {failures[0]}") from failures[0]


async def fresh_reader(ws: str, document: str, *, inspect: bool = False) -> YClient:
    """Connect and sync a client that holds and sends nothing: it gets what any new client gets."""
    return await YClient(inspect=inspect).join(ws, document)
