"""The same listener under servers that are not ours: an `AsgiTransport` over `await send`."""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import replace
from typing import Any

import pytest
from starlette.websockets import WebSocketDisconnect
from tests.integration.server.app import EchoApp
from tests.integration.server.conftest import Running, until
from tests.integration.server.raw import BINARY, Raw, close_frame, frame, head, random_id

from raffia.errors import DrainingError, ForbiddenError
from raffia.sockets.asgi import AsgiTransport, refuse, serve
from raffia.wire.transport import START_BYTES, Frame, Limits

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Starlette would rather have httpx2 than httpx
    from starlette.testclient import TestClient, WebSocketDenialResponse


class Peer:
    """Both ends of an ASGI connection, by hand: `take` lets the server take that many events."""

    def __init__(self, listener: Any, limits: Limits) -> None:
        self.inbox: asyncio.Queue = asyncio.Queue()
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.sent: list = []
        self.taking = asyncio.Semaphore(1)
        self.failure: Exception | None = None
        self.task = asyncio.create_task(
            serve({"type": "websocket", "extensions": {}}, self.inbox.get, self.send, listener, limits=limits)
        )

    async def send(self, event: Any) -> None:
        await self.taking.acquire()
        if self.failure is not None:
            raise self.failure
        self.sent.append(event)

    def take(self, count: int) -> None:
        for _ in range(count):
            self.taking.release()


class Notes:
    """A listener that only notes."""

    def __init__(self) -> None:
        self.notes: list = []

    def opened(self, transport):
        self.transport = transport
        self.notes.append("opened")

    def message(self, payload):
        self.notes.append(payload)
        if payload == b"raise":
            raise ValueError("on purpose")

    def text(self, payload):
        self.notes.append(payload)

    def oversized(self, size_bytes, limit_bytes, start):
        self.notes.append(("oversized", size_bytes, limit_bytes, start))

    def refused(self, code, reason):
        self.notes.append(("refused", code, reason))

    def congested(self):
        self.notes.append("congested")

    def drained(self):
        self.notes.append("drained")

    def closed(self, code):
        self.notes.append(("closed", code))


LIMITS = Limits(message_bytes=100, high_bytes=100, low_bytes=20, max_bytes=1000, close_timeout_s=0.2)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.fixture
async def pair():
    listener = Notes()
    peer = Peer(listener, LIMITS)
    await turns()
    yield peer, listener
    peer.task.cancel()
    await asyncio.gather(peer.task, return_exceptions=True)
    await turns()
    assert listener.notes[-1][0] == "closed"
    assert len([note for note in listener.notes if note[0] == "closed"]) == 1
    assert len(asyncio.all_tasks()) == 1


async def test_messages_both_ways(pair):
    peer, listener = pair
    peer.take(10)
    listener.transport.write(Frame("é".encode()))
    listener.transport.send(b"two")
    peer.inbox.put_nowait({"type": "websocket.receive", "bytes": b"in"})
    peer.inbox.put_nowait({"type": "websocket.receive", "bytes": None, "text": "🎈"})
    await turns()
    assert [event.get("bytes") for event in peer.sent[1:]] == ["é".encode(), b"two"]
    assert listener.notes == ["opened", b"in", "🎈"]
    assert listener.transport.buffered() == 0
    peer.inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await asyncio.wait_for(peer.task, 1)
    assert listener.notes[-1] == ("closed", 1001)


async def test_a_message_after_a_probe_is_a_sign_of_life(pair):
    peer, listener = pair
    assert listener.transport.answered()
    listener.transport.probe()
    await turns()
    assert not listener.transport.answered()
    peer.inbox.put_nowait({"type": "websocket.receive", "bytes": b"in"})
    await turns()
    assert listener.transport.answered()


async def test_congestion(pair):
    """O3"""
    peer, listener = pair
    for _ in range(12):
        listener.transport.send(b"x" * 10)
    assert listener.transport.congested
    assert listener.transport.buffered() == 120
    await turns()
    peer.take(9)
    await turns()
    assert listener.notes == ["opened", "congested"]
    peer.take(1)
    await turns()
    assert listener.notes == ["opened", "congested", "drained"]
    assert not listener.transport.congested
    assert listener.transport.buffered() == 20


