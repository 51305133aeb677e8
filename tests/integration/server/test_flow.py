"""What the protocol does beyond RFC 6455: congestion, ending, plain ASGI, pings, failing listeners."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest
from tests.integration.server.conftest import Running, until
from tests.integration.server.raw import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Raw,
    close_frame,
    frame,
    head,
    random_id,
)


def open_as(running: Running, path: str) -> tuple[Raw, list]:
    name = random_id()
    return Raw(running.port, head(f"{path}?id={name}")), running.app.notes[name]


def test_a_reader_that_drains_hears_both(running: Running):
    """O3"""
    client, notes = open_as(running, "/fill")
    with client:
        until(lambda: "congested" in notes)
        assert client.frame() == (BINARY, b"y" * 8_000_000)
        until(lambda: notes == ["opened", "congested", "drained"])


def test_closing_while_congested_ends_in_time(running: Running):
    """WP4: the peer never reads."""
    client, notes = open_as(running, "/flood")
    with client:
        start = time.monotonic()
        until(lambda: notes[-2:] == [("closed", 4000), "served"])
        assert 0.3 < time.monotonic() - start < 2
        assert notes[:2] == ["opened", "congested"]
        assert "drained" not in notes


def test_closing_while_congested_loses_nothing_that_is_read(running: Running):
    """O4, WP4"""
    client, notes = open_as(running, "/flood")
    with client:
        opcode, payload = client.frame()
        while opcode == BINARY:
            assert payload == b"x" * 10_000
            opcode, payload = client.frame()
        assert (opcode, payload) == (CLOSE, b"\x0f\xa0flooded")
        client.send(close_frame(4000))
        client.end()
    until(lambda: "served" in notes)


def test_a_connection_is_cut_off_past_its_bound(running: Running):
    """O4, O7"""
    client, notes = open_as(running, "/hoard")
    with client:
        until(lambda: "served" in notes)
        opened, congested, *others, closed, served = notes
    assert (opened, congested, closed, served) == ("opened", "congested", ("closed", 1013), "served")
    others.remove(("refused", 1013))
    (most,) = others
    assert 19_000_000 < most < 20_200_000


def test_pings_of_one_who_reads_nothing_are_not_answered_without_end(running: Running):
    client, notes = open_as(running, "/fill")
    with client:
        until(lambda: "congested" in notes)
        client.send(frame(PING, b"p" * 125) * 2000)
        assert client.frame()[0] == BINARY
        client.send(frame(PING, b"after"))
        pongs = 0
        while client.frame() != (PONG, b"after"):
            pongs += 1
        assert pongs < 2000


def test_the_last_ping_is_answered_when_a_slow_reader_has_caught_up(running: Running):
    """WP7 (RFC 6455, 5.5.3)"""
    client, notes = open_as(running, "/fill")
    with client:
        until(lambda: "congested" in notes)
        client.send(b"".join(frame(PING, b"%d" % n) for n in range(2000)))
        (connection,) = running.server.server_state.connections
        until(lambda: connection._pong == b"1999")
        assert client.frame() == (BINARY, b"y" * 8_000_000)
        answered = [client.frame()]
        while answered[-1] != (PONG, b"1999"):
            answered.append(client.frame())
        assert len(answered) < 2000
        client.send(frame(PING, b"once"))
        assert client.frame() == (PONG, b"once")


def test_paused_reading_delivers_later_and_in_order(running: Running):
    client, notes = open_as(running, "/pause")
    with client:
        messages = [bytes([n]) * 3 for n in range(50)]
        client.send(b"".join(frame(BINARY, message) for message in messages))
        assert [client.frame() for _ in messages] == [(BINARY, message) for message in messages]
    assert notes[:2] == ["opened", "resumed"]
    assert notes[2:52] == messages


def test_batches_wait_for_their_turns_and_stay_in_order(running: Running):
    """O8, WP9"""
    client, notes = open_as(running, "/turns")
    with client:
        messages = [b"%d" % number * (1 + 50 * (number % 5)) for number in range(100)]
        sent = [frame(BINARY, message) for message in messages]
        client.send(b"".join(sent[:60]))
        for one in sent[60:]:
            client.send(one)
        assert [client.frame() for _ in messages] == [(BINARY, message) for message in messages]
    until(lambda: notes[-1] == "served")
    assert 33 <= notes.count("batch") <= 101


def test_a_violation_that_waited_for_its_turn_ends_the_connection_all_the_same(running: Running):
    """WP3, WP9: the peer's close is read, although the socket was not."""
    client, notes = open_as(running, "/turns")
    with client:
        client.send(frame(BINARY, b"x") * 20 + frame(3, b""))
        assert [client.frame() for _ in range(20)] == [(BINARY, b"x")] * 20
        assert client.closed()[0] == 1002
        start = time.monotonic()
        client.send(close_frame(1002))
        client.end()
        assert time.monotonic() - start < 0.4  # less than `close_timeout_s`
    until(lambda: notes[-1] == "served")


