"""Every case of `cases.py` against a real server, however its bytes are cut into segments (FR7).

Endpoints: a plain ASGI app, a listener, and Raffia's own `/sync` in both dialects.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.integration.server.cases import CASES, EMPTY, LIMIT_BYTES, TOO_LARGE, Answer, Case
from tests.integration.server.conftest import Running, until
from tests.integration.server.raw import BINARY, CLOSE, PING, PONG, TEXT, Raw, close_frame, frame, head
from tests.support.server import RaffiaServer

from raffia.settings import FRAME_OVERHEAD_BYTES

OCTETS_AT_MOST = 400
"""Longer streams are not sent octet by octet: it takes long and shows nothing new."""


def next_frame(client: Raw, endpoint: str) -> Answer:
    """The next frame; what Raffia says on its own account at its endpoints is passed over."""
    opcode, payload = client.frame()
    while opcode == BINARY and endpoint.startswith("/sync"):
        opcode, payload = client.frame()
    return opcode, payload


def told(endpoint: str, answer: Answer) -> Answer:
    """The answer as the endpoint gives it: a listener's outlet sends nothing but binary."""
    opcode, payload = answer
    return (BINARY, b"text:" + payload) if opcode == TEXT and endpoint == "/echo" else answer


def send(client: Raw, case: Case, endpoint: str, cut: str) -> None:
    """Send the case's stream, and read what comes back before its close."""
    if cut == "steps":
        for sent, due in case.steps:
            client.send(sent)
            for answer in due:
                assert next_frame(client, endpoint) == told(endpoint, answer)
        return
    if cut == "octets":
        for octet in case.stream:
            try:
                client.send(bytes([octet]))
            except ConnectionError:
                assert case.goes_on_after_close
                break
    for answer in case.answers:
        assert next_frame(client, endpoint) == told(endpoint, answer)


def play(port: int, endpoint: str, case: Case, cut: str, too_large: int = 1009) -> None:
    """One connection that goes through the case."""
    first = case.stream if cut == "with the handshake" else b""
    with Raw(port, head(endpoint) + first) as client:
        send(client, case, endpoint, cut)
        expected = too_large if case.ends == TOO_LARGE else case.ends
        if expected is None:
            client.send(frame(PING, b"alive"))
            assert next_frame(client, endpoint) == (PONG, b"alive")
            client.send(close_frame(1000))
            expected = 1000
        opcode, payload = next_frame(client, endpoint)
        assert opcode == CLOSE, (opcode, payload[:50])
        assert len(payload) <= 125
        assert (int.from_bytes(payload[:2], "big") if payload else EMPTY) == expected, payload
        payload[2:].decode()
        # The server ends the connection. One who sent more after its close, in segments of its own, may get a reset.
        if cut != "octets" or not case.goes_on_after_close:
            client.end()


def cuts(case: Case) -> Iterator[str]:
    """The ways to cut this case's stream."""
    yield "steps"
    yield "with the handshake"
    if len(case.stream) <= OCTETS_AT_MOST:
        yield "octets"


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def bounded(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A server whose plain apps have the table's limit too."""
    server = Running(loop=request.param, ws_max_size=LIMIT_BYTES)
    yield server
    until(lambda: server.connections == 0)
    server.stop()


@pytest.fixture(scope="module")
def raffia(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    folder = tmp_path_factory.mktemp("rfc6455")
    largest = str(LIMIT_BYTES - FRAME_OVERHEAD_BYTES)
    env = {"RAFFIA_MAX_UPDATE_BYTES": largest, "RAFFIA_MAX_DOCUMENT_BYTES": largest}
    with RaffiaServer(folder / "data", env=env) as running:
        yield running


def test_the_table_names_every_case_once():
    names = [str(case) for case in CASES]
    assert sorted(set(names)) == sorted(names)
    assert len(CASES) > 300


@pytest.mark.parametrize("endpoint", ["/echo", "/plain"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(bounded: Running, endpoint: str, case: Case):
    for cut in cuts(case):
        play(bounded.port, endpoint, case, cut)


@pytest.mark.parametrize("endpoint", ["/sync/rfc6455", "/sync"])
@pytest.mark.parametrize("case", [case for case in CASES if case.is_framing_only], ids=str)
def test_case_at_raffias_own_endpoints(raffia: RaffiaServer, endpoint: str, case: Case):
    """A message that is too large is 4413 here: clients come back after 1009, and send it again."""
    for cut in cuts(case):
        play(raffia.port, endpoint, case, cut, too_large=4413)
