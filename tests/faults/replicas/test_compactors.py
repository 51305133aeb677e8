"""Two replicas keep compacting the same documents, and are stopped and killed while they do.

What happens between the steps of one compaction (barriers before commit and before trim, a stale fence) is in
tests/unit/journal/redis/test_compaction.py.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random

import pytest

from tests.faults.conftest import MakeFault
from tests.faults.replicas.crowd import Crowd
from tests.faults.replicas.scene import Scene

pytestmark = pytest.mark.slow

ROUNDS = 20
ENV = {"RAFFIA_COMPACT_TAIL_UPDATES": "20", "RAFFIA_COMPACT_TAIL_BYTES": "200", "RAFFIA_COMPACT_TAIL_FRACTION": "0.01"}
STOPS = 4


async def test_compactors(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    row = fault("two compactors, stopped and killed meanwhile")
    compactions = 0.0
    async with Scene(tmp_path, env=ENV) as scene:
        rounds = ROUNDS if long else 1
        for seed in range(rounds):
            rng = Random(seed)
            async with Crowd("compact", list(scene.direct.values()), seed, documents=2) as crowd:
                await crowd.type_for(0.5)
                for _ in range(STOPS):
                    stopped = rng.choice(scene.replicas)
                    stopped.pause()
                    await crowd.type_for(rng.uniform(0.05, 0.3))
                    stopped.resume()
                    await crowd.type_for(0.2)
                compactions += sum(replica.server.metrics()["raffia_compactions_total"] for replica in scene.replicas)
                victim = rng.choice(scene.replicas)
                for provider in crowd.providers:
                    provider.hold()
                await victim.kill()
                lost = await crowd.lost(scene.cold)
                assert lost == [], f"seed {seed}: {len(lost)} lost, such as {lost[:5]}"
                await victim.start()
                began_s = time.monotonic()
                for provider in crowd.providers:
                    provider.release()
                await asyncio.sleep(0)
                await crowd.recover()
                row.ran(await crowd.check(scene.direct, scene.cold), time.monotonic() - began_s)
                if seed == rounds - 1:
                    await scene.finish(crowd)
    assert compactions > 2 * rounds, "nothing was compacted"
    row.note(f"{compactions:.0f} compactions before the kills")