def test_many_small_fragments_are_read_in_batches(running: Running):
    """FR8"""
    client, notes = open_as(running, "/turns")
    with client:
        pieces = [frame(BINARY, b"x", fin=False), *[frame(0, b"y", fin=False)] * 5000, frame(0, b"z")]
        client.send(b"".join(pieces))
        assert client.frame() == (BINARY, b"x" + b"y" * 5000 + b"z")
    until(lambda: notes[-1] == "served")
    assert notes.count("batch") >= 5000 // (3 * 128)


def test_peer_goes_while_reading_is_paused(running: Running):
    client, notes = open_as(running, "/pause")
    client.reset()
    until(lambda: notes[-2:] == [("closed", 1006), "served"])


@pytest.mark.parametrize("message", [b"short", b"long" * 100])
def test_a_listener_that_raises_ends_only_its_connection(running: Running, message: bytes):
    """WP5"""
    client, notes = open_as(running, "/raise")
    with client, Raw(running.port, head("/echo")) as other:
        client.send(frame(BINARY, message))
        assert client.closed() == (1011, "internal error")
        client.send(close_frame(1011))
        client.end()
        other.send(frame(BINARY, b"still here"))
        assert other.frame() == (BINARY, b"still here")
    until(lambda: notes == ["opened", ("closed", 1011), "served"])


def test_plain_asgi(running: Running):
    """CH1"""
    client, notes = open_as(running, "/plain")
    with client:
        assert client.headers["x-kind"] == "plain"
        client.send(frame(TEXT, "é 🎈".encode()) + frame(BINARY, b"\x00\xff"))
        assert client.frame() == (TEXT, "é 🎈".encode())
        assert client.frame() == (BINARY, b"\x00\xff")
        client.send(frame(TEXT, b"close"))
        assert client.closed() == (4002, "asked")
        client.send(close_frame(4002))
        client.end()
    until(lambda: notes == [("disconnect", 4002)])


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 70_000])
def test_plain_asgi_cannot_close_with_a_code_that_may_not_be_sent(running: Running, code: int):
    """CH4; 0 is "no code" in ASGI."""
    client, _ = open_as(running, "/plain")
    with client:
        client.send(frame(TEXT, b"close %d" % code))
        expected = 1011 if code else 1000
        assert client.closed()[0] == expected
        client.send(close_frame(expected))
        client.end()


def test_plain_asgi_hears_the_close_code(running: Running):
    """CH1"""
    client, notes = open_as(running, "/plain")
    with client:
        client.send(close_frame(3001, b"bye"))
        assert client.closed() == (3001, "bye")
        client.end()
    until(lambda: notes == [("disconnect", 3001)])


def test_plain_asgi_feels_a_slow_reader(running: Running):
    """CH2, CH3: neither side's buffers grow, and everything arrives."""
    client, notes = open_as(running, "/plain")
    messages = [bytes([n]) * 100_000 for n in range(150)]
    with client:
        sender = threading.Thread(target=lambda: [client.send(frame(BINARY, message)) for message in messages])
        sender.start()
        sender.join(0.3)
        connection = next(iter(running.server.server_state.connections))
        assert connection.buffered() < 1_000_000
        assert [client.frame() for _ in messages] == [(BINARY, message) for message in messages]
        sender.join()
    until(lambda: notes == [("disconnect", 1006)])


def test_memory_of_a_finished_message_is_given_back(running: Running):
    with Raw(running.port, head("/echo")) as client:
        client.send(frame(BINARY, b"x" * 90_000, fin=False))
        client.send(frame(0, b"y"))
        assert len(client.frame()[1]) == 90_001
        (connection,) = running.server.server_state.connections
        until(lambda: connection._reader is None)


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def pinging(request: pytest.FixtureRequest) -> Iterator[Running]:
    server = Running(loop=request.param, ws_ping_interval=0.2, ws_ping_timeout=0.3)
    yield server
    until(lambda: server.connections == 0)
    server.stop()


def test_pings_go_on_while_they_are_answered(pinging: Running):
    """KA1"""
    client, notes = open_as(pinging, "/echo")
    with client:
        for _ in range(4):
            assert client.frame() == (PING, b"")
            client.send(frame(PONG))
        assert notes == ["opened"]


