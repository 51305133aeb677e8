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
    close_frame,
    ended,
    frame,
    head,
    random_id,
)
from tests.support.lib0 import buf, string
from tests.support.server import RaffiaServer

from raffia.sockets.server.protocol import Stage

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
        client.send(b"\x82\xff" + (65 * MIB).to_bytes(8, "big"))
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


def test_wp8_a_signed_in_peer_can_answer_the_close(running: Running):
    """A server that ends before its peers have read the close code would take it from them (a reset discards it)."""
    name = random_id()
    with Raw(running.port, head(f"/held?id={name}")) as client:
        (connection,) = running.server.server_state.connections
        client.send(frame(BINARY, b"sign in"))
        assert client.frame() == (BINARY, b"sign in")
        client.send(frame(BINARY, b"close") + frame(BINARY, b"still typing") * 20)
        assert client.closed() == (4000, "closed")
        until(lambda: connection._stage is Stage.CLOSING)
        client.send(close_frame(4000))
        assert ended(client)
    until(lambda: "served" in running.app.notes[name])


def test_wp8_a_signed_in_peer_makes_nobody_keep_a_large_message_after_the_close(running: Running):
    name = random_id()
    with Raw(running.port, head(f"/held?id={name}")) as client:
        (connection,) = running.server.server_state.connections
        client.send(frame(BINARY, b"sign in"))
        assert client.frame() == (BINARY, b"sign in")
        client.send(frame(BINARY, b"close"))
        assert client.closed() == (4000, "closed")
        client.send(frame(BINARY, b"x" * 100_000)[:90_000])
        until(lambda: connection._reader is None)
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
