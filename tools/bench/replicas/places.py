"""Redis and several servers, all on this machine, each in its own process.

Nothing is pinned to a core: there are more processes than cores, and a fixed share would be as wrong as none.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.support.redis import RedisServer
from tests.support.server import RaffiaServer, raffia_command

from tools.bench.client import Target
from tools.bench.servers import BENCH, PEERS, Peer, install_npm
from tools.bench.usage import Usage

EVERYSEC = {"appendonly": "yes", "appendfsync": "everysec"}
install_hocuspocus = install_npm("hocuspocus-redis")


@dataclass(frozen=True, slots=True)
class Place:
    """One Redis and its servers.

    Attributes:
        redis: the server.
        servers: all with the same documents.
        redis_usage, usages: CPU and memory of each.
    """

    redis: RedisServer
    servers: Sequence[RaffiaServer]
    redis_usage: Usage
    usages: Sequence[Usage]

    def target(self, index: int) -> Target:
        """Where a client of one server connects (Hocuspocus protocol)."""
        server = self.servers[index]
        path = "" if isinstance(server, Peer) else "/sync"
        return Target(f"ws://127.0.0.1:{server.port}{path}", "hp")


@contextmanager
def started(kind: str, count: int, *, env: Mapping[str, str] | None = None) -> Iterator[Place]:
    """Start Redis (AOF, synced every second) and servers of a kind, `raffia` or `hocuspocus`; ends them all.

    Raises:
        RuntimeError: one did not start; includes its log.
    """
    folder = BENCH / "run" / f"replicas-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        redis = stack.enter_context(RedisServer(folder / "redis", **EVERYSEC))
        servers: list[RaffiaServer] = []
        for number in range(count):
            data = folder / f"{kind}{number}"
            if kind == "raffia":
                server = RaffiaServer(data, env={"RAFFIA_REDIS": redis.url, **(env or {})}, command=raffia_command())
            else:
                command = ["node", str(PEERS / "hocuspocus-redis" / "server.mjs")]
                server = Peer(data, env={"REDIS_PORT": str(redis.port)}, command=command)
            stack.enter_context(server)
            servers.append(server)
        yield Place(redis, servers, Usage(redis.pid), [Usage(server.pid) for server in servers])
