"""The ASGI app's side of a WebSocket: its scope, and one call of the app that lasts as long as the connection.

Rules (tests quote these ids):
    AQ1  If the app raises, its own connection ends: with 500 before the handshake is answered, otherwise with 1011. If
         the app returns without answering the handshake, the answer is 500; if it is cancelled, the close code is 1012.
    AQ2  An app that attaches a listener of its own does not pay for a `Channel`: the first `receive` or `send` creates
         it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from uvicorn.protocols.utils import ClientDisconnected, get_local_addr, get_remote_addr, is_ssl

from raffia.sockets.asgi import EXTENSION
from raffia.sockets.server.channel import Channel

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application, ASGIReceiveEvent, ASGISendEvent, WebSocketScope
    from uvicorn.config import Config

    from raffia.sockets.server.channel import Socket
    from raffia.sockets.server.handshake import Handshake

log = logging.getLogger("uvicorn.error")


def websocket_scope(
    handshake: Handshake, config: Config, transport: asyncio.Transport, app_state: dict[str, Any], socket: Socket
) -> WebSocketScope:
    """The ASGI scope of a WebSocket.

    Args:
        handshake: the request.
        config: contains the root path and the ASGI version.
        transport: knows both addresses.
        app_state: the state of the app's lifespan.
        socket: apps may attach a listener to it, see `raffia.sockets.asgi`.
    """
    raw_path, _, query = handshake.target.partition("?")
    return {
        "type": "websocket",
        "asgi": {"version": config.asgi_version, "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "wss" if is_ssl(transport) else "ws",
        "server": get_local_addr(transport),
        "client": get_remote_addr(transport),
        "root_path": config.root_path,
        "path": config.root_path + unquote(raw_path),
        "raw_path": (config.root_path + raw_path).encode("ascii"),
        "query_string": query.encode("ascii"),
        "headers": handshake.headers,
        "subprotocols": handshake.subprotocols,
        "state": app_state.copy(),
        "extensions": {"websocket.http.response": {}, EXTENSION: socket},  # type: ignore[dict-item]
    }


class AppCall:
    """One call of the app, for one connection.

    Args:
        socket: the connection.
    """

    __slots__ = ("_channel", "_socket")

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._channel: Channel | None = None

    async def run(self, app: ASGI3Application, scope: WebSocketScope) -> None:
        """Call the app; the connection ends with it (AQ1)."""
        try:
            await app(scope, self._receive, self._send)
        except ClientDisconnected:
            log.debug("The app sent to a WebSocket whose peer had disconnected")
        except Exception:
            log.exception("Exception in ASGI application")
            self._abandon(1011)
        except asyncio.CancelledError:
            self._abandon(1012)
            raise
        else:
            if self._socket.is_asked:
                log.error("ASGI callable returned without completing handshake.")
            self._abandon(1000)

    def closed(self, code: int) -> None:
        """Tell the app that the connection is over, if it has called `receive` or `send`."""
        if self._channel is not None:
            self._channel.closed(code)

    def _abandon(self, code: int) -> None:
        """The app has ended, so end the connection."""
        if self._socket.is_asked:
            self._socket.respond(500, [], b"Internal Server Error\n")
        else:
            self._socket.close(code)

    def _plain(self) -> Channel:
        if self._channel is None:
            self._channel = Channel(self._socket, asyncio.get_running_loop())
            if self._socket.is_ended:
                self._channel.closed(1006)
        return self._channel

    async def _receive(self) -> ASGIReceiveEvent:
        return await self._plain().receive()

    async def _send(self, message: ASGISendEvent) -> None:
        await self._plain().send(message)
