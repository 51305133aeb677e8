"""The network between one replica and Redis is cut: its people go on working, and it finds what it missed by itself.

The hosts are real network namespaces; see `network`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFault
from tests.faults.replicas.crowd import Crowd
from tests.faults.replicas.network import HostedServer, Network
from tests.faults.replicas.oracle import Footprint
from tests.faults.replicas.scene import Scene
from tests.support.cluster import Replica
from tests.support.haproxy import Haproxy
from tests.support.redis import RedisServer
from tests.support.server import raffia_command

pytestmark = pytest.mark.slow

CUTS_S = (5.0, 60.0)
SHORT_CUTS_S = (3.0,)
ROUNDS = 3
FOUND_S = 5.0
HELD_BYTES = 30_000_000


class Hosts(Scene):
    """Two replicas on their own hosts, Redis and HAProxy on this machine."""

    def __init__(self, folder: Path, network: Network, env: Mapping[str, str] | None = None) -> None:
        super().__init__(folder, env=env)
        self.redis = RedisServer(
            folder / "bridged", appendonly="yes", bind=f"127.0.0.1 {network.address}", protected_mode="no"
        )
        self.store_url = self.redis.url
        there = {**self.replicas[0].server.env, "RAFFIA_REDIS": f"redis://{network.address}:{self.redis.port}/0"}
        self.replicas = [
            Replica(HostedServer(host, folder / f"hosted{number}", env=there, command=raffia_command()), number)
            for number, host in enumerate(network.hosts)
        ]
        places = [replica.url.removeprefix("http://") for replica in self.replicas]
        self.haproxy = Haproxy(folder / "haproxy", places, env={"LB_CHECK_MS": "100"})


@asynccontextmanager
async def hosts(folder: Path, env: Mapping[str, str] | None = None) -> AsyncIterator[tuple[Hosts, Network]]:
    with Network(2) as network:
        async with Hosts(folder, network, env) as scene:
            yield scene, network


async def test_network_cut(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    for cut_s in CUTS_S if long else SHORT_CUTS_S:
        row = fault(f"network between one replica and Redis cut, {cut_s:g} s")
        async with hosts(tmp_path / f"cut{cut_s:g}") as (scene, network):
            await scene.warm()
            rounds = ROUNDS if long else 1
            for seed in range(rounds):
                async with Crowd("cut", list(scene.direct.values()), seed) as crowd:
                    recovery_s = await cut_one(scene, network, crowd, cut_s)
                    row.ran(await crowd.check(scene.direct, scene.cold), recovery_s)
                    assert recovery_s < FOUND_S, f"found after {recovery_s:.1f} s"
                    if seed == rounds - 1:
                        await scene.finish(crowd)


async def cut_one(scene: Hosts, network: Network, crowd: Crowd, cut_s: float) -> float:
    """Cut one replica off, heal it, and measure how long it takes to find what it missed."""
    (near, far), cut = scene.replicas, network.hosts[1]
    redis_place = f"{network.address}:{scene.redis.port}"
    assert cut.pings(redis_place)
    await crowd.type_for(0.5)
    await crowd.recover()
    # Every document has people on each side of the cut.
    there, here = crowd.on(far.ws), crowd.on(near.ws)
    assert there, "nobody is at the replica that is cut off"
    assert here, "nobody is at the other"
    before = Footprint.of(far.pid)
    cut.cut()
    try:
        assert not await asyncio.to_thread(cut.pings, redis_place), "the cut cuts"
        end = time.monotonic() + cut_s
        # An answer that had left Redis before the cut may still be on its way from the replica.
        await crowd.type_for(0.3)
        stored = sum(len(one.log) - one.in_flight for one in there)
        await crowd.type_for(cut_s / 3)
        # Killing subscriptions reaches only one of the two: to the other one, its subscription still looks alive.
        assert scene.redis.command("CLIENT", "KILL", "TYPE", "pubsub") >= 1
        await crowd.type_for(cut_s / 3)
        # People on the replica that is cut off go on seeing each other.
        first, second = next(
            (one, other) for one in there for other in there if one is not other and one.document == other.document
        )
        first.type()
        token = next(done.token for done in reversed(first.log) if not done.deletes)
        await first.until(lambda: token in second.text, "people on the replica that is cut off see each other", 2.0)
        # No one types at the end, so no later message shows that something is missing.
        await asyncio.sleep(max(0.0, end - time.monotonic()))
        assert sum(len(one.log) - one.in_flight for one in there) == stored, "nothing is acknowledged meanwhile"
        assert all(one.is_online for one in there), "nobody lost the connection to it"
        assert Footprint.of(far.pid).rss_bytes < before.rss_bytes + HELD_BYTES
    finally:
        cut.heal()
    return await crowd.recover()
