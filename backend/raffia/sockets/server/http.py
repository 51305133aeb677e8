"""uvicorn's httptools protocol, hardened for untrusted clients: `uvicorn.Config(http=RaffiaHttpProtocol)`.

uvicorn (0.54) waits forever for the head of a connection's first request, accepts a head of any size, and drops bytes
that follow the head of an upgrade in the same packet.

Rules (tests quote these ids):
    HT1  Bytes after the head of an upgrade are the WebSocket's first bytes.
    HT2  A head must arrive within `HEAD_S` seconds of the connection, or of its own first byte; otherwise 408.
    HT3  A head has at most `HEAD_BYTES`, give or take one read of the socket; otherwise 431.
    HT4  A WebSocket needs HTTP/1.1; otherwise 505.
    HT5  An upgrade that is pipelined behind requests without a response yet is not accepted, because their responses
         would end up among its frames. The connection is closed after the responses, which tells the client that the
         rest was not read.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from raffia.sockets.server.handshake import response_bytes


class RaffiaHttpProtocol(HttpToolsProtocol):
    """One HTTP connection, until it is closed or becomes a WebSocket."""

    HEAD_S: ClassVar[float] = 10.0
    HEAD_BYTES: ClassVar[int] = 64 * 1024

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes: int = 0
    _in_head: bool = True
    _reads_on: bool = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start waiting for the first head (HT2)."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_head_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data from the socket."""
        if not self._reads_on:
            return
        self._unset_keepalive_if_required()
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")
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
            if self._in_head and self._head_bytes > self.HEAD_BYTES:
                self._answer(431, f"The head of a request may have at most {self.HEAD_BYTES} bytes.\n")

    def on_message_begin(self) -> None:
        """The first byte of a request has arrived."""
        super().on_message_begin()
        self._in_head = True
        self._await_head()

    def on_headers_complete(self) -> None:
        """A request's head is complete."""
        self._stop_head_timer()
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def _upgrade(self, rest: bytes) -> None:
        transport = self.transport
        self.handle_websocket_upgrade()
        if rest:  # HT1
            cast("asyncio.Protocol", transport.get_protocol()).data_received(rest)
        # The parser and this object refer to each other and to the transport, and won't be told when it closes.
        del self.parser, self.scope, self.headers, self.flow, self.transport

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.HEAD_S, self._head_late)

    def _head_late(self) -> None:
        self._head_timer = None
        self._answer(408, "The head of the request did not arrive in time.\n")

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _answer(self, status: int, text: str) -> None:
        """Respond without calling the app, and close."""
        self._stop_head_timer()
        if not self.transport.is_closing():
            self.transport.write(response_bytes(status, (), text.encode()))
            self.transport.close()
