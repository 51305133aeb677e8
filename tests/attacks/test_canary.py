"""The canary (I3), and that it notices what it is there for."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.attacks.canary import Run
from tests.attacks.conftest import guarded
from tests.attacks.scene import Place
from tests.support.server import ROOT

SEED = int(os.environ.get("CANARY_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
LEAKY = [sys.executable, "-m", "tests.attacks.leaky_server", "serve"]
LEAKY += ["--host", "127.0.0.1", "--port", "{port}", "--data", "{data}"]


@pytest.mark.parametrize("where", ["alone", "replicas"])
async def test_no_byte_reaches_anybody_without_a_grant(where: str, request: pytest.FixtureRequest) -> None:
    """Hundreds of sessions; a failure prints the seed, and CANARY_SEED plays it again."""
    place: Place = request.getfixturevalue(where)
    run = Run(place, SEED, visits=280, at_once=32)
    async with asyncio.timeout(180):
        await run.play()
    assert run.leaks == []
    assert sum(run.visits.values()) == 280
    assert len(run.visits) == 8
    assert run.sightings > 1000
    assert run.looked > 500_000
    for server in place.servers:  # what everybody may read
        for path in ("/metrics", "/healthz", "/readyz", "/"):
            with await asyncio.to_thread(urllib.request.urlopen, server.http + path) as answer:
                run.search(answer.read(), None)
    assert run.leaks == []


@pytest.mark.parametrize("leak", ["door", "denial", "rooms", "presence", "cache", "address"])
async def test_the_canary_notices(leak: str, tmp_path: Path) -> None:
    server = guarded(tmp_path, "data", PYTHONPATH=str(ROOT), RAFFIA_TEST_LEAK=leak)
    server.command = LEAKY
    with server:
        run = Run(Place(server, server), SEED, visits=280, at_once=24)
        async with asyncio.timeout(180):
            await run.play()
        assert run.leaks != []
        server.kill()
