"""The places where attacks are played. Each server starts once; at the end no token stands in its log."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.attacks.scene import Place
from tests.support.client import drop_all
from tests.support.redis import RedisServer
from tests.support.server import RaffiaServer
from tests.support.tokens import SECRET

ENV = {"RAFFIA_AUTH_LEEWAY_S": "0", "RAFFIA_LOG_LEVEL": "debug", "RAFFIA_PREAUTH_S": "3"}


def guarded(folder: Path, name: str, **env: str) -> RaffiaServer:
    """A server with a key, not started yet."""
    (folder / "secret").write_text(SECRET)
    return RaffiaServer(folder / name, env={"RAFFIA_AUTH_KEY_FILE": str(folder / "secret"), **ENV, **env})


def check_log(server: RaffiaServer) -> None:
    """No token stands in what a server has logged, whatever was done to it."""
    text = server.log_path.read_text()
    assert re.findall(r"eyJ[\w-]{8,}", text) == []
    assert SECRET not in text


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One process on SQLite."""
    folder = tmp_path_factory.mktemp("attacks")
    with guarded(folder, "data") as server:
        yield Place(server, server)
        check_log(server)


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with RedisServer(None, appendonly="yes", appendfsync="everysec") as server:
        yield server


@pytest.fixture(scope="session")
def replicas(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Iterator[Place]:
    """Two replicas on Redis: the victims at one, attackers at the other."""
    folder = tmp_path_factory.mktemp("attacked-replicas")
    env = {"RAFFIA_REDIS": redis.url, "RAFFIA_FILES": (folder / "files").as_uri()}
    with guarded(folder, "one", **env) as one, guarded(folder, "two", **env) as two:
        yield Place(one, two)
        check_log(one)
        check_log(two)


@pytest.fixture(params=["alone y-websocket", "replicas hocuspocus"])
def corner(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Place and dialect of an attack: two of the four; a test that wants all says so with `ALL_CORNERS`."""
    place, dialect = request.param.split(" ")
    return place, dialect


@pytest.fixture
def place(corner: tuple[str, str], request: pytest.FixtureRequest) -> Place:
    """Where it is played."""
    chosen: Place = request.getfixturevalue(corner[0])
    return chosen


@pytest.fixture
def dialect(corner: tuple[str, str]) -> str:
    """How the attacker speaks."""
    return corner[1]


@pytest.fixture(autouse=True)
async def no_socket_left() -> AsyncIterator[None]:
    yield
    await drop_all()
