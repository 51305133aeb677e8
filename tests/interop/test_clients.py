"""Published clients against a real server: each version edits, meets others, is seen, reconnects and is told the truth.

Rules checked here are wire.md's, as the clients experience them; the bytes themselves are checked elsewhere.
"""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.interop.clients_of_npm import (
    HOCUSPOCUS,
    VERSIONS,
    Y_WEBSOCKET,
    Client,
    Driver,
    driver,
    drivers,
    new_document,
)
from tests.support.client import fresh_reader
from tests.support.server import RaffiaServer

SILENCE_S = 36.0  # clients give a silent socket up after 30 s, and look every 3 s
USER = {"user": {"name": "Zoë 😀", "color": "#30bced"}}


async def converge(*clients: Client, text: str | None = None, ms: int = 10_000) -> str:
    """Wait until all clients show the same text, the given one or the first's; gives it."""
    wanted = await clients[0].text() if text is None else text
    for client in clients:
        await client.until("text", wanted, ms=ms)
    return wanted


def test_every_promised_version_is_here() -> None:
    promised = ["y-websocket-2.1", "y-websocket-3.0", "y-websocket-3.1", "y-websocket-4.0"]
    promised += ["hocuspocus-provider-2.15", "hocuspocus-provider-3.4", "hocuspocus-provider-4.8"]
    for name in promised:
        assert [version for version in VERSIONS if version.startswith(name)], name


@pytest.mark.parametrize("version", VERSIONS)
async def test_sync_and_live_edits_both_ways(server: RaffiaServer, version: str) -> None:
    document = new_document("live")
    async with driver(version) as node:
        first = await node.open("first", server.ws, document)
        await first.insert("héllo 😀")
        second = await node.open("second", server.ws, document)
        await converge(first, second, text="héllo 😀")
        await second.insert(" wörld")
        await converge(second, first, text="héllo 😀 wörld")
        await first.delete(0, 6)
        await converge(first, second, text="😀 wörld")
        await asyncio.gather(first.insert("A", 0), second.insert("Z"))
        await converge(first, second, text="A😀 wörldZ")
        late = await node.open("late", server.ws, document)
        await converge(late, text="A😀 wörldZ")
        if node.hocuspocus:
            for client in (first, second, late):
                await client.until("unsynced", 0)
        for client in (first, second, late):
            assert (await client.status())["sockets"] == 1, "the client had to reconnect"


@pytest.mark.parametrize("version", VERSIONS)
async def test_presence_appears_changes_and_disappears(server: RaffiaServer, version: str) -> None:
    document = new_document("presence")
    async with driver(version) as node:
        first = await node.open("first", server.ws, document, presence=USER)
        second = await node.open("second", server.ws, document)
        await second.until("present", first.id)
        await first.until("present", second.id)
        assert (await second.presence())[first.id]["state"] == USER
        await first.call("setPresence", state={**USER, "cursor": 7})
        await second.until("state", {"id": first.id, "key": "cursor", "is": 7}, ms=3000)
        await first.call("disconnect")
        await second.until("absent", first.id, ms=3000)
        await first.until("connected", False)  # connect() does nothing while the old socket is still closing
        await first.call("connect")
        # it announces the clock that peers already know as removed: the server has to make it announce again at once
        await second.until("present", first.id, ms=5000)
        await first.call("close")
        await second.until("absent", first.id, ms=3000)


async def test_presence_disappears_when_a_process_dies(server: RaffiaServer) -> None:
    document = new_document("presence")
    async with driver(Y_WEBSOCKET[-1]) as stays:
        watcher = await stays.open("watcher", server.ws, document)
        async with driver(HOCUSPOCUS[-1]) as dies:
            gone = await dies.open("gone", server.ws, document, presence=USER)
            await watcher.until("present", gone.id)
            dies.node.kill()
            await watcher.until("absent", gone.id, ms=5000)


@pytest.mark.slow
async def test_silence_without_a_reconnect(server: RaffiaServer) -> None:
    """All versions at once: alone with presence, alone without any, and in pairs that watch each other's renewals."""
    async with drivers(VERSIONS) as nodes:
        everybody: list[Client] = []
        pairs: list[tuple[Client, Client]] = []
        for node in nodes.values():
            everybody.append(await node.open("alone", server.ws, new_document("silence")))
            everybody.append(await node.open("mute", server.ws, new_document("silence"), presence=None))
            shared = new_document("silence")
            pairs.append((await node.open("one", server.ws, shared), await node.open("two", server.ws, shared)))
        for one, two in pairs:
            await one.until("present", two.id)
            await two.until("present", one.id)
        clocks = [(await two.presence())[one.id]["clock"] for one, two in pairs]
        await asyncio.sleep(SILENCE_S)  # the time itself is what is tested
        for client in [*everybody, *(client for pair in pairs for client in pair)]:
            status = await client.status()
            where = f"{client.driver.version} {client.name}: {status}"
            assert status["connected"], where
            assert status["sockets"] == 1, where
            assert status["closes"] == [], where
        for (one, two), before in zip(pairs, clocks, strict=True):
            seen = (await two.presence())[one.id]["clock"]
            assert seen >= before + 2, f"{one.driver.version}: presence renewed from {before} to {seen} only"
            for watcher, watched in ((one, two), (two, one)):
                left = [event for event in await watcher.call("events") if event["type"] == "left"]
                assert left == [], f"{watched.driver.version}: presence flickered: {left}"


