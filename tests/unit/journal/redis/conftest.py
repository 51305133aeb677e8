"""One Redis for each file of tests, and journals on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.journals import Journals
from tests.support.redis import RedisServer

from raffia.journal.testing.contract import Clock


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(appendonly="yes", appendfsync="always") as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def journals(server: RedisServer, clock: Clock) -> AsyncIterator[Journals]:
    server.command("FLUSHALL")
    async with Journals(server, clock) as journals:
        yield journals
