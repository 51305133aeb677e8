"""RFC 6455, by raw sockets against a real server. Section numbers are the RFC's, rule ids those of weft/server."""

from __future__ import annotations

import struct
import time

import pytest
from tests.integration.server.conftest import Running, until
from tests.integration.server.raw import (
    ACCEPT,
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


# The opening handshake (4.2), P1


def test_accepts_with_the_sample_key_of_the_rfc(running: Running):
    with Raw(
        running.port, head("/echo", sec_websocket_extensions="permessage-deflate; client_max_window_bits")
    ) as client:
        assert client.headers["sec-websocket-accept"] == ACCEPT
        assert client.headers["upgrade"].lower() == "websocket"
        assert client.headers["connection"].lower() == "upgrade"
        assert "sec-websocket-extensions" not in client.headers
        assert "sec-websocket-protocol" not in client.headers
        assert "date" in client.headers


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"sec_websocket_key": None}, 400),
        ({"sec_websocket_key": "short"}, 400),
        ({"sec_websocket_key": "AAAA"}, 400),
        ({"sec_websocket_key": "!!!!aGhlIHNhbXBsZSBub25jZQ"}, 400),
        ({"sec_websocket_version": None}, 400),
        ({"sec_websocket_version": "8"}, 400),
        ({"sec_websocket_version": "é"}, 400),
        ({"host": None}, 400),
        ({"sec_websocket_protocol": "a b, c"}, 400),
        ({"method": "POST"}, 405),
        ({"version": "1.0"}, 505),
        ({"content_length": "3"}, 400),
        ({"x_long": "x" * 9000}, 431),
        ({f"x_{n}": "x" for n in range(200)}, 431),
        ({"x_huge": "x" * 400_000}, 431),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refuses_a_bad_handshake(running: Running, change, status):
    with Raw(running.port) as client:
        client.send(head("/echo", **change))
        client.response()
        assert client.status == status
        assert client.headers["connection"] == "close"
    until(lambda: running.connections == 0)


@pytest.mark.parametrize("change", [{"upgrade": None}, {"connection": None}, {"connection": "keep-alive"}])
def test_what_asks_for_no_upgrade_is_http(running: Running, change):
    with Raw(running.port, head("/echo", **change), expect=404) as client:
        assert "sec-websocket-accept" not in client.headers


def test_garbage_instead_of_a_request(running: Running):
    with Raw(running.port, b"\x16\x03\x01\x02\x00 hello\r\n\r\n", expect=400) as client:
        client.end()


def test_connection_header_may_hold_more(running: Running):
    with Raw(running.port, head("/echo", connection="keep-alive, Upgrade", upgrade="WebSocket")) as client:
        client.send(frame(BINARY, b"x"))
        assert client.frame() == (BINARY, b"x")


@pytest.mark.parametrize(("offered", "selected"), [("one", "one"), ("one, two.x, three", "three"), (None, None)])
def test_selects_a_subprotocol(running: Running, offered, selected):
    with Raw(running.port, head("/last-subprotocol", sec_websocket_protocol=offered)) as client:
        assert client.headers.get("sec-websocket-protocol") == selected


@pytest.mark.parametrize("status", [401, 403, 409, 503])
def test_refusal_by_the_app_is_an_http_answer(running: Running, status):
    with Raw(running.port) as client:
        client.send(head(f"/refuse/{status}"))
        body = client.response()
        assert client.status == status
        assert "not for you, é" in body.decode()
        assert client.headers["content-type"] == "application/json"
        assert ("retry-after" in client.headers) == (status == 503)
        assert ("www-authenticate" in client.headers) == (status == 401)
        client.end()


@pytest.mark.parametrize("path", ["/crash", "/return"])
def test_an_app_that_fails_is_a_500(running: Running, path, caplog):
    with Raw(running.port, head(path), expect=500) as client:
        client.end()


def test_bytes_in_one_packet_with_the_handshake(running: Running):
    """H1, P2"""
    with Raw(running.port, head("/later") + frame(BINARY, b"early") + frame(BINARY, b"bird")[:7]) as client:
        assert client.frame() == (BINARY, b"early")
        client.send(frame(BINARY, b"bird")[7:])
        assert client.frame() == (BINARY, b"bird")


def test_bytes_before_the_app_has_accepted_wait_bounded(running: Running):
    """P2"""
    with Raw(running.port) as client:
        client.send(head("/later"))
        for n in range(40):
            client.send(frame(BINARY, bytes([n]) * 10_000))
        client.response()
        assert client.status == 101
        for n in range(40):
            assert client.frame() == (BINARY, bytes([n]) * 10_000)


