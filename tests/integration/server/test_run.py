"""Ending a server, as a process: signals, drain, exit status."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from tests.integration.server.raw import Raw, close_frame, head

PROGRAM = """
import asyncio, sys
from raffia.sockets.asgi import serve
from raffia.sockets.server.run import RaffiaServer, make_config

mode = sys.argv[1]
outlets = []

class Listener:
    def opened(self, outlet): outlets.append(outlet)
    def message(self, payload): pass
    def text(self, payload): pass
    def oversized(self, size, limit, start): pass
    def refused(self, code, reason): pass
    def congested(self): pass
    def drained(self): pass
    def closed(self, code): print("closed", code, flush=True)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive(); await send({"type": "lifespan.startup.complete"})
        await receive(); print("lifespan ends", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await serve(scope, receive, send, Listener())

async def drain():
    print("drain begins", flush=True)
    try:
        if mode == "raise": raise ValueError("on purpose")
        await asyncio.sleep(0.3 if mode == "quick" else 60)
        for outlet in outlets: outlet.close(1012, "drained")
        print("drain ends", flush=True)
    except asyncio.CancelledError:
        print("drain cancelled", flush=True)
        raise

config = make_config(app, port=0, log_level="critical")
server = RaffiaServer(config, drain=drain, drain_s=1.0 if mode == "late" else 30.0)

async def main():
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await task

asyncio.run(main())
print("returned", flush=True)
"""


@pytest.fixture
def start() -> Iterator:
    processes = []

    def start(mode: str) -> tuple[subprocess.Popen, int]:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, mode], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_drains_first_and_exits_with_0(start, sent):
    """RU1, RU3"""
    process, port = start("quick")
    with Raw(port, head()) as client:
        process.send_signal(sent)
        assert process.stdout.readline() == "drain begins\n"
        with pytest.raises(ConnectionRefusedError):
            Raw(port)
        assert client.closed() == (1012, "drained")
        client.send(close_frame(1012))
        client.end()
    output = process.stdout.read().splitlines()
    assert output == ["drain ends", "closed 1012", "lifespan ends", "returned"]
    assert process.wait(5) == 0


def test_a_drain_has_a_deadline(start):
    """RU1, RU3"""
    process, port = start("late")
    with Raw(port, head()) as client:
        process.send_signal(signal.SIGTERM)
        assert client.closed() == (1012, "the server is restarting")
    output = process.stdout.read().splitlines()
    assert output == ["drain begins", "drain cancelled", "closed 1012", "lifespan ends"]
    assert process.wait(5) == -signal.SIGTERM


def test_a_drain_that_fails_does_not_hold_anybody(start):
    """RU1, RU3"""
    process, _ = start("raise")
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == -signal.SIGTERM
    assert process.stdout.read().splitlines() == ["drain begins", "lifespan ends"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(start, sent):
    """RU2, RU3"""
    process, port = start("slow")
    with Raw(port, head()):
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "drain begins\n"
        started = time.monotonic()
        process.send_signal(sent)
        assert process.wait(5) < 0
        assert time.monotonic() - started < 2
    output = process.stdout.read().splitlines()
    assert "drain cancelled" in output
    assert "lifespan ends" not in output
