"""A reader at one replica stops reading while people type at another: it affects no one else, and memory stays flat."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFault
from tests.faults.replicas.oracle import Copy, read_fresh, unequal
from tests.faults.replicas.scene import Scene
from tests.faults.test_slow_reader import PASTE, WRITERS, StalledReader, Traffic, quiet_p99
from tests.support.client import YClient
from tests.support.lib0 import insert

pytestmark = [pytest.mark.slow, pytest.mark.alone]

READERS, SHORT_READERS = 50, 10
SAMPLED = 5
LONG_S, SHORT_S = 60.0, 4.0
BASELINE_S, SHORT_BASELINE_S = 8.0, 4.0
KEPT_BYTES = (
    16_000_000  # one document with its caches, in addition to what is typed; a queue would hold a paste per flush
)


async def test_slow_reader(tmp_path: Path, long: bool, fault: MakeFault, request: pytest.FixtureRequest) -> None:
    row = fault("slow reader at another replica, SO_RCVBUF 4096")
    document = "slow"
    async with Scene(tmp_path) as scene:
        near, far = scene.replicas
        writers = [await YClient().join(near.ws, document) for _ in range(WRITERS)]
        readers = [await YClient().join(far.ws, document) for _ in range(READERS if long else SHORT_READERS)]
        traffic = Traffic(writers, readers[-SAMPLED:])
        # A reader cannot ask whether the replica has sent everything on: it is settled when all readers are.
        await traffic.run(1.0)
        before = await quiet_p99(traffic, BASELINE_S if long else SHORT_BASELINE_S)
        slow = await asyncio.to_thread(StalledReader, far.server.port, document)
        request.addfinalizer(slow.close)
        known = set().union(*slow.tokens())
        writers[0].update(insert(50, 0, PASTE))
        await writers[0].settle()
        await readers[0].until(lambda: readers[0].holds(PASTE[-20:].encode()), "the paste at the other replica")
        memory = far.server.rss_bytes()
        seconds = LONG_S if long else SHORT_S
        during = await quiet_p99(traffic, seconds)
        grown = far.server.rss_bytes() - memory
        everything = set(traffic.sent)
        await asyncio.to_thread(slow.read_until, lambda: known.union(*slow.tokens()) == everything, 30)
        copies = {"slow reader": Copy.of(slow.updates), "newcomer": await read_fresh(far.ws, document)}
        copies["cold"] = await scene.cold(document)
        assert not (said := unequal(copies)), said
        for client in (*writers, *readers):
            await client.close()
        row.ran(len(traffic.sent))
        row.note(
            f"p99 for the others in the quieter seconds {before * 1000:.0f} ms before, {during * 1000:.0f} ms during "
            f"{seconds:.0f} s; the replica grew by {grown / 1e6:.1f} MB"
        )
        assert during < 2 * before + 0.020, f"the others noticed: p99 {before * 1000:.0f} -> {during * 1000:.0f} ms"
        assert grown < KEPT_BYTES, f"memory grew by {grown} bytes"
