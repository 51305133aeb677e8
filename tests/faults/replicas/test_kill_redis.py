"""Redis is killed: with its AOF intact, nothing acknowledged is lost; if it was cut, replicas or clients restore it.

That holds for `appendfsync always`. With `everysec`, even a crash of the process alone can lose something: while the
fsync of the previous second is still running, Redis answers before it has written to the file. As after a cut, what was
lost has to be back once the replicas have compared the log.

The replicas are stopped while Redis restarts, so that the test reads what Redis itself has kept.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random

import pytest

from tests.faults.conftest import MakeFault
from tests.faults.replicas.broken import broken
from tests.faults.replicas.crowd import Crowd
from tests.faults.replicas.scene import Scene

pytestmark = pytest.mark.slow

SEEDS = 30
SHORT_SEEDS = 1
SHORT_CUTS = 2
FSYNCS = ("everysec", "always")
HEAD_BYTES = 200  # the beginning of the AOF, which selects the database and holds the first documents' first entries


def cut_tail(folder: Path, rng: Random) -> int:
    """Cut the end of the AOF off, like a power failure; returns how many bytes."""
    (increments,) = (folder / "appendonlydir").glob("*.incr.aof")
    size = increments.stat().st_size
    # Usually the last moments, sometimes nearly everything.
    cut = rng.randint(1, min(20_000, size - HEAD_BYTES)) if rng.random() < 0.7 else rng.randint(1, size - HEAD_BYTES)
    with increments.open("rb+") as file:
        file.truncate(size - cut)
    return cut


async def kill_redis(scene: Scene, crowd: Crowd, rng: Random, after_s: float, *, cut: bool = False) -> list[str]:
    """Type, kill Redis and restart it; returns what Redis then lacks of what was acknowledged."""
    await crowd.type_for(after_s)
    crowd.burst()
    await asyncio.sleep(0)
    await asyncio.to_thread(scene.redis.kill)
    await crowd.type_for(0.3)
    if cut:
        cut_tail(scene.redis.folder, rng)
    for replica in scene.replicas:
        replica.pause()
    try:
        await asyncio.to_thread(scene.redis.start)
        return await crowd.lost(scene.cold)
    finally:
        for replica in scene.replicas:
            replica.resume()


@pytest.mark.parametrize("fsync", FSYNCS)
async def test_kill_redis(tmp_path: Path, long: bool, fault: MakeFault, fsync: str) -> None:
    row = fault(f"Redis killed, appendfsync {fsync}")
    gone = 0
    async with Scene(tmp_path, redis_options={"appendfsync": fsync}) as scene:
        await scene.warm()
        for seed in range(SEEDS if long else SHORT_SEEDS):
            rng = Random(seed)
            async with Crowd("redis", list(scene.direct.values()), seed) as crowd:
                lost = await kill_redis(scene, crowd, rng, rng.uniform(0.1, 3.0 if long else 0.5))
                gone += len(lost)
                if fsync == "always":
                    row.lost += len(lost)
                    assert lost == [], f"seed {seed}: {len(lost)} lost, such as {lost[:5]}"
                recovery_s = await crowd.recover()
                row.ran(await crowd.check(scene.direct, scene.cold), recovery_s)
                last = seed == (SEEDS if long else SHORT_SEEDS) - 1
                if last:
                    await scene.finish(crowd)
    if gone:
        row.note(f"{gone} acknowledged were not in the AOF and were put back by replicas")


async def cut_and_restore(scene: Scene, crowd: Crowd, rng: Random, after_s: float) -> int:
    """Cut the AOF; returns how much of what was acknowledged is missing from it."""
    return len(await kill_redis(scene, crowd, rng, after_s, cut=True))


@pytest.mark.parametrize("fsync", FSYNCS)
async def test_cut_aof(tmp_path: Path, long: bool, fault: MakeFault, fsync: str) -> None:
    """Replicas that have the documents open restore what the end of the AOF held."""
    row = fault(f"Redis killed and its AOF cut, appendfsync {fsync}")
    gone = 0
    async with Scene(tmp_path, redis_options={"appendfsync": fsync}) as scene:
        for seed in range(SEEDS if long else SHORT_CUTS):
            rng = Random(seed)
            async with Crowd("cut", list(scene.direct.values()), seed) as crowd:
                gone += await cut_and_restore(scene, crowd, rng, rng.uniform(0.1, 3.0 if long else 0.5))
                recovery_s = await crowd.recover()
                row.ran(await crowd.check(scene.direct, scene.cold), recovery_s)
                if seed == (SEEDS if long else SHORT_CUTS) - 1:
                    await scene.finish(crowd)
    row.note(f"{gone:,} acknowledged were gone from Redis and put back by replicas")
    assert gone > 0


async def test_cut_aof_and_no_replica_left(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    """With all replicas killed too, only the clients' copies hold what the end of the AOF held."""
    row = fault("Redis killed and its AOF cut, all replicas killed")
    gone = 0
    async with Scene(tmp_path) as scene:
        for seed in range(SEEDS if long else 1):
            rng = Random(seed)
            async with Crowd("clients", list(scene.direct.values()), seed) as crowd:
                await crowd.type_for(rng.uniform(0.3, 1.0))
                crowd.burst()
                for provider in crowd.providers:
                    provider.hold()
                await asyncio.gather(*(replica.kill() for replica in scene.replicas))
                await asyncio.to_thread(scene.redis.kill)
                cut_tail(scene.redis.folder, rng)
                await asyncio.to_thread(scene.redis.start)
                gone += len(await crowd.lost(scene.cold))
                await asyncio.gather(*(replica.start() for replica in scene.replicas))
                began_s = time.monotonic()
                for provider in crowd.providers:
                    provider.release()
                await crowd.recover()
                row.ran(await crowd.check(scene.direct, scene.cold), time.monotonic() - began_s)
    row.note(f"{gone:,} acknowledged were gone from Redis and put back by clients")
    assert gone > 0


async def test_the_check_catches_a_replica_that_restores_nothing(tmp_path: Path) -> None:
    """A build that does not restore what the log has lost fails the row of the cut AOF."""
    async with Scene(tmp_path, **broken("deaf")) as scene, Crowd("deaf", list(scene.direct.values()), 1) as crowd:
        for seed in range(5):  # until the cut removes something that was acknowledged
            gone = await cut_and_restore(scene, crowd, Random(seed), 0.3)
            if gone:
                break
        assert gone > 0
        await crowd.until_settled()
        lost = await crowd.lost(scene.cold)
        print(f"broken build: {len(lost)} of {crowd.acknowledged} acknowledged stay lost, as they should")
        assert lost != []
