"""Replicas are restarted one by one: waiting edits are stored, and people are told to reconnect and are back soon."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFault
from tests.faults.replicas.crowd import Crowd
from tests.faults.replicas.scene import Scene

pytestmark = pytest.mark.slow

ROUNDS = 5
AWAY_S = 5.0
SERVICE_RESTART = 1012


async def restart_all(scene: Scene, crowd: Crowd) -> None:
    """Stop all replicas at once; what they acknowledged is in Redis before any client returns with a copy."""
    for provider in crowd.providers:
        provider.hold()
    crowd.burst()
    await asyncio.sleep(0)
    await asyncio.gather(*(replica.terminate() for replica in scene.replicas))
    assert await crowd.lost(scene.cold) == []
    await asyncio.gather(*(replica.start() for replica in scene.replicas))
    await scene.wait_ready()
    for provider in crowd.providers:
        provider.release()
    await crowd.recover()


async def test_rolling_restart(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    row = fault("rolling restart")
    absences, drains = [], []
    async with Scene(tmp_path, replicas=3 if long else 2) as scene:
        await scene.warm()
        rounds = ROUNDS if long else 1
        for seed in range(rounds):
            async with Crowd("rolling", [scene.ws], seed, people=24) as crowd:
                began_s = time.monotonic()
                for replica in scene.replicas:
                    await crowd.type_for(0.5)
                    ending = asyncio.create_task(replica.terminate())
                    asked_s = time.monotonic()
                    await crowd.type_until(ending.done, "the replica has ended")
                    assert ending.result() == 0, replica.server.log()
                    drains.append(time.monotonic() - asked_s)
                    starting = asyncio.create_task(replica.start())
                    await crowd.type_until(starting.done, "the replica has started again")
                    await scene.wait_ready()
                healed_s = time.monotonic()
                await crowd.recover()
                row.ran(await crowd.check(scene.direct, scene.cold), time.monotonic() - healed_s)
                left = [one for provider in crowd.providers for one in provider.absences if one.from_s >= began_s]
                assert left, "somebody had to move"
                assert {one.code for one in left} == {SERVICE_RESTART}
                absences.append(max(one.seconds for one in left))
                await restart_all(scene, crowd)
                if seed == rounds - 1:
                    await scene.finish(crowd)
    row.note(
        f"all closed with {SERVICE_RESTART}; longest time without a server {max(absences):.1f} s; "
        f"a replica ended within {max(drains):.1f} s"
    )
    assert max(absences) < AWAY_S
