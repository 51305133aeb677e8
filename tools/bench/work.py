"""The work of one run of the load generator, and helpers that all kinds of work share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tools.bench.client import Client, Target, open_client
from tools.bench.frames import update_message
from tools.bench.usage import Usage

Kind = Literal["type", "point", "idle", "join", "storm", "crowd", "cycle", "stream"]
Figures = dict[str, float]

SYNC_S = 120.0
DOCUMENT = "bench"


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work for the load generator.

    Attributes:
        kind: what to do; see the modules that do it.
        target: the server.
        pid: its process, for CPU and memory.
        clients, writers: how many connect, and how many of them type or point.
        name: the document; with several rooms they are numbered after it.
        rooms: documents the clients are spread over.
        rate: updates a second of each writer.
        seconds: how long.
        samples: how many receivers look for tokens.
        files: updates (as files) that are loaded into the document first, in this order.
        window: updates in flight, for `stream`.
        checkpoints: numbers of updates after which `stream` records figures.
        metrics_url: the server's Prometheus metrics, for `cycle`.
    """

    kind: Kind
    target: Target
    pid: int
    clients: int = 100
    writers: int = 10
    name: str = DOCUMENT
    rooms: int = 1
    rate: float = 10.0
    seconds: float = 8.0
    samples: int = 10
    files: tuple[Path, ...] = ()
    window: int = 64
    checkpoints: tuple[int, ...] = ()
    metrics_url: str = ""
    usage: Usage = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "usage", Usage(self.pid))

    def document(self, index: int) -> str:
        """The document that client `index` opens."""
        return self.name if self.rooms == 1 else f"{self.name}-{index % self.rooms}"


def quantile_ms(seconds: list[float], fraction: float) -> float:
    """A quantile of times in seconds, in milliseconds."""
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * fraction))] * 1e3, 3)


async def warm_up(work: Work) -> None:
    """Open and drop a client on another document, so that one-time costs (imports, compiled code) are not measured."""
    client = await open_client(work.target, "warm-up")
    await asyncio.wait_for(client.synced, SYNC_S)
    client.disconnect()
    await settled(work)


async def settled(work: Work, *, longest_s: float = 30.0) -> None:
    """Wait until the server is idle: less than 4 % of a core over half a second."""
    deadline = time.perf_counter() + longest_s
    before = work.usage.cpu_s()
    while time.perf_counter() < deadline:
        await asyncio.sleep(0.5)
        now = work.usage.cpu_s()
        if now - before < 0.02:
            return
        before = now


async def upload(work: Work) -> int:
    """Load the work's files into a document and wait until the server is idle; returns their size in bytes."""
    if not work.files:
        return 0
    client = await open_client(work.target, work.name)
    await asyncio.wait_for(client.synced, SYNC_S)
    size = 0
    for path in work.files:
        update = path.read_bytes()
        size += len(update)
        client.send(update_message(update))
        await settled(work, longest_s=SYNC_S)
    if client.closed is not None or client.refused:
        raise ConnectionError(f"the server did not take the document of {size} bytes: code {client.closed}")
    client.disconnect()
    await asyncio.sleep(0.2)
    return size


async def open_all(work: Work, watched: set[int]) -> list[Client]:
    """Connect all clients of the work one by one, and wait until each has its document."""
    clients = [
        await open_client(work.target, work.document(index), index=index, watch=index in watched)
        for index in range(work.clients)
    ]
    await asyncio.wait_for(asyncio.gather(*[client.synced for client in clients]), SYNC_S)
    return clients


def disconnect_all(clients: list[Client]) -> None:
    """Drop all sockets."""
    for client in clients:
        client.disconnect()