async def test_close_comes_after_what_was_written(pair):
    """AS3, O5"""
    peer, listener = pair
    listener.transport.send(b"last")
    listener.transport.close(4001, "é" * 100)
    listener.transport.close(4002)
    listener.transport.send(b"never")
    peer.inbox.put_nowait({"type": "websocket.receive", "bytes": b"too late"})
    await turns()
    peer.take(2)
    await asyncio.wait_for(peer.task, 1)
    assert peer.sent[1:] == [
        {"type": "websocket.send", "bytes": b"last"},
        {"type": "websocket.close", "code": 4001, "reason": "é" * 61},
    ]
    assert listener.notes == ["opened", ("closed", 4001)]


async def test_closing_while_congested_ends_in_time(pair):
    """AS3"""
    peer, listener = pair
    listener.transport.send(b"x" * 200)
    listener.transport.close(1013)
    await asyncio.wait_for(peer.task, 1)
    assert peer.sent[1:] == []


async def test_an_outbox_is_bounded(pair):
    """O4, O7"""
    peer, listener = pair
    for _ in range(11):
        listener.transport.send(b"x" * 100)
    assert listener.transport.buffered() == 0
    await turns()
    reason = "reads too slowly: 1100 bytes wait, over the limit of 1000"
    assert listener.notes == ["opened", "congested", ("refused", 1013, reason), ("closed", 1013)]
    peer.take(5)
    await asyncio.wait_for(peer.task, 1)
    assert peer.sent[-1]["code"] == 1013


async def test_pausing_keeps_messages_with_the_server(pair):
    peer, listener = pair
    listener.transport.pause_reading()
    for payload in (b"1", b"2", b"3"):
        peer.inbox.put_nowait({"type": "websocket.receive", "bytes": payload})
    await turns()
    assert len(listener.notes) <= 2
    assert peer.inbox.qsize() >= 2
    listener.transport.resume_reading()
    await turns()
    assert listener.notes == ["opened", b"1", b"2", b"3"]


@pytest.mark.parametrize(
    ("event", "code"), [({"bytes": b"x" * 101}, 1009), ({"text": "é" * 51}, 1009), ({"bytes": b"raise"}, 1011)]
)
async def test_bad_messages_close(pair, event, code):
    """WP5"""
    peer, listener = pair
    peer.take(5)
    peer.inbox.put_nowait({"type": "websocket.receive", **event})
    await asyncio.wait_for(peer.task, 1)
    assert peer.sent[-1]["code"] == code
    assert listener.notes[-1] == ("closed", code)
    if code == 1009:
        assert listener.notes[-2][:2] == ("refused", 1009)


async def test_a_message_over_the_limit_may_be_the_listeners_to_judge():
    """O7"""
    listener = Notes()
    peer = Peer(listener, replace(LIMITS, skips_too_large=True))
    peer.take(5)
    for event in ({"bytes": b"x" * 3000}, {"bytes": "é".encode()}, {"text": "x" * 101}):
        peer.inbox.put_nowait({"type": "websocket.receive", **event})
    await asyncio.wait_for(peer.task, 1)
    assert listener.notes[:3] == ["opened", ("oversized", 3000, 100, b"x" * START_BYTES), "é".encode()]
    assert [note[:2] for note in listener.notes[3:]] == [("refused", 1009), ("closed", 1009)]


async def test_what_is_over_a_lower_limit_is_refused_with_later_and_told():
    """O6, O7"""
    listener = Notes()
    peer = Peer(listener, replace(LIMITS, skips_too_large=True))
    peer.take(5)
    await turns()
    listener.transport.limit_messages(50)
    peer.inbox.put_nowait({"type": "websocket.receive", "bytes": b"x" * 51})
    await asyncio.wait_for(peer.task, 1)
    assert [note[:2] for note in listener.notes[1:]] == [("refused", 1013), ("closed", 1013)]


@pytest.mark.parametrize("failure", [ConnectionResetError(), RuntimeError("Unexpected ASGI message")])
async def test_a_send_that_fails_ends_it(pair, failure):
    """O2, AS1"""
    peer, listener = pair
    peer.failure = failure
    peer.take(1)
    listener.transport.send(b"x")
    await asyncio.wait_for(peer.task, 1)
    listener.transport.send(b"y")
    assert listener.notes == ["opened", ("closed", 1006)]