async def offline_edits(server: RaffiaServer, node: Driver, down: asyncio.Event, up: asyncio.Event) -> None:
    """One version's part of a restart: news on both sides of a client that was away."""
    document = new_document("restart")
    first = await node.open("first", server.ws, document, presence=USER)
    second = await node.open("second", server.ws, document)
    await first.insert("base é")
    await converge(first, second, text="base é")
    await first.call("disconnect")
    await first.until("connected", False)
    await second.insert(" server😀")  # what the server has and `first` lacks
    reader = await node.open("reader", server.ws, document)
    await reader.until("text", "base é server😀")
    if node.hocuspocus:
        await second.until("unsynced", 0)
    down.set()
    await up.wait()
    await first.insert("first ", 0)
    await second.insert(" while down")
    await first.call("connect")
    for client in (first, second, reader):
        await client.until("synced", ms=20_000)
    await converge(first, second, reader, text="first base é server😀 while down", ms=20_000)
    await reader.until("present", first.id, ms=20_000)
    await second.insert("!")
    await converge(second, first, reader)
    if node.hocuspocus:
        for client in (first, second, reader):
            await client.until("stored")


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_reconnect_after_a_restart_with_offline_edits_on_both_sides(server: RaffiaServer, how: str) -> None:
    async with drivers(VERSIONS) as nodes:
        downs = [asyncio.Event() for _ in nodes]
        up = asyncio.Event()
        parts = [
            asyncio.create_task(offline_edits(server, node, down, up), name=node.version)
            for node, down in zip(nodes.values(), downs, strict=True)
        ]
        waits = asyncio.gather(*(down.wait() for down in downs))
        await asyncio.wait(
            [waits, *parts], return_when=asyncio.FIRST_COMPLETED, timeout=40
        )  # a part ends early by failing
        if waits.done():
            await asyncio.to_thread(server.stop if how == "stop" else server.kill)
            up.set()  # edits are made while nobody listens
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.start)
        waits.cancel()
        results = await asyncio.gather(*parts, return_exceptions=True)
    failed = {part.get_name(): error for part, error in zip(parts, results, strict=True) if error is not None}
    assert not failed, failed


@pytest.mark.parametrize("version", HOCUSPOCUS)
async def test_unsynced_changes_reach_zero_only_when_stored(server: RaffiaServer, version: str) -> None:
    """0 means durable: a kill right after it loses nothing. While the server cannot answer it stays above 0."""
    document = new_document("unsynced")
    tokens = [f"é{number:03}-" for number in range(100)]
    async with driver(version) as node:
        writer = await node.open("writer", server.ws, document)
        await writer.until("unsynced", 0)
        server.signal(signal.SIGSTOP)
        assert await writer.call("inserts", parts=tokens[:50]) == 50
        with pytest.raises(AssertionError, match="unsynced"):
            await writer.until("unsynced", 0, ms=500)
        server.signal(signal.SIGCONT)
        await writer.until("unsynced", 0)
        await writer.call("inserts", parts=tokens[50:])
        await writer.until("unsynced", 0)
        server.kill()
        await writer.call("disconnect")
        await asyncio.to_thread(server.start)
        async with await fresh_reader(server.ws, document) as reader:
            assert [token for token in tokens if not reader.holds(token.encode())] == [], "acknowledged, but not there"


async def test_all_versions_of_both_dialects_edit_one_document(server: RaffiaServer) -> None:
    document = new_document("together")
    async with drivers(VERSIONS) as nodes:
        clients = [await node.open(version, server.ws, document) for version, node in nodes.items()]
        await asyncio.gather(*(client.insert(f"[{client.name} é😀]") for client in clients))
        for client in clients:
            await client.until("contains", [f"[{other.name} é😀]" for other in clients])
        text = await converge(*clients)
        assert len(text) == sum(len(f"[{client.name} é😀]") for client in clients)
        for client in clients:
            for other in clients:
                await client.until("present", other.id)
        await clients[0].delete(0, 1)
        await clients[-1].insert("end")
        await converge(*clients, text=text[1:] + "end")
        for client in clients:
            if client.driver.hocuspocus:
                await client.until("unsynced", 0)


async def test_the_global_websocket_of_node(server: RaffiaServer) -> None:
    """Providers over the WebSocket that Node has of its own, as a browser page would run them."""
    document = new_document("global")
    async with drivers([Y_WEBSOCKET[-2], HOCUSPOCUS[-1]]) as nodes:
        for node in nodes.values():
            assert (await node.node.call("info"))["globalWebSocket"], "this Node has no global WebSocket"
        first, second = [await node.open("page", server.ws, document, socket="global") for node in nodes.values()]
        await first.insert("é😀")
        await converge(first, second, text="é😀")
        await second.insert("!")
        await converge(second, first, text="é😀!")


async def test_a_token_changes_nothing_in_open_mode(server: RaffiaServer) -> None:
    """2.15 sends no Auth when it has no token and one when it has: both are served."""
    document = new_document("token")
    async with driver(HOCUSPOCUS[0]) as node:
        with_token = await node.open("with", server.ws, document, token="tk-é")
        without = await node.open("without", server.ws, document)
        await with_token.insert("a")
        await converge(with_token, without, text="a")
