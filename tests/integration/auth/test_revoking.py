"""Revoking at real servers: both dialects, REST, the command, a restart, and replicas around Redis."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.client import HocuspocusClient, YClient
from tests.support.lib0 import insert
from tests.support.redis import RedisServer
from tests.support.server import RaffiaServer
from tests.support.tokens import SECRET, token
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

PLAN, NOTES = "team/plan", "team/notes"
ADMIN = {"raffia": {"*": "admin"}, "sub": "chef é"}
SPREAD_S = 5.0


def key_file(folder: Path) -> str:
    (folder / "secret").write_text(SECRET)
    return str(folder / "secret")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    folder = tmp_path_factory.mktemp("revoking")
    with RaffiaServer(folder / "data", env={"RAFFIA_AUTH_KEY_FILE": key_file(folder)}) as running:
        yield running


def headers(made: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {made}"}


async def status(server: RaffiaServer, made: str, document: str = PLAN) -> int:
    try:
        async with connect(f"{server.ws}/{document}?token={made}"):
            return 101
    except InvalidStatus as refused:
        return int(refused.response.status_code)


async def post(server: RaffiaServer, made: str | None, body: Any, **more: str) -> httpx.Response:
    asked = (headers(made) if made is not None else {}) | more
    async with httpx.AsyncClient(base_url=server.http) as client:
        return await client.post("/api/revocations", headers=asked, content=json.dumps(body))


def raffia(server: RaffiaServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`raffia revoke`, as an operator on the server's machine runs it, with a broken proxy in the environment."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAFFIA_")},
        "RAFFIA_AUTH_KEY_FILE": server.env["RAFFIA_AUTH_KEY_FILE"],
        "RAFFIA_PORT": str(server.port),
        "http_proxy": "http://127.0.0.1:9",
    }
    command = [str(Path(sys.executable).with_name("raffia")), "revoke", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=30, check=False)


@asynccontextmanager
async def live(server: RaffiaServer, made: str, *documents: str) -> AsyncIterator[list[YClient | HocuspocusClient]]:
    """One client of each dialect on each document."""
    async with AsyncExitStack() as stack:
        clients: list[YClient | HocuspocusClient] = []
        for document in documents:
            plain = await stack.enter_async_context(YClient())
            hocus = await stack.enter_async_context(HocuspocusClient(document, token=made))
            clients += [await plain.join(server.ws, document, headers=headers(made)), await hocus.join(server.ws)]
        yield clients


async def until_revoked(client: YClient | HocuspocusClient, deadline_s: float = SPREAD_S) -> None:
    if isinstance(client, YClient):
        assert await client.until_closed(deadline_s) == (4401, "revoked: access was taken back; sign in again")
    else:
        await client.until(lambda: client.closes, "a CLOSE", deadline_s)
        assert client.closes == client.denied == ["revoked: access was taken back; sign in again"]
        assert client.closed is None


async def is_live(client: YClient | HocuspocusClient) -> None:
    """The victim notices nothing."""
    client.update(insert(time.monotonic_ns() % 2**31, 0, "é😀"))
    await client.until_stored()
    assert client.closed is None


async def test_rev1_rev3_a_user_at_once_and_nobody_else(server: RaffiaServer) -> None:
    zoe, bo = token(sub="zoë 1"), token(sub="bo")
    async with live(server, zoe, PLAN, NOTES) as hers, live(server, bo, PLAN) as his:
        answer = await post(server, token(**ADMIN), {"user": "zoë 1"})
        assert (answer.status_code, answer.json()) == (200, {"kind": "user", "subject": "zoë 1", "ended": 4})
        for client in hers:
            await until_revoked(client)
        for other in his:
            await is_live(other)
    assert await status(server, zoe) == 401
    assert await status(server, bo) == 101
    async with HocuspocusClient(PLAN, token=zoe) as again:
        await again.open(server.ws)
        again.authenticate()
        await again.until(lambda: again.denied, "a denial")
    assert await status(server, token(sub="zoë 1")) == 101  # issued later
    assert await status(server, token(sub="zoë 1", iat=None)) == 401  # nobody knows when
    assert await status(server, token(sub="zoë 1", iat=int(time.time()))) in {101, 401}
    assert server.metric('raffia_refusals_total{reason="revoked"}') >= 4


async def test_rev3_a_revoked_token_renews_nothing(server: RaffiaServer) -> None:
    kept, gone = token(sub="mia", jti="m1"), token(sub="mia", jti="m2 é")
    async with HocuspocusClient(PLAN, token=kept) as mia:
        await mia.join(server.ws)
        assert (await post(server, token(**ADMIN), {"token": "m2 é"})).json()["ended"] == 0
        await is_live(mia)
        mia.token = gone
        mia.authenticate()
        await until_revoked(mia)


async def test_rev2_one_token_alone(server: RaffiaServer) -> None:
    first, second = token(sub="ana", jti="a1"), token(sub="ana", jti="a2")
    async with live(server, first, PLAN) as ended, live(server, second, PLAN) as going:
        assert (await post(server, token(**ADMIN), {"token": "a1"})).json()["ended"] == 2
        for client in ended:
            await until_revoked(client)
        for client in going:
            await is_live(client)
    assert (await status(server, first), await status(server, second)) == (401, 101)


async def test_rev2_links_of_one_document(server: RaffiaServer) -> None:
    link, person = token(sub=None, lnk="L1"), token(sub="uma")
    admin = token(sub="uma", raffia={PLAN: "admin"})
    async with live(server, link, PLAN, NOTES) as by_link, live(server, person, PLAN) as by_name:
        assert (await post(server, admin, {"links": PLAN})).json()["ended"] == 2
        for client in by_link[:2]:
            await until_revoked(client)
        for client in by_link[2:] + by_name:
            await is_live(client)
    assert (await status(server, link, PLAN), await status(server, link, NOTES)) == (401, 101)
    assert await status(server, token(sub=None, lnk="L2"), PLAN) == 101


async def test_ra1_only_administrators(server: RaffiaServer) -> None:
    for made, body, said in (
        (None, {"user": "bo"}, 401),
        ("nonsense", {"user": "bo"}, 401),
        (token(), {"user": "bo"}, 403),
        (token(raffia={"*": "edit"}), {"user": "bo"}, 403),
        (token(raffia={"team/*": "admin"}), {"user": "bo"}, 403),
        (token(raffia={"team/*": "admin"}), {"token": "t"}, 403),
        (token(raffia={"team/*": "admin"}), {"links": "other/plan"}, 403),
        (token(raffia={"team/*": "admin"}), {"links": "team/none"}, 403),  # there is no such document
    ):
        answer = await post(server, made, body)
        assert answer.status_code == said, (body, answer.text)
    async with live(server, token(), PLAN):
        answer = await post(server, token(raffia={"*": "admin", PLAN: "read"}), {"links": PLAN})
        assert answer.status_code == 200, answer.text
    refused = await post(server, token(**ADMIN), {"user": "bo"}, Origin="https://evil.example")
    assert refused.status_code == 403
    assert await status(server, token(sub="bo")) == 101


@pytest.mark.parametrize(
    "body",
    [
        {}, [], "zoë", {"user": ""}, {"user": 7}, {"user": None}, {"user": "a", "token": "b"}, {"users": "a"},
        {"links": "../plan"}, {"links": "team/*"}, {"user": "é" * 257}, {"user": "x" * 5000}, {"user": "\ud800"},
    ],
)  # fmt: skip
async def test_malformed_revocations_are_refused(server: RaffiaServer, body: Any) -> None:
    answer = await post(server, token(**ADMIN), body)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "malformed")


async def test_z1_the_command(server: RaffiaServer) -> None:
    made, by_id, link = token(sub="kai 😀"), token(sub="x", jti="k1"), token(sub=None, lnk="k")
    async with live(server, made, PLAN) as kai, live(server, by_id, PLAN) as named, live(server, link, PLAN) as linked:
        for arguments, clients in (
            (("--user", "kai 😀"), kai),
            (("--token", "k1"), named),
            (("--links", PLAN), linked),
        ):
            done = await asyncio.to_thread(raffia, server, *arguments)
            assert (done.returncode, done.stderr) == (0, "")
            assert "2 sessions ended" in done.stdout
            for client in clients:
                await until_revoked(client)


async def test_z1_the_command_says_what_went_wrong(server: RaffiaServer, tmp_path: Path) -> None:
    (tmp_path / "other").write_text(SECRET[::-1])
    for arguments, says in (
        ((), "one of --user, --token and --links"),
        (("--user", "a", "--token", "b"), "one of --user"),
        (("--links", "../x"), "document id"),
        (("--user", "a", "--server", "ftp://x"), "is not a URL"),
        (("--user", "a", "--server", "127.0.0.1:8000"), "is not a URL"),
        (("--user", "a", "--server", "http://127.0.0.1:9"), "cannot reach http://127.0.0.1:9"),
        (("--user", "a", "--auth-key-file", str(tmp_path / "other")), "refused (401): the token is not signed"),
    ):
        done = await asyncio.to_thread(raffia, server, *arguments)
        assert done.returncode == 2
        assert says in done.stderr
        assert done.stderr.count("\n") == 1


async def test_rev4_a_restart_changes_nothing(tmp_path: Path) -> None:
    server = RaffiaServer(tmp_path / "data", env={"RAFFIA_AUTH_KEY_FILE": key_file(tmp_path)})
    await asyncio.to_thread(server.start)
    try:
        made = token(sub="zoë", jti="z1")
        assert (await post(server, token(**ADMIN), {"user": "zoë"})).status_code == 200
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        assert await status(server, made) == 401
        assert await status(server, token(sub="zoë")) == 101
    finally:
        await asyncio.to_thread(server.stop)


# -- replicas


@asynccontextmanager
async def replicas(tmp_path: Path, redis: RedisServer) -> AsyncIterator[list[RaffiaServer]]:
    env = {"RAFFIA_AUTH_KEY_FILE": key_file(tmp_path), "RAFFIA_REDIS": redis.url, "RAFFIA_REDIS_TIMEOUT_S": "1"}
    servers = [RaffiaServer(tmp_path / f"data{number}", env=env) for number in range(2)]
    try:
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in servers))
        yield servers
    finally:
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in servers if server.running))


async def test_rev5_every_replica_hears_of_it(tmp_path: Path) -> None:
    with RedisServer(appendonly="yes") as redis:
        async with replicas(tmp_path, redis) as (one, two):
            zoe, bo = token(sub="zoë"), token(sub="bo")
            async with live(two, zoe, PLAN) as hers, live(two, bo, PLAN) as his:
                began_s = time.monotonic()
                assert (await post(one, token(**ADMIN), {"user": "zoë"})).json()["ended"] == 0
                for client in hers:
                    await until_revoked(client)
                assert time.monotonic() - began_s < 2.0  # told, and not found by looking
                for client in his:
                    await is_live(client)
            assert await status(two, zoe) == 401


async def test_rev5_within_5_s_also_when_the_message_was_lost(tmp_path: Path) -> None:
    with RedisServer(appendonly="yes") as redis:
        async with replicas(tmp_path, redis) as (one, two):
            zoe = token(sub="zoë 😀")
            async with live(one, zoe, PLAN) as here, live(two, zoe, PLAN) as there:
                # What `revoke` stores, without telling anybody.
                at_ms = time.time_ns() // 1_000_000
                key = "raffia:{-}:revocations"
                redis.command("HSET", key, "v", "1", "mark", "lost", "user:zoë 😀", f"{at_ms} 0 more", "later:x", "?")
                for client in here + there:
                    await until_revoked(client)


async def test_rev4_rev6_while_redis_is_away(tmp_path: Path) -> None:
    with RedisServer(appendonly="yes", appendfsync="always") as redis:
        async with replicas(tmp_path, redis) as (one, two):
            zoe = token(sub="zoë")
            assert (await post(one, token(**ADMIN), {"user": "ana"})).status_code == 200
            async with live(one, zoe, PLAN) as here, live(two, zoe, PLAN) as there:
                redis.pause()
                answer = await post(one, token(**ADMIN), {"user": "zoë"})
                assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "journal-unavailable")
                for client in here:
                    await until_revoked(client)
                assert await status(one, zoe) == 401
                assert await status(one, token(sub="ana", iat=time.time() - 100)) == 401  # what is known decides
                redis.resume()
                for client in there:
                    await until_revoked(client, 15.0)  # stored when Redis is back, though nobody asks again


async def test_rev5_a_redis_that_lost_them_is_given_them_again(tmp_path: Path) -> None:
    with RedisServer(appendonly="yes") as redis:
        async with replicas(tmp_path, redis) as (one, two):
            assert (await post(one, token(**ADMIN), {"user": "zoë", "token": None})).status_code == 200
            redis.command("DEL", "raffia:{-}:revocations")
            deadline_s = time.monotonic() + SPREAD_S
            while not redis.command("HGET", "raffia:{-}:revocations", "user:zoë"):
                assert time.monotonic() < deadline_s
                await asyncio.sleep(0.05)
            while await status(two, token(sub="zoë", iat=time.time() - 100)) != 401:
                assert time.monotonic() < deadline_s