def test_handshake_octet_by_octet(running: Running):
    with Raw(running.port) as client:
        for octet in head("/echo"):
            client.send(bytes([octet]))
        client.response()
        assert client.status == 101
        client.send(frame(BINARY, b"x"))
        assert client.frame() == (BINARY, b"x")


def test_peer_goes_before_the_app_has_accepted(running: Running):
    name = random_id()
    Raw(running.port, head(f"/later?id={name}"), expect=None).reset()
    until(lambda: running.app.notes[name] == [("closed", 1006), "served"])


# Framing (5.2)


@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 127, 128, 1000, 65_534, 65_535, 65_536, 65_537, 100_000])
@pytest.mark.parametrize("opcode", [BINARY, TEXT])
def test_lengths(ws: Raw, size, opcode):
    payload = (b"0123456789" * (size // 10 + 1))[:size]
    ws.send(frame(opcode, payload))
    assert ws.frame() == (BINARY, payload if opcode == BINARY else b"text:" + payload)


@pytest.mark.parametrize("path", ["/echo", "/write", "/plain"])
def test_messages_keep_their_order(running: Running, path):
    messages = [bytes([n]) * (n * 7 % 300) for n in range(200)]
    with Raw(running.port, head(path)) as client:
        client.send(b"".join(frame(BINARY, message) for message in messages))
        assert [client.frame() for _ in messages] == [(BINARY, message) for message in messages]


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\1", b"abcd"])
@pytest.mark.parametrize("size", [5, 300])
def test_masks(ws: Raw, mask, size):
    ws.send(frame(BINARY, b"z" * size, mask=mask))
    assert ws.frame() == (BINARY, b"z" * size)


@pytest.mark.parametrize("opcode", [BINARY, TEXT, PING, CLOSE])
def test_unmasked_is_refused(ws: Raw, opcode):
    """F1"""
    ws.send(frame(opcode, b"", mask=None))
    assert ws.closed() == (1002, "client frames must be masked")
    ws.end()


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [BINARY, TEXT, PING, CLOSE])
def test_reserved_bits_are_refused(ws: Raw, opcode, rsv):
    """F1"""
    ws.send(frame(BINARY, b"first") + frame(opcode, b"", rsv=rsv))
    assert ws.frame() == (BINARY, b"first")
    assert ws.closed() == (1002, "reserved bits are set")
    ws.end()


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("fin", [True, False])
def test_reserved_opcodes_are_refused(ws: Raw, opcode, fin):
    """F1"""
    ws.send(frame(opcode, b"x", fin=fin))
    assert ws.closed()[0] == 1002
    ws.end()


@pytest.mark.parametrize(("size", "wide"), [(0, 2), (125, 2), (0, 8), (126, 8), (65_535, 8)])
def test_lengths_are_minimal(ws: Raw, size, wide):
    """F1"""
    ws.send(frame(BINARY, b"x" * size, wide=wide))
    assert ws.closed() == (1002, "a length must be written in the fewest bytes")


def test_length_below_2_to_the_63(ws: Raw):
    """F1"""
    ws.send(b"\x82\xff\x80" + bytes(7))
    assert ws.closed()[0] == 1002


@pytest.mark.parametrize("path", ["/echo", "/plain"])
def test_octet_by_octet(running: Running, path):
    """F7"""
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
    """F7"""
    messages = [bytes([n]) * size for n, size in enumerate([3, 126, 90_000, 0, 65_536, 7])]
    stream = b"".join(frame(BINARY, message) for message in messages)
    for at in range(0, len(stream), piece * 8 if piece < 64 else piece):
        ws.send(stream[at : at + (piece * 8 if piece < 64 else piece)])
    assert [ws.frame() for _ in messages] == [(BINARY, message) for message in messages]


# Size


def test_oversize_is_refused_when_it_is_announced(ws: Raw):
    """F4"""
    ws.send(b"\x82\xff" + struct.pack("!Q", 100_001) + b"mask")
    assert ws.closed() == (1009, "message of 100001 bytes is over the limit of 100000")
    ws.end()


def test_oversize_says_so_while_the_peer_still_sends(ws: Raw):
    """P3: a reset would overtake the close frame."""
    ws.send(frame(BINARY, b"x" * 3_000_000))
    assert ws.closed()[0] == 1009
    ws.end()


@pytest.mark.parametrize("opcode", [BINARY, TEXT])
def test_fragments_are_bounded_in_total(ws: Raw, opcode):
    """F4"""
    ws.send(frame(opcode, b"x" * 60_000, fin=False) + frame(CONT, b"x" * 40_000, fin=False) + frame(CONT, b"x"))
    assert ws.closed()[0] == 1009


def test_empty_fragments_cost_nothing(ws: Raw):
    """F4"""
    ws.send(frame(BINARY, b"a", fin=False) + frame(CONT, b"", fin=False) * 20_000 + frame(CONT, b"b"))
    assert ws.frame() == (BINARY, b"ab")


# Fragmentation (5.4) and control frames (5.5)


@pytest.mark.parametrize("opcode", [BINARY, TEXT])
def test_fragments(ws: Raw, opcode):
    """F3, F2"""
    ws.send(frame(opcode, b"", fin=False) + frame(CONT, HELLO[:3], fin=False))
    ws.send(frame(PING, b"between") + frame(CONT, HELLO[3:], fin=False) + frame(PING) + frame(CONT, b""))
    assert ws.frame() == (PONG, b"between")
    assert ws.frame() == (PONG, b"")
    assert ws.frame() == (BINARY, HELLO if opcode == BINARY else b"text:" + HELLO)


@pytest.mark.parametrize("fin", [True, False])
def test_nothing_to_continue(ws: Raw, fin):
    """F3"""
    ws.send(frame(CONT, b"x", fin=fin))
    assert ws.closed() == (1002, "nothing to continue")
    ws.end()


def test_nothing_to_continue_after_a_message_has_ended(ws: Raw):
    """F3"""
    ws.send(frame(BINARY, b"a", fin=False) + frame(CONT, b"b") + frame(CONT, b"c"))
    assert ws.frame() == (BINARY, b"ab")
    assert ws.closed()[0] == 1002


@pytest.mark.parametrize("fin", [True, False])
def test_a_message_within_a_message(ws: Raw, fin):
    """F3"""
    ws.send(frame(BINARY, b"a", fin=False) + frame(BINARY, b"b", fin=fin))
    assert ws.closed() == (1002, "the last message has not ended")


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(125)), b"\x00\xff\xfe"])
def test_ping(ws: Raw, payload):
    ws.send(frame(PING, payload))
    assert ws.frame() == (PONG, payload)


