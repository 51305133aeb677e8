"""The disk of Redis is full: acknowledgements stop, everything else goes on, and nothing needs a restart."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFault
from tests.faults.replicas.crowd import Crowd
from tests.faults.replicas.network import need_root
from tests.faults.replicas.scene import Scene
from tests.faults.test_disk_full_server import Filler
from tests.support.client import HocuspocusClient

pytestmark = pytest.mark.slow

ROUNDS = 5
SYNCED_S = 2.5  # `everysec` has written everything by then


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB for the files of Redis."""
    need_root("mounting a tmpfs")
    place = tmp_path / "redis"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


async def test_disk_full(tmp_path: Path, small_disk: Path, long: bool, fault: MakeFault) -> None:
    row = fault("disk full under Redis")
    size_mib = 1
    async with Scene(tmp_path) as scene:
        await scene.warm()
        pids = [scene.redis.pid, *(replica.pid for replica in scene.replicas)]
        rounds = ROUNDS if long else 1
        for seed in range(rounds):
            async with Crowd("full", list(scene.direct.values()), seed) as crowd:
                await crowd.type_for(0.5)
                near = scene.replicas[0]
                filler = Filler(await HocuspocusClient(f"filler-{seed}").join(near.ws))
                await filler.client.settle()
                filler.base = filler.client.sent
                await filler.until_refused()
                await crowd.type_for(0.3)
                stored, answered = filler.acknowledged, crowd.acknowledged
                await crowd.type_for(1.0)
                assert (filler.acknowledged, crowd.acknowledged) == (stored, answered), (
                    "nobody is told that it is saved"
                )
                assert 0 not in filler.client.statuses, "what only waits is not refused"
                assert all(one.is_online for one in crowd.providers), "nobody is cut off"
                first, second = next(
                    (one, other)
                    for one in crowd.on(near.ws)
                    for other in crowd.on(near.ws)
                    if one is not other and one.document == other.document
                )
                first.type()
                token = next(done.token for done in reversed(first.log) if not done.deletes)
                await first.until(lambda token=token, who=second: token in who.text, "people go on")  # type: ignore[misc]
                size_mib += 31
                subprocess.run(["mount", "-o", f"remount,size={size_mib}m", str(small_disk)], check=True)
                began_s = time.monotonic()
                await filler.client.until(lambda who=filler: who.acknowledged == who.sent, "all stored")  # type: ignore[misc]
                await crowd.recover()
                recovery_s = time.monotonic() - began_s
                acknowledged = await crowd.check(scene.direct, scene.cold) + filler.sent
                await filler.client.close()
                assert pids == [scene.redis.pid, *(replica.pid for replica in scene.replicas)], "nothing was restarted"
                if seed == rounds - 1:
                    # By now, what was acknowledged is in the file too.
                    await asyncio.sleep(SYNCED_S)
                    await asyncio.to_thread(scene.redis.kill)
                    await asyncio.to_thread(scene.redis.start)
                    assert await crowd.lost(scene.cold) == []
                    await crowd.recover()
                    await scene.finish(crowd)
                else:
                    size_mib = 1 + _used_mib(small_disk)
                    subprocess.run(["mount", "-o", f"remount,size={size_mib}m", str(small_disk)], check=True)
                row.ran(acknowledged, recovery_s)


def _used_mib(place: Path) -> int:
    return sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) >> 20
