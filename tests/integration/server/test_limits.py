"""What strangers may cost, over real sockets: heads, waits, tiny fragments, floods of pings.

Memory is the process's own. Rule ids are those of raffia/server.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tests.integration.server.conftest import Running, until
from tests.integration.server.raw import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Raw,
    frame,
    head,
    random_id,
)
from tests.support.lib0 import buf, string
from tests.support.server import RaffiaServer

from raffia.auth.address_limits import AddressLimits
from raffia.settings import Settings
from raffia.sockets.server.http import RaffiaHttpProtocol
from raffia.sockets.server.places import Places

MIB = 1 << 20
PREAUTH_S = 1.5
AUTH = b"\x02\x00" + string("a token") + string("4.7.0")
STEP1 = b"\x00\x00\x01\x00"


@pytest.fixture(scope="module")
def raffia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    with RaffiaServer(tmp_path_factory.mktemp("limits") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    """A server whose hook never decides."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "never.py").write_text(
        "import asyncio\n\nasync def authorize(handshake, token, document):\n    await asyncio.Event().wait()\n"
    )
    settings = {
        "RAFFIA_AUTHORIZE": "never:authorize",
        "RAFFIA_PREAUTH_S": f"{PREAUTH_S:g}",
        "RAFFIA_PREAUTH_BYTES": "2000",
        "RAFFIA_PREAUTH_DOCUMENTS": "5",
    }
    with RaffiaServer(folder / "data", env=settings) as running:
        yield running


def resident_bytes(server: RaffiaServer) -> float:
    return server.metrics()["process_resident_memory_bytes"]


def close_of(client: Raw) -> tuple[int, str]:
    """The close frame that comes after whatever else comes."""
    opcode, payload = client.frame()
    while opcode != CLOSE:
        opcode, payload = client.frame()
    return int.from_bytes(payload[:2], "big"), payload[2:].decode()


# Heads


def test_a_trickling_head_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    """HT2: the time runs from the first byte, not from the last."""
    monkeypatch.setattr("raffia.sockets.server.http.RaffiaHttpProtocol.HEAD_S", 0.5)
    server = Running()
    with Raw(server.port) as client:
        started = time.monotonic()
        client.socket.settimeout(0.02)
        for octet in head("/echo"):
            client.send(bytes([octet]))
            try:
                client._more()
            except TimeoutError:
                continue
            break
        client.socket.settimeout(5)
        client.response()
        assert client.status == 408
        assert 0.4 < time.monotonic() - started < 3
        client.end()
    until(lambda: server.connections == 0)
    server.stop()


@pytest.mark.parametrize("line", [b"X: x\r\n" * 100, b"X: " + b"x" * 3000 + b"\r\n", b"x" * 1000])
def test_a_head_that_never_ends_is_refused(raffia: RaffiaServer, line: bytes):
    """HT3"""
    with Raw(raffia.port) as client:
        client.send(b"GET /sync/limits HTTP/1.1\r\nX: x")
        sent = 0
        while not client.kept:
            assert sent < 2 * MIB
            client.socket.settimeout(5)
            client.send(line)
            sent += len(line)
            client.socket.settimeout(0.005)
            with contextlib.suppress(TimeoutError):
                client._more()
        client.socket.settimeout(5)
        client.response()
        assert client.status == 431


# Before anybody is let in


def hocuspocus(address: str, rest: bytes) -> bytes:
    return frame(BINARY, string(address) + rest)


@pytest.mark.parametrize(
    "meanwhile",
    [b"", frame(PING), frame(PONG, b"x"), frame(BINARY, b"x" * 900)[:100], hocuspocus("slow", AUTH)],
    ids=["nothing", "a ping", "a pong", "part of a message", "a token that nobody judges"],
)
def test_who_is_not_let_in_is_closed_in_time(guarded: RaffiaServer, meanwhile: bytes):
    with Raw(guarded.port, head("/sync")) as client:
        started = time.monotonic()
        client.send(meanwhile)
        assert close_of(client) == (1013, "overloaded")
        assert PREAUTH_S * 0.8 < time.monotonic() - started < PREAUTH_S + 3


