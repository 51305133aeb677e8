"""What plain HTTP requests may cost, over real sockets: trailers, bodies, pipelines, places. Rules: http.py."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
from tests.integration.server.conftest import Running, until
from tests.integration.server.raw import (
    BINARY,
    Raw,
    ended,
    frame,
    head,
)
from tests.support.server import RaffiaServer

from raffia.auth.address_limits import AddressLimits
from raffia.settings import Settings
from raffia.sockets.server.http import RaffiaHttpProtocol
from raffia.sockets.server.places import Places

MIB = 1 << 20


@pytest.fixture(scope="module")
def raffia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    with RaffiaServer(tmp_path_factory.mktemp("limits") / "data") as running:
        yield running


# Requests: bodies, trailers, pipelines, idle connections


CHUNKED = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZED = b"POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


@contextlib.contextmanager
def server_with(monkeypatch: pytest.MonkeyPatch, **values: float) -> Iterator[Running]:
    """A server whose HTTP limits differ."""
    for name, value in values.items():
        monkeypatch.setattr(RaffiaHttpProtocol, name, value)
    server = Running()
    try:
        yield server
        until(lambda: server.connections == 0)
    finally:
        server.stop()


@pytest.mark.parametrize("line", [b"a: " + b"b" * 8000 + b"\r\n", b"b" * 8000], ids=["many", "one endless value"])
def test_trailers_that_never_end_are_refused(raffia: RaffiaServer, line: bytes):
    """HT3"""
    with Raw(raffia.port) as client:
        sent = 0
        client.send(CHUNKED.replace(b"/x", b"/api/documents") + b"0\r\nz: ")
        with contextlib.suppress(ConnectionError):
            while sent < 20 * MIB:
                client.send(line)
                sent += len(line)
        assert sent < 20 * MIB
        assert ended(client)


def test_the_trailers_of_a_body_that_is_read_are_refused_with_431(monkeypatch: pytest.MonkeyPatch):
    """HT3"""
    with server_with(monkeypatch, HEAD_BYTES=1000) as server, Raw(server.port) as client:
        client.send(CHUNKED.replace(b"/x", b"/read") + b"1\r\nx\r\n0\r\n")
        client.send(b"a: ")
        client.socket.settimeout(0.02)
        for _ in range(250):  # a read of the socket may hold much of it
            client.send(b"b" * 600)
            with contextlib.suppress(TimeoutError):
                client._more()
                break
        client.response()
        assert client.status == 431


def test_chunks_are_not_trailers(monkeypatch: pytest.MonkeyPatch):
    """HT3: many small chunks have more than `HEAD_BYTES` of headers in total."""
    with server_with(monkeypatch, HEAD_BYTES=1000) as server, Raw(server.port) as client:
        client.send(CHUNKED.replace(b"/x", b"/read") + b"1\r\nx\r\n" * 1000 + b"0\r\na: b\r\n\r\n")
        assert client.response() == b"1000"
        client.send(SIZED % (b"read", 1) + b"x")
        assert client.response() == b"1"


def test_a_body_that_is_not_read_ends_with_its_response(monkeypatch: pytest.MonkeyPatch):
    """HT6: the response arrives whole, and the connection ends however slowly the body goes on."""
    with server_with(monkeypatch, LINGER_S=0.2) as server, Raw(server.port) as client:
        client.send(SIZED % (b"x", 1_000_000))
        client.response()
        assert client.status == 404
        assert client.headers["connection"] == "close", "or the client would send its next request here"
        client.end()
        until(lambda: server.connections == 0)


def test_a_body_that_arrives_with_its_head_leaves_the_connection_open(running: Running):
    """HT6"""
    with Raw(running.port) as client:
        for _ in range(3):
            client.send(SIZED % (b"x", 5) + b"12345")
            client.response()
            assert client.status == 404
            assert "connection" not in client.headers


def test_a_slow_body_is_refused(monkeypatch: pytest.MonkeyPatch):
    """HT7"""
    with server_with(monkeypatch, BODY_S=0.3, BODY_BYTES=100) as server, Raw(server.port) as client:
        client.send(SIZED % (b"read", 1_000_000))
        client.socket.settimeout(0.02)
        started = time.monotonic()
        while not client.kept:
            client.send(b"x")
            assert time.monotonic() - started < 5
            with contextlib.suppress(TimeoutError):
                client._more()
        client.response()
        assert client.status == 408


def test_a_body_that_waits_for_the_app_is_not_slow(monkeypatch: pytest.MonkeyPatch):
    """HT7"""
    with server_with(monkeypatch, BODY_S=0.1, BODY_BYTES=1000) as server, Raw(server.port) as client:
        body = b"x" * 3_000_000
        client.send(SIZED % (b"read-later", len(body)))
        client.send(body)
        assert client.response() == b"3000000"


def test_empty_lines_do_not_keep_a_connection_open(monkeypatch: pytest.MonkeyPatch):
    """HT8"""
    with server_with(monkeypatch, HEAD_S=0.3) as server, Raw(server.port) as client:
        client.send(SIZED % (b"x", 0))
        client.response()
        client.send(b"\r\n")
        client.response()
        assert client.status == 408
        client.end()


def test_pipelined_requests_are_bounded(monkeypatch: pytest.MonkeyPatch):
    """HT9"""
    with server_with(monkeypatch) as server, Raw(server.port) as client:
        client.send(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        assert ended(client)


def test_a_closed_connection_whose_peer_does_not_read_is_aborted(monkeypatch: pytest.MonkeyPatch):
    """HT10"""
    with server_with(monkeypatch, CLOSE_S=0.2) as server, Raw(server.port) as client:
        client.send(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        until(lambda: server.connections == 0)


# Places


def request_of(address: str, path: str = "x") -> bytes:
    return f"GET /{path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\n\r\n".encode()


@contextlib.contextmanager
def server_with_places(max_connections: int = 100) -> Iterator[tuple[Running, Places]]:
    places = Places(
        AddressLimits(Settings(max_connections_per_address=3)), max_connections, lambda: 0, trusted="127.0.0.1"
    )
    server = Running(places=places)
    try:
        yield server, places
        until(lambda: server.connections == 0)
        until(lambda: places.taken == 0)
    finally:
        server.stop()


def test_ht11_plain_connections_of_an_address_are_bounded():
    with server_with_places() as (server, _), contextlib.ExitStack() as stack:
        held = [stack.enter_context(Raw(server.port)) for _ in range(3)]
        for client in held:
            client.send(request_of("203.0.113.1", "never"))
        until(lambda: len(server.server.server_state.tasks) == 3)
        with Raw(server.port) as client:
            client.send(request_of("203.0.113.1"))
            client.response()
            assert client.status == 503
            client.end()
        with Raw(server.port) as client:
            client.send(request_of("203.0.113.2"))
            client.response()
            assert client.status == 404
        held[0].socket.close()
        until(lambda: len(server.server.server_state.tasks) == 2)
        with Raw(server.port) as client:
            client.send(request_of("203.0.113.1"))
            client.response()
            assert client.status == 404


def test_ht11_plain_connections_of_a_process_are_bounded():
    with server_with_places(1) as (server, places), contextlib.ExitStack() as stack:
        for number in range(9):  # all of them wait for responses
            stack.enter_context(Raw(server.port)).send(request_of(f"203.0.113.{number}", "never"))
        until(lambda: len(server.server.server_state.tasks) == 9)
        assert places.taken == 9
        with Raw(server.port) as client:
            assert ended(client)


def test_ht11_a_websocket_gives_its_plain_place_back():
    with server_with_places() as (server, places), Raw(server.port, head("/echo")) as client:
        client.send(frame(BINARY, b"x"))
        assert client.frame() == (BINARY, b"x")
        assert places.taken == 0


def test_pl5_slow_heads_make_room_for_those_who_ask():
    """PL5: nine places, held by heads that never end and by a connection that is kept alive."""
    with server_with_places(1) as (server, places), contextlib.ExitStack() as stack:
        held = [stack.enter_context(Raw(server.port)) for _ in range(9)]
        held[0].send(request_of("203.0.113.1"))
        held[0].response()
        for client in held[1:]:
            client.send(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        until(lambda: len(places.headless) == 9)
        for number in range(3):
            with Raw(server.port) as newcomer:
                newcomer.send(request_of(f"203.0.113.{number}"))
                newcomer.response()
                assert newcomer.status == 404
            until(lambda: places.taken == 8)
            stack.enter_context(Raw(server.port))
            until(lambda: len(places.headless) == 9)
