"""Run an ASGI app under uvicorn with our protocols, and shut it down gracefully.

uvicorn closes all connections before the app's lifespan ends. An app that wants everything durable *before* its sockets
close needs an earlier step: `drain`.

Rules (tests quote these ids):
    RU1  On SIGTERM or SIGINT no new connections are accepted. Then `drain` is awaited, for at most `drain_s`. Then the
         remaining connections are closed with 1012, and the lifespan ends.
    RU2  A second signal stops the server at once: `drain` is cancelled, connections are aborted, and the lifespan is
         not awaited.
    RU3  The process exits with 0 if `drain` finished and there was no second signal; otherwise the signal ends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import uvicorn

from raffia.sockets.server.http import RaffiaHttpProtocol
from raffia.sockets.server.places import Places
from raffia.sockets.server.protocol import RaffiaWebSocketProtocol
from raffia.wire.transport import MIB

if TYPE_CHECKING:
    import socket
    from types import FrameType

log = logging.getLogger("uvicorn.error")

Drain = Callable[[], Awaitable[None]]


class RaffiaServer(uvicorn.Server):
    """A uvicorn server that drains before it closes.

    Args:
        config: see `make_config`.
        drain: makes everything durable and closes the sockets at its own pace; None if there is nothing to do.
        drain_s: time limit for that, in seconds.
    """

    def __init__(self, config: uvicorn.Config, *, drain: Drain | None = None, drain_s: float = 10.0) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_s = drain_s

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal: the first starts a graceful shutdown, the second an immediate one (RU2)."""
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down (RU1)."""
        for server in self.servers:
            server.close()
        drained = await self._drained()
        if self.force_exit:
            self._abort()
        await super().shutdown(sockets)
        if drained and not self.force_exit:
            self._captured_signals.clear()  # RU3: uvicorn raises them again

    async def _drained(self) -> bool:
        """Await `drain`; returns whether it finished."""
        if self._drain is None:
            return True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._drain_s
        task = asyncio.ensure_future(self._drain())
        # A signal handler does not reliably wake the loop, so poll the flag as often as uvicorn does.
        while not task.done() and not self.force_exit and loop.time() < deadline:
            await asyncio.wait({task}, timeout=0.1)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.1)
            log.error("Not everything was drained %s", "before the second signal" if self.force_exit else "in time")
            return False
        error = task.exception()
        if error is not None:
            log.error("Draining failed", exc_info=error)
        return error is None

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class RaffiaConfig(uvicorn.Config):
    """uvicorn's configuration, with the places of plain connections; None if they are not limited."""

    places: Places | None = None


def make_config(
    app: Any, *, message_bytes: int = 16 * MIB, places: Places | None = None, **options: Any
) -> RaffiaConfig:
    """Create a uvicorn configuration with our protocols.

    Args:
        app: an ASGI app.
        message_bytes: largest WebSocket message of any app on this server.
        places: limits plain HTTP connections; None for no limit.
        options: options of `uvicorn.Config`; they override ours.
    """
    defaults: dict[str, Any] = {
        "http": RaffiaHttpProtocol,
        "ws": RaffiaWebSocketProtocol,
        "ws_max_size": message_bytes,
        "ws_per_message_deflate": False,
        # A reader that pauses for a minute catches up with one update. A half-open socket is detected within two
        # minutes; its presence expires after 30 s in any case.
        "ws_ping_timeout": 90.0,
        "timeout_graceful_shutdown": 5,
        "server_header": False,
    }
    config = RaffiaConfig(app, **(defaults | options))
    config.places = places
    return config


def run(
    app: Any,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    drain: Drain | None = None,
    drain_s: float = 10.0,
    **options: Any,
) -> None:
    """Serve an app until a signal stops the process (RU1).

    Args:
        app: an ASGI app.
        host: address to listen on.
        port: port to listen on; 0 for a free one, which is logged.
        drain: see `RaffiaServer`.
        drain_s: see `RaffiaServer`.
        options: see `make_config`.

    Raises:
        SystemExit: the server could not start.
    """
    server = RaffiaServer(make_config(app, host=host, port=port, **options), drain=drain, drain_s=drain_s)
    try:
        server.run()
    except KeyboardInterrupt:
        log.debug("interrupted twice")
