"""The opening handshake (RFC 6455, 4.2), by raw sockets against a real server. Rule ids are those of raffia/server."""

from __future__ import annotations

import pytest
from tests.integration.server.conftest import Running, until
from tests.integration.server.raw import ACCEPT, BINARY, KEY, Raw, frame, head, random_id


def with_line(request: bytes, line: str) -> bytes:
    """The request with one more line at the end of its head."""
    return request.removesuffix(b"\r\n") + line.encode() + b"\r\n\r\n"


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


@pytest.mark.parametrize("version", ["8", "0", "14", "013", "+13", "13, 8", "", "é"])
def test_other_versions_are_told_which_one_is_spoken(running: Running, version: str):
    """HS2 (4.2.2, 4.4)"""
    with Raw(running.port, head("/echo", sec_websocket_version=version), expect=426) as client:
        assert client.headers["sec-websocket-version"] == "13"
        assert client.headers["upgrade"] == "websocket"
        assert client.headers["connection"] == "Upgrade, close"
        client.end()


@pytest.mark.parametrize(
    "line",
    [
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 8",
        "Host: elsewhere",
        "Transfer-Encoding: chunked",
    ],
)
def test_a_line_that_may_not_be_there_twice_or_at_all(running: Running, line: str):
    """HS1 (4.2.1, 11.3)"""
    with Raw(running.port, with_line(head("/echo"), line), expect=400) as client:
        assert client.headers["sec-websocket-version"] == "13"
        client.end()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "A" * 20,
        "A" * 23 + "=",
        "A" * 24,
        "__--AAAAAAAAAAAAAAAAAA==",
        KEY + "é",
        KEY * 2,
        KEY[:12] + " " + KEY[12:],
        KEY.rstrip("="),
    ],
    ids=repr,
)
def test_keys_that_are_not_16_bytes_in_base64(running: Running, key: str):
    """HS1 (4.2.1)"""
    with Raw(running.port, head("/echo", sec_websocket_key=key), expect=400) as client:
        client.end()


def test_white_space_around_values_is_no_part_of_them(running: Running):
    request = head("/echo", sec_websocket_key=f"  {KEY}\t", sec_websocket_version=" 13 ")
    with Raw(running.port, request) as client:
        assert client.headers["sec-websocket-accept"] == ACCEPT


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_only_get_opens_a_websocket(running: Running, method: str):
    """WP1 (4.2.1)"""
    with Raw(running.port, head("/echo", method=method), expect=405) as client:
        assert client.headers["allow"] == "GET"


@pytest.mark.parametrize(("version", "status"), [("0.9", 505), ("1.0", 505), ("1.2", 400), ("2.0", 505), ("x", 400)])
def test_only_http_1_1_opens_a_websocket(running: Running, version: str, status: int):
    """HT4 (4.2.1)"""
    with Raw(running.port, head("/echo", version=version), expect=status) as client:
        client.end()


@pytest.mark.parametrize(
    "spoilt",
    [
        head("/echo").replace(b"\r\n\r\n", b"\r\n folded: x\r\n\r\n"),
        head("/echo").replace(b"\r\n\r\n", b"\r\nX y: z\r\n\r\n"),
        head("/echo").replace(b"\r\n\r\n", b"\r\nX: a\0b\r\n\r\n"),
        head("/echo").replace(b"\r\n", b"\n"),
        head("/é"),
        head("/echo?é"),
        head("/echo", method="get"),
    ],
)
def test_heads_that_are_no_http(running: Running, spoilt: bytes):
    with Raw(running.port, spoilt, expect=400) as client:
        client.end()


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover; client_max_window_bits=15, x-webkit-deflate-frame",
        'unknown; quoted="a, b"',
        ';;,,"=',
    ],
)
def test_extensions_are_declined(running: Running, offer: str):
    """WP2 (9.1): nothing is compressed, whoever offers it, and a compressed frame breaks a rule."""
    with Raw(running.port, head("/echo", sec_websocket_extensions=offer)) as client:
        assert "sec-websocket-extensions" not in client.headers
        client.send(frame(BINARY, b"plain") + frame(BINARY, b"\xcaH\xcd\xc9\xc9\x07\x00", rsv=4))
        assert client.frame() == (BINARY, b"plain")
        assert client.closed() == (1002, "reserved bits are set")


def test_subprotocols_may_stand_on_several_lines(running: Running):
    """4.2.2, 11.3.4"""
    request = with_line(head("/last-subprotocol", sec_websocket_protocol="a, B"), "Sec-WebSocket-Protocol: c.d")
    with Raw(running.port, request) as client:
        assert client.headers["sec-websocket-protocol"] == "c.d"


@pytest.mark.parametrize("offered", ["", "a;b", "a, (b)", '"a"', "é"])
def test_subprotocols_that_cannot_be_read(running: Running, offered: str):
    """HS1"""
    with Raw(running.port, head("/last-subprotocol", sec_websocket_protocol=offered), expect=400) as client:
        client.end()


@pytest.mark.parametrize("before", [1, 3])
def test_an_upgrade_behind_unanswered_requests_is_not_taken(running: Running, before: int):
    """HT5"""
    request = head("/other", upgrade=None, connection=None)
    with Raw(running.port) as client:
        client.send(request * before + head("/echo") + frame(BINARY, b"x") * 50)
        for _ in range(before):
            client.response()
            assert client.status == 404
        client.end()
    until(lambda: running.connections == 0)


def test_an_upgrade_behind_answered_requests(running: Running):
    """HT1"""
    with Raw(running.port) as client:
        for _ in range(3):
            client.send(head("/other", upgrade=None, connection=None))
            client.response()
            assert client.status == 404
        client.send(head("/echo") + frame(BINARY, b"x"))
        client.response()
        assert client.status == 101
        assert client.frame() == (BINARY, b"x")


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
    """HT1, WP2"""
    with Raw(running.port, head("/later") + frame(BINARY, b"early") + frame(BINARY, b"bird")[:7]) as client:
        assert client.frame() == (BINARY, b"early")
        client.send(frame(BINARY, b"bird")[7:])
        assert client.frame() == (BINARY, b"bird")


def test_bytes_before_the_app_has_accepted_wait_bounded(running: Running):
    """WP2"""
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
