"""RFC 6455, by raw sockets against a real server: what does not fit into the table of `cases.py`.

Section numbers are the RFC's, rule ids those of raffia/server.
"""

from __future__ import annotations

import struct
import time

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
    frame,
    head,
    random_id,
)

HELLO = "κόσμε 🎈 é".encode()


@pytest.fixture
def ws(running: Running):
    with Raw(running.port, head("/echo")) as client:
        yield client


def open_as(running: Running, path: str) -> tuple[Raw, list]:
    name = random_id()
    return Raw(running.port, head(f"{path}?id={name}")), running.app.notes[name]


# Framing (5.2)


@pytest.mark.parametrize("path", ["/echo", "/write", "/plain"])
def test_messages_keep_their_order(running: Running, path):
    messages = [bytes([n]) * (n * 7 % 300) for n in range(200)]
    with Raw(running.port, head(path)) as client:
        client.send(b"".join(frame(BINARY, message) for message in messages))
        assert [client.frame() for _ in messages] == [(BINARY, message) for message in messages]


@pytest.mark.parametrize("opcode", [BINARY, TEXT, PING, CLOSE])
def test_unmasked_is_refused(ws: Raw, opcode):
    """FR1"""
    ws.send(frame(opcode, b"", mask=None))
    assert ws.closed() == (1002, "client frames must be masked")
    ws.end()


@pytest.mark.parametrize("path", ["/echo", "/plain"])
def test_octet_by_octet(running: Running, path):
    """FR7"""
    stream = (
        frame(BINARY, HELLO)
        + frame(PING, b"p")
        + frame(TEXT, HELLO[:4], fin=False)
        + frame(PONG, b"unasked")
        + frame(CONT, HELLO[4:])
        + frame(BINARY, b"q" * 200)
        + close_frame(1000, "bye é".encode())
    )
    with Raw(running.port, head(path)) as client:
        for octet in stream:
            client.send(bytes([octet]))
        assert client.frame() == (BINARY, HELLO)
        assert client.frame() == (PONG, b"p")
        assert client.frame() == ((TEXT, HELLO) if path == "/plain" else (BINARY, b"text:" + HELLO))
        assert client.frame() == (BINARY, b"q" * 200)
        assert client.closed() == (1000, "bye é")
        client.end()


@pytest.mark.parametrize("piece", [2, 3, 64, 997, 4096])
def test_pieces(ws: Raw, piece):
    """FR7"""
    messages = [bytes([n]) * size for n, size in enumerate([3, 126, 90_000, 0, 65_536, 7])]
    stream = b"".join(frame(BINARY, message) for message in messages)
    for at in range(0, len(stream), piece * 8 if piece < 64 else piece):
        ws.send(stream[at : at + (piece * 8 if piece < 64 else piece)])
    assert [ws.frame() for _ in messages] == [(BINARY, message) for message in messages]


REASONS = [
    (frame(BINARY, rsv=4), (1002, "reserved bits are set")),
    (frame(3), (1002, "opcode 3 is reserved")),
    (frame(15), (1002, "opcode 15 is reserved")),
    (frame(BINARY, wide=2), (1002, "a length must be written in the fewest bytes")),
    (b"\x82\xff\x80" + bytes(7), (1002, "a length must be below 2^63")),
    (frame(CONT), (1002, "nothing to continue")),
    (frame(TEXT, fin=False) + frame(TEXT), (1002, "the last message has not ended")),
    (frame(PING, fin=False), (1002, "control frames may not be fragmented")),
    (frame(PING, b"x" * 126), (1002, "control frames carry at most 125 bytes")),
    (frame(TEXT, b"\xff"), (1007, "text is not UTF-8: invalid start byte")),
    (frame(TEXT, b"\xed\xa0", fin=False), (1007, "text is not UTF-8: a surrogate")),
    (close_frame(1005), (1002, "close: invalid status code")),
    (close_frame(1000, b"\xff"), (1007, "close: the reason is not UTF-8")),
]


@pytest.mark.parametrize(("sent", "told"), REASONS, ids=[told[1] for _, told in REASONS])
def test_says_what_is_wrong(ws: Raw, sent, told):
    """WP3"""
    ws.send(sent)
    assert ws.closed() == told
    ws.end()


# Size


def test_oversize_is_refused_when_it_is_announced(ws: Raw):
    """FR4"""
    ws.send(b"\x82\xff" + struct.pack("!Q", 100_001) + b"mask")
    assert ws.closed() == (1009, "message of 100001 bytes is over the limit of 100000")
    ws.end()


