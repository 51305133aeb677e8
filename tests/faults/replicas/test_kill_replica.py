"""A replica is killed while people type: nothing acknowledged is lost, and they are back at another within 5 s."""

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
SHORT_SEEDS = 2
BACK_S = 5.0


async def kill_one(scene: Scene, crowd: Crowd, rng: Random, after_s: float) -> list[str]:
    """Type, kill a replica and restart it; returns what readers at another and of Redis miss before people return."""
    victim = rng.choice(scene.replicas)
    survivor = next(replica for replica in scene.replicas if replica is not victim)
    await crowd.type_for(after_s)
    await crowd.type_until(lambda: crowd.in_flight, "something in flight")
    crowd.burst()
    await asyncio.sleep(0)
    # A returning client would bring its copy and hide a loss: none returns before the readers have finished.
    for provider in crowd.providers:
        provider.hold()
    await victim.kill()
    lost = await crowd.lost(scene.cold)
    if not lost:
        # What Redis has reaches the other replica through the channel: soon, but not at once.
        await crowd.until_kept(scene.fresh_at(survivor), f"{survivor.name} after the death of {victim.name}")
    await asyncio.to_thread(victim.server.start)
    return lost


async def test_kill_replica(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    row = fault("replica killed under load")
    async with Scene(tmp_path, replicas=2) as scene:
        await scene.warm()
        for seed in range(SEEDS if long else SHORT_SEEDS):
            rng = Random(seed)
            async with Crowd("kill", [scene.ws], seed) as crowd:
                lost = await kill_one(scene, crowd, rng, rng.uniform(0.1, 3.0 if long else 1.0))
                if lost:
                    row.ran(crowd.acknowledged, lost=len(lost))
                assert lost == [], f"seed {seed}: {len(lost)} lost, such as {lost[:5]}"
                began_s = time.monotonic()
                for provider in crowd.providers:
                    provider.release()
                await crowd.type_for(0.2)
                await crowd.recover()
                recovery_s = time.monotonic() - began_s
                row.ran(await crowd.check(scene.direct, scene.cold), recovery_s)
                assert recovery_s < BACK_S, f"seed {seed}: {recovery_s:.1f} s"
        async with Crowd("kill", [scene.ws], -1) as crowd:
            await crowd.type_for(0.5)
            await crowd.recover()
            await scene.finish(crowd)


async def test_kill_replica_and_come_back_at_once(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    """The same without holding clients back: how long people are without a server."""
    row = fault("replica killed under load, people return at once")
    absences: list[float] = []
    async with Scene(tmp_path, replicas=3 if long else 2) as scene:
        for seed in range(SEEDS if long else 1):
            rng = Random(1000 + seed)
            async with Crowd("back", [scene.ws], seed) as crowd:
                await crowd.type_for(rng.uniform(0.1, 1.0))
                crowd.burst()
                victim = rng.choice(scene.replicas)
                killed_s = time.monotonic()
                await victim.kill()
                await crowd.type_for(1.0)  # also offline
                began_s = time.monotonic()
                await crowd.recover()
                row.ran(await crowd.check(scene.direct, scene.cold), time.monotonic() - began_s)
                absences.append(crowd.longest_absence_s(killed_s - 1))
                await victim.start()
                await scene.wait_ready()
    row.note(f"longest time without a server {max(absences):.1f} s")
    assert max(absences) < BACK_S


async def test_the_check_catches_a_replica_that_acknowledges_too_early(tmp_path: Path) -> None:
    """A deliberately broken build has to lose something here, or the check above proves nothing."""
    async with Scene(tmp_path, **broken("eager")) as scene:
        lost: list[str] = []
        for seed in range(5):  # one kill is almost always enough
            async with Crowd("broken", [scene.ws], seed) as crowd:
                lost = await kill_one(scene, crowd, Random(seed), 0.5)
                print(f"broken build: {len(lost)} of {crowd.acknowledged} acknowledged lost, as they should be")
            if lost:
                break
        assert lost != []
