"""Plain ASGI over our protocol, for apps that don't use `raffia.wire.transport`: a listener with a queue.

Rules (tests quote these ids):
    CH1  It implements the ASGI WebSocket specification 2.4, with `websocket.http.response`.
    CH2  At most one message waits for the app; meanwhile the socket is not read.
    CH3  `send` waits while the transport is congested, and raises `ClientDisconnected` (an OSError) if the peer has
         disconnected.
    CH4  A close code that is not allowed in a close frame (RFC 6455, 7.4) is the app's mistake: it gets a `ValueError`,
         which ends the connection with 1011.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, cast

from uvicorn.protocols.utils import ClientDisconnected
from websockets.exceptions import ProtocolError
from websockets.frames import Close

from raffia.sockets.server.frames import TEXT
from raffia.wire.transport import Listener, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent


class Socket(Transport, Protocol):
    """A `Transport` with what plain ASGI also needs."""

    @property
    def is_asked(self) -> bool:
        """Whether the handshake still waits for the app's answer."""

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""

    @property
    def is_ended(self) -> bool:
        """Whether the connection is over or about to be, and nothing can be sent."""

    def attach(
        self, listener: Listener, subprotocol: str | None = None, *, headers: Iterable[tuple[bytes, bytes]] = ...
    ) -> None:
        """Accept the handshake and deliver to `listener` from now on."""

    def respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Refuse the handshake with an HTTP response; does nothing if the connection is over."""

    def send_frame(self, opcode: int, payload: bytes) -> None:
        """Send one whole frame of any kind except close."""


class Channel:
    """One plain ASGI connection: `receive` and `send` on one side, a listener on the other."""

    __slots__ = ("_events", "_gone", "_loop", "_readable", "_response", "_socket", "_writable")

    def __init__(self, socket: Socket, loop: asyncio.AbstractEventLoop) -> None:
        self._socket = socket
        self._loop = loop
        self._events: deque[dict[str, Any]] = deque([{"type": "websocket.connect"}])
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._gone: dict[str, Any] | None = None
        self._response: tuple[int, list[tuple[str, str]], bytearray] | None = None

    async def receive(self) -> ASGIReceiveEvent:
        """Return the next event; always `websocket.disconnect` once the connection is over."""
        while not self._events:
            if self._gone is not None:
                return cast("ASGIReceiveEvent", self._gone)
            self._readable = self._loop.create_future()
            await self._readable
        event = self._events.popleft()
        if not self._events:
            self._socket.resume_reading()
        return cast("ASGIReceiveEvent", event)

    async def send(self, message: ASGISendEvent) -> None:
        """Handle an event of the app.

        Raises:
            ClientDisconnected: the peer has disconnected.
            RuntimeError: the event is not allowed here.
            ValueError: the close code cannot be sent (CH4).
        """
        socket = self._socket
        kind = message["type"]
        while socket.congested and socket.is_open and kind == "websocket.send":
            self._writable = self._loop.create_future()
            await self._writable
        event = cast("dict[str, Any]", message)
        if self._response is not None:
            self._continue_response(kind, event)
        elif socket.is_asked:
            self._decide(kind, event)
        elif not socket.is_open:
            raise ClientDisconnected
        elif kind == "websocket.send":
            payload = event.get("bytes")
            if payload is not None:
                socket.send(payload)
            else:
                socket.send_frame(TEXT, event["text"].encode())
        elif kind == "websocket.close":
            code, reason = event.get("code") or 1000, event.get("reason") or ""
            try:
                Close(code, reason).check()
            except ProtocolError:
                raise ValueError(f"close code {code} cannot be sent; use 1000 or a code from 3000 to 4999") from None
            socket.close(code, reason)
        else:
            raise RuntimeError(f"Expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'.")

    def _decide(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "websocket.accept":
            self._socket.attach(self, event.get("subprotocol"), headers=event.get("headers") or ())
        elif kind == "websocket.close":
            self._socket.respond(403, [], b"")
        elif kind == "websocket.http.response.start":
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.get("headers") or ()]
            self._response = (event["status"], headers, bytearray())
        else:
            raise RuntimeError(
                "Expected ASGI message 'websocket.accept', 'websocket.close' or 'websocket.http.response.start' "
                f"but got '{kind}'."
            )

    def _continue_response(self, kind: str, event: dict[str, Any]) -> None:
        if kind != "websocket.http.response.body" or self._response is None:
            raise RuntimeError(f"Expected ASGI message 'websocket.http.response.body' but got '{kind}'.")
        status, headers, body = self._response
        body += event.get("body", b"")
        if not event.get("more_body", False):
            self._socket.respond(status, headers, bytes(body))

    # Listener

    def opened(self, transport: Transport) -> None:
        """Do nothing: the app has accepted the connection, so it knows."""

    def message(self, payload: bytes) -> None:
        """Queue a message for the app (CH2)."""
        self._add({"type": "websocket.receive", "bytes": payload})

    def text(self, payload: str) -> None:
        """Queue a text message for the app (CH2)."""
        self._add({"type": "websocket.receive", "text": payload})

    def oversized(self, size_bytes: int, limit_bytes: int, start: bytes) -> None:
        """Never called: plain ASGI apps don't set `skips_too_large`."""

    def refused(self, code: int, reason: str) -> None:
        """Do nothing: the app is told by `websocket.disconnect`."""

    def congested(self) -> None:
        """Do nothing: `send` checks for congestion itself."""

    def drained(self) -> None:
        """Let `send` continue."""
        self._wake()

    def closed(self, code: int) -> None:
        """Queue `websocket.disconnect` for the app."""
        if self._gone is None:
            self._gone = {"type": "websocket.disconnect", "code": code, "reason": ""}
        self._wake()

    def _add(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        self._socket.pause_reading()
        self._wake()

    def _wake(self) -> None:
        for waiter in (self._readable, self._writable):
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
