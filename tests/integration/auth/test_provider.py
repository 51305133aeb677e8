"""Keys from an identity provider on loopback, over real sockets: JW1-JW4 of jwks.py."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.client import HocuspocusClient, YClient
from tests.support.lib0 import insert
from tests.support.provider import Provider, answer, certificate
from tests.support.server import RaffiaServer
from tests.support.tokens import ec_key, jwk, rsa_key, token
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from raffia.auth.jwks import FetchError, fetch_url

BODY = json.dumps({"keys": [jwk(ec_key(), "a")]}).encode()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as running:
        yield running


async def status(url: str) -> int:
    """The status with which a WebSocket is answered; 101 when it is let in."""
    try:
        async with connect(url):
            return 101
    except InvalidStatus as refused:
        return int(refused.response.status_code)


# -- fetching


@pytest.mark.parametrize(
    "whole",
    [
        answer(BODY),
        b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(BODY),
    ],
    ids=["length", "until closed", "chunked", "continue"],
)
async def test_jw1_answers_of_every_form(provider: Provider, whole: bytes) -> None:
    provider.answer = whole
    assert await fetch_url(provider.url) == BODY
    (head,) = provider.requests
    assert head.startswith("GET /keys?set=1 HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    ("whole", "says"),
    [
        (answer(BODY, "302 Found", "location: http://127.0.0.1:1/"), "status 302"),
        (answer(b"", "404 Not Found"), "status 404"),
        (answer(BODY, "500 Oh No"), "status 500"),
        (answer(BODY)[:-5], "no complete HTTP response"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "no complete HTTP response"),
        (b"", "no complete HTTP response"),
        (b"\x16\x03\x01 garbage \xff\r\n\r\n", "no complete HTTP response"),
        (answer(b"x" * 300_000), "more than"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000, "no complete HTTP response"),
    ],
)
async def test_jw1_everything_else_is_an_error(provider: Provider, whole: bytes, says: str) -> None:
    provider.answer = whole
    with pytest.raises(FetchError, match=says):
        await fetch_url(provider.url)


async def test_jw1_proxies_of_the_environment_are_not_used(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    provider.answer = answer(BODY)
    assert await fetch_url(provider.url) == BODY


async def test_jw1_an_answer_is_not_decompressed(provider: Provider) -> None:
    packed = gzip.compress(b" " * 1_000_000)
    provider.answer = answer(packed, "200 OK", "content-encoding: gzip")
    assert await fetch_url(provider.url) == packed
    (head,) = provider.requests
    assert "accept-encoding: identity" in head.lower()


async def test_jw1_slow_and_silent_providers_meet_the_deadline(provider: Provider) -> None:
    provider.answer = None
    with pytest.raises(FetchError, match=r"response within 0.1 s"):
        await fetch_url(provider.url, 0.1)
    provider.answer, provider.drip = answer(BODY), True
    with pytest.raises(FetchError, match="response within"):
        await fetch_url(provider.url, 0.2)
    await provider.stop()
    with pytest.raises(FetchError):
        await fetch_url(provider.url)


async def test_jw1_a_certificate_has_to_be_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for address, trusted in (("127.0.0.1", False), ("127.0.0.1", True), ("127.0.0.2", True)):
        chain, context = certificate(tmp_path, address)
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", str(chain))
        async with Provider(context) as provider:
            provider.answer = answer(BODY)
            if trusted and address == "127.0.0.1":
                assert await fetch_url(provider.url) == BODY
            else:
                with pytest.raises(FetchError, match="certificate verify failed"):
                    await fetch_url(provider.url)
                assert provider.requests == []


# -- a server that takes its keys there


@pytest.fixture
async def server(tmp_path: Path, provider: Provider) -> AsyncIterator[RaffiaServer]:
    env = {"RAFFIA_AUTH_JWKS_URL": provider.url, "RAFFIA_AUTH_AUDIENCE": "raffia", "RAFFIA_PREAUTH_S": "3"}
    running = RaffiaServer(tmp_path / "data", env=env)
    await asyncio.to_thread(running.start)
    try:
        yield running
    finally:
        await asyncio.to_thread(running.stop)


async def test_up_and_rotating(server: RaffiaServer, provider: Provider) -> None:
    provider.publish(jwk(rsa_key(), "old"))
    old = token(rsa_key(), "RS256", "old", aud="raffia")
    async with YClient() as ana, HocuspocusClient("team/a", token=old) as also:
        await ana.join(f"{server.ws}", "team/a", headers={"Authorization": f"Bearer {old}"})
        await also.join(server.ws)
        ana.update(insert(7, 0, "é😀"))
        await ana.until_stored()
    assert len(provider.requests) == 1
    assert await status(f"{server.ws}/team/a?token={token(rsa_key(1), 'RS256', 'old', aud='raffia')}") == 401
    assert await status(f"{server.ws}/team/a?token={token(rsa_key(), 'RS256', 'old', aud='other')}") == 401
    assert await status(f"{server.ws}/team/a?token={token(rsa_key(), 'RS256', 'old')}") == 401
    assert len(provider.requests) == 1


async def test_jw3_a_new_key_is_found(server: RaffiaServer, provider: Provider) -> None:
    provider.publish(jwk(rsa_key(), "old"))
    assert await status(f"{server.ws}/team/a?token={token(rsa_key(), 'RS256', 'old', aud='raffia')}") == 101
    provider.publish(jwk(rsa_key(), "old"), jwk(ec_key(), "new"))
    url = f"{server.ws}/team/a?token={token(ec_key(), 'ES256', 'new', aud='raffia')}"
    # Within REFETCH_S the question waits for the next fetch, past this server's deadline: later, and never "no".
    said = {await status(url)}
    deadline_s = asyncio.get_running_loop().time() + 15
    while 101 not in said:
        assert said == {503}
        assert asyncio.get_running_loop().time() < deadline_s
        said.add(await status(url))
    assert len(provider.requests) == 2


@pytest.mark.parametrize("trouble", ["down", "silent", "garbage", "empty", "error"])
async def test_jw4_away_is_later_and_recovers(server: RaffiaServer, provider: Provider, trouble: str) -> None:
    good = token(ec_key(), "ES256", "a", aud="raffia")
    url = f"{server.ws}/team/a?token={good}"
    if trouble == "down":
        await provider.stop()
    else:
        provider.answer = {
            "silent": None,
            "garbage": answer(b"<html>\xff"),
            "empty": answer(b'{"keys": []}'),
            "error": answer(BODY, "500 Oh No"),
        }[trouble]
    assert await status(url) == 503
    assert await status(f"{server.ws}/team/a?token=nonsense") == 401  # that much is known without keys
    async with HocuspocusClient("team/a", token=good) as other:
        await other.open(server.ws)
        other.authenticate()
        await other.until(lambda: other.denied, "a denial")
        assert other.denied == ["auth-unavailable"]
    assert server.metric('raffia_refusals_total{reason="auth-unavailable"}') >= 2
    if trouble == "down":
        await provider.start()
    provider.answer = answer(BODY)
    deadline_s = asyncio.get_running_loop().time() + 15
    while (said := await status(url)) != 101:
        assert said == 503
        assert asyncio.get_running_loop().time() < deadline_s
    assert good.split(".")[2] not in server.log(10_000)
