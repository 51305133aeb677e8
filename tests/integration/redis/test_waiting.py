"""A replica that starts while Redis is away waits for it, and says so once; exit codes; stopping (CL1, CL3)."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.client import YClient
from tests.support.lib0 import insert
from tests.support.redis import RedisServer, wait_until
from tests.support.server import RaffiaServer

from raffia.journal.redis.keys import FORMAT

START_S = 60.0
ENV = {"RAFFIA_REDIS_TIMEOUT_S": "1", "RAFFIA_DRAIN_S": "4", "RAFFIA_READY_GRACE_S": "1"}


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(appendonly="yes") as redis:
        yield redis


def replica(redis: RedisServer, folder: Path) -> RaffiaServer:
    return RaffiaServer(folder / "data", env={**ENV, "RAFFIA_REDIS": redis.url})


def status(server: RaffiaServer, path: str) -> int:
    try:
        with urllib.request.urlopen(f"{server.http}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def said(server: RaffiaServer, *levels: str) -> list[str]:
    """What it has logged, in order."""
    lines = [json.loads(line) for line in server.log_path.read_text().splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line["level"] in levels]


async def edit(server: RaffiaServer, text: str) -> None:
    async with YClient() as client:
        await client.join(server.ws, "notes")
        client.update(insert(7, 0, text))
        await client.until_stored()


def test_cl3_a_redis_that_is_absent_is_waited_for(redis: RedisServer, tmp_path: Path) -> None:
    redis.stop()
    server = replica(redis, tmp_path).start(ready=False)
    try:
        wait_until(lambda: status(server, "/healthz") == 200, server.log, START_S)
        assert status(server, "/readyz") == 503
        time.sleep(2.5)  # several attempts
        assert status(server, "/readyz") == 503
        redis.start()
        wait_until(server.ready, server.log, 5.0)
        asyncio.run(edit(server, "é😀"))
        about = [event for event in said(server, "info", "warning", "error") if "Redis" in event or "redis" in event]
        assert about == ["waiting for Redis", "Redis is there"]
    finally:
        assert server.stop() == 0


def test_cl3_a_redis_that_is_paused_is_waited_for(redis: RedisServer, tmp_path: Path) -> None:
    redis.pause()
    server = replica(redis, tmp_path).start(ready=False)
    try:
        wait_until(lambda: status(server, "/readyz") == 503, server.log, START_S)
        redis.resume()
        wait_until(server.ready, server.log, 5.0)
    finally:
        assert server.stop() == 0


def test_cl3_a_redis_that_loads_its_file_is_waited_for(tmp_path: Path) -> None:
    """From a snapshot: while Redis reads one, it answers that it is loading."""
    with RedisServer() as redis:
        redis.commands([*[("SET", f"k{number}", b"x" * 10_000) for number in range(100)], ("SAVE",)])
        redis.kill()
        wait_while_it_loads(redis, tmp_path)


def wait_while_it_loads(redis: RedisServer, tmp_path: Path) -> None:
    redis.options["key_load_delay"] = 60_000  # microseconds for each key
    redis.options["loading_process_events_interval_bytes"] = 1024
    server = replica(redis, tmp_path).start(ready=False)
    try:
        wait_until(lambda: status(server, "/readyz") == 503, server.log, START_S)
        redis.start(ready=False)
        wait_until(lambda: "LOADING" in str(answer(redis)), "it loads")
        assert status(server, "/readyz") == 503
        wait_until(server.ready, server.log)
        assert "LOADING" not in str(answer(redis))
    finally:
        assert server.stop() == 0


def answer(redis: RedisServer) -> object:
    try:
        return redis.command("GET", "k")
    except OSError as error:
        return error


def test_cl3_while_it_waits_it_can_be_stopped(redis: RedisServer, tmp_path: Path) -> None:
    redis.pause()
    server = replica(redis, tmp_path).start(ready=False)
    wait_until(lambda: status(server, "/readyz") == 503, server.log, START_S)
    began_s = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began_s < 3


def test_cl1_what_has_to_be_mended_ends_it_with_2_also_later(redis: RedisServer, tmp_path: Path) -> None:
    redis.command("SET", "raffia:{-}:format", FORMAT + 1)
    redis.stop()
    server = replica(redis, tmp_path).start(ready=False)
    try:
        wait_until(lambda: status(server, "/readyz") == 503, server.log, START_S)
        redis.start()
        wait_until(lambda: not server.running, "it ends", 10.0)
        assert server._process is not None
        assert server._process.returncode == 2
        assert "update Raffia" in server.log()
    finally:
        server.kill()


def test_one_line_when_redis_goes_away_and_one_when_it_is_back(redis: RedisServer, tmp_path: Path) -> None:
    with replica(redis, tmp_path) as server:
        asyncio.run(edit(server, "before"))
        before = len(said(server, "info", "warning", "error"))
        redis.kill()
        wait_until(lambda: status(server, "/readyz") == 503, server.log, START_S)
        redis.start()
        wait_until(server.ready, server.log)
        time.sleep(1.5)
        assert said(server, "info", "warning", "error")[before:] == ["journal away", "journal back"]


async def test_stopping_has_one_deadline(redis: RedisServer, tmp_path: Path) -> None:
    """With Redis frozen and edits that wait for it: the drain's time, and the journal's to close."""
    server = replica(redis, tmp_path).start()
    async with YClient() as client:
        await client.join(server.ws, "notes")
        client.update(insert(7, 0, "not saved"))
        redis.pause()
        client.update(insert(7, 9, "nor this"))
        began_s = time.monotonic()
        await asyncio.to_thread(server.stop, 30)
        took_s = time.monotonic() - began_s
    redis.resume()
    assert took_s < 4 + 1 + 1.5  # RAFFIA_DRAIN_S, RAFFIA_REDIS_TIMEOUT_S
