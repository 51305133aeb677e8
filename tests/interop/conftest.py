"""One server process for each module of interop tests; documents keep the tests apart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.client import drop_all
from tests.support.server import RaffiaServer

# Traces are typed in as fast as the server takes them, by one session.
UNHURRIED = {"RAFFIA_MAX_UPDATES_PER_S": "0", "RAFFIA_MAX_MESSAGES_PER_S": "0", "RAFFIA_MAX_BYTES_PER_S": "0"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    with RaffiaServer(tmp_path_factory.mktemp("interop") / "data", env=UNHURRIED) as running:
        yield running


@pytest.fixture(autouse=True)
async def no_socket_left() -> AsyncIterator[None]:
    yield
    await drop_all()
