"""One connection of the load generator, in either dialect.

A client answers like a provider (step 1 with step 2) and counts what it receives. It reads frames only while it is
asked to watch: reading every frame of a thousand clients would measure the load generator.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from tools.bench.frames import STEP2, TOKEN, Dialect, buffer, hello

MAX_FRAME_BYTES = 1 << 28
HANDSHAKE_S = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, and how.

    Attributes:
        url: address of the WebSocket endpoint, without the document.
        dialect: `yws` puts the document into the path, `hp` into every frame.
        access_token: the token that the server requires; may be empty.
        sources: local addresses to connect from, in turn; a server that limits connections per address, or a client
            that runs out of ports, needs several.
    """

    url: str
    dialect: Dialect
    access_token: str = ""
    sources: tuple[str, ...] = ()


class Client(WSListener):
    """One connection with one session on one document.

    Attributes:
        frames: messages received.
        bytes: payload bytes received.
        seen: when each token arrived first, in `time.perf_counter` seconds; only while watching.
        statuses: when each Hocuspocus SyncStatus arrived; only while watching.
        stored, refused: how many of those were 1 and 0.
        closed: the close code that the server sent, if any.
        synced: done at the first step 2, with its time.
    """

    def __init__(self, target: Target, document: str, *, watch: bool) -> None:
        self._target = target
        self._prefix = buffer(document.encode()) if target.dialect == "hp" else b""
        self._watch = watch
        self._transport: WSTransport | None = None
        self.frames = 0
        self.bytes = 0
        self.stored = 0
        self.refused = 0
        self._waits_for: tuple[int, asyncio.Future[None]] | None = None
        self.seen: dict[bytes, float] = {}
        self.statuses: list[float] = []
        self.closed: WSCloseCode | None = None
        self.synced: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def send(self, message: bytes) -> None:
        """Send one message, after the address if the dialect has one."""
        if self._transport is not None:
            self._transport.send(WSMsgType.BINARY, self._prefix + message)

    async def answered(self, count: int) -> None:
        """Wait until `count` updates were answered, stored or refused (Hocuspocus only).

        Raises:
            ConnectionError: the socket closed first.
        """
        if self.stored + self.refused >= count:
            return
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waits_for = (count, waiting)
        await waiting

    def disconnect(self) -> None:
        """Drop the socket without a close handshake."""
        if self._transport is not None:
            self._transport.disconnect(False)

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Send what a provider sends first."""
        self._transport = transport
        for message in hello(self._target.dialect, self._target.access_token):
            self.send(message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Fail the waiter for the sync."""
        if not self.synced.done():
            self.synced.set_exception(ConnectionError(f"closed before synced, code {self.closed}"))
            self.synced.exception()  # a waiter still gets it; there may be none
        if self._waits_for is not None:
            self._waits_for[1].set_exception(ConnectionError(f"closed before answered, code {self.closed}"))
            self._waits_for = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Count one frame; read it when the sync is not done or when watching."""
        if frame.msg_type is not WSMsgType.BINARY:
            if frame.msg_type is WSMsgType.CLOSE:
                self.closed = frame.get_close_code()
                transport.disconnect()
            return
        self.frames += 1
        self.bytes += frame.payload_size
        # Statuses are short: an address, a type and a number. Longer frames are read only while watching.
        if self._watch or not self.synced.done() or frame.payload_size == len(self._prefix) + 2:
            self._read(frame.get_payload_as_bytes())

    def _read(self, payload: bytes) -> None:
        at = len(self._prefix)
        kind = payload[at]
        if kind == 8 and self._prefix:
            self._status(stored=payload[at + 1] != 0)
            return
        if kind in (0, 4):  # 4 is a sync reply of older Hocuspocus servers
            step = payload[at + 1]
            if step == 0:
                self.send(STEP2)
            elif step == 1 and not self.synced.done():
                self.synced.set_result(time.perf_counter())
        if self._watch and kind in (0, 1, 4):
            now = time.perf_counter()
            for mark in TOKEN.findall(payload):
                self.seen.setdefault(mark, now)

    def _status(self, *, stored: bool) -> None:
        if self._watch:
            self.statuses.append(time.perf_counter())
        self.stored += stored
        self.refused += not stored
        if self._waits_for is not None and self.stored + self.refused >= self._waits_for[0]:
            self._waits_for[1].set_result(None)
            self._waits_for = None


async def open_client(target: Target, document: str, *, index: int = 0, watch: bool = False) -> Client:
    """Connect one client; returns when the handshake is done, which is before `synced`.

    Raises:
        OSError: no connection.
        WSError: the server refused the upgrade.
    """
    url = target.url if target.dialect == "hp" else f"{target.url}/{document}"
    extra: dict[str, Any] = {"local_addr": (target.sources[index % len(target.sources)], 0)} if target.sources else {}
    _, client = await ws_connect(
        lambda: Client(target, document, watch=watch),
        url,
        max_frame_size=MAX_FRAME_BYTES,
        use_aiofastnet=False,
        websocket_handshake_timeout=HANDSHAKE_S,
        **extra,
    )
    assert isinstance(client, Client)
    return client
