"""The clients that people have, against the echo listener: Node's `ws` and own `WebSocket`, Python's `websockets`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.server.conftest import Running, until
from tests.interop.install import install
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect as connect_sync

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    server = Running()
    yield server
    until(lambda: server.connections == 0)
    server.stop()


@pytest.mark.parametrize("kind", ["ws", "global"])
def test_node(running: Running, kind: str):
    install(HERE)
    done = subprocess.run(
        ["node", "--experimental-websocket", HERE / "client.mjs", kind, str(running.port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result.pop("refusedCode", 1006) == 1006
    assert result == {
        "extensions": "",
        "sizes": [True] * 7,
        "text": "text:é 🎈",
        "order": True,
        "closedByClient": {"code": 3001, "reason": "bye é", "wasClean": True},
        "closedByServer": {"code": 1013, "reason": "é" * 61, "wasClean": True},
        "protocol": "two",
        "closedWithoutCode": {"code": 1005, "reason": "", "wasClean": True},
        "tooLarge": 1009,
        "refused": "error",
    }


async def test_python_asyncio(running: Running):
    url = f"ws://127.0.0.1:{running.port}"
    async with connect(f"{url}/write", subprotocols=None) as client:
        for payload in (b"", b"x" * 126, "é🎈".encode() * 10_000):
            await client.send(payload)
            assert await client.recv() == payload
        await client.send([b"a", b"", b"b"])
        assert await client.recv() == b"ab"
        await client.send(["é", "🎈"])
        assert await client.recv() == b"text:" + "é🎈".encode()
        assert await (await client.ping()) >= 0
    assert client.close_code == 1000
    async with connect(f"{url}/goodbye") as client:
        with pytest.raises(ConnectionClosedError) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "é" * 61)
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{url}/refuse/403")
    assert refused.value.response.status_code == 403


def test_python_sync(running: Running):
    url = f"ws://127.0.0.1:{running.port}"
    with connect_sync(f"{url}/last-subprotocol", subprotocols=["one", "two"]) as client:
        assert client.subprotocol == "two"
        client.send(b"x" * 100_000)
        assert client.recv() == b"x" * 100_000
        assert client.ping().wait(5)
    assert client.close_code == 1000
    with connect_sync(f"{url}/write", compression=None, max_size=None) as client:
        client.send(b"x" * 100_001)
        with pytest.raises(ConnectionClosedError) as closed:
            client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    with connect_sync(f"{url}/plain") as client:
        client.send("é🎈")
        assert client.recv() == "é🎈"
