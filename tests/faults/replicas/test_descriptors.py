"""A replica runs out of file descriptors: new clients wait or are refused, others go on, and it recovers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from picows import WSError

from tests.faults.conftest import MakeFault
from tests.faults.replicas.crowd import RECOVERY_S, Crowd
from tests.faults.replicas.oracle import Footprint, read_fresh
from tests.faults.replicas.scene import Scene
from tests.support.client import YClient

pytestmark = pytest.mark.slow

LIMIT = 80
ROUNDS = 5
JOIN_S = 3.0


async def until_full(ws: str, pid: int) -> list[YClient]:
    """Connect until no further client is accepted; returns those that were."""
    inside: list[YClient] = []
    while len(inside) <= LIMIT:
        client = YClient()
        try:
            async with asyncio.timeout(JOIN_S):
                await client.join(ws, f"crowded-{len(inside)}")
        except (OSError, WSError, TimeoutError, AssertionError):
            client.drop()
            assert Footprint.of(pid).fds > LIMIT - 5, "refused although there were some left"
            return inside
        inside.append(client)
    raise AssertionError(f"{len(inside)} connections with {LIMIT} file descriptors")


async def until_let_in(ws: str, document: str) -> None:
    """Try until a new client is served: the replica first has to notice that the others have left."""
    end = time.monotonic() + RECOVERY_S
    while True:
        try:
            await read_fresh(ws, document)
        except (OSError, WSError):
            assert time.monotonic() < end, f"nobody is let in {RECOVERY_S:g} s after the others have gone"
            await asyncio.sleep(0.1)
        else:
            return


async def test_descriptors(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    row = fault(f"file descriptors used up (ulimit -n {LIMIT})")
    async with Scene(tmp_path) as scene:
        small = scene.replicas[0]
        await small.terminate()
        small.server.wrapper = ["prlimit", f"--nofile={LIMIT}:{LIMIT}"]
        await small.start()
        await scene.wait_ready()
        await scene.warm()
        rounds = ROUNDS if long else 1
        for seed in range(rounds):
            async with Crowd("few", list(scene.direct.values()), seed) as crowd:
                await crowd.type_for(0.3)
                people = crowd.on(small.ws)
                inside = await until_full(small.ws, small.pid)
                before = sum(len(one.log) - one.in_flight for one in people)
                await crowd.type_for(0.5)
                assert sum(len(one.log) - one.in_flight for one in people) > before, "who is there goes on"
                assert all(one.is_online for one in people)
                # Now it loses its connections to Redis as well, and new clients compete for their descriptors.
                for kind in ("normal", "pubsub"):
                    scene.redis.command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
                await crowd.type_for(0.5)
                for client in inside:
                    client.drop()
                began_s = time.monotonic()
                await until_let_in(small.ws, crowd.documents[0])
                await crowd.recover()
                row.ran(await crowd.check(scene.direct, scene.cold), time.monotonic() - began_s)
                if seed == rounds - 1:
                    small.server.wrapper = []
                    await scene.finish(crowd)
    row.note("newcomers are not let in, nobody else notices")
