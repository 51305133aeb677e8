"""A cluster for tests: Redis, replicas of Raffia and HAProxy, as real processes on free ports.

    async with Cluster(tmp_path) as cluster:
        client = await YClient().join(cluster.ws, "a/document")
        await cluster.replica(0).kill()
        await cluster.until(lambda: cluster.haproxy.states()["replica1"] == "DOWN", "replica 1 is marked down")

Rules:
    SUC1  Only processes that these objects started get signals, by pid; leaving the `async with` ends all of them.
    SUC2  Every wait has a deadline. When a test fails, the end of each log is added to its error.
    SUC3  Nothing here blocks the event loop: threads start processes and wait for them.
"""

from __future__ import annotations

import asyncio
import signal
import time
import urllib.error
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.haproxy import Haproxy
from tests.support.redis import RedisServer
from tests.support.server import RaffiaServer

DEADLINE_S = 20.0
POLL_S = 0.02


class Replica:
    """One replica of a cluster; it keeps its port when it is restarted.

    Attributes:
        server: the process, with its metrics and its log.
        name: its name in HAProxy: `replica1`, `replica2`, ...
    """

    def __init__(self, server: RaffiaServer, number: int) -> None:
        self.server = server
        self.name = f"replica{number + 1}"

    @property
    def url(self) -> str:
        """Its own address, bypassing HAProxy."""
        return self.server.http

    @property
    def ws(self) -> str:
        """The server URL for clients, bypassing HAProxy."""
        return self.server.ws

    @property
    def pid(self) -> int:
        return self.server.pid

    async def start(self) -> None:
        """Start it and wait until `/readyz` answers 200."""
        await asyncio.to_thread(self.server.start)

    async def terminate(self) -> int:
        """Send SIGTERM and wait until it has drained and ended; returns its exit status."""
        return await asyncio.to_thread(self.server.stop)

    async def kill(self) -> None:
        """Send SIGKILL and wait until it has ended."""
        await asyncio.to_thread(self.server.kill)

    def pause(self) -> None:
        """Send SIGSTOP: it keeps its sockets but answers nothing."""
        self.server.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT."""
        self.server.signal(signal.SIGCONT)


class Cluster:
    """Redis, replicas and HAProxy, as an async context manager.

    Args:
        folder: for the data and logs of all processes.
        replicas: how many.
        env: environment variables of every replica, such as `RAFFIA_*` settings.
        lb_env: variables of infra/haproxy.cfg.
        command: run this instead of `raffia serve`, see `RaffiaServer`.
        redis_options: for redis.conf, see `RedisServer`; AOF is on by default, synced once a second.

    Attributes:
        redis: the Redis server.
        haproxy: the load balancer.
    """

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int = 3,
        env: Mapping[str, str] | None = None,
        lb_env: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        redis_options: Mapping[str, str | int] | None = None,
    ) -> None:
        options = {"appendonly": "yes", "appendfsync": "everysec", **(redis_options or {})}
        self.redis = RedisServer(folder / "redis", **options)
        own = {"RAFFIA_REDIS": self.redis.url, **(env or {})}
        self.replicas = [
            Replica(RaffiaServer(folder / f"replica{number + 1}", env=own, command=command), number)
            for number in range(replicas)
        ]
        addresses = [f"127.0.0.1:{replica.server.port}" for replica in self.replicas]
        self.haproxy = Haproxy(folder / "haproxy", addresses, env=lb_env)

    @property
    def http(self) -> str:
        """HAProxy's address."""
        return self.haproxy.http

    @property
    def ws(self) -> str:
        """The server URL for clients: through HAProxy to any replica."""
        return self.haproxy.ws

    def replica(self, index: int) -> Replica:
        """One replica, counted from 0."""
        return self.replicas[index]

    # -- life

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self.redis.start)
            async with asyncio.TaskGroup() as group:
                for replica in self.replicas:
                    group.create_task(replica.start())
            await asyncio.to_thread(self.haproxy.start)
            await self.wait_ready()
        except BaseException as error:
            error.add_note(self.logs())
            await asyncio.to_thread(self._kill)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(self.logs())
        # Tests of an orderly shutdown ask for it; here it would only take time.
        await asyncio.to_thread(self._kill)

    def _kill(self) -> None:
        try:
            self.haproxy.kill()
        finally:
            for replica in self.replicas:
                replica.server.kill()
            self.redis.kill()

    # -- waiting

    async def until(self, condition: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
        """Poll on a thread until `condition()` holds; fails with its name after the deadline (SUC2).

        A condition that raises because a server is unavailable does not hold yet.
        """
        end = time.monotonic() + deadline_s
        while not await asyncio.to_thread(_holds, condition):
            if time.monotonic() > end:
                raise AssertionError(f"not within {deadline_s:.0f} s: {what}; HAProxy says {self.haproxy.states()}")
            await asyncio.sleep(POLL_S)

    async def wait_ready(self, deadline_s: float = DEADLINE_S) -> None:
        """Wait until every running replica is ready and HAProxy has marked it as UP."""
        await self.until(self._ready, "all replicas are ready", deadline_s)

    def _ready(self) -> bool:
        states = self.haproxy.states()
        running = [replica for replica in self.replicas if replica.server.running]
        return all(replica.server.ready() and states[replica.name] == "UP" for replica in running)

    def logs(self, lines: int = 30) -> str:
        """The end of every log."""
        parts = {"redis": self.redis.log[-2000:], "haproxy": self.haproxy.log(lines)}
        parts |= {replica.name: replica.server.log(lines) for replica in self.replicas}
        return "\n".join(f"---- {name}\n{text}" for name, text in parts.items())


def _holds(condition: Callable[[], object]) -> bool:
    try:
        return bool(condition())
    except (OSError, urllib.error.URLError):
        return False
