"""Strangers write into the log: what they ask for cannot forge a line, command a terminal or fill the disk."""

from __future__ import annotations

import itertools
import json
import re
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from tests.support.server import RaffiaServer
from tests.support.tokens import SECRET, token

FORGED = "2026-11-30T00:00:00Z [warning  ] FORGED"
# What begins a line for some reader or commands a terminal: NEL, CSI, line and paragraph separators, bidi, ESC.
UNSEEN = "\x1b\x7f\x85\x9b\u2028\u2029\u202e\u2066"


@pytest.fixture(scope="module", params=["text", "json"])
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[RaffiaServer]:
    folder = tmp_path_factory.mktemp("logged")
    (folder / "secret").write_text(SECRET)
    env = {"AUTH_KEY_FILE": str(folder / "secret"), "LOG_FORMAT": request.param, "LOG_LEVEL": "debug"}
    with RaffiaServer(folder / "data", env={f"RAFFIA_{name}": value for name, value in env.items()}) as running:
        yield running


def ask(server: RaffiaServer, target: bytes, upgrade: bool = True, origin: bytes = b"http://127.0.0.1") -> bytes:
    """Ask over a plain socket, as no library would let us; the answer's first line."""
    head = b"GET " + target + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: " + origin + b"\r\n"
    if upgrade:
        head += (
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        )
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.sendall(head + b"\r\n")
        return connection.recv(4096).split(b"\r\n", 1)[0]


def lines_of(server: RaffiaServer, seen: int) -> list[str]:
    return server.log_path.read_bytes()[seen:].decode().split("\n")


def test_what_a_stranger_asks_for_forges_no_line(server: RaffiaServer) -> None:
    seen = server.log_path.stat().st_size
    # With spaces and without, since the text form quotes the former anyway.
    for char, words in itertools.product(("\n", "\r", "\r\n", *UNSEEN), (FORGED, "FORGED")):
        part = quote(f"a{char}{words}{char}", safe="").encode()
        for target in (b"/sync/" + part, b"/sync/x?token=" + part, b"/sync/x?schema=" + part):
            assert b" 4" in ask(server, target)
        ask(server, b"/api/documents/" + part, upgrade=False)
        if char not in "\r\n":
            ask(server, b"/sync/x", origin=f"http://{char}{words}".encode())
            ask(server, b"/sync/x", origin=f"http://{char}{words}".encode("latin-1", "ignore"))
    lines = lines_of(server, seen)
    text = "\n".join(lines)
    assert set(text) & set(UNSEEN + "\r") == set()
    assert "FORGED" in text
    assert [line for line in lines if line.startswith(FORGED[:20])] == []
    if server.env["RAFFIA_LOG_FORMAT"] == "json":
        assert all("event" in json.loads(line) for line in lines if line)
    else:
        assert [line for line in lines if line and not re.match(r"\d{4}-\d\d-\d\dT\S+Z \[", line)] == []


def test_long_requests_make_short_lines_without_tokens(server: RaffiaServer) -> None:
    seen = server.log_path.stat().st_size
    made = token(sub="Opfer é").encode()
    hostile = (b"eyJaaaaaaaa-" * 700)[:7900]
    for target in (b"/sync/" + hostile, b"/sync/" + b"a" * 290 + made, b"/sync/x?token=" + made * 8):
        ask(server, target)
        ask(server, b"/sync/x", origin=b"http://" + target)
    lines = lines_of(server, seen)
    assert len(lines) > 6
    assert max(map(len, lines)) < 1500
    assert "eyJ" not in "\n".join(lines)