def test_any_byte_is_an_answer(pinging: Running):
    """KA2"""
    client, notes = open_as(pinging, "/echo")
    big = frame(BINARY, b"z" * 1000)
    with client:
        for at in range(0, 1000, 100):
            client.send(big[at : at + 100])
            time.sleep(0.1)
        client.send(big[1000:])
        while client.frame() != (BINARY, b"z" * 1000):
            pass
        assert notes == ["opened"]


def test_a_silent_peer_is_closed(pinging: Running):
    """KA3"""
    client, notes = open_as(pinging, "/echo")
    with client:
        assert client.frame() == (PING, b"")
        assert client.closed() == (1011, "keepalive ping timeout")
        client.end()
    until(lambda: notes == ["opened", ("closed", 1006), "served"])


def test_a_slow_but_living_reader_is_kept(pinging: Running):
    """KA3: it takes some of what waits, though its pong waits behind."""
    name = random_id()
    client = Raw(pinging.port)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    with client:
        client.send(head(f"/fill?id={name}"))
        client.response()
        got = len(client.kept)
        start = time.monotonic()
        while time.monotonic() - start < 1.5:
            got += len(client.socket.recv(200_000))
            time.sleep(0.02)
        assert not [note for note in pinging.app.notes[name] if note[0] == "closed"]
        assert got < 8_000_000
    until(lambda: pinging.app.notes[name][-1] == "served")


def test_shutdown_closes_with_1012():
    server = Running()
    with Raw(server.port, head("/echo?id=1")) as client, Raw(server.port, head("/later")[:50], expect=None):
        server.server.should_exit = True
        assert client.closed() == (1012, "the server is restarting")
        client.send(close_frame(1012))
        client.end()
    server.stop()
    assert server.app.notes["1"] == ["opened", ("closed", 1012), "served"]


def test_shutdown_does_not_wait_long_for_one_who_never_answers():
    server = Running()
    with Raw(server.port, head("/echo?id=1")):
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 3


def test_half_open_heads_are_answered_408(monkeypatch: pytest.MonkeyPatch):
    """HT2"""
    monkeypatch.setattr("raffia.sockets.server.http.RaffiaHttpProtocol.HEAD_S", 0.2)
    server = Running()
    with Raw(server.port, b"", expect=408) as silent, Raw(server.port, head()[:30], expect=408) as slow:
        silent.end()
        slow.end()
    with Raw(server.port, head("/echo", upgrade=None), expect=404) as kept:
        kept.send(head("/echo")[:30])
        kept.response()
        assert kept.status == 408
    server.stop()


def test_endless_head_is_answered_431():
    """HT3"""
    server = Running()
    with Raw(server.port) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 65_536)
        client.response()
        assert client.status == 431
    server.stop()


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_works_behind_any_of_uvicorns_http_protocols(http: str):
    server = Running(http=http)
    with Raw(server.port, head("/echo", user_agent="é")) as client:
        client.send(frame(BINARY, b"x"))
        assert client.frame() == (BINARY, b"x")
        client.send(close_frame(1000))
        assert client.closed() == (1000, "")
        client.end()
    server.stop()


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def tls(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    try:
        subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    server = Running(loop=request.param, ssl_keyfile=key, ssl_certfile=certificate)
    yield server
    until(lambda: server.connections == 0)
    server.stop()


def open_tls(running: Running, path: str) -> Raw:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    client = Raw(running.port)
    client.socket = context.wrap_socket(client.socket)
    client.send(head(path))
    client.response()
    assert client.status == 101
    return client


def test_tls_echo_and_close(tls: Running):
    with open_tls(tls, "/write?id=1") as client:
        for size in (5, 70_000):
            client.send(frame(BINARY, b"x" * size))
            assert client.frame() == (BINARY, b"x" * size)
        client.send(close_frame(1000))
        assert client.closed() == (1000, "")
        client.end()
    until(lambda: "served" in tls.app.notes["1"])


def test_tls_broken_rule(tls: Running):
    """WP3: no half-close here, the connection ends after LINGER_S."""
    with open_tls(tls, "/echo?id=2") as client:
        client.send(frame(3) + frame(BINARY, b"x" * 500_000))
        assert client.closed()[0] == 1002
        client.end()
    until(lambda: tls.app.notes["2"] == ["opened", ("refused", 1002), ("closed", 1002), "served"])


def test_tls_closing_while_congested_ends_in_time(tls: Running):
    """WP4"""
    with open_tls(tls, "/flood?id=3"):
        until(lambda: tls.app.notes["3"][-1:] == ["served"])
    assert tls.app.notes["3"][-2] == ("closed", 4000)
