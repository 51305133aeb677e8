"""Tokens at a real server, in both dialects: who is let in, for how long, and that no log holds one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.client import HocuspocusClient, YClient, fresh_reader
from tests.support.lib0 import insert
from tests.support.server import RaffiaServer
from tests.support.tokens import SECRET, claims, ec_key, forged, public_pem, rsa_key, token
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

DOCUMENT = "team/plan"
WORDS = "geheim 😀 Inhalt"
ENV = {
    "RAFFIA_AUTH_LEEWAY_S": "0",
    "RAFFIA_LOG_LEVEL": "debug",
    "RAFFIA_AUTH_AUDIENCE": "raffia",
    "RAFFIA_AUTH_ISSUER": "é.example",
}


def good(**more: Any) -> str:
    return token(**({"aud": "raffia", "iss": "é.example"} | more))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    folder = tmp_path_factory.mktemp("tokens")
    (folder / "secret").write_text(SECRET)
    with RaffiaServer(folder / "data", env={"RAFFIA_AUTH_KEY_FILE": str(folder / "secret"), **ENV}) as running:
        yield running
        text = running.log_path.read_text()  # of all that the tests below have done
        assert re.findall(r"eyJ[\w-]+\.[\w-]+", text) == []
        assert SECRET not in text


async def refusal(url: str, **options: Any) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, **options):
            pass
    return int(caught.value.response.status_code), bytes(caught.value.response.body)


async def denial(server: RaffiaServer, made: str, document: str = DOCUMENT) -> str:
    async with HocuspocusClient(document, token=made) as client:
        await client.open(server.ws)
        client.authenticate()
        client.step1()
        client.update(insert(99, 0, "böse"))
        await client.until(lambda: client.denied, "a denial")
        assert not client.synced
        assert not client.updates
        return client.denied[0]


async def written(server: RaffiaServer, document: str = DOCUMENT) -> None:
    async with YClient() as writer:
        await writer.join(server.ws, document, headers={"Authorization": f"Bearer {good(raffia={'*': 'edit'})}"})
        writer.update(insert(7, 0, WORDS))
        await writer.until_stored()


# -- who is let in


BAD = {
    "none": lambda: forged({"alg": "none"}, claims(aud="raffia", iss="é.example")) + "AA",
    "none, signed": lambda: forged({"alg": "none"}, claims(aud="raffia", iss="é.example"), SECRET.encode()),
    "another secret": lambda: good(key="x" + SECRET),
    "another algorithm": lambda: good(key=rsa_key(), algorithm="RS256"),
    "expired": lambda: good(lifetime_s=-1),
    "not yet": lambda: good(nbf=4e9),
    "made tomorrow": lambda: good(iat=4e9),
    "for ever": lambda: good(exp=None),
    "exp is true": lambda: good(exp=True),
    "exp is a text": lambda: good(exp="4000000000"),
    "no audience": lambda: token(iss="é.example"),
    "another audience": lambda: good(aud="other"),
    "another issuer": lambda: good(iss="evil.example"),
    "no issuer": lambda: token(aud="raffia"),
    "a level that is true": lambda: good(raffia={DOCUMENT: True}),
    "admin false": lambda: good(raffia={DOCUMENT: {"admin": False}}),
    "a wild pattern": lambda: good(raffia={"te*": "edit", DOCUMENT: "edit"}),
    "a list": lambda: good(raffia=[DOCUMENT]),
    "too large": lambda: good(filler="x" * 9000),
    "nonsense": lambda: "nonsense",
}


@pytest.mark.parametrize("name", list(BAD))
async def test_bad_tokens_are_refused_in_both_dialects(server: RaffiaServer, name: str) -> None:
    made = BAD[name]()
    if name != "too large":  # that one is too large for a request's head: 431
        status, body = await refusal(f"{server.ws}/{DOCUMENT}?token={made}")
        assert (status, b"unauthenticated" in body) == (401, True)
        bearer = {"Authorization": f"Bearer {made}"}
        assert (await refusal(f"{server.ws}/{DOCUMENT}", additional_headers=bearer))[0] == 401
    assert (await denial(server, made)).startswith("unauthenticated")


async def test_a_public_key_is_no_secret(tmp_path: Path) -> None:
    for number, key in enumerate((rsa_key(), ec_key())):
        pem = public_pem(key)
        (tmp_path / "key.pem").write_bytes(pem)
        with RaffiaServer(
            tmp_path / f"data{number}", env={"RAFFIA_AUTH_KEY_FILE": str(tmp_path / "key.pem")}
        ) as server:
            made = forged({"alg": "HS256"}, claims(), pem)
            assert (await refusal(f"{server.ws}/{DOCUMENT}?token={made}"))[0] == 401
            assert (await denial(server, made)).startswith("unauthenticated")
            right = token(key, "RS256" if number == 0 else "ES256")
            async with await fresh_reader(server.ws, f"{DOCUMENT}?token={right}"):
                pass


async def test_without_a_token_nobody_is_let_in(server: RaffiaServer) -> None:
    for origin in (None, f"http://127.0.0.1:{server.port}"):
        status, body = await refusal(f"{server.ws}/{DOCUMENT}", origin=origin)
        assert (status, b"unauthenticated" in body) == (401, True)
    async with HocuspocusClient(DOCUMENT) as client:
        await client.open(server.ws)
        client.authenticate()
        await client.until(lambda: client.denied, "a denial")


async def test_every_source_of_a_token(server: RaffiaServer) -> None:
    await written(server)
    made = good(raffia={DOCUMENT: "read"})
    bearer = {"Authorization": f"Bearer {made}"}
    async with YClient() as query, YClient() as header, HocuspocusClient(DOCUMENT, token=made) as band:
        await query.open(f"{server.ws}/{DOCUMENT}?token={made}")
        query.step1()
        await query.until_synced()
        await header.join(server.ws, DOCUMENT, headers=bearer)
        await band.join(server.ws)
        assert band.scope == "readonly"
        for client in (query, header, band):
            assert client.holds(WORDS.encode())
    async with HocuspocusClient(DOCUMENT) as of_url:
        await of_url.open(f"{server.ws}?token={made}")
        of_url.authenticate()
        of_url.step1()
        await of_url.until_synced()


@pytest.mark.parametrize("first", ["raffia", None])
async def test_a_subprotocol_carries_a_token(server: RaffiaServer, first: str | None) -> None:
    offered = [f"raffia.token.{good()}"]
    if first is not None:
        offered.append(first)
    async with connect(f"{server.ws}/{DOCUMENT}", subprotocols=offered) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == (first or offered[0])
        await socket.send(b"\x00\x00\x01\x00")
        assert isinstance(await socket.recv(), bytes)
    offered[0] = "raffia.token." + good(aud="other")
    assert (await refusal(f"{server.ws}/{DOCUMENT}", subprotocols=offered))[0] == 401


async def test_missing_and_forbidden_look_the_same(server: RaffiaServer) -> None:
    await written(server, "secret/there")
    made = good(raffia={"team/*": "admin"})
    answers = {await refusal(f"{server.ws}/{document}?token={made}") for document in ("secret/there", "secret/nowhere")}
    answers |= {await refusal(f"{server.ws}/{document}?token={made}") for document in ("teams/x", "team", "Team/plan")}
    assert len(answers) == 1
    assert next(iter(answers))[0] == 403
    assert {await denial(server, made, document) for document in ("secret/there", "secret/nowhere")} == {
        "forbidden: no access to this document"
    }


async def test_one_connection_many_documents_each_by_its_own_token(server: RaffiaServer) -> None:
    await written(server)
    async with HocuspocusClient(DOCUMENT, token=good(raffia={"other": "edit"})) as client:
        await client.open(server.ws)
        client.authenticate()
        client.step1()
        await client.until(lambda: client.denied, "a denial")
        client.token = good(raffia={DOCUMENT: "edit"})  # a new try on the same socket
        client.authenticate()
        client.step1()
        await client.until_synced()
        assert client.holds(WORDS.encode())
        assert client.scope == "read-write"


# -- how long


async def test_yws_ends_with_4401_when_its_token_does(server: RaffiaServer) -> None:
    async with YClient() as ana:
        await ana.open(f"{server.ws}/{DOCUMENT}?token={good(lifetime_s=2)}")
        ana.step1()
        await ana.until_synced()
        code, reason = await ana.until_closed()
        assert (code, reason.startswith("unauthenticated")) == (4401, True)


async def test_hocuspocus_is_asked_for_a_fresh_token_and_goes_on(server: RaffiaServer) -> None:
    async with HocuspocusClient(DOCUMENT) as bo, YClient() as watch:
        tokens: list[str] = []
        authenticate = bo.authenticate

        def fresh() -> None:  # what a provider with `token: async () => …` does
            bo.token = good(lifetime_s=600 if tokens else 5)
            tokens.append(bo.token)
            authenticate()

        bo.authenticate = fresh  # type: ignore[method-assign]
        await bo.join(server.ws)
        await watch.open(f"{server.ws}/{DOCUMENT}?token={good(lifetime_s=5)}")
        await bo.until(lambda: len(tokens) == 2, "a question for the token")
        assert (await watch.until_closed())[0] == 4401  # by now the first token of `bo` is over too
        bo.update(insert(8, 0, "weiter 😀"))
        await bo.until_stored()
        assert bo.closes == []
        assert len(tokens) == 2


async def test_hocuspocus_ends_that_document_and_keeps_the_socket(server: RaffiaServer) -> None:
    async with HocuspocusClient(DOCUMENT, token=good(lifetime_s=2)) as bo:
        await bo.join(server.ws)
        await bo.until(lambda: bo.closes, "a CLOSE")
        assert bo.closes[0].startswith("unauthenticated")
        bo.token = good()
        bo.synced = False
        bo.authenticate()
        bo.step1()
        await bo.until_synced()
        bo.update(insert(9, 0, "wieder da"))
        await bo.until_stored()


async def test_a_downgrade_counts_at_once(server: RaffiaServer) -> None:
    async with HocuspocusClient("team/demoted", token=good()) as bo:
        await bo.join(server.ws)
        assert bo.scope == "read-write"
        bo.update(insert(11, 0, "noch"))
        await bo.until_stored()
        bo.token = good(raffia={"team/*": "read"})
        bo.authenticate()
        await bo.until(lambda: bo.scope == "readonly", "the new scope")
        bo.update(insert(11, 4, "nicht mehr"))
        await bo.until(lambda: 0 in bo.statuses, "a refusal")
        bo.token = good(raffia={"other": "edit"})
        bo.authenticate()
        await bo.until(lambda: bo.closes, "a CLOSE")
    async with await fresh_reader(server.ws, f"team/demoted?token={good()}") as reader:
        assert reader.holds(b"noch")
        assert not reader.holds(b"nicht mehr")


# -- a hook besides


HOOK = """
from raffia.types import Access, Grant