def test_documents_asked_for_without_signing_in_are_bounded(guarded: RaffiaServer):
    with Raw(guarded.port, head("/sync")) as client:
        started = time.monotonic()
        for n in range(20):
            client.send(hocuspocus(f"asked-{n}", STEP1))
        assert close_of(client) == (1013, "full")
        assert time.monotonic() - started < PREAUTH_S * 0.8


def test_bytes_before_signing_in_are_bounded(guarded: RaffiaServer):
    with Raw(guarded.port, head("/sync")) as client:
        started = time.monotonic()
        client.send(hocuspocus("bytes", AUTH))
        for _ in range(3):
            client.send(hocuspocus("bytes", b"\x00\x02" + buf(b"x" * 900)))
        assert close_of(client) == (1013, "overloaded")
        assert time.monotonic() - started < PREAUTH_S * 0.8


def test_x8_a_large_message_is_refused_before_sign_in_when_it_is_announced(guarded: RaffiaServer):
    for opcode in (BINARY, TEXT):
        with Raw(guarded.port, head("/sync")) as client:
            started = time.monotonic()
            client.send(frame(opcode, b"x" * (2000 + 8192 + 4096 + 1))[:14])
            assert close_of(client) == (1013, "overloaded")
            assert time.monotonic() - started < PREAUTH_S * 0.8


def test_x8_fragments_before_sign_in_add_up(guarded: RaffiaServer):
    with Raw(guarded.port, head("/sync")) as client:
        started = time.monotonic()
        client.send(frame(BINARY, b"x" * 7000, fin=False) * 1 + frame(CONT, b"x" * 7000, fin=False))
        client.send(frame(CONT, b"x" * 300)[:8])
        assert close_of(client) == (1013, "overloaded")
        assert time.monotonic() - started < PREAUTH_S * 0.8


def test_x8_a_message_that_is_always_too_large_has_its_own_code(guarded: RaffiaServer):
    with Raw(guarded.port, head("/sync")) as client:
        client.send(b"\x82\xff" + (17 * MIB).to_bytes(8, "big"))
        assert close_of(client)[0] == 4413


def test_x8_large_messages_are_accepted_after_sign_in(raffia: RaffiaServer):
    with Raw(raffia.port, head("/sync")) as client:
        client.send(hocuspocus("large", AUTH))
        while client.frame()[0] != BINARY:
            pass
        client.send(frame(BINARY, b"x" * 5 * MIB)[:MIB])
        client.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            close_of(client)


def test_o6_a_connection_over_the_budget_is_aborted(running: Running):
    name = random_id()
    with Raw(running.port, head(f"/held?id={name}")) as client:
        client.send(frame(BINARY, b"x" * 45_000)[:15_000])
        client.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.frame()
        client.socket.settimeout(5)
        client.send(b"x" * 10_000)
        assert ended(client)
    until(lambda: "served" in running.app.notes[name])
    assert ("closed", 1013) in running.app.notes[name]


def test_o6_the_limit_can_be_raised(running: Running):
    with Raw(running.port, head("/held")) as client:
        client.send(frame(BINARY, b"raise"))
        assert client.frame() == (BINARY, b"raise")
        client.send(frame(BINARY, b"x" * 150_000))
        assert client.frame() == (BINARY, b"x" * 150_000)
        client.send(frame(BINARY, b"x" * 200_001)[:14])
        assert client.closed()[0] == 1009


def test_wp8_a_connection_that_is_closed_before_sign_in_keeps_nothing(running: Running):
    name = random_id()
    with Raw(running.port, head(f"/held?id={name}")) as client:
        (connection,) = running.server.server_state.connections
        client.send(frame(BINARY, b"close"))
        assert client.closed() == (4000, "closed")
        client.send(frame(BINARY, b"x" * 45_000)[:15_000])
        assert connection._reader is None
        client.end()
    until(lambda: "served" in running.app.notes[name])


# Tiny fragments


