"""Published clients that bring back what the server has lost, up to the size of a document; refusals that repeat."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.interop.clients_of_npm import HOCUSPOCUS, Y_WEBSOCKET, Client, drivers, new_document
from tests.support.hearing import until
from tests.support.redis import RedisServer
from tests.support.server import RaffiaServer

NEWEST = [next(v for v in Y_WEBSOCKET if v.startswith("y-websocket-3.1")), HOCUSPOCUS[-1]]
OLD = [next(v for v in Y_WEBSOCKET if v.startswith("y-websocket-2")), HOCUSPOCUS[0]]
MIB = 1 << 20
PIECE = 512 * 1024
LARGE_MS = 90_000
WATCHED_S = 6.0
OLDER = [pytest.param(version, marks=pytest.mark.thorough) for version in (*OLD, "y-websocket-3.0.0")]
LARGE = [20, pytest.param(60, marks=pytest.mark.thorough)]


async def fill(client: Client, mib: int, letter: str) -> None:
    await client.call("fill", letter=letter, pieces=mib * MIB // PIECE, bytes=PIECE)


async def stored(client: Client, mib: int) -> None:
    await client.until("length", mib * MIB, ms=LARGE_MS)
    await client.until("synced", ms=LARGE_MS)
    await client.until("stored", ms=LARGE_MS)


async def comes_to_a_newcomer(version: str, url: str, document: str, mib: int) -> None:
    """At "synced", not some time later, once the server has it: y-websocket clients cannot say when that is."""
    async with drivers([version]) as nodes:
        first = await nodes[version].open("first", url, document, synced=False)
        await first.until("length", mib * MIB, ms=LARGE_MS)
        newcomer = await nodes[version].open("newcomer", url, document, synced=False)
        await newcomer.until("synced", ms=LARGE_MS)
        synced = next(event for event in await newcomer.call("events") if event["type"] == "sync")
        assert synced["length"] == mib * MIB


@pytest.mark.parametrize("version", [*NEWEST, *OLDER[:-1]])
@pytest.mark.parametrize("mib", LARGE)
@pytest.mark.parametrize("past", ["empty", "older"])
async def test_a_document_comes_back_after_the_server_has_lost_it(
    tmp_path: Path, version: str, mib: int, past: str
) -> None:
    document = new_document("back")
    data, backup = tmp_path / "data", tmp_path / "backup"
    with RaffiaServer(data) as server:
        async with drivers([version]) as nodes:
            client = await nodes[version].open("client", server.ws, document)
            await fill(client, 2, "a")
            await stored(client, 2)
            server.stop()
            shutil.copytree(data, backup)
            server.start()
            await fill(client, mib - 2, "b")
            await stored(client, mib)
            server.kill()
            await client.until("connected", False)
            shutil.rmtree(data)
            if past == "older":
                shutil.copytree(backup, data)
            server.start()
            await client.until("connected", ms=20_000)
            await stored(client, mib)
            await comes_to_a_newcomer(version, server.ws, document, mib)
        assert "too-large" not in server.log(10_000)


@pytest.mark.parametrize("version", NEWEST)
@pytest.mark.parametrize("mib", LARGE)
async def test_what_was_written_offline_arrives_at_the_other_replica(tmp_path: Path, version: str, mib: int) -> None:
    document = new_document("offline")
    with RedisServer(tmp_path / "redis", appendonly="yes") as redis:
        env = {"RAFFIA_REDIS": redis.url}
        with RaffiaServer(tmp_path / "one", env=env) as one, RaffiaServer(tmp_path / "two", env=env) as two:
            async with drivers(NEWEST) as nodes:
                watcher = await nodes[NEWEST[0]].open("watcher", two.ws, document)
                client = await nodes[version].open("client", one.ws, document)
                await client.call("disconnect")
                await client.until("connected", False)
                await fill(client, mib, "c")
                await client.call("connect")
                await stored(client, mib)
                await watcher.until("length", mib * MIB, ms=LARGE_MS)
                await comes_to_a_newcomer(version, two.ws, document, mib)


@pytest.mark.parametrize("version", [*NEWEST, *OLDER])
@pytest.mark.parametrize("over", ["the document's limit", "the frame's limit"])
async def test_a_refusal_that_repeats_itself_does_not_repeat_the_upload(
    tmp_path: Path, version: str, over: str
) -> None:
    """Typing on brings a Hocuspocus session back, and old versions of y-websocket come back anyway."""
    document = new_document("again")
    mib = 3
    limit = "2MiB" if over == "the frame's limit" else f"{mib * MIB - 1000}"
    env = {"RAFFIA_MAX_UPDATE_BYTES": "1MiB", "RAFFIA_MAX_DOCUMENT_BYTES": limit}
    with RaffiaServer(tmp_path / "data", env=env) as server:
        async with drivers([version]) as nodes:
            client = await nodes[version].open("client", server.ws, document)
            await client.call("tolerate")
            await client.call("disconnect")
            await client.until("connected", False)
            await fill(client, mib, "c")
            await client.call("connect")
            end = time.monotonic() + WATCHED_S
            while time.monotonic() < end:
                await client.insert("x")
                await asyncio.sleep(0.1)
            # At once, after no time, after 1 s, 2 s and 4 s: each is one upload.
            assert 1 <= server.metrics()['raffia_refusals_total{reason="too-large"}'] <= 5
            assert "too-large" in server.log(10_000)
            if version in HOCUSPOCUS:
                # The first one, and after `connect` two: what the provider has queued is too large before sign-in.
                assert (await client.status())["sockets"] <= 3


@pytest.mark.parametrize("version", NEWEST)
async def test_under_another_server_its_limit_counts(tmp_path: Path, version: str) -> None:
    """It closes with 1009, after which clients come back; they are not asked for the same again and again."""
    document = new_document("hosted")
    mib = 3
    (tmp_path / "hosted.py").write_text(
        "import logging\n\nfrom raffia.app import create_app\n\nlogging.basicConfig(level=logging.INFO)\n"
    )
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(tmp_path), "hosted:create_app", "--factory"]
    command += ["--port", "{port}", "--ws", "websockets-sansio", "--ws-max-size", f"{MIB}"]
    env = {"RAFFIA_DATA": str(tmp_path / "data")}
    with RaffiaServer(tmp_path / "data", env=env, command=command) as server:
        assert "--ws-max-size" in server.log(10_000)
        async with drivers([version]) as nodes:
            client = await nodes[version].open("client", server.ws, document)
            await client.call("disconnect")
            await client.until("connected", False)
            await fill(client, mib, "c")
            await client.call("connect")
            refused = 'raffia_refusals_total{reason="too-large"}'
            await until(lambda: server.metrics().get(refused, 0) >= 1, "the first refusal")
            await asyncio.sleep(WATCHED_S)
            assert (await client.status())["sockets"] <= 8  # 13 if each came back after half a second
            assert "connection closed" in server.log(10_000)
            server.stop()
            server.command[-1] = f"{70 * MIB}"
            server.start()
            await stored(client, mib)
            await comes_to_a_newcomer(version, server.ws, document, mib)
