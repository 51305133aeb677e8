"""A killed server has lost nothing that it acknowledged; the same check catches a build that acknowledges too early.

The check comes before any writer returns, since a returning client would upload its copy and hide a loss: a fresh
reader finds every acknowledged token.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.faults.conftest import MakeFault
from tests.faults.typists import Typist
from tests.interop.judge import YjsJudge
from tests.support.client import HocuspocusClient, YClient, fresh_reader
from tests.support.server import ROOT, RaffiaServer

pytestmark = pytest.mark.slow

SEEDS = 50
SHORT_SEEDS = 3
ACKNOWLEDGED = 1_000
DOCUMENTS = 4
TYPISTS = 8
AHEAD = 60  # operations that one typist sends without waiting for an answer
TURN_S = 0.001
LOAD_S = 60.0


@pytest.fixture(scope="module")
def judge() -> Iterator[YjsJudge]:
    with YjsJudge() as asked:
        yield asked


def broken(data: Path, how: str, **env: str) -> RaffiaServer:
    """The server with a faulty journal."""
    command = [sys.executable, "-m", "tests.faults.broken_server", "serve"]
    command += ["--host", "127.0.0.1", "--port", "{port}", "--data", "{data}"]
    return RaffiaServer(data, command=command, env={"PYTHONPATH": str(ROOT), "RAFFIA_TEST_JOURNAL": how, **env})


async def typists_on(server: RaffiaServer, names: list[str]) -> dict[str, list[Typist]]:
    """Typists: half of them use each dialect, several share each document."""
    found: dict[str, list[Typist]] = {name: [] for name in names}
    for number in range(TYPISTS):
        name = names[number % len(names)]
        client: YClient | HocuspocusClient
        if number < TYPISTS // 2:
            client = await YClient().join(server.ws, name)
        else:
            client = await HocuspocusClient(name).join(server.ws)
            await client.settle()
        found[name].append(Typist(client, 100 + number))
    return found


async def kill_while_typing(server: RaffiaServer, seed: int, after_s: tuple[float, float]) -> dict[str, list[Typist]]:
    """Type as fast as answers arrive; kill at a random moment once enough is acknowledged and more is in flight."""
    rng = Random(seed)
    by_document = await typists_on(server, [f"kill-{seed}-{number}" for number in range(DOCUMENTS)])
    everybody = [typist for typists in by_document.values() for typist in typists]
    loop = asyncio.get_running_loop()
    end = loop.time() + rng.uniform(*after_s)
    give_up = loop.time() + LOAD_S
    while True:
        for typist in everybody:
            while typist.in_flight < AHEAD:
                typist.type()
        acknowledged = sum(typist.settled for typist in everybody)
        if loop.time() >= end and acknowledged >= ACKNOWLEDGED and all(typist.in_flight for typist in everybody):
            break
        assert loop.time() < give_up, f"seed {seed}: {acknowledged} acknowledged in {LOAD_S:.0f} s"
        await asyncio.sleep(TURN_S)
    # Answers to all that was in flight may be in the sockets already, since they come in bursts; not these.
    for typist in everybody:
        typist.type()
    await asyncio.sleep(0)
    server.kill()
    for typist in everybody:
        await typist.client.until_closed()  # answers that were still in the socket count
    return by_document


async def lost_after_restart(
    server: RaffiaServer, judge: YjsJudge, by_document: dict[str, list[Typist]]
) -> tuple[int, list[str]]:
    """Restart on the same folder, and compare a fresh reader of each document with the logs."""
    await asyncio.to_thread(server.start)
    acknowledged, lost = 0, []
    for name, typists in by_document.items():
        async with await fresh_reader(server.ws, name, inspect=True) as reader:
            text = judge.describe(*reader.updates).text("t")
            assert reader.skips == []
        for typist in typists:
            acknowledged += len(typist.acknowledged())
            lost += typist.lost(text)
    return acknowledged, lost


async def test_kill_nine_loses_nothing_acknowledged(
    tmp_path: Path, judge: YjsJudge, long: bool, fault: MakeFault
) -> None:
    row = fault("one process on SQLite killed")
    seeds = SEEDS if long else SHORT_SEEDS
    with RaffiaServer(tmp_path / "data") as server:
        for seed in range(seeds):
            by_document = await kill_while_typing(server, seed, (0.1, 3.0) if long else (0.1, 1.0))
            in_flight = sum(typist.in_flight for typists in by_document.values() for typist in typists)
            killed_s = time.monotonic()
            acknowledged, lost = await lost_after_restart(server, judge, by_document)
            row.ran(acknowledged, time.monotonic() - killed_s, lost=len(lost))
            assert in_flight > 0
            assert acknowledged >= ACKNOWLEDGED
            assert lost == [], f"seed {seed}: {len(lost)} of {acknowledged} lost"
    row.note("recovery: from the kill until a newcomer has read every document")


async def test_the_check_catches_a_build_that_acknowledges_too_early(tmp_path: Path, judge: YjsJudge) -> None:
    """The same check has to fail on a deliberately broken build, or it proves nothing above."""
    with broken(tmp_path / "data", "eager") as server:
        by_document = await kill_while_typing(server, 1, (0.3, 0.5))
        acknowledged, lost = await lost_after_restart(server, judge, by_document)
        print(f"broken build: {len(lost)} of {acknowledged} acknowledged tokens lost, as they should be")
        assert lost != []


async def test_nothing_is_acknowledged_before_the_journal_has_it(tmp_path: Path) -> None:
    """While the disk does not respond, others see the edit and no client is told "saved"."""
    hold = tmp_path / "hold"
    with broken(tmp_path / "data", "held", RAFFIA_TEST_HOLD=str(hold)) as server:
        reader = await YClient().join(server.ws, "held")
        writers = [await YClient().join(server.ws, "held"), await HocuspocusClient("held").join(server.ws)]
        for writer in writers:
            await writer.settle()
        hold.touch()
        typists = [Typist(writer, number) for number, writer in enumerate(writers, 1)]
        for typist in typists:
            for _ in range(10):
                typist.type()
        await reader.until(lambda: reader.holds("<1.9é😀>".encode()) and reader.holds("<2.9é😀>".encode()), "fan-out")
        with pytest.raises(AssertionError, match="not within 1 s"):
            await writers[0].until(lambda: any(typist.acknowledged() for typist in typists), "any answer", 1.0)
        hold.unlink()
        for writer in writers:
            await writer.settle()
        assert all(typist.in_flight == 0 for typist in typists)
        assert all(len(typist.acknowledged()) == 10 for typist in typists)
        for client in (reader, *writers):
            await client.close()
