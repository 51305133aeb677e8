"""The load balancer dies: its clients reconnect through the other one, not all at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFault
from tests.faults.replicas.crowd import Crowd
from tests.faults.replicas.scene import Scene
from tests.support.haproxy import Haproxy

pytestmark = pytest.mark.slow

ROUNDS = 5
BACK_S = 5.0
PEOPLE = 40


async def test_load_balancer(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    row = fault("one of two load balancers killed")
    absences, widths = [], []
    async with Scene(tmp_path) as scene:
        places = [f"127.0.0.1:{replica.server.port}" for replica in scene.replicas]
        with Haproxy(tmp_path / "second", places) as second:
            await scene.warm()
            await scene.until(lambda: set(second.states().values()) == {"UP"}, "the second sees the replicas")
            rounds = ROUNDS if long else 1
            for seed in range(rounds):
                async with Crowd("balancer", [scene.ws, second.ws], seed, people=PEOPLE) as crowd:
                    await crowd.type_for(0.5)
                    crowd.burst()
                    moved = crowd.on(scene.ws)
                    assert moved, "nobody came through the first"
                    killed_s = time.monotonic()
                    scene.haproxy.kill()
                    await crowd.type_for(0.3)
                    began_s = time.monotonic()
                    await crowd.recover()
                    row.ran(await crowd.check(scene.direct, scene.cold), time.monotonic() - began_s)
                    assert all(provider.server == second.ws for provider in moved)
                    absences.append(crowd.longest_absence_s(killed_s))
                    tries = [next(at for at in one.attempts_s if at >= killed_s) for one in moved]
                    widths.append(max(tries) - min(tries))
                    if seed == rounds - 1:
                        await scene.finish(crowd)
                    else:
                        scene.haproxy.start()
                        await scene.wait_ready()
    row.note(f"longest time without a server {max(absences):.1f} s; clients came back over {max(widths) * 1000:.0f} ms")
    assert max(absences) < BACK_S
    assert min(widths) > 0.03, "all came back in one moment"