def test_many_pings(ws: Raw):
    ws.send(b"".join(frame(PING, b"%d" % n) for n in range(10)))
    assert [ws.frame() for _ in range(10)] == [(PONG, b"%d" % n) for n in range(10)]


def test_unasked_pong_is_ignored(ws: Raw):
    ws.send(frame(PONG, b"x") + frame(PONG) + frame(PING, b"y"))
    assert ws.frame() == (PONG, b"y")


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_large_control_frame(ws: Raw, opcode):
    """F2"""
    ws.send(frame(opcode, b"\x03\xe8" + b"x" * 124))
    assert ws.closed() == (1002, "control frames carry at most 125 bytes")
    ws.end()


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_fragmented_control_frame(ws: Raw, opcode):
    """F2"""
    ws.send(frame(opcode, b"", fin=False))
    assert ws.closed() == (1002, "control frames may not be fragmented")


# UTF-8 (8.1), F5

VALID = ["", "a", "é", "κόσμε", "\ufffd\uffff\ufffe", "\U0010ffff", "\U00010000", "🎈" * 50, "\0", "\ud7ff\ue000"]
INVALID = [
    b"\x80",
    b"\xbf",
    b"\xc0\xaf",
    b"\xc1\xbf",
    b"\xc3",
    b"\xe2\x82",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x9f\x8e",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"ok \xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
]


@pytest.mark.parametrize("text", VALID)
def test_valid_text(ws: Raw, text):
    payload = text.encode()
    ws.send(frame(TEXT, payload))
    assert ws.frame() == (BINARY, b"text:" + payload)


@pytest.mark.parametrize("text", VALID[1:])
def test_code_points_split_over_fragments(ws: Raw, text):
    payload = text.encode()
    ws.send(frame(TEXT, b"", fin=False))
    ws.send(b"".join(frame(CONT, bytes([octet]), fin=False) for octet in payload) + frame(CONT))
    assert ws.frame() == (BINARY, b"text:" + payload)


@pytest.mark.parametrize("payload", INVALID)
def test_invalid_text(ws: Raw, payload):
    ws.send(frame(TEXT, payload))
    assert ws.closed()[0] == 1007
    ws.end()


