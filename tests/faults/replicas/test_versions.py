"""An old and a new version run together: the old one skips what the new one adds, and loses nothing."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFault
from tests.faults.replicas.broken import COMMAND, broken
from tests.faults.replicas.crowd import Crowd
from tests.faults.replicas.scene import Scene
from tests.support.client import YClient

pytestmark = pytest.mark.slow

ROUNDS = 5


async def test_old_and_new_version(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    row = fault("old and new version together")
    assert COMMAND[0] == sys.executable
    scene = Scene(tmp_path)
    old, new = scene.replicas
    new.server.command = COMMAND
    new.server.env |= broken("newer")["env"]
    async with scene:
        await scene.warm()
        rounds = ROUNDS if long else 1
        for seed in range(rounds):
            async with Crowd("versions", list(scene.direct.values()), seed) as crowd:
                document = crowd.documents[0]
                cursors = [await YClient().join(replica.ws, document) for replica in scene.replicas]
                for number, cursor in enumerate(cursors):
                    cursor.announce(7 + number, 1, {"name": "é😀"})
                await crowd.type_for(1.0)
                entry = scene.redis.command("XREVRANGE", f"raffia:{{{document}}}:log", "+", "-", "COUNT", 200)
                fields = {name for _, pairs in entry for name in pairs[::2]}
                assert fields == {b"u", b"future"}, "both versions write"
                await scene.until(
                    lambda: old.server.metrics()["raffia_presence_unreadable_total"] > 0, "presence that cannot be read"
                )
                for cursor in cursors:
                    await cursor.close()
                began_s = time.monotonic()
                await crowd.recover()
                row.ran(await crowd.check(scene.direct, scene.cold), time.monotonic() - began_s)
                if seed == rounds - 1:
                    await scene.finish(crowd)
    row.note("unknown fields of entries and unknown formats of presence are skipped")