@pytest.mark.parametrize(("opcode", "piece"), [(TEXT, "é".encode()), (TEXT, "ж".encode()), (BINARY, b"x"), (TEXT, b"")])
def test_a_million_tiny_fragments_cost_no_more_than_one_message(raffia: RaffiaServer, opcode: int, piece: bytes):
    """FR4: a string for each of them would be 76 MiB."""
    thousand = frame(CONT, piece, fin=False) * 1000
    with Raw(raffia.port, head("/sync/fragments"), timeout_s=60) as client:
        before = resident_bytes(raffia)
        client.send(frame(opcode, fin=False))
        for _ in range(1000):
            client.send(thousand)
        client.send(frame(PING, b"all read"))
        received = client.frame()
        while received[0] == BINARY:
            received = client.frame()
        assert received == (PONG, b"all read")
        grown = resident_bytes(raffia) - before
        assert grown < 30 * MIB, f"{grown / MIB:.1f} MiB"
        with Raw(raffia.port, head("/sync/fragments")) as other:
            other.send(frame(PING, b"others are served"))
            while other.frame() != (PONG, b"others are served"):
                pass


def test_tiny_fragments_reach_the_limit(running: Running):
    """FR4"""
    with Raw(running.port, head("/echo")) as client:
        client.send(frame(BINARY, fin=False) + frame(CONT, b"x", fin=False) * 100_001)
        assert client.closed() == (1009, "message of 100001 bytes is over the limit of 100000")
        client.end()


def test_a_limit_below_the_shortest_frames_holds_too():
    """FR4"""
    server = Running(ws_max_size=10)
    with Raw(server.port, head("/echo")) as client:
        for _ in range(3):
            client.send(frame(BINARY, b"x" * 10))
            assert client.frame() == (BINARY, b"x" * 10)
        client.send(frame(BINARY, b"x" * 11))
        assert client.closed() == (1009, "message of 11 bytes is over the limit of 10")
        client.end()
    until(lambda: server.connections == 0)
    server.stop()


# Floods


def small_window(port: int, path: str) -> Raw:
    client = Raw(port, timeout_s=30)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    client.send(head(path))
    client.response()
    assert client.status == 101
    return client


def test_pongs_of_one_who_reads_nothing_are_bounded(running: Running):
    """WP7"""
    name = random_id()
    flood = frame(PING, b"p" * 125) * 30_000
    with small_window(running.port, f"/echo?id={name}") as client:
        (connection,) = running.server.server_state.connections
        connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        sender = threading.Thread(target=client.send, args=(flood + frame(PING, b"the last"),))
        sender.start()
        most = 0
        deadline = time.monotonic() + 30
        while connection._pong != b"the last":
            assert time.monotonic() < deadline
            most = max(most, connection.buffered())
            time.sleep(0.001)
        sender.join()
        # That the last pong waited shows that it was congested; how much the kernel took differs.
        assert 0 < max(most, connection.buffered()) < 64 * 1024 + 200
        pongs = 1
        while client.frame() != (PONG, b"the last"):
            pongs += 1
        assert pongs < 30_000
        assert "congested" in running.app.notes[name]
    until(lambda: "served" in running.app.notes[name])


def test_a_flood_of_pings_costs_raffia_no_memory(raffia: RaffiaServer):
    """WP7, X3: who reads nothing is not read from either."""
    flood = frame(PING, b"p" * 125) * 1000
    with small_window(raffia.port, "/sync/flood") as client:
        before = resident_bytes(raffia)
        client.socket.settimeout(0.5)
        sent = 0
        try:
            while sent < 60 * MIB:
                client.send(flood)
                sent += len(flood)
        except TimeoutError:
            pass  # the server reads no more
        grown = resident_bytes(raffia) - before
        assert grown < 20 * MIB, f"{grown / MIB:.1f} MiB after {sent / MIB:.0f} MiB of pings"
        assert sent > MIB


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


def ended(client: Raw) -> bool:
    """Read until the server ends the connection, with or without a reset."""
    try:
        while client.socket.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return True


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
        client.end()
        until(lambda: server.connections == 0)


def test_a_body_that_arrives_with_its_head_leaves_the_connection_open(running: Running):
    """HT6"""
    with Raw(running.port) as client:
        for _ in range(3):
            client.send(SIZED % (b"x", 5) + b"12345")
            client.response()
            assert client.status == 404


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
        for _ in range(9):  # none of them has sent anything
            stack.enter_context(Raw(server.port))
        until(lambda: places.taken == 9)
        with Raw(server.port) as client:
            assert ended(client)


def test_ht11_a_websocket_gives_its_plain_place_back():
    with server_with_places() as (server, places), Raw(server.port, head("/echo")) as client:
        client.send(frame(BINARY, b"x"))
        assert client.frame() == (BINARY, b"x")
        assert places.taken == 0
