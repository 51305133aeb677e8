"""Servers for REST: open on SQLite, with tokens on SQLite, and two replicas around Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.redis import RedisServer
from tests.support.server import RaffiaServer
from tests.support.tokens import SECRET


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    """Open, on SQLite."""
    with RaffiaServer(tmp_path_factory.mktemp("rest") / "data", env={"RAFFIA_MAX_FILE_BYTES": "64KiB"}) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    """With tokens, on SQLite."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "secret").write_text(SECRET)
    env = {"RAFFIA_AUTH_KEY_FILE": str(folder / "secret"), "RAFFIA_AUTH_LEEWAY_S": "0", "RAFFIA_LOG_LEVEL": "debug"}
    with RaffiaServer(folder / "data", env=env) as running:
        yield running
        assert SECRET not in running.log_path.read_text()


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer(appendonly="yes") as running:
        yield running


@pytest.fixture(scope="module")
def replicas(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisServer
) -> Iterator[tuple[RaffiaServer, RaffiaServer]]:
    """Two replicas with tokens and a shared folder for files."""
    folder = tmp_path_factory.mktemp("replicas")
    (folder / "secret").write_text(SECRET)
    env = {
        "RAFFIA_AUTH_KEY_FILE": str(folder / "secret"),
        "RAFFIA_AUTH_LEEWAY_S": "0",
        "RAFFIA_REDIS": redis.url,
        "RAFFIA_FILES": f"file://{folder}/shared",
    }
    with RaffiaServer(folder / "one", env=env) as one, RaffiaServer(folder / "two", env=env) as two:
        yield one, two
