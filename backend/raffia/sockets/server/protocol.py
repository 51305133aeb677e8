"""Raffia's WebSocket protocol for uvicorn: `uvicorn.Config(ws=RaffiaWebSocketProtocol)`.

The `websockets` library checks the handshake, and the ASGI app decides about it (app_call.py). An app that finds this
object in `scope["extensions"]["raffia.transport"]` may attach a listener instead of sending `websocket.accept`. From
then on prepared frames go straight to the transport and messages straight to the listener, without a queue, an event
object or a task. Other ASGI apps are served through a listener that implements plain ASGI (channel.py).

Rules (tests quote these ids):
    WP1  A handshake that violates RFC 6455 is answered with its HTTP status (400, 405, 426, 505); the app does not see
         it.
    WP2  Bytes that arrive before the app has accepted the handshake wait until it has; after 64 KiB the socket is not
         read. Compression is not offered.
    WP3  A violation of the rules in frames.py is answered with its close code. Everything after it is read and
         discarded until the peer has closed; otherwise a TCP reset could overtake our close frame.
    WP4  A close from the peer is answered with the same payload, and the connection is closed. Our own close waits for
         the peer's answer. If either takes longer than `Limits.close_timeout_s`, because the peer does not read, the
         connection is aborted.
    WP5  A listener that raises closes its own connection (1011) and no other.
    WP6  The query string is never logged: it may contain a token.
    WP7  A ping is answered at once. While the transport is congested only the last ping is, once the peer has caught up
         (RFC 6455, 5.5.3), so that pongs for a peer that does not read don't pile up.
    WP8  While a `holds` is set by `limit_messages`, a connection that we close keeps little of what its peer still
         sends: nothing below the usual limit (before sign-in), otherwise at most `CLOSING_BYTES`. If there is more, it
         is discarded as after a violation (WP3). A peer that was signed in can thus answer the close, and does not lose
         our close code when we end.
    WP9  While reading is paused, what has arrived waits; then it is handled before more is read from the socket.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import socket
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from uvicorn.protocols.utils import get_remote_addr

from raffia.sockets.server.app_call import AppCall, websocket_scope
from raffia.sockets.server.frames import (
    BINARY,
    CLOSE,
    OVERSIZED,
    PING,
    PONG,
    TEXT,
    Event,
    FrameError,
    FrameReader,
)
from raffia.sockets.server.handshake import Handshake, HandshakeError, read_handshake, response_bytes
from raffia.sockets.server.keepalive import Keepalive
from raffia.sockets.server.masking import apply_mask
from raffia.wire.transport import DEFAULT_LIMITS, Frame, Holds, Limits, Listener, Turn, close_payload, wire_frame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uvicorn.config import Config
    from uvicorn.server import ServerState

EARLY_BYTES = 64 * 1024
SHORT_BYTES = 125  # the longest message that `data_received` reads without a reader
BROKEN = "A WebSocket listener failed; closing its connection with 1011"  # WP5
TCP_BYTES_ACKED = slice(120, 128) if sys.platform == "linux" else None  # of `struct tcp_info`, since Linux 4.1
CLOSING_BYTES = 64 * 1024  # of a message that is still arriving after our close (WP8)
PROBED = 2  # the bit of `silent` that stands for `probe`
SHUTDOWN_S = 1.0  # how long a peer has to answer our close when the server stops
LINGER_S = 1.0  # how long a peer over TLS, which has no half-close, has to read our close frame after a violation

log = logging.getLogger("uvicorn.error")

_keepalives: WeakKeyDictionary[ServerState, Keepalive] = WeakKeyDictionary()


def _keepalive(state: ServerState, config: Config, loop: asyncio.AbstractEventLoop) -> Keepalive:
    """The one keepalive of a server."""
    keepalive = _keepalives.get(state)
    if keepalive is None:
        keepalive = _keepalives[state] = Keepalive(loop, config.ws_ping_interval, config.ws_ping_timeout)
    return keepalive


class Stage(enum.IntEnum):
    """The state of a connection."""

    NEW = 0  # the request's head has not been read
    ASKED = 1  # the app is deciding about the handshake
    OPEN = 2
    CLOSING = 3  # we have sent a close frame; messages are discarded, and the peer's close ends the connection
    FAILED = 4  # the same after a violation: all bytes are discarded, because they can no longer be read as frames
    ENDED = 5  # nothing more is sent; the transport is closing or closed


class RaffiaWebSocketProtocol(asyncio.Protocol):
    """One WebSocket connection under uvicorn; a `Transport` for its listener."""

    __slots__ = (
        "_call",
        "_code",
        "_config",
        "_ended",
        "_handshake",
        "_holds",
        "_is_closing_small",
        "_is_paused",
        "_limit_bytes",
        "_limits",
        "_listener",
        "_loop",
        "_lost",
        "_pong",
        "_reader",
        "_reading",
        "_stage",
        "_state",
        "_timer",
        "_turn",
        "app_state",
        "congested",
        "silent",
        "transport",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._config = config
        self._state = server_state
        self.app_state: dict[str, Any] | None = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self.transport: asyncio.Transport = None  # type: ignore[assignment]  # set by connection_made
        self._stage = Stage.NEW
        self._handshake: Handshake | None = None
        self._limits = DEFAULT_LIMITS
        self._limit_bytes: int | None = None  # set by limit_messages
        self._holds: Holds | None = None
        self._is_closing_small = False  # WP8
        self._reader: FrameReader | None = None
        self._reading = True  # whether messages are delivered
        self._is_paused = False  # whether the socket is not read; after `_reading` is set it may be for a while (WP9)
        self._turn: Turn | None = None
        self._listener: Listener | None = None
        self._call: AppCall | None = None
        self._code = 0  # the code of our close, once there is one
        self._timer: asyncio.TimerHandle | None = None
        self._lost = False
        self._pong: bytes | None = None  # the payload of a pong that has to wait (WP7)
        self._ended: asyncio.Future[None] | None = None
        self.congested = False
        self.silent = 0  # bits of the pings since which nothing has arrived: UNANSWERED, PROBED

    # Called by uvicorn and the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the transport from uvicorn's HTTP protocol."""
        self.transport = cast("asyncio.Transport", transport)
        self._state.connections.add(self)  # type: ignore[arg-type]  # a set of uvicorn's own protocols

    def data_received(self, data: bytes) -> None:
        """Read data from the peer: first the request's head, then frames."""
        self.silent = 0
        if self._reader is None and self._stage is Stage.OPEN and self._reading:
            # Fast path for typing: one whole binary message of at most 125 bytes (0x82, 0x80 + size, mask, payload).
            size = len(data)
            if 6 <= size <= 131 and data[0] == 0x82 and data[1] == size + 122:
                turn = self._turn
                if turn is None or turn.begin():
                    try:
                        self._listener.message(apply_mask(data[6:], data[2:6]))  # type: ignore[union-attr]
                    except Exception:
                        log.exception(BROKEN)
                        self.close(1011, "internal error")
                    if turn is not None:
                        turn.end()
                    return
        self._data(data)

    def eof_received(self) -> None:
        """The peer sends nothing more; the transport then closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the listener, the app and `wait_closed` that the connection is over."""
        self._state.connections.discard(self)
        self._stop_timer()
        _keepalive(self._state, self._config, self._loop).drop(self)
        self._stage = Stage.ENDED
        self._lost = True
        self._reader = None
        self._handshake = None
        self._finish(1006)
        if self._call is not None:
            self._call.closed(1006)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def pause_writing(self) -> None:
        """More than `Limits.high_bytes` wait (O3)."""
        self.congested = True
        if self._stage is Stage.OPEN and self._listener is not None:
            self._guarded(self._listener.congested)

    def resume_writing(self) -> None:
        """No more than `Limits.low_bytes` wait (O3)."""
        self.congested = False
        if self._pong is not None:
            pong, self._pong = self._pong, None
            # If the limits are close together this may congest it again; the listener is told of neither (O3).
            listener, self._listener = self._listener, None
            self.send_frame(PONG, pong)
            self._listener = listener
            if self.congested:
                return
        if self._stage is Stage.OPEN and self._listener is not None:
            self._guarded(self._listener.drained)

    def shutdown(self) -> None:
        """uvicorn is stopping: close with 1012, or refuse an undecided handshake. The peer must answer quickly."""
        self.close(1012, "the server is restarting")
        if self._stage is Stage.CLOSING or self._stage is Stage.FAILED:
            self._stop_timer()
            self._timer = self._loop.call_later(min(SHUTDOWN_S, self._limits.close_timeout_s), self.transport.abort)
        elif self._stage is Stage.ASKED:
            self.respond(503, [("Retry-After", "1")], b"The server is restarting.\n")
        elif self._stage is Stage.NEW:
            self._end()

    # Transport

    def buffered(self) -> int:
        """Bytes that wait for the peer."""
        return self.transport.get_write_buffer_size()

    def write(self, frame: Frame) -> None:
        """Send a prepared message."""
        if self._stage is Stage.OPEN:
            self.transport.write(frame.wire)
            if self.congested:
                self._bound()

    def send(self, payload: bytes) -> None:
        """Send one binary message to this connection alone."""
        self.send_frame(BINARY, payload)

    def send_frame(self, opcode: int, payload: bytes) -> None:
        """Send one whole frame of any kind except close."""
        if self._stage is Stage.OPEN:
            self.transport.write(wire_frame(opcode, payload))
            if self.congested:
                self._bound()

    def close(self, code: int, reason: str = "") -> None:
        """Close after everything that was written, and wait for the peer's answer (WP4)."""
        if self._stage is not Stage.OPEN:
            return
        self.transport.write(wire_frame(CLOSE, close_payload(code, reason)))
        self._code = code
        if self._holds is not None and (self._limit_bytes or 0) < self._limits.message_bytes:  # WP8
            self._discard()
            self._loop.call_soon(self._finish, code)
            return
        self._is_closing_small = self._holds is not None
        self._holds = None  # what it counts for is released when the listener is told
        self._stage = Stage.CLOSING
        self._read_socket()  # otherwise the peer's answer would never be read
        self._timer = self._loop.call_later(self._limits.close_timeout_s, self.transport.abort)
        # Not within this call: the caller is rarely prepared for `closed` before `close` returns.
        self._loop.call_soon(self._finish, code)

    def probe(self) -> None:
        """Ping the peer, in addition to the keepalive's pings."""
        self.silent |= PROBED
        self.send_ping()

    def answered(self) -> bool:
        """Whether anything has arrived since the last `probe`."""
        return not self.silent & PROBED

    def abort(self) -> None:
        """End the connection at once: `closed(1013)`."""
        if self._stage is Stage.OPEN:
            self._stage = Stage.ENDED
            self._code = 1013
            self._reader = None
            self._holds = None
            self.transport.abort()  # the loop then calls connection_lost, which tells the listener

    def limit_messages(self, size_bytes: int, holds: Holds | None = None) -> None:
        """Change the largest message that is accepted (O6)."""
        self._limit_bytes = size_bytes
        self._holds = holds
        self._set_limit()

    def _set_limit(self) -> None:
        limit_bytes = self._message_limit()
        if self._reader is not None:
            self._reader.limit_bytes = limit_bytes
            self._reader.skips = self._skips()
        elif limit_bytes < SHORT_BYTES and self._stage is Stage.OPEN:
            self._reader = self._new_reader()  # because the fast path does not check the limit

    def pause_reading(self) -> None:
        """Deliver no messages until `resume_reading`."""
        if self._reading and self._stage is Stage.OPEN:
            self._reading = False
            self._pause_socket()

    def resume_reading(self) -> None:
        """Deliver messages again, from the event loop."""
        if not self._reading and self._stage is Stage.OPEN:
            self._reading = True
            if self._reader is None:
                self._read_socket()
            else:  # it reads the socket again when nothing waits any more (WP9)
                self._loop.call_soon(self._deliver)

    def _pause_socket(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()

    def _read_socket(self) -> None:
        self._reading = True
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()

    # Called by `asgi.serve`

    def attach(
        self,
        listener: Listener,
        subprotocol: str | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
        headers: Iterable[tuple[bytes, bytes]] = (),
        turn: Turn | None = None,
    ) -> None:
        """Accept the handshake and deliver to `listener` from now on.

        Args:
            listener: gets `opened` within this call, or only `closed` if the peer has disconnected (O5).
            subprotocol: one of those that the client offered, or None.
            limits: the limits of this connection; uvicorn's `ws_max_size` limits messages as well.
            headers: additional headers of the 101 response.
            turn: measures this connection and lets it wait (O8); None if nothing does.

        Raises:
            RuntimeError: the handshake has been answered already.
            ValueError: see `Handshake.accept`.
        """
        if self._stage is Stage.ENDED:
            listener.closed(1006)
            return
        handshake = self._handshake
        if self._stage is not Stage.ASKED or handshake is None:
            raise RuntimeError("this handshake has been answered already")
        self.transport.write(handshake.accept(subprotocol, self._state.default_headers, headers))
        self._stage = Stage.OPEN
        self._log_answer(101)
        self._handshake = None
        self._limits = limits
        self._listener = listener
        self._turn = turn
        self.transport.set_write_buffer_limits(high=limits.high_bytes, low=limits.low_bytes)
        _keepalive(self._state, self._config, self._loop).add(self)
        self._read_socket()
        self._guarded(lambda: listener.opened(self))
        if self._reader is not None:
            self._loop.call_soon(self._deliver)
        self._set_limit()

    async def wait_closed(self) -> None:
        """Wait until the connection is over."""
        if self._ended is None:
            self._ended = self._loop.create_future()
            if self._lost:
                self._ended.set_result(None)
        await self._ended

    # Reading

    def _data(self, data: bytes) -> None:
        stage = self._stage
        if stage is Stage.NEW:
            self._ask(data)
            return
        if stage is Stage.FAILED or stage is Stage.ENDED:
            return
        reader = self._reader
        if reader is None:
            reader = self._reader = self._new_reader()
        reader.feed(data)
        if stage is Stage.ASKED:
            if reader.waiting_bytes > EARLY_BYTES:
                self._pause_socket()
        else:
            self._deliver()

    def _message_limit(self) -> int:
        limit_bytes = self._limits.message_bytes if self._limit_bytes is None else self._limit_bytes
        return min(limit_bytes, self._config.ws_max_size)

    def _skips(self) -> bool:
        """Whether messages over the limit are dropped (O7); over a lower limit they are refused (O6)."""
        limits = self._limits
        return limits.skips_too_large and (self._limit_bytes is None or self._limit_bytes >= limits.message_bytes)

    def _new_reader(self) -> FrameReader:
        return FrameReader(self._message_limit(), skips=self._skips())

    def _deliver(self) -> None:
        """Handle what the reader has, until it needs more bytes or reading is paused."""
        reader, turn = self._reader, self._turn
        if reader is None:
            return
        began = turn is not None and self._reading and turn.begin()
        try:
            while self._reading and (self._stage is Stage.OPEN or self._stage is Stage.CLOSING):
                event = reader.next()
                if event is None:
                    if reader.idle and reader.limit_bytes >= SHORT_BYTES:  # an idle connection keeps no reader
                        self._reader = None
                    self._read_socket()
                    break
                self._handle(event)
                if turn is not None:
                    turn.check()
            if self._is_closing_small and self._stage is Stage.CLOSING and reader.held_bytes > CLOSING_BYTES:
                self._discard()
            elif self._holds is not None and not self._holds(reader.held_bytes):
                self.abort()
        except FrameError as error:
            self._refuse_frame(error)
        except Exception:
            log.exception(BROKEN)
            self.close(1011, "internal error")
        if began and turn is not None:
            turn.end()

    def _refuse_frame(self, error: FrameError) -> None:
        """Close with the code of a violation, or the one that a message over the limit has here (O6)."""
        code, reason = error.code, error.reason
        if code == 1009:
            if error.size_bytes > min(
                max(self._limits.message_bytes, self._limit_bytes or 0), self._config.ws_max_size
            ):
                code = self._limits.too_large_code
            else:
                code, reason = 1013, "overloaded"
        listener = self._listener
        if listener is not None and self._stage is Stage.OPEN:
            self._guarded(lambda: listener.refused(code, error.reason))
        self._fail(code, reason)

    def _handle(self, event: Event) -> None:
        opcode, payload = event
        if opcode == OVERSIZED:
            if self._stage is Stage.OPEN:
                size_bytes, start = cast("tuple[int, bytes]", payload)
                self._listener.oversized(size_bytes, self._message_limit(), start)  # type: ignore[union-attr]
        elif opcode == CLOSE:
            self._peer_closed(cast("bytes", payload))
        elif self._stage is Stage.CLOSING:
            return
        elif opcode == BINARY:
            self._listener.message(cast("bytes", payload))  # type: ignore[union-attr]
        elif opcode == TEXT:
            self._listener.text(cast("str", payload))  # type: ignore[union-attr]
        elif opcode == PING:
            if self.congested:
                self._pong = cast("bytes", payload)
            else:
                self.send_frame(PONG, cast("bytes", payload))

    # Ending

    def _peer_closed(self, payload: bytes) -> None:
        self._reader = None
        if self._stage is Stage.OPEN:
            self.transport.write(wire_frame(CLOSE, payload))
        self._end()
        self._finish(int.from_bytes(payload[:2], "big") if payload else 1005)

    def _fail(self, code: int, reason: str) -> None:
        """The peer broke a rule: close, and read nothing more (WP3)."""
        if self._stage is Stage.OPEN:
            self.transport.write(wire_frame(CLOSE, close_payload(code, reason)))
        self._discard()
        self._finish(code)

    def _discard(self) -> None:
        """Read nothing more, until the peer has closed or its time is up."""
        self._reader = None
        self._holds = None
        self._read_socket()  # it may be paused still (WP9)
        self._stage = Stage.FAILED
        self._stop_timer()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._timer = self._loop.call_later(self._limits.close_timeout_s, self.transport.abort)
        else:
            self._timer = self._loop.call_later(LINGER_S, self._end)

    def _guarded(self, call: Any) -> None:
        try:
            call()
        except Exception:
            log.exception(BROKEN)
            self.close(1011, "internal error")

    def _bound(self) -> None:
        size_bytes = self.transport.get_write_buffer_size()
        if size_bytes > self._limits.max_bytes:
            self._stage = Stage.ENDED
            self._code = 1013
            listener = self._listener
            if listener is not None:
                reason = f"reads too slowly: {size_bytes} bytes wait, over the limit of {self._limits.max_bytes}"
                self._guarded(lambda: listener.refused(1013, reason))
            self.transport.abort()  # the loop then calls connection_lost, which tells the listener

    def send_ping(self) -> None:
        """Send an empty ping."""
        self.send_frame(PING, b"")

    def taken(self) -> int:
        """A number that grows as the peer accepts bytes: those that TCP has acknowledged, on Linux.

        Elsewhere, and on Unix sockets, it is the negative number of bytes that wait here.
        """
        connection = self.transport.get_extra_info("socket")
        if TCP_BYTES_ACKED is None or connection is None or connection.family == socket.AF_UNIX:
            return -self.buffered()
        info: bytes = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_BYTES_ACKED.stop)
        return int.from_bytes(info[TCP_BYTES_ACKED], sys.byteorder)

    def keepalive_failed(self) -> None:
        """The peer did not answer our ping in time."""
        if self._stage is Stage.OPEN:
            self.transport.write(wire_frame(CLOSE, close_payload(1011, "keepalive ping timeout")))
            self._end()
            self._finish(1006)

    def _end(self) -> None:
        """Close the transport after everything that was written; abort it if that takes too long (WP4)."""
        self._stage = Stage.ENDED
        self._stop_timer()
        self.transport.close()
        self._timer = self._loop.call_later(self._limits.close_timeout_s, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _finish(self, code: int) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        self._turn = None
        _keepalive(self._state, self._config, self._loop).drop(self)
        try:
            listener.closed(self._code or code)  # the peer may have answered our close before this call
        except Exception:
            log.exception("A WebSocket listener failed in closed(%d)", code)

    # The handshake

    def _ask(self, head: bytes) -> None:
        try:
            handshake = read_handshake(head)
        except HandshakeError as error:
            self.transport.write(error.response)
            self._end()
            return
        self._handshake = handshake
        self._stage = Stage.ASKED
        app_state, self.app_state = self.app_state or {}, None
        call = self._call = AppCall(self)
        scope = websocket_scope(handshake, self._config, self.transport, app_state, self)
        task = self._loop.create_task(call.run(self._config.loaded_app, scope))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    def respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        """Refuse the handshake with an HTTP response; does nothing if the connection is over.

        Raises:
            RuntimeError: the handshake has been answered already.
        """
        if self._stage is Stage.ENDED:
            return
        if self._stage is not Stage.ASKED:
            raise RuntimeError("this handshake has been answered already")
        self._log_answer(status)
        self.transport.write(response_bytes(status, headers, body))
        self._handshake = None
        self._reader = None
        self._end()

    def _log_answer(self, status: int) -> None:
        if log.isEnabledFor(logging.INFO) and self._handshake is not None:
            host, port = get_remote_addr(self.transport) or ("", 0)
            path = self._handshake.target.partition("?")[0]
            answer = "[accepted]" if status == HTTPStatus.SWITCHING_PROTOCOLS else str(status)
            log.info('%s:%d - "WebSocket %s" %s', host, port, path, answer)

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._stage is Stage.OPEN

    @property
    def is_asked(self) -> bool:
        """Whether the handshake still waits for the app's answer."""
        return self._stage is Stage.ASKED

    @property
    def is_ended(self) -> bool:
        """Whether the connection is over or about to be, and nothing can be sent."""
        return self._stage is Stage.ENDED
