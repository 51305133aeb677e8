"""The WebSocket itself, as a page, as Node's `ws` and as Python's `websockets` see it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.interop.clients_of_npm import driver, new_document
from tests.support.lib0 import buf, insert
from tests.support.server import RaffiaServer

STEP1 = "00000100"
VERSION = "y-websocket-3.1.0"


def of_type(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


@pytest.mark.parametrize("socket", ["ws", "global"])
async def test_a_page_sees_open_message_close(server: RaffiaServer, socket: str) -> None:
    async with driver(VERSION) as node:
        call = node.node.call
        await call("rawOpen", name="s", url=f"{server.ws}/{new_document('page')}", socket=socket, protocols=["raffia"])
        events = await call("rawUntil", name="s", type="open")
        assert [event["readyState"] for event in events[:2]] == [0, 1]
        assert of_type(events, "open")[0]["protocol"] == "raffia", "a browser fails the socket unless one is selected"
        await call("rawSend", name="s", hex=STEP1)
        events = await call("rawUntil", name="s", type="binary", count=2)
        assert {event["hex"] for event in of_type(events, "binary")} == {"00000100", "0001020000"}
        await call("rawClose", name="s", code=1000, reason="bye é")
        events = await call("rawUntil", name="s", type="close")
        close = of_type(events, "close")[0]
        assert (close["code"], close["wasClean"], close["readyState"]) == (1000, True, 3)
        assert of_type(events, "error") == []


@pytest.mark.parametrize("socket", ["ws", "global"])
async def test_a_text_frame_is_refused_clearly(server: RaffiaServer, socket: str) -> None:
    async with driver(VERSION) as node:
        call = node.node.call
        await call("rawOpen", name="s", url=f"{server.ws}/{new_document('page')}", socket=socket)
        await call("rawUntil", name="s", type="open")
        await call("rawSend", name="s", text="hello é")
        close = of_type(await call("rawUntil", name="s", type="close"), "close")[0]
        assert close["code"] == 4400
        assert "text" in close["reason"]


@pytest.mark.parametrize("socket", ["ws", "global"])
async def test_a_refused_handshake_is_an_error_and_a_close(server: RaffiaServer, socket: str) -> None:
    async with driver(VERSION) as node:
        call = node.node.call
        await call("rawOpen", name="s", url=f"{server.ws}/..%2Fetc", socket=socket)
        assert of_type(await call("rawUntil", name="s", type="error"), "open") == []
        if socket == "ws":  # the global one of Node 20 forgets the close event after a failed handshake
            close = of_type(await call("rawUntil", name="s", type="close"), "close")[0]
            assert (close["code"], close["wasClean"]) == (1006, False)


async def test_both_directions_at_once(server: RaffiaServer) -> None:
    """Full duplex: a page sends while it receives, neither waits for the other."""
    document = new_document("duplex")
    count = 300
    async with driver(VERSION) as node, connect(f"{server.ws}/{document}") as peer:
        call = node.node.call
        await call("rawOpen", name="s", url=f"{server.ws}/{document}")
        await call("rawUntil", name="s", type="open")
        await call("rawSend", name="s", hex=STEP1)
        await call("rawUntil", name="s", type="binary", count=2)

        async def send_from_page() -> None:
            for clock in range(count):
                update = insert(1, clock, "p", clock - 1 if clock else None)
                await call("rawSend", name="s", hex=(b"\x00\x02" + buf(update)).hex())

        async def send_from_peer() -> None:
            for clock in range(count):
                await peer.send(b"\x00\x02" + buf(insert(2, clock, "q", clock - 1 if clock else None)))

        await asyncio.gather(send_from_page(), send_from_peer())
        await peer.send(b"\x66" + buf(b"done"))
        async with asyncio.timeout(20):
            while await peer.recv() != b"\x66" + buf(b"done"):
                pass


async def test_python_websockets(server: RaffiaServer) -> None:
    document = new_document("python")
    update = insert(7, 0, "é😀")
    async with connect(f"{server.ws}/{document}") as one, connect(f"{server.ws}/{document}") as two:
        for socket in (one, two):
            await socket.send(bytes.fromhex(STEP1))
            assert {await socket.recv(), await socket.recv()} == {b"\x00\x00\x01\x00", b"\x00\x01\x02\x00\x00"}
        await one.send(b"\x00\x02" + buf(update))
        async with asyncio.timeout(5):
            assert await two.recv() == b"\x00\x02" + buf(update)
        await one.send("text é")
        async with asyncio.timeout(5):
            await one.wait_closed()
        assert one.close_code == 4400
        await two.send(b"\x00\x02" + buf(insert(8, 0, "x")))  # the other connection notices nothing
        await two.send(b"\x66" + buf(b"ok"))
        async with asyncio.timeout(5):
            while await two.recv() != b"\x66" + buf(b"ok"):
                pass


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/sync/..%2Fetc%2Fpasswd", 400),
        ("/sync/%00", 400),
        ("/sync/a%20b", 400),
        ("/sync/" + "a" * 300, 400),
        ("/sync/a%2A", 400),
        ("/nowhere", 403),
    ],
)
async def test_a_wrong_address_is_refused_before_the_upgrade(server: RaffiaServer, path: str, status: int) -> None:
    base = server.ws.removesuffix("/sync")
    with pytest.raises(InvalidStatus) as refused:
        await connect(base + path)
    assert refused.value.response.status_code == status