async def test_a_server_that_cannot_say_the_code_closes_with_1000():
    """AS4"""
    listener = Notes()
    sent: list = []
    inbox = [{"type": "websocket.connect"}]

    async def receive():
        return inbox.pop() if inbox else await asyncio.Future()

    async def send(event):
        if event.get("code", 1000) not in {1000, *range(3000, 5000)}:
            raise ValueError("invalid close code")
        sent.append(event)
        if event["type"] == "websocket.accept":
            asyncio.get_running_loop().call_soon(lambda: listener.transport.close(1013, "é"))

    await asyncio.wait_for(AsgiTransport(receive, send, listener, LIMITS).run(None), 1)
    assert sent[-1] == {"type": "websocket.close", "code": 1000, "reason": "é"}
    assert listener.notes == ["opened", ("closed", 1013)]


async def test_gone_before_it_was_accepted():
    """O5"""
    listener = Notes()
    inbox = [{"type": "websocket.disconnect", "code": 1006}]

    async def receive():
        return inbox.pop()

    async def send(event):
        raise AssertionError(event)

    await AsgiTransport(receive, send, listener, LIMITS).run(None)
    assert listener.notes == [("closed", 1006)]


async def test_refusal_where_only_a_close_is_possible():
    """AS2"""
    sent = []

    async def send(event):
        sent.append(event)

    await refuse(send, ForbiddenError("é"), {"type": "websocket"})
    assert sent == [{"type": "websocket.close", "code": 4403, "reason": "forbidden"}]


# Starlette's TestClient


def test_starlette_test_client():
    app = EchoApp()
    with TestClient(app).websocket_connect("/write?id=1", subprotocols=["a", "b"]) as client:
        client.send_bytes("é🎈".encode())
        assert client.receive_bytes() == "é🎈".encode()
        client.send_text("é")
        assert client.receive_bytes() == b"text:" + "é".encode()
    assert app.notes["1"][:2] in (["opened", ("closed", 1000)], ["opened", ("closed", 1006)])  # it cancels the app


def test_starlette_test_client_subprotocol_and_close():
    app = EchoApp()
    with TestClient(app).websocket_connect("/last-subprotocol?id=1", subprotocols=["a", "b"]) as client:
        assert client.accepted_subprotocol == "b"
    with TestClient(app).websocket_connect("/goodbye?id=2") as client:
        with pytest.raises(WebSocketDisconnect) as closed:
            client.receive_bytes()
        assert closed.value.code == 1013
    assert app.notes["2"][:2] == ["opened", ("closed", 1013)]


def test_starlette_test_client_refusal():
    client = TestClient(EchoApp())
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/refuse/503"):
        pass
    assert refused.value.status_code == DrainingError.http_status
    assert refused.value.json() == {"reason": "draining", "message": "not for you, é"}


# Another server: uvicorn with its own protocol


@pytest.fixture(scope="module")
def other_server():
    server = Running(ws="websockets-sansio", http="httptools")
    yield server
    until(lambda: server.connections == 0)
    server.stop()


def open_as(running: Running, path: str) -> tuple[Raw, list]:
    name = random_id()
    return Raw(running.port, head(f"{path}?id={name}")), running.app.notes[name]


def test_other_server_echoes(other_server: Running):
    client, notes = open_as(other_server, "/write")
    with client:
        for size in (0, 5, 126, 60_000):
            client.send(frame(BINARY, b"x" * size))
            assert client.frame() == (BINARY, b"x" * size)
        client.send(close_frame(1000))
        assert client.closed() == (1000, "")
    until(lambda: notes == ["opened", ("closed", 1000), "served"])


def test_other_server_drains(other_server: Running):
    """O3"""
    client, notes = open_as(other_server, "/fill")
    with client:
        until(lambda: notes == ["opened", "congested"] or "drained" in notes)
        assert client.frame() == (BINARY, b"y" * 8_000_000)
        until(lambda: notes == ["opened", "congested", "drained"])


def test_other_server_closes_a_congested_peer_in_time(other_server: Running):
    """AS3"""
    client, notes = open_as(other_server, "/flood")
    with client:
        until(lambda: "served" in notes)
        assert notes == ["opened", "congested", ("closed", 4000), "served"]


def test_other_server_loses_a_peer(other_server: Running):
    """O5"""
    client, notes = open_as(other_server, "/write")
    client.reset()
    until(lambda: notes[-1:] == ["served"])
    assert notes[:-1] in (["opened", ("closed", 1005)], ["opened", ("closed", 1006)])


def test_other_server_hears_of_a_listener_that_raises(other_server: Running):
    """WP5"""
    client, notes = open_as(other_server, "/raise")
    with client:
        client.send(frame(BINARY, b"x"))
        assert client.closed() == (1011, "internal error")
    until(lambda: notes == ["opened", ("closed", 1011), "served"])
