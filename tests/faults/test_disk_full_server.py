"""A server on a full disk: it stops saying "saved", goes on otherwise, and recovers without a restart."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFault
from tests.support.client import HocuspocusClient, YClient, fresh_reader
from tests.support.lib0 import insert
from tests.support.server import RaffiaServer

pytestmark = pytest.mark.slow

CHUNK = "é😀" * 500
QUIET_S = 2.0
RECOVER_S = 20.0
ENOUGH = 2_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    if os.geteuid() != 0:
        pytest.fail("mounting a tmpfs needs root: run this test as root (CI does); it is not skipped")
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


class Filler:
    """Writes numbered chunks, and counts what is acknowledged."""

    def __init__(self, client: HocuspocusClient) -> None:
        self.client = client
        self.base = client.sent
        self.clock = 0
        self.sent = 0

    def write(self) -> None:
        text = self.token(self.sent) + CHUNK
        self.client.update(insert(5, self.clock, text, self.clock - 1 if self.clock else None))
        self.clock += len(text.encode("utf-16-le")) // 2
        self.sent += 1

    @staticmethod
    def token(number: int) -> str:
        return f"<{number:05}é>"

    @property
    def acknowledged(self) -> int:
        return self.client.statuses.count(1) - self.base

    async def until_refused(self) -> None:
        """Write until the answers stop."""
        for _ in range(ENOUGH):
            self.write()
            try:
                await self.client.until(lambda: self.acknowledged == self.sent, "an answer", QUIET_S)
            except AssertionError:
                assert self.client.closed is None, self.client.closed
                return
        raise AssertionError("1 MB was never full")


async def test_a_full_disk_stops_acknowledging_and_nothing_else(
    small_disk: Path, tmp_path: Path, fault: MakeFault
) -> None:
    row = fault("disk full under SQLite")
    with RaffiaServer(tmp_path / "disk" / "data") as server:
        server_pid = server.pid
        watcher = await YClient().join(server.ws, "full")
        filler = Filler(await HocuspocusClient("full").join(server.ws))
        await filler.client.settle()
        filler.base = filler.client.sent
        await filler.until_refused()
        stored = filler.acknowledged
        assert stored > 10
        refused = filler.sent
        # No client is told "saved" ...
        for _ in range(3):
            filler.write()
        with pytest.raises(AssertionError, match="not within"):
            await filler.client.until(lambda: filler.acknowledged > stored, "an answer", QUIET_S)
        assert 0 not in filler.client.statuses, "what only waits is not refused"
        # ... while people on this server go on seeing each other, new clients load, and other documents are read.
        last = filler.token(filler.sent - 1).encode()
        await watcher.until(lambda: watcher.holds(last), "fan-out while the disk is full")
        async with await fresh_reader(server.ws, "full") as reader:
            assert all(reader.holds(filler.token(number).encode()) for number in range(filler.sent))
        async with await fresh_reader(server.ws, "another") as reader:
            assert reader.synced
        assert server.running
        # With room again, everything is stored, in order, without a restart.
        subprocess.run(["mount", "-o", "remount,size=32m", str(small_disk)], check=True)
        began_s = time.monotonic()
        await filler.client.until(lambda: filler.acknowledged == filler.sent, "everything stored", RECOVER_S)
        recovery_s = time.monotonic() - began_s
        filler.write()
        await filler.client.until(lambda: filler.acknowledged == filler.sent, "the next one stored")
        assert server.pid == server_pid
        row.note(f"{stored} stored before, {filler.sent - refused} waited and were stored after there was room")
        server.kill()
        await asyncio.to_thread(server.start)
        async with await fresh_reader(server.ws, "full") as reader:
            lost = [number for number in range(filler.sent) if not reader.holds(filler.token(number).encode())]
            row.ran(filler.sent, recovery_s, lost=len(lost))
            assert lost == []


async def test_a_kill_on_a_full_disk_loses_only_what_was_not_acknowledged(small_disk: Path, tmp_path: Path) -> None:
    with RaffiaServer(tmp_path / "disk" / "data") as server:
        filler = Filler(await HocuspocusClient("full").join(server.ws))
        await filler.client.settle()
        filler.base = filler.client.sent
        await filler.until_refused()
        server.kill()
        await filler.client.until_closed()
        stored = filler.acknowledged
        # Still without room, the server has to start and serve what it has.
        await asyncio.to_thread(server.start)
        async with await fresh_reader(server.ws, "full") as reader:
            lost = [number for number in range(stored) if not reader.holds(filler.token(number).encode())]
            assert lost == []
        subprocess.run(["mount", "-o", "remount,size=32m", str(small_disk)], check=True)