def authorize(handshake, token, document):
    if handshake.claims is None:
        return Grant(Access.READ) if document == "public" else None
    raise_for = handshake.claims.get("trouble")
    if raise_for:
        raise OSError(f"database away for {token}")
    return Grant(Access.EDIT, user=handshake.claims["sub"]) if document in handshake.claims["docs"] else None
"""


async def test_a_hook_gets_verified_claims(tmp_path: Path) -> None:
    (tmp_path / "my_hook.py").write_text(HOOK)
    (tmp_path / "secret").write_text(SECRET)
    env = {"RAFFIA_AUTHORIZE": "my_hook:authorize", "RAFFIA_AUTH_KEY_FILE": "secret", "RAFFIA_AUTH_LEEWAY_S": "0"}
    with RaffiaServer(tmp_path / "data", env=env) as server:
        page = f"http://127.0.0.1:{server.port}"
        made = token(docs=["a"], raffia=None, lifetime_s=3)
        async with YClient() as ana:
            await ana.open(f"{server.ws}/a?token={made}")
            ana.step1()
            await ana.until_synced()
            assert (await refusal(f"{server.ws}/b?token={made}"))[0] == 403
            assert (await refusal(f"{server.ws}/a?token={made[:-6]}AAAAAA"))[0] == 401
            assert (await refusal(f"{server.ws}/a", origin=page))[0] == 403
            assert (await refusal(f"{server.ws}/public"))[0] == 401
            async with connect(f"{server.ws}/public", origin=page):  # type: ignore[arg-type]
                pass
            trouble = token(docs=["a"], raffia=None, trouble=True)
            assert (await refusal(f"{server.ws}/a?token={trouble}"))[0] == 503
            assert (await denial(server, trouble, "a")) == "auth-unavailable"
            assert (await ana.until_closed())[0] == 4401  # the hook named no end; the token has one
        text = server.log(10_000)
        assert "database away for ***" in text
        assert trouble.split(".")[2] not in text


async def test_tokens_leave_no_trace_in_the_log(server: RaffiaServer) -> None:
    made = good()
    await asyncio.to_thread(httpx.get, f"{server.http}/sync/{DOCUMENT}", params={"token": made})
    await asyncio.to_thread(httpx.get, f"{server.http}/healthz", params={"token": made})
    await refusal(f"{server.ws}/other?token={made}")
    await refusal(f"{server.ws}/other", subprotocols=[f"raffia.token.{made}"])
    text = server.log_path.read_text()
    assert "token=***" in text
    assert "connection refused" in text
    assert not any(part[:20] in text for part in made.split(".")[1:])


def test_keys_that_cannot_be_used_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "weak").write_text("geheim\n")
    server = RaffiaServer(tmp_path / "data", env={"RAFFIA_AUTH_KEY_FILE": "weak"})
    with pytest.raises(RuntimeError, match="a secret of 6 bytes"):
        server.start()
