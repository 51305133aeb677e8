"""A real server in a thread, on both event loops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.integration.server.app import EchoApp

from raffia.sockets.server.run import RaffiaServer, make_config


class Running:
    """A server in a thread: `port`, its app's `notes`, and its own objects."""

    def __init__(self, **options: Any) -> None:
        self.app = EchoApp()
        self.server = RaffiaServer(
            make_config(self.app, port=0, lifespan="off", log_level="error", **options),
            drain=options.pop("drain", None),
        )
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()
        until(lambda: self.server.started)
        self.port: int = self.server.servers[0].sockets[0].getsockname()[1]

    @property
    def connections(self) -> int:
        return len(self.server.server_state.connections)

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(10)
        assert not self._thread.is_alive()


def until(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.005)


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def running(request: pytest.FixtureRequest) -> Iterator[Running]:
    server = Running(loop=request.param)
    yield server
    until(lambda: server.connections == 0)
    server.stop()
