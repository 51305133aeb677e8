"""A replica dies and all its clients connect to the other at once: it accepts as many as it can, the others later."""

from __future__ import annotations

import asyncio
import random
import resource
import socket
import time
from pathlib import Path

import pytest
from picows import WSError

from tests.faults.conftest import MakeFault
from tests.faults.replicas.crowd import Crowd
from tests.faults.replicas.scene import Scene
from tests.support.client import YClient

pytestmark = pytest.mark.slow

CLIENTS, SHORT_CLIENTS = 3000, 300
ADDRESSES = 16
DOCUMENTS = 20
ROOM = 0.8  # of all clients fit into one replica
WAIT_S = 60.0
JOIN_S = 20.0


class Visitor:
    """A client with one of several addresses that retries until it is accepted."""

    def __init__(self, number: int, port: int) -> None:
        self.address = f"127.0.0.{number % ADDRESSES + 2}"
        self.document = f"storm-{number % DOCUMENTS}"
        self.port = port
        self.client = YClient()
        self.refused = 0
        self.joined_s = 0.0

    async def join_once(self) -> bool:
        """Try once; the time it took is in `joined_s` if it was accepted."""
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((self.address, 0))
        self.client = YClient()
        began_s = time.monotonic()
        try:
            async with asyncio.timeout(JOIN_S):
                await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
                await self.client.join(f"ws://127.0.0.1:{self.port}/sync", self.document, sock=sock)
        except (OSError, WSError, TimeoutError, AssertionError):
            self.client.drop()
            sock.close()
            self.refused += 1
            return False
        self.joined_s = time.monotonic() - began_s
        return True

    async def join(self, deadline_s: float) -> None:
        """Keep trying, like a provider."""
        end = time.monotonic() + deadline_s
        pause_s = 0.1
        while not await self.join_once():
            if time.monotonic() > end:
                return
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
            pause_s = min(2 * pause_s, 2.5)

    @property
    def is_inside(self) -> bool:
        return self.client.synced and self.client.closed is None


async def test_reconnect_storm(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    count = CLIENTS if long else SHORT_CLIENTS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 6 * CLIENTS
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
    row = fault(f"reconnect storm, {count:,} clients")
    limit = int(count * ROOM)
    env = {"RAFFIA_MAX_CONNECTIONS": str(limit), "RAFFIA_LOG_LEVEL": "warning"}
    async with Scene(tmp_path, env=env, lb_env={"LB_MAXCONN": str(2 * count + 500)}) as scene:
        victim, other = scene.replicas
        visitors = [Visitor(number, scene.haproxy.port) for number in range(count)]
        for start in range(0, count, 100):
            await asyncio.gather(*(visitor.join(WAIT_S) for visitor in visitors[start : start + 100]))
        async with Crowd("storm", [other.ws], 1, people=4, documents=1) as crowd:
            typing = asyncio.create_task(crowd.type_until(lambda: False, "told to stop", 10 * WAIT_S))
            there = int(victim.server.metrics()["raffia_connections"])
            killed_s = time.monotonic()
            await victim.kill()
            await scene.until(lambda: sum(not one.is_inside for one in visitors) >= there, "all its clients are out")
            gone = [visitor for visitor in visitors if not visitor.is_inside]
            assert len(gone) > count // 4, "HAProxy spreads them"
            for visitor in gone:
                visitor.refused = 0
            coming = [asyncio.create_task(visitor.join(WAIT_S)) for visitor in gone]
            fits = limit - (count - len(gone)) - len(crowd.providers)
            await scene.until(lambda: sum(one.is_inside for one in gone) >= fits, "as many as fit are in", WAIT_S)
            full_s = time.monotonic() - killed_s
            await scene.until(
                lambda: all(one.is_inside or one.refused for one in gone), "the others are refused", WAIT_S
            )
            assert other.server.metrics()["raffia_connections"] <= limit
            refused = sum(visitor.refused for visitor in gone)
            assert refused >= len(gone) - fits, "the limit was never met"
            assert all(one.is_online for one in crowd.providers), "who was there stays"
            await victim.start()
            await asyncio.gather(*coming)
            assert all(visitor.is_inside for visitor in gone), "everybody is in"
            typing.cancel()
            await asyncio.gather(typing, return_exceptions=True)
            joins = sorted(visitor.joined_s for visitor in gone)
            for visitor in visitors:
                visitor.client.drop()
            recovery_s = await crowd.recover()
            # The place of a client that has left is free once the replica has noticed.
            await scene.until(lambda: other.server.metrics()["raffia_connections"] < limit // 2, "room for readers", 30)
            row.ran(await crowd.check(scene.direct, scene.cold), recovery_s)
            row.note(
                f"{len(gone):,} came at once; {refused:,} times refused at the limit of {limit:,}; joins p50 "
                f"{joins[len(joins) // 2]:.2f} s, p99 {joins[int(len(joins) * 0.99)]:.2f} s; full after {full_s:.1f} s"
            )
        await scene.until_closed(30)
