"""Documents in Python on three replicas that share a Redis: seeding, the host's user, presence and closing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.support.client import HocuspocusClient, YClient
from tests.support.redis import RedisServer
from tests.support.server import ROOT, RaffiaServer

from raffia.crdt.merge import merge
from raffia.crdt.view import read_text

ROUNDS, CLIENTS = 5, 20
COMMAND = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT), "tests.support.seeded_app:app", "--port", "{port}"]


class Replica(RaffiaServer):
    """The app of tests/support/seeded_app.py."""

    def __init__(self, data: Path, redis: str) -> None:
        super().__init__(data, command=COMMAND, env={"RAFFIA_REDIS": redis})

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/collab/sync"

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.http}/ready").status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Replica]]:
    folder = tmp_path_factory.mktemp("replicas")
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(appendonly="yes"))
        yield [stack.enter_context(Replica(folder / f"data{number}", redis.url)) for number in range(3)]


def as_user(user: str) -> dict[str, str]:
    return {"Cookie": f"user={user}", "Authorization": "Bearer any"}


async def test_ol2_content_from_a_slow_database_is_there_exactly_once(replicas: list[Replica]) -> None:
    for number in range(ROUNDS):
        document = f"race/{number}"
        clients = [YClient() for _ in range(CLIENTS)]
        await asyncio.gather(
            *[
                client.join(replicas[at % len(replicas)].ws, document, headers=as_user(f"user{at}"))
                for at, client in enumerate(clients)
            ]
        )
        texts = {read_text(merge(client.updates), "t") for client in clients}
        assert texts == {f"<content of {document}>"}
        await asyncio.gather(*[client.close() for client in clients])


async def test_the_hook_sees_the_hosts_user_in_both_dialects(replicas: list[Replica]) -> None:
    async with YClient() as ana, HocuspocusClient("scope/1", token="any") as bo:
        await ana.join(replicas[0].ws, "scope/1", headers=as_user("ana"))
        await bo.join(replicas[0].ws, headers=as_user("bo"))
        async with HocuspocusClient("scope/1", token="any") as stranger:
            await stranger.open(replicas[0].ws, headers={"Authorization": "Bearer any"})
            stranger.authenticate()
            await stranger.until(lambda: stranger.denied, "a denial")


async def test_hd5_close_ends_sessions_on_the_other_replicas(replicas: list[Replica]) -> None:
    async with YClient() as ana, YClient() as bo:
        await ana.join(replicas[1].ws, "close/1", headers=as_user("ana"))
        await bo.join(replicas[2].ws, "close/1", headers=as_user("bo"))
        async with httpx.AsyncClient() as http, asyncio.timeout(20):
            while ana.closed is None:  # a replica that has just opened the document may not be heard yet
                answer = await http.get(f"{replicas[0].http}/close", params={"document": "close/1", "user": "ana"})
                assert answer.status_code == 200
        assert (await ana.until_closed())[0] == 4403
        assert bo.closed is None
