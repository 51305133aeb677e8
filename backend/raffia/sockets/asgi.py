"""WebSockets in an ASGI app, on any server: attach a listener to one, or refuse it.

Under Raffia's own uvicorn protocol (`server/protocol.py`) a listener is attached to the transport. Under any other
server it gets an `AsgiTransport`: a bounded outbox and one task that awaits `send`. Listeners see no difference.

Rules (tests quote these ids):
    AS1  `serve` returns when the connection is over. By then `closed` has been called on the listener, whatever
         happened (O5).
    AS2  A refusal is an HTTP response if the server supports that (`websocket.http.response`), otherwise ASGI's
         default, 403.
    AS3  An outbox keeps order: messages, then the close. What the server has not accepted after `close_timeout_s` is
         dropped.
    AS4  If the server rejects a close code (Daphne rejects 1001 to 2999), the WebSocket is closed with 1000.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

from raffia.errors import RaffiaError
from raffia.wire.transport import DEFAULT_LIMITS, START_BYTES, Frame, Holds, Limits, Listener, Turn, close_payload

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

EXTENSION = "raffia.transport"

log = logging.getLogger(__name__)


class _Attachable(Protocol):
    """The object that our uvicorn protocol puts into `scope["extensions"]`."""

    def attach(
        self,
        listener: Listener,
        subprotocol: str | None = None,
        *,
        limits: Limits = ...,
        headers: Iterable[tuple[bytes, bytes]] = ...,
        turn: Turn | None = ...,
    ) -> None: ...

    async def wait_closed(self) -> None: ...


async def serve(
    scope: Scope,
    receive: Receive,
    send: Send,
    listener: Listener,
    *,
    subprotocol: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    turn: Turn | None = None,
) -> None:
    """Accept the WebSocket of `scope` and serve it through `listener` until it is over (AS1).

    Args:
        scope: an ASGI scope of type `websocket`. Under our own server its headers and query string are emptied after
            the handshake, because they are not read again and a connection may live for days.
        receive: must not have been called before.
        send: must not have been called before.
        listener: gets all calls from `opened` to `closed`.
        subprotocol: one of `scope["subprotocols"]`, or None.
        limits: the connection's bounds.
        turn: measures the connection and lets it wait (O8); None if nothing does.
    """
    transport: _Attachable | None = (scope.get("extensions") or {}).get(EXTENSION)
    if transport is None:
        await AsgiTransport(receive, send, listener, limits, turn).run(subprotocol)
        return
    transport.attach(listener, subprotocol, limits=limits, turn=turn)
    scope.update(headers=(), query_string=b"")
    await transport.wait_closed()


async def refuse(send: Send, error: RaffiaError, scope: Scope) -> None:
    """Refuse the WebSocket of `scope` before the upgrade (AS2).

    Args:
        send: must not have been called before.
        error: determines the status, and the reason in the body.
        scope: tells what the server supports.
    """
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": error.close_code, "reason": error.reason})
        return
    body = json.dumps({"reason": error.reason, "message": str(error)}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    elif error.http_status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "websocket.http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": body})


class AsgiTransport:
    """A `Transport` over `await send`, for servers other than ours.

    Args:
        receive: the connection's ASGI `receive`.
        send: its ASGI `send`.
        listener: gets the messages.
        limits: bounds of the outbox; `message_bytes` is enforced too, but only after the server has buffered the
            message.
        turn: measures the connection and lets it wait (O8); None if nothing does.
    """

    __slots__ = (
        "_buffered",
        "_closing",
        "_limit_bytes",
        "_limits",
        "_listener",
        "_outbox",
        "_over",
        "_readable",
        "_receive",
        "_send",
        "_silent",
        "_told",
        "_turn",
        "_wake",
        "congested",
    )

    def __init__(
        self,
        receive: Receive,
        send: Send,
        listener: Listener,
        limits: Limits = DEFAULT_LIMITS,
        turn: Turn | None = None,
    ) -> None:
        self._receive = receive
        self._send = send
        self._listener = listener
        self._limits = limits
        self._turn = turn
        self._limit_bytes = limits.message_bytes
        self._outbox: deque[bytes] = deque()
        self._buffered = 0
        self._closing: tuple[int, str] | None = None
        self._told = False  # `closed` has been called on the listener
        self._wake = asyncio.Event()  # something to send
        self._readable = asyncio.Event()
        self._readable.set()
        self._over: asyncio.Timeout | None = None  # ends `run`
        self._silent = False  # nothing has arrived since the last `probe`
        self.congested = False

    # Transport

    def buffered(self) -> int:
        """Bytes that the server has not accepted yet."""
        return self._buffered

    def write(self, frame: Frame) -> None:
        """Send a prepared message."""
        self.send(frame.payload)

    def send(self, payload: bytes) -> None:
        """Send one binary message."""
        if self._closing is not None or self._told:
            return
        self._outbox.append(payload)
        self._buffered += len(payload)
        self._wake.set()
        if self._buffered > self._limits.max_bytes:
            reason = f"reads too slowly: {self._buffered} bytes wait, over the limit of {self._limits.max_bytes}"
            self._call(self._listener.refused, 1013, reason)
            self._outbox.clear()
            self._buffered = 0
            self.close(1013, "reads too slowly")
        elif self._buffered > self._limits.high_bytes and not self.congested:
            self.congested = True
            self._call(self._listener.congested)

    def close(self, code: int, reason: str = "") -> None:
        """Close after everything that was written (AS3)."""
        if self._closing is None and not self._told:
            self._closing = (code, close_payload(code, reason)[2:].decode())
            self._wake.set()
            self._readable.set()
            self._hurry(self._limits.close_timeout_s)
            # Not within this call: the caller is rarely prepared for `closed` before `close` returns.
            asyncio.get_running_loop().call_soon(self._finish, code)

    def probe(self) -> None:
        """Wait for the peer's next message, because only the server can send pings."""
        self._silent = True

    def answered(self) -> bool:
        """Whether a message has arrived since the last `probe`."""
        return not self._silent

    def abort(self) -> None:
        """End the connection at once, as far as the server allows: drop what is queued, and close with 1013."""
        self._outbox.clear()
        self._buffered = 0
        self.close(1013)
        self._hurry(0.0)

    def limit_messages(self, size_bytes: int, holds: Holds | None = None) -> None:
        """Change the maximum size of messages (O6). `holds` is not called: the server keeps unfinished messages."""
        self._limit_bytes = size_bytes

    def pause_reading(self) -> None:
        """Deliver no messages until `resume_reading`; the server notices once its own queue is full."""
        if self._closing is None:
            self._readable.clear()

    def resume_reading(self) -> None:
        """Deliver again."""
        self._readable.set()

    # Running

    async def run(self, subprotocol: str | None) -> None:
        """Accept, and serve until the connection is over."""
        writer: asyncio.Task[None] | None = None
        code = 1006
        try:
            async with asyncio.timeout(None) as self._over:
                first = await self._receive()
                if first["type"] == "websocket.connect":
                    await self._send({"type": "websocket.accept", "subprotocol": subprotocol})
                    self._call(self._listener.opened, self)
                    writer = asyncio.create_task(self._write())
                    code = await self._read()
        except TimeoutError:  # this side closed the connection, in time or not; or `send` failed
            if self._closing is not None:
                code = self._closing[0]
        except OSError:
            log.debug("the peer disconnected before its WebSocket was accepted")
        finally:
            self._over = None
            # Don't await anything here: a host that has cancelled this task may cancel it again at every await (anyio).
            if writer is not None:
                writer.cancel()
            self._finish(code)

    async def _read(self) -> int:
        """Deliver messages until the peer disconnects; returns its close code."""
        while True:
            await self._readable.wait()
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return int(message.get("code") or 1005)
            if self._closing is not None:
                continue
            self._silent = False
            payload, text = message.get("bytes"), message.get("text")
            size = len(payload) if payload is not None else len((text or "").encode())
            limits = self._limits
            if size > max(self._limit_bytes, limits.message_bytes):
                if payload is not None and limits.skips_too_large and self._limit_bytes >= limits.message_bytes:
                    self._call(self._listener.oversized, size, limits.message_bytes, payload[:START_BYTES])
                else:
                    reason = f"message of {size} bytes is over the limit of {limits.message_bytes}"
                    self._call(self._listener.refused, limits.too_large_code, reason)
                    self.close(limits.too_large_code, reason)
            elif size > self._limit_bytes:
                reason = f"message of {size} bytes is over the limit of {self._limit_bytes}"
                self._call(self._listener.refused, 1013, reason)
                self.close(1013, "overloaded")
            elif payload is not None:
                await self._deliver(self._listener.message, payload)
            elif text is not None:
                await self._deliver(self._listener.text, text)

    async def _deliver(self, method: Callable[..., None], payload: object) -> None:
        """Hand over one message when it may be (O8)."""
        turn = self._turn
        while turn is not None and self._closing is None and not turn.begin():
            await self._readable.wait()
        if self._closing is None:
            self._call(method, payload)
            if turn is not None:
                turn.end()

    async def _write(self) -> None:
        """Send the messages in the outbox, then the close (AS3)."""
        try:
            while True:
                while self._outbox:
                    payload = self._outbox.popleft()
                    await self._send({"type": "websocket.send", "bytes": payload})
                    self._taken(len(payload))
                if self._closing is not None:
                    await self._send_close(*self._closing)
                    return
                self._wake.clear()
                await self._wake.wait()
        except OSError:
            log.debug("the peer of a WebSocket disconnected")
        except Exception:
            log.exception("the server's `send` failed; the WebSocket is abandoned")
        finally:
            self._hurry(0.0)

    async def _send_close(self, code: int, reason: str) -> None:
        try:
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except OSError:
            raise
        except Exception:
            if code == 1000 or code >= 3000:
                raise
            log.warning("the server cannot close with %d, so it closes with 1000", code, exc_info=True)
            await self._send({"type": "websocket.close", "code": 1000, "reason": reason})

    def _taken(self, size: int) -> None:
        self._buffered = max(0, self._buffered - size)  # the outbox may have been emptied meanwhile
        if self.congested and self._buffered <= self._limits.low_bytes:
            self.congested = False
            if self._closing is None and not self._told:
                self._call(self._listener.drained)

    def _hurry(self, delay_s: float) -> None:
        """End `run` after `delay_s` seconds."""
        if self._over is not None and not self._over.expired():
            self._over.reschedule(asyncio.get_running_loop().time() + delay_s)

    def _call(self, method: Callable[..., None], *arguments: object) -> None:
        try:
            method(*arguments)
        except Exception:
            log.exception("a WebSocket listener failed; closing its connection with 1011")
            self.close(1011, "internal error")

    def _finish(self, code: int) -> None:
        if self._told:
            return
        self._told = True
        try:
            self._listener.closed(code)
        except Exception:
            log.exception("a WebSocket listener failed in closed(%d)", code)
