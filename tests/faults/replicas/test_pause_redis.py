"""Redis stops answering: no client is told "saved", people on one replica go on, and later everything is stored."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFault
from tests.faults.replicas.crowd import Crowd
from tests.faults.replicas.oracle import Footprint, read_fresh
from tests.faults.replicas.scene import Scene

pytestmark = pytest.mark.slow

PAUSE_S, GRACE_S, ROUNDS = 30.0, 10.0, 3
SHORT_PAUSE_S, SHORT_GRACE_S = 5.0, 1.0
HELD_BYTES = 30_000_000


async def test_pause_redis(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    pause_s, grace_s = (PAUSE_S, GRACE_S) if long else (SHORT_PAUSE_S, SHORT_GRACE_S)
    row = fault(f"Redis paused {pause_s:g} s")
    held = 0
    async with Scene(tmp_path, env={"RAFFIA_READY_GRACE_S": f"{grace_s:g}"}) as scene:
        await scene.warm()
        rounds = ROUNDS if long else 1
        for seed in range(rounds):
            async with Crowd("pause", list(scene.direct.values()), seed) as crowd:
                await crowd.type_for(0.5)
                held += await pause(scene, crowd, pause_s)
                began_s = time.monotonic()
                recovery_s = await crowd.recover()
                await scene.until(lambda: all(one.server.ready() for one in scene.replicas), "/readyz says 200 again")
                print(f"ready {time.monotonic() - began_s:.1f} s after the pause")
                row.ran(await crowd.check(scene.direct, scene.cold), recovery_s)
                if seed == rounds - 1:
                    await scene.finish(crowd)
    row.note(f"{held:,} operations waited; nothing was acknowledged meanwhile; /readyz 503 after {grace_s:g} s")


async def pause(scene: Scene, crowd: Crowd, pause_s: float) -> int:
    """Pause Redis while people type; returns how much waits at the end."""
    before = [Footprint.of(replica.pid) for replica in scene.replicas]
    scene.redis.pause()
    try:
        began_s = time.monotonic()
        await crowd.type_for(0.3)  # answers that were already in the sockets count as given before
        stored = crowd.acknowledged
        replica = scene.replicas[0]
        people = crowd.on(replica.ws)
        first, second = next(
            (one, other) for one in people for other in people if one is not other and one.document == other.document
        )
        while time.monotonic() < began_s + pause_s:
            first.type()
            token = next(done.token for done in reversed(first.log) if not done.deletes)
            await first.until(lambda token=token: token in second.text, "people on one replica see each other", 2.0)  # type: ignore[misc]
            await crowd.type_for(0.3)
        assert crowd.acknowledged == stored, "nothing is acknowledged meanwhile"
        assert all(one.is_online for one in crowd.providers), "nobody is cut off"
        ready = await asyncio.gather(*(asyncio.to_thread(one.server.ready) for one in scene.replicas))
        assert ready == [False] * len(scene.replicas), "/readyz says 503"
        newcomer = await read_fresh(replica.ws, first.document)
        assert token in newcomer.tokens, "a newcomer gets what the replica has"
        for one, footprint in zip(scene.replicas, before, strict=True):
            assert Footprint.of(one.pid).rss_bytes < footprint.rss_bytes + HELD_BYTES, "memory is bounded"
        return crowd.in_flight
    finally:
        scene.redis.resume()