def test_oversize_says_so_while_the_peer_still_sends(ws: Raw):
    """WP3: a reset would overtake the close frame."""
    ws.send(frame(BINARY, b"x" * 3_000_000))
    assert ws.closed()[0] == 1009
    ws.end()


def test_empty_fragments_cost_nothing(ws: Raw):
    """FR4"""
    ws.send(frame(BINARY, b"a", fin=False) + frame(CONT, b"", fin=False) * 20_000 + frame(CONT, b"b"))
    assert ws.frame() == (BINARY, b"ab")


# Closing (5.5.1, 7)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_valid_close_codes_are_sent_back(running: Running, code):
    """FR6, WP4"""
    client, notes = open_as(running, "/echo")
    with client:
        client.send(close_frame(code, "é".encode()))
        assert client.closed() == (code, "é")
        client.end()
    until(lambda: notes == ["opened", ("closed", code), "served"])


def test_close_without_a_code(running: Running):
    """FR6"""
    client, notes = open_as(running, "/echo")
    with client:
        client.send(close_frame())
        assert client.closed() == (None, "")
        client.end()
    until(lambda: notes == ["opened", ("closed", 1005), "served"])


@pytest.mark.parametrize("after", [frame(PING, b"x"), frame(BINARY, b"x"), close_frame(1001), b"\xff\xff\xff"])
def test_nothing_is_read_after_a_close(ws: Raw, after):
    """FR6"""
    ws.send(frame(BINARY, b"last") + close_frame(1000) + after)
    assert ws.frame() == (BINARY, b"last")
    assert ws.closed() == (1000, "")
    ws.end()


def test_close_by_the_server(running: Running):
    """WP4, O5; the reason is cut to 123 bytes, between characters."""
    client, notes = open_as(running, "/goodbye")
    with client:
        assert client.closed() == (1013, "é" * 61)
        client.send(frame(PING, b"too late") + frame(BINARY, b"too late") + close_frame(1013))
        client.end()
    until(lambda: notes == ["opened", ("closed", 1013), "served"])


def test_close_by_the_server_is_not_answered(running: Running):
    """WP4"""
    client, notes = open_as(running, "/goodbye")
    with client:
        start = time.monotonic()
        assert client.closed()[0] == 1013
        until(lambda: notes == ["opened", ("closed", 1013), "served"])
        assert 0.3 < time.monotonic() - start < 2


def test_close_by_the_server_is_answered_with_garbage(running: Running):
    """WP4, WP3"""
    client, notes = open_as(running, "/goodbye")
    with client:
        assert client.closed()[0] == 1013
        client.send(b"\xff" * 100)
        client.end()
    until(lambda: notes == ["opened", ("closed", 1013), "served"])


def test_no_message_is_delivered_after_our_close(running: Running):
    """O5"""
    client, notes = open_as(running, "/close-each")
    with client:
        client.send(frame(BINARY, b"one") + frame(BINARY, b"two"))
        assert client.closed()[0] == 4001
        client.send(close_frame(4001))
        client.end()
    until(lambda: notes == ["opened", b"one", ("closed", 4001), "served"])


def test_both_sides_close_at_once(running: Running):
    client, notes = open_as(running, "/close-each")
    with client:
        client.send(frame(BINARY, b"one") + close_frame(1000))
        assert client.closed()[0] == 4001
        client.end()
    until(lambda: "served" in notes)


@pytest.mark.parametrize("started", [b"", frame(BINARY, b"x" * 500)[:100], b"\x82", frame(TEXT, b"x", fin=False)])
@pytest.mark.parametrize("how", ["reset", "end"])
def test_abrupt_end(running: Running, started, how):
    """O5"""
    client, notes = open_as(running, "/echo")
    with client:
        client.send(started)
        if how == "reset":
            client.reset()
        else:
            client.socket.close()
        until(lambda: notes == ["opened", ("closed", 1006), "served"])


def test_after_a_broken_rule_nothing_is_delivered(running: Running):
    """WP3"""
    client, notes = open_as(running, "/echo")
    with client:
        client.send(frame(3) + frame(BINARY, b"x") * 1000)
        assert client.closed()[0] == 1002
        client.end()
    until(lambda: notes == ["opened", ("refused", 1002), ("closed", 1002), "served"])
