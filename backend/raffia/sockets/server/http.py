"""uvicorn's httptools protocol, hardened for untrusted clients: `uvicorn.Config(http=RaffiaHttpProtocol)`.

uvicorn (0.54) waits forever for the head of a connection's first request and for bodies, accepts heads and trailers of
any size, and drops bytes that follow the head of an upgrade in the same packet.

Rules (tests quote these ids):
    HT1  Bytes after the head of an upgrade are the WebSocket's first bytes.
    HT2  A head must arrive within `HEAD_S` seconds of the connection, or of its own first byte; otherwise 408.
    HT3  A head, and the trailers of a chunked body, each have at most `HEAD_BYTES`, give or take one read of the
         socket; otherwise 431.
    HT4  A WebSocket needs HTTP/1.1; otherwise 505.
    HT5  An upgrade that is pipelined behind requests without a response yet is not accepted, because their responses
         would end up among its frames. The connection is closed after the responses, which tells the client that the
         rest was not read.
    HT6  A response that is complete before the request's body ends the connection: the rest of the body is not read,
         and the client has `LINGER_S` seconds to read the response. A response that starts before the end of the body
         says `connection: close`, so that no client sends its next request there.
    HT7  A body arrives with at least `BODY_BYTES` in every `BODY_S` seconds; otherwise 408. Time in which this side
         does not read, because the app has not consumed what arrived, does not count.
    HT8  Bytes that start no request, such as empty lines, don't keep an idle connection open: the next head is due
         `HEAD_S` seconds after the first of them. Without any, uvicorn's `timeout_keep_alive` closes it.
    HT9  At most `PIPELINED` requests wait behind one without a response; with more, the connection is aborted.
    HT10 A connection that is being closed is aborted if its peer has not read everything within `CLOSE_S` seconds.
    HT11 A connection needs a place (places.py) before anything is read from it, and releases it when it ends or becomes
         a WebSocket.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, cast

import httptools
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from raffia.sockets.server.handshake import response_bytes
from raffia.sockets.server.places import Place, Places


class _Cycle(RequestResponseCycle):
    """One request and its response."""

    async def send(self, message: ASGISendEvent) -> None:
        """Send a part of the response; its head says `connection: close` if the body is not complete (HT6)."""
        is_early = not self.response_started and self.more_body
        keeps_alive = self.keep_alive
        self.keep_alive = keeps_alive and not is_early
        await super().send(message)
        if is_early:  # the protocol closes by itself, in a way that lets the client read the response
            self.keep_alive = keeps_alive


class RaffiaHttpProtocol(HttpToolsProtocol):
    """One HTTP connection, until it is closed or becomes a WebSocket."""

    HEAD_S: ClassVar[float] = 10.0
    HEAD_BYTES: ClassVar[int] = 64 * 1024
    BODY_S: ClassVar[float] = 20.0
    BODY_BYTES: ClassVar[int] = 20 * 1024  # 1 KiB/s: less than the slowest mobile networks, over a time that spans gaps
    LINGER_S: ClassVar[float] = 1.0
    CLOSE_S: ClassVar[float] = 30.0
    PIPELINED: ClassVar[int] = 16  # no browser pipelines; a single read of the socket could hold 10,000 requests

    _head_timer: asyncio.TimerHandle | None = None
    _body_timer: asyncio.TimerHandle | None = None
    _close_timer: asyncio.TimerHandle | None = None
    _head_bytes: int = 0  # since the last byte of a body: of a head, of trailers, or of chunk headers
    _body_bytes: int = 0  # since the body timer was started
    _body_waited: bool = False  # whether this side has stopped reading since then
    _in_body: bool = False
    _place: Place | None = None
    _crowded: bool = False  # the client of the request has no place left
    _reads_on: bool = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start waiting for the first head (HT2)."""
        super().connection_made(transport)
        places: Places | None = getattr(self.config, "places", None)
        if places is not None:
            self._place = places.enter(self.client[0] if self.client else "", self._give_up)
            if self._place is None:  # HT11
                self._reads_on = False
                transport.abort()
                return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timers()
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data from the socket."""
        if not self._reads_on:
            return
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self._reads_on = False
            self.send_400_response("Invalid HTTP request received.")
            self._abort_later(self.CLOSE_S)
        except httptools.HttpParserUpgrade as upgrade:
            if not self._should_upgrade():
                self._unsupported_upgrade_warning()
            elif self.scope["http_version"] != "1.1":
                self._answer(505, "A WebSocket needs HTTP/1.1.\n")
            elif self.cycle is not None and not self.cycle.response_complete:  # HT5
                self._reads_on = False
                self.cycle.keep_alive = False
            else:
                self._upgrade(data[upgrade.args[0] :])
        else:
            if self._crowded:
                self._answer(503, "Too many connections from this address.\n")
            elif self._head_bytes > self.HEAD_BYTES:
                part = "trailers" if self._in_body else "head"
                self._answer(431, f"The {part} of a request may have at most {self.HEAD_BYTES} bytes.\n")
            elif not self._in_body and (self.cycle is None or self.cycle.response_complete):
                self._await_head()  # HT8

    def on_message_begin(self) -> None:
        """The first byte of a request has arrived."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """A request's head is complete."""
        self._stop_head_timer()
        if self._place is not None:
            self._place.has_head()
        self._head_bytes = 0
        self._in_body = True
        self._await_body()
        upgrades = self.parser.should_upgrade() and self._should_upgrade()
        if self._place is not None and not upgrades and not self._place.named(self._forwarded_for()):
            self._reads_on = False
            self._crowded = True  # answered after the parser has returned
        if self._crowded:
            return
        super().on_headers_complete()
        if self.cycle is not None:  # uvicorn names the class of its cycles in the middle of a method
            self.cycle.__class__ = _Cycle
        if len(self.pipeline) > self.PIPELINED:  # HT9
            self._reads_on = False
            self.transport.abort()

    def on_body(self, body: bytes) -> None:
        """A part of a request's body has arrived."""
        self._head_bytes = 0
        self._body_bytes += len(body)
        if self._crowded:
            return
        super().on_body(body)
        if self.flow.read_paused:
            self._body_waited = True

    def on_message_complete(self) -> None:
        """A request is complete, with its body and trailers."""
        self._head_bytes = 0
        self._in_body = False
        self._stop_body_timer()
        if not self._crowded:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """The app has responded; what is left of the request is not read (HT6)."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._reads_on = False
            self._abort_later(self.CLOSE_S)
        elif self._in_body and not self.pipeline:
            self._unset_keepalive_if_required()
            self._stop_timers()
            self._reads_on = False
            self.flow.pause_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._abort_later(self.LINGER_S)
        elif not self.pipeline:
            self._wait_in_place()

    def _give_up(self) -> None:
        """Somebody else needs the place (PL5)."""
        self._stop_timers()
        self._reads_on = False
        self._leave()
        self.transport.abort()

    def _wait_in_place(self) -> None:
        if self._place is not None:
            self._place.await_head()

    def _upgrade(self, rest: bytes) -> None:
        self._stop_timers()
        self._leave()
        transport = self.transport
        self.handle_websocket_upgrade()
        if rest:  # HT1
            cast("asyncio.Protocol", transport.get_protocol()).data_received(rest)
        # The parser and this object refer to each other and to the transport, and won't be told when it closes.
        del self.parser, self.scope, self.headers, self.flow, self.transport

    def _leave(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.leave()

    def _forwarded_for(self) -> bytes:
        return b", ".join(value for name, value in self.headers if name == b"x-forwarded-for")

    def _await_head(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._wait_in_place()
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.HEAD_S, self._head_late)

    def _head_late(self) -> None:
        self._head_timer = None
        self._answer(408, "The head of the request did not arrive in time.\n")

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _await_body(self) -> None:
        self._stop_body_timer()
        self._body_bytes = 0
        self._body_waited = self.flow.read_paused
        self._body_timer = self.loop.call_later(self.BODY_S, self._check_body)

    def _check_body(self) -> None:
        """Check that enough of the body has arrived since the last check (HT7)."""
        if self._body_bytes >= self.BODY_BYTES or self._body_waited:
            self._await_body()
        else:
            self._answer(408, "The body of the request arrives too slowly.\n")

    def _stop_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _abort_later(self, delay_s: float) -> None:
        if self._close_timer is None:
            self._close_timer = self.loop.call_later(delay_s, self.transport.abort)

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        self._stop_body_timer()
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None

    def _answer(self, status: int, text: str) -> None:
        """Respond instead of the app, and close. Abort if an earlier response is not complete."""
        self._stop_timers()
        self._reads_on = False
        cycle = self.cycle
        under_way = cycle is not None and not cycle.response_complete
        if under_way and (self.pipeline or not self._in_body or cycle.response_started):
            self.transport.abort()
        elif not self.transport.is_closing():
            if under_way:  # the app's own response is dropped from here on
                cycle.disconnected = True
                cycle.message_event.set()
            self.transport.write(response_bytes(status, (), text.encode()))
            self.transport.close()
            self._abort_later(self.CLOSE_S)
