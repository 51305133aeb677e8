"""Published clients that come back, hide, or bring too much: nobody is locked out of their own document."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.clients_of_npm import HOCUSPOCUS, Y_WEBSOCKET, Client, driver, drivers, new_document
from tests.support.redis import RedisServer
from tests.support.server import RaffiaServer

NEWEST = [next(v for v in Y_WEBSOCKET if v.startswith("y-websocket-3.1")), HOCUSPOCUS[-1]]
USER = {"user": {"name": "Zoë 😀"}}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    """A server whose documents are soon full."""
    env = {"RAFFIA_MAX_DOCUMENT_BYTES": "2MiB", "RAFFIA_MAX_UPDATE_BYTES": "1MiB"}
    with RaffiaServer(tmp_path_factory.mktemp("small") / "data", env=env) as running:
        yield running


async def left(client: Client, other: Client) -> bool:
    """Whether `other` has ever disappeared for `client`."""
    return any(event["type"] == "left" and event.get("id") == other.id for event in await client.call("events"))


@pytest.mark.parametrize("version", NEWEST)
async def test_a_client_that_reconnects_sees_the_others_at_once(server: RaffiaServer, version: str) -> None:
    """Its awareness keeps their clocks over the reconnect, and would ignore them until they renew, 15 s later."""
    document = new_document("returns")
    async with drivers(NEWEST) as nodes:
        mover = await nodes[version].open("mover", server.ws, document, presence=USER)
        others = [await node.open("other", server.ws, document, presence=USER) for node in nodes.values()]
        for other in others:
            await mover.until("present", other.id)
            await other.until("present", mover.id)
        for _ in range(3):
            await mover.call("disconnect")
            for other in others:
                await other.until("absent", mover.id)
            await mover.until("connected", False)
            await mover.call("connect")
            for other in others:
                await mover.until("present", other.id, ms=3000)
                await other.until("present", mover.id, ms=3000)
        assert not await left(others[0], others[1])
        assert not await left(others[1], others[0])


@pytest.mark.parametrize("version", NEWEST)
async def test_a_client_that_reconnects_sees_those_at_another_replica_at_once(tmp_path: Path, version: str) -> None:
    document = new_document("replicas")
    with RedisServer(tmp_path / "redis", appendonly="yes") as redis:
        env = {"RAFFIA_REDIS": redis.url}
        with RaffiaServer(tmp_path / "one", env=env) as one, RaffiaServer(tmp_path / "two", env=env) as two:
            async with drivers(NEWEST) as nodes:
                mover = await nodes[version].open("mover", one.ws, document, presence=USER)
                others = [await node.open("other", two.ws, document, presence=USER) for node in nodes.values()]
                for other in others:
                    await mover.until("present", other.id)
                    await other.until("present", mover.id)
                for _ in range(3):
                    await mover.call("disconnect")
                    for other in others:
                        await other.until("absent", mover.id)
                    await mover.until("connected", False)
                    await mover.call("connect")
                    for other in others:
                        await mover.until("present", other.id, ms=3000)
                        await other.until("present", mover.id, ms=3000)
                assert not await left(others[0], others[1])


@pytest.mark.parametrize("version", NEWEST)
@pytest.mark.parametrize("count", [59, 60, 61, 500])
async def test_the_last_state_of_a_burst_arrives(server: RaffiaServer, version: str, count: int) -> None:
    """Whatever the rate limit, which is 60 a second."""
    document = new_document("burst")
    async with drivers(NEWEST) as nodes:
        watchers = [await node.open("watcher", server.ws, document, presence=USER) for node in nodes.values()]
        mover = await nodes[version].open("mover", server.ws, document, presence={"n": -1})
        for watcher in watchers:
            await watcher.until("present", mover.id)
        await mover.call("presenceBurst", count=count)
        for watcher in watchers:
            await watcher.until("state", {"id": mover.id, "key": "n", "is": count}, ms=5000)
        assert (await mover.status())["sockets"] == 1


@pytest.mark.parametrize("version", NEWEST)
async def test_after_a_restart_everybody_sees_everybody_at_once(server: RaffiaServer, version: str) -> None:
    document = new_document("restart")
    async with drivers([version]) as nodes:
        clients = [await nodes[version].open(name, server.ws, document, presence=USER) for name in ("a", "b", "c")]
        for one in clients:
            for other in clients:
                await one.until("present", other.id)
        server.kill()
        for client in clients:
            await client.until("connected", False)
        server.start()
        for client in clients:
            await client.until("connected", ms=20_000)
        for one in clients:
            for other in clients:
                await one.until("present", other.id, ms=5000)


@pytest.mark.parametrize("version", NEWEST)
async def test_a_person_with_a_huge_presence_goes_on_editing(server: RaffiaServer, version: str) -> None:
    document = new_document("huge")
    async with drivers([version]) as nodes:
        first = await nodes[version].open("first", server.ws, document, presence=USER)
        second = await nodes[version].open("second", server.ws, document, presence=USER)
        await second.until("present", first.id)
        await first.call("setPresence", state={**USER, "avatar": "data:image/png;base64," + "é" * 100_000})
        await first.insert("written with a large avatar")
        await second.until("text", "written with a large avatar")
        await first.call("setPresence", state={**USER, "cursor": 7})
        await second.until("state", {"id": first.id, "key": "cursor", "is": 7})
        assert (await first.status())["sockets"] == 1


@pytest.mark.slow
async def test_a_background_tab_stays_and_a_frozen_one_disappears(server: RaffiaServer) -> None:
    document = new_document("background")
    async with drivers(NEWEST) as nodes:
        watcher = await nodes[NEWEST[0]].open("watcher", server.ws, document, presence=USER)
        tabs = [await node.open("tab", server.ws, document, presence=USER) for node in nodes.values()]
        async with driver(NEWEST[0]) as asleep:
            frozen = await asleep.open("frozen", server.ws, document, presence=USER)
            for other in (*tabs, frozen):
                await watcher.until("present", other.id)
            for tab in tabs:
                await tab.call("throttle")
            asleep.node.signal(signal.SIGSTOP)
            await watcher.until("absent", frozen.id, ms=45_000)
            await asyncio.sleep(20)  # in all more than two expiries
            for tab in tabs:
                assert not await left(watcher, tab)
                await tab.call("setPresence", state={**USER, "cursor": 7})
                await watcher.until("state", {"id": tab.id, "key": "cursor", "is": 7}, ms=3000)
            asleep.node.signal(signal.SIGCONT)
            await watcher.until("present", frozen.id)


@pytest.mark.parametrize("version", NEWEST)
async def test_at_synced_a_newcomer_has_everything_that_was_saved(server: RaffiaServer, version: str) -> None:
    """Over 1 MiB too, where the latest edits are not folded into the base yet."""
    document = new_document("synced")
    async with drivers(NEWEST) as nodes:
        writer = await nodes[HOCUSPOCUS[-1]].open("writer", server.ws, document)
        length = 0
        for number in range(6):
            await writer.insert(f"{number}" * 512 * 1024)
            length += 512 * 1024
        for number in range(10):
            await writer.insert("<é>")
            length += 3
            await writer.until("unsynced", 0)
            newcomer = await nodes[version].open(f"newcomer {number}", server.ws, document)
            synced = next(event for event in await newcomer.call("events") if event["type"] == "sync")
            assert synced["length"] == length
            await newcomer.call("close")


@pytest.mark.parametrize("version", NEWEST)
@pytest.mark.parametrize(("pieces", "deleted"), [(21, 1), (21, 19), (21, 21), (25, 8), (25, 25)], ids=str)
async def test_whoever_filled_a_document_gets_in_after_deleting(
    small: RaffiaServer, version: str, pieces: int, deleted: int
) -> None:
    """20 of the pieces fit; one or several are refused. After deleting as many as that, or all, everything fits."""
    document = new_document("full")
    async with drivers([version]) as nodes:
        node = nodes[version]
        writer = await node.open("writer", small.ws, document)
        for number in range(pieces):
            await writer.insert(chr(97 + number) * 100 * 1024)
        if node.hocuspocus:
            await writer.until("event", {"type": "closed"}, ms=20_000)
        else:
            await writer.until("event", {"type": "close", "code": 4413}, ms=20_000)
        await writer.delete(0, deleted * 100 * 1024)
        if not node.hocuspocus:  # its provider does not connect by itself any more
            await writer.call("connect")
        await writer.insert("and goes on")
        await writer.until("synced", ms=20_000)
        expected = await writer.text()
        async with drivers([version]) as others:
            newcomer = await others[version].open("newcomer", small.ws, document)
            await newcomer.until("text", expected, ms=20_000)
            await newcomer.insert("seen by the writer")
            await writer.until("contains", "seen by the writer")
        await writer.until("stored", ms=20_000)