@pytest.mark.parametrize("payload", INVALID)
def test_invalid_text_in_fragments(ws: Raw, payload):
    ws.send(frame(TEXT, b"", fin=False) + b"".join(frame(CONT, bytes([octet]), fin=False) for octet in payload))
    ws.send(frame(CONT))
    assert ws.closed()[0] == 1007


def test_invalid_text_is_seen_before_the_message_has_ended(ws: Raw):
    ws.send(frame(TEXT, b"good", fin=False) + frame(CONT, b"\xf4\x90", fin=False))
    assert ws.closed()[0] == 1007


def test_invalid_text_is_seen_before_the_frame_has_ended(ws: Raw):
    ws.send(frame(TEXT, b"good\xff" + b"x" * 50_000)[:20])
    assert ws.closed()[0] == 1007


def test_binary_may_hold_anything(ws: Raw):
    payload = bytes(range(256)) * 4
    ws.send(frame(BINARY, payload))
    assert ws.frame() == (BINARY, payload)


# Closing (5.5.1, 7)


@pytest.mark.parametrize(
    "code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
)
def test_valid_close_codes_are_sent_back(running: Running, code):
    """F6, P4"""
    client, notes = open_as(running, "/echo")
    with client:
        client.send(close_frame(code, "é".encode()))
        assert client.closed() == (code, "é")
        client.end()
    until(lambda: notes == ["opened", ("closed", code), "served"])


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])
def test_invalid_close_codes(ws: Raw, code):
    """F6"""
    ws.send(close_frame(code))
    assert ws.closed()[0] == 1002
    ws.end()


def test_close_without_a_code(running: Running):
    """F6"""
    client, notes = open_as(running, "/echo")
    with client:
        client.send(close_frame())
        assert client.closed() == (None, "")
        client.end()
    until(lambda: notes == ["opened", ("closed", 1005), "served"])


def test_close_with_one_byte(ws: Raw):
    """F6"""
    ws.send(frame(CLOSE, b"\x03"))
    assert ws.closed()[0] == 1002


def test_close_with_a_reason_that_is_not_utf8(ws: Raw):
    """F6"""
    ws.send(close_frame(1000, b"\xce\xba\xed\xa0\x80"))
    assert ws.closed()[0] == 1007


def test_close_with_the_longest_reason(ws: Raw):
    """F6"""
    ws.send(close_frame(1000, b"*" * 123))
    assert ws.closed() == (1000, "*" * 123)


@pytest.mark.parametrize("path", ["/echo", "/plain"])
def test_close_within_a_fragmented_message(running: Running, path):
    """F2 (Autobahn 7.1.5)"""
    with Raw(running.port, head(path)) as client:
        client.send(frame(TEXT, b"fragment", fin=False) + close_frame(1000) + frame(CONT, b"rest"))
        assert client.closed() == (1000, "")
        client.end()


@pytest.mark.parametrize("after", [frame(PING, b"x"), frame(BINARY, b"x"), close_frame(1001), b"\xff\xff\xff"])
def test_nothing_is_read_after_a_close(ws: Raw, after):
    """F6"""
    ws.send(frame(BINARY, b"last") + close_frame(1000) + after)
    assert ws.frame() == (BINARY, b"last")
    assert ws.closed() == (1000, "")
    ws.end()


def test_close_by_the_server(running: Running):
    """P4, O5; the reason is cut to 123 bytes, between characters."""
    client, notes = open_as(running, "/goodbye")
    with client:
        assert client.closed() == (1013, "é" * 61)
        client.send(frame(PING, b"too late") + frame(BINARY, b"too late") + close_frame(1013))
        client.end()
    until(lambda: notes == ["opened", ("closed", 1013), "served"])


def test_close_by_the_server_is_not_answered(running: Running):
    """P4"""
    client, notes = open_as(running, "/goodbye")
    with client:
        start = time.monotonic()
        assert client.closed()[0] == 1013
        until(lambda: notes == ["opened", ("closed", 1013), "served"])
        assert 0.3 < time.monotonic() - start < 2


def test_close_by_the_server_is_answered_with_garbage(running: Running):
    """P4, P3"""
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
    """P3"""
    client, notes = open_as(running, "/echo")
    with client:
        client.send(frame(3) + frame(BINARY, b"x") * 1000)
        assert client.closed()[0] == 1002
        client.end()
    until(lambda: notes == ["opened", ("closed", 1002), "served"])
