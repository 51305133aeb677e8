"""Strangers at the door: origins, tokens, names of documents, guessing, half-open and compressed connections."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.conftest import ENV, check_log, guarded
from tests.attacks.scene import (
    ALL_CORNERS,
    BAD,
    Place,
    Stream,
    Victims,
    enter,
    knock,
    new_document,
    pass_for,
    refused,
    shown,
)
from tests.integration.server.raw import frame, head
from tests.support.client import HocuspocusClient
from tests.support.lib0 import insert
from tests.support.redis import RedisServer
from tests.support.server import RaffiaServer
from tests.support.tokens import SECRET, claims, forged, rsa_key, token

FOREIGN = ["https://evil.example", "null", "file://", "", "http://127.0.0.1.evil.example", "http://localhost", "é"]


# -- pages of others


def origins_like(server: RaffiaServer) -> list[str]:
    own = f"http://127.0.0.1:{server.port}"
    return [f"{own}.evil.example", f"{own}@evil.example", f"http://evil.example/{own}", f"{own[:-1]}", f"ftp{own[4:]}"]


async def test_pages_of_others_may_not_connect_even_with_a_token(place: Place) -> None:
    async with Victims(place) as victims:
        made = pass_for("mallory", victims.document, "admin")
        server = place.attacker
        for path in (f"/sync/{victims.document}?token={made}", f"/sync?token={made}"):
            for origin in FOREIGN + origins_like(server):
                with contextlib.suppress(UnicodeEncodeError):
                    status, body = await refused(server, path, origin=origin)
                    assert (status, made in body.decode()) == (403, False), origin
            own = f"http://127.0.0.1:{server.port}"
            for origin in (own, own.upper(), None):  # the page itself, and scripts
                async with await knock(server, path, origin=origin) as stream:
                    assert stream.status == 101, origin


async def test_without_an_origin_only_with_a_token(place: Place) -> None:
    async with Victims(place) as victims:
        for origin in (None, f"http://127.0.0.1:{place.attacker.port}"):
            assert (await refused(place.attacker, f"/sync/{victims.document}", origin=origin))[0] == 401


async def test_a_rebound_name_opens_nothing(place: Place) -> None:
    """The page's name points at us, so it has "our" origin; it has no token, and cookies open nothing here."""
    async with Victims(place) as victims:
        for host in ("evil.example", f"evil.example:{place.attacker.port}"):
            cookie = f"token={pass_for('vera', victims.document)}"
            status, _ = await refused(
                place.attacker, f"/sync/{victims.document}", host=host, origin=f"http://{host}", cookie=cookie
            )
            assert status == 401


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    """A server without keys: open to its own machine."""
    with RaffiaServer(tmp_path_factory.mktemp("open") / "data") as server:
        yield server


@pytest.mark.parametrize("path", ["/sync/team/notes", "/sync"])
async def test_an_open_server_is_no_prey_of_pages(opened: RaffiaServer, path: str) -> None:
    for host in ("evil.example", f"evil.example:{opened.port}", f"127.0.0.1:{opened.port}"):
        for origin in (f"http://{host}", "null", "https://evil.example", "http://localhost.evil.example"):
            if origin != f"http://127.0.0.1:{opened.port}":
                assert (await refused(opened, path, host=host, origin=origin))[0] == 403, (host, origin)
        if "evil" in host:  # behind a tunnel everybody is local, and a client that is no browser sends no origin
            assert (await refused(opened, path, host=host, origin=None))[0] == 403, host


COOKIE_HOOK = """
from pathlib import Path
from raffia.types import Access, Grant

def authorize(handshake, token, document):
    with Path("asked").open("a") as asked:
        asked.write(document + "\\n")
    answers = {"false": False, "dict": {"admin": False}, "access": Access.ADMIN, "level": Grant(Access.EDIT, user=7)}
    if document.startswith("odd/"):
        return answers[document.removeprefix("odd/")]
    return Grant(Access.EDIT, "vera") if "session=vera" in handshake.headers.get("cookie", "") else None
"""


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    """A server whose hook believes cookies, which is where other people's pages are dangerous."""
    folder = tmp_path_factory.mktemp("hooked")
    (folder / "cookies.py").write_text(COOKIE_HOOK)
    with RaffiaServer(
        folder / "data", env={"RAFFIA_AUTHORIZE": "cookies:authorize", "RAFFIA_LOG_LEVEL": "debug"}
    ) as server:
        yield server


async def test_cookies_are_not_lent_to_other_pages(hooked: RaffiaServer) -> None:
    own, asked = f"http://127.0.0.1:{hooked.port}", hooked.data.parent / "asked"
    async with await knock(hooked, "/sync/team/a", origin=own, cookie="session=vera") as stream:
        assert stream.status == 101
    before = asked.read_text()
    for origin in [*FOREIGN[:-1], *origins_like(hooked)]:
        assert (await refused(hooked, "/sync/team/a", origin=origin, cookie="session=vera"))[0] == 403
    assert (await refused(hooked, "/sync/team/a", cookie="session=vera"))[0] == 401
    assert asked.read_text() == before  # refused before anybody decides


@pytest.mark.parametrize("odd", ["false", "dict", "access", "level"])
async def test_only_a_grant_is_a_grant(hooked: RaffiaServer, odd: str) -> None:
    """`admin: false` and its kin: nothing that merely looks like a yes is one."""
    own = f"http://127.0.0.1:{hooked.port}"
    expected = 503 if odd == "level" else 403
    assert (await refused(hooked, f"/sync/odd/{odd}", origin=own, cookie="session=vera"))[0] == expected


# -- tokens

BAD_TOKENS = {
    "none": lambda document: forged({"alg": "none"}, claims(raffia={document: "admin"})),
    "confused": lambda document: forged({"alg": "HS256"}, claims(raffia={document: "admin"}), b"-----BEGIN PUBLIC KEY"),
    "RS256": lambda document: token(rsa_key(), "RS256", raffia={document: "admin"}),
    "HS512": lambda document: token(SECRET + SECRET, "HS512", raffia={document: "admin"}),
    "its own key": lambda document: forged(
        {"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}, claims(raffia={document: "admin"}), b"\0\0\0"
    ),
    "a key file": lambda document: forged(
        {"alg": "HS256", "kid": "../../dev/null"}, claims(raffia={document: "admin"}), b""
    ),
    "over": lambda document: token(raffia={document: "admin"}, lifetime_s=-1),
    "admin false": lambda document: token(raffia={document: {"admin": False}}),
    "false": lambda document: token(raffia={document: False}),
    "an empty level": lambda document: token(raffia={document: ""}),
    "a list of levels": lambda document: token(raffia={document: ["admin"]}),
    "admin beside": lambda document: token(raffia={}, admin=True, role="admin"),
    "none beside all": lambda document: token(raffia={"*": "admin", document: "none"}),
    "a pattern inside": lambda document: token(raffia={f"{document[:-2]}*": "admin"}),
}


@pytest.mark.parametrize("corner", ALL_CORNERS, indirect=True)
async def test_bad_tokens_open_nothing_new_and_end_what_is_open(place: Place, dialect: str) -> None:
    async with Victims(place) as victims:
        document = victims.document
        for name, make in BAD_TOKENS.items():
            made = make(document)
            if dialect == "y-websocket":
                assert (await refused(place.attacker, f"/sync/{document}?token={made}"))[0] in {401, 403}, name
                continue
            fresh = HocuspocusClient(document, token=made)
            await fresh.open(place.attacker.ws)
            fresh.authenticate()
            fresh.step1()
            fresh.update(insert(66, 0, BAD))
            await fresh.until(lambda fresh=fresh: fresh.denied, name)  # type: ignore[misc]
            assert (fresh.synced, fresh.updates) == (False, []), name
            await fresh.close()
            live = await enter(place.attacker, document, dialect)
            assert isinstance(live, HocuspocusClient)
            live.token = made
            live.authenticate()
            await live.until(lambda live=live: live.closes, name)  # type: ignore[misc]
            live.update(insert(67, 0, BAD))
            live.announce(67, 1, BAD)
            await victims.go_on(1)
            heard = len(live.updates)
            await victims.go_on(2)
            assert len(live.updates) == heard, name
            await live.close()
        assert not any(BAD.encode() in update for update in victims.walt.updates)


async def test_nothing_is_taken_after_the_end_of_a_token(place: Place, dialect: str) -> None:
    """He writes on as fast as he is answered, past the end of his token."""
    async with Victims(place) as victims:
        ends_s = time.time() + 2
        live = await enter(place.attacker, victims.document, dialect, exp=ends_s)
        sent: list[float] = []
        while live.closed is None and not getattr(live, "closes", []):
            sent.append(time.time())
            live.update(insert(66, len(sent) - 1, chr(0x100 + len(sent)), len(sent) - 2 if sent[1:] else None, "own"))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(live.changed(), 0.05)
        # By the time of the end, not of the last message: one that was sent just before may have been refused already.
        assert time.time() > ends_s
        taken = await shown(place.victims, victims.document, root="own")
        assert 0 < len(taken) <= sum(1 for at_s in sent if at_s < ends_s)
        await live.close()


async def test_tokens_stand_in_no_log(place: Place) -> None:
    """Wherever a token is put, also where it does not belong; `check_log` looks at whole logs behind all tests."""
    async with Victims(place) as victims:
        made = pass_for("mallory", victims.document)
        server = place.attacker
        for path in (
            f"/sync/team/x?token={made}&token=again",
            f"/sync/{made}",
            f"/sync/team/{made}?x={made}",
            f"/sync/team%3Ftoken={made}",
            f"/{made}?access_token={made}",
        ):
            await refused(server, path)
        await refused(server, "/sync/team/x", origin=f"https://{made}.example")
        await refused(server, "/sync/team/x", sec_websocket_protocol=f"raffia.token.{made}x, y")
        await refused(server, "/sync/team/x", authorization=f"Basic {made}", cookie=f"a={made}")
        for name in (f"team/{made}", f"token={made}", f"{made}\0{made}"):
            client = HocuspocusClient(name[:900], token=made)
            await client.open(server.ws)
            client.authenticate()
            await client.until(lambda client=client: client.denied, "a denial")  # type: ignore[misc]
            await client.close()
        check_log(server)


# -- names of documents

NAMES = [
    "..", "../secret", "team/../secret/x", "team//x", "/team/x", "team/x/", "team/./x", ".hidden", "team/.x", "-x",
    "team/*", "*", "team/[a-z]", "team/?", "a{b}c", "{secret/x}", "x}:log", "raffia:{secret/x}:log", "{-}", "-",
    "a\\b", "a\tb", "a b", "a\x00b", "a\r\nSET x y", "a\nb", "a\x7fb", "a\u202eb", "te\u0430m/x", "team\u2044x", "é",
    "team/x\u200b", "\ufefftеam", "team／x", "a%2Fb", "team%2e%2e", "x" * 129, "/".join(["x" * 100] * 3),
    "a'b", 'a"b', "a;b", "a$b", "a|b", "a`b", "a<b>", "a,b", "a=b", "a+b", "a~b", "a#b", "a&b",
]  # fmt: skip


def quoted(name: str) -> str:
    return "".join(f"%{byte:02X}" for byte in name.encode())


async def test_names_that_are_none_are_refused_and_leave_nothing(replicas: Place, redis: RedisServer) -> None:
    """By somebody who may do everything everywhere, in each spelling of a request line: Redis stays as it is."""
    async with Victims(replicas) as victims:
        made = token(sub="mallory", raffia={"*": "admin"})
        before = keys_of(redis, victims.document)
        server = replicas.attacker
        answers: dict[str, set[int]] = {}
        for name in NAMES:
            for spelt in {quoted(name), name.replace("%", "%25")}:
                if all(33 <= ord(letter) < 127 and letter not in "#?" for letter in spelt):
                    answers.setdefault(name, set()).add((await refused(server, f"/sync/{spelt}?token={made}"))[0])
        # With a newline it is no path of an endpoint at all; that is answered with 403.
        assert {name: said for name, said in answers.items() if said != {400 if "\n" not in name else 403}} == {}
        assert len(answers) == len(NAMES)
        client = HocuspocusClient("x", token=made)
        await client.open(server.ws)
        addresses = [name for name in NAMES if name and "\0" not in name]
        for name in addresses:
            client.address, client.prefix = name, b""
            client.message = client.frames.append  # type: ignore[method-assign]
            raw = name.encode()
            address = (bytes([len(raw)]) if len(raw) < 128 else bytes([len(raw) & 127 | 128, len(raw) >> 7])) + raw
            client.send(address + b"\x02\x00" + bytes([len(made) & 127 | 128, len(made) >> 7]) + made.encode())
            client.send(address + b"\x00\x00\x01\x00")
        await client.until(lambda: len(client.frames) >= len(addresses), "a denial for each")
        assert all(b"\x02\x01" in payload and b"malformed" in payload for payload in client.frames)
        await client.close()
        assert keys_of(redis, victims.document) == before


def keys_of(redis: RedisServer, live: str) -> set[bytes]:
    """All keys but those that come and go while somebody types in `live`, and signs of life."""
    keys = set(redis.command("KEYS", "*"))
    documents = set(redis.command("ZRANGE", "raffia:{-}:documents", 0, -1) or [])
    return {key for key in keys if live.encode() not in key and b"{-}" not in key} | documents


async def test_the_authorised_name_is_the_stored_one(replicas: Place, redis: RedisServer) -> None:
    """However it is spelt in the URL, it is decoded once; then it is compared, and stored, as it is."""
    async with Victims(replicas) as victims:
        name = "team/Odd.name:1@x_y-z"
        made = pass_for("ana", name)
        for spelt in (name, quoted(name), name.replace("/", "%2F").replace("@", "%40")):
            async with await knock(replicas.attacker, f"/sync/{spelt}?token={made}") as stream:
                assert stream.status == 101
        for other in ("team/odd.name:1@x_y-z", "team/Odd.name_1@x_y-z", "team/Odd.name", "team%252FOdd.name:1@x_y-z"):
            assert (await refused(replicas.attacker, f"/sync/{other}?token={made}"))[0] in {400, 403}
        writer = await enter(replicas.attacker, name, "hocuspocus", user="ana")
        writer.update(insert(1, 0, "genau é"))
        await writer.settle()
        await writer.close()
        stored = {key for key in redis.command("KEYS", "*") if b"dd.name" in key}
        assert {key.split(b"{")[1].split(b"}")[0] for key in stored} == {name.encode()}
        assert victims.vera.closed is None


# -- guessing


async def test_missing_and_forbidden_cannot_be_told_apart(place: Place, dialect: str) -> None:
    """Same status, same bytes, and no telling time, for a document that is live just now and for one that is not."""
    async with Victims(place) as victims:
        made = token(sub="mallory", raffia={"own/*": "admin"})
        names = [victims.document, new_document("nowhere-at-all")]
        answers: dict[str, set[Any]] = {name: set() for name in names}
        took: dict[str, list[float]] = {name: [] for name in names}
        client = HocuspocusClient("x", token=made)
        await client.open(place.attacker.ws)
        for number in range(60):
            name = names[number % 2]
            began = time.perf_counter()
            if dialect == "y-websocket":
                answers[name].add(await refused(place.attacker, f"/sync/{name}?token={made}"))
            else:
                client.address, client.prefix = name, bytes([len(name)]) + name.encode()
                client.denied.clear()
                client.authenticate()
                await client.until(lambda: client.denied, "a denial")
                answers[name].add(client.denied[0])
            took[name].append(time.perf_counter() - began)
        await client.close()
        assert answers[names[0]] == answers[names[1]]
        assert len(answers[names[0]]) == 1
        here, nowhere = (statistics.median(took[name]) for name in names)
        assert abs(here - nowhere) < max(0.004, 0.6 * max(here, nowhere)), (here, nowhere)
        async with await Stream.open(place.attacker, head("/metrics", upgrade=None, connection="close")) as stream:
            assert victims.document.encode() not in (await stream.answer()).body


# -- connections


async def test_half_open_handshakes_keep_nobody_out(place: Place) -> None:
    """Three hundred that send a part of a request, and nothing more."""
    async with Victims(place) as victims:
        descriptors = descriptors_of(place.attacker)
        streams = [await Stream.open(place.attacker, head("/sync/team/x")[: 20 + number % 60]) for number in range(300)]
        await victims.go_on(5)
        async with await enter(place.attacker, victims.document, "y-websocket", user="newcomer"):
            pass
        for stream in streams:
            stream.end()
        await victims.walt.until(
            lambda: descriptors_of(place.attacker) <= descriptors + 5, "descriptors are given back"
        )


async def test_a_flood_of_connections_that_never_sign_in(place: Place) -> None:
    """Each is closed in time, and meanwhile everybody else is served."""
    async with Victims(place) as victims:
        memory = place.attacker.rss_bytes()
        streams = await asyncio.gather(*(knock(place.attacker, "/sync") for _ in range(300)))
        for stream in streams[::2]:
            stream.writer.write(frame(2, victims.vera.prefix + b"\x00\x00\x01\x00"))
        await victims.go_on(5)
        assert {await stream.close_code() for stream in streams} == {1013}
        assert place.attacker.rss_bytes() - memory < 40 << 20
        for stream in streams:
            stream.end()


def descriptors_of(server: RaffiaServer) -> int:
    return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))


async def test_compression_is_declined_and_compressed_frames_end_their_connection(place: Place, dialect: str) -> None:
    """A compressed frame could be a bomb of a thousand times its size."""
    async with Victims(place) as victims:
        made = pass_for("mallory", victims.document)
        path = f"/sync/{victims.document}" if dialect == "y-websocket" else "/sync"
        offer = "permessage-deflate; client_max_window_bits"
        stream = await knock(place.attacker, f"{path}?token={made}", sec_websocket_extensions=offer)
        assert stream.status == 101
        assert "sec-websocket-extensions" not in stream.headers
        stream.writer.write(frame(2, b"\x00" * 4096, rsv=4))
        assert await stream.close_code() == 1002
        stream.end()


async def test_full_is_full_and_those_who_are_here_stay(tmp_path: Path) -> None:
    env = {"RAFFIA_MAX_CONNECTIONS": "24", "RAFFIA_MAX_SESSIONS_PER_DOCUMENT": "6", "RAFFIA_PREAUTH_S": "10"}
    with guarded(tmp_path, "data", **{**ENV, **env}) as server:
        async with Victims(place := Place(server, server)) as victims:
            here = [await enter(server, victims.document, dialect) for dialect in ("y-websocket", "hocuspocus") * 2]
            for _ in range(3):
                made = pass_for("late", victims.document)
                async with await knock(server, f"/sync/{victims.document}?token={made}") as stream:
                    assert await stream.close_code() == 1013
            streams = [await knock(server, "/sync") for _ in range(24 - 6)]
            assert {stream.status for stream in streams} == {101}
            await victims.go_on(5)
            for path in ("/sync", f"/sync/{victims.document}?token={made}"):
                status, body = await refused(server, path)
                assert (status, b"full" in body) == (503, True)
            for stream in streams:
                stream.end()
            for client in here:
                assert client.closed is None
                await client.close()
            await victims.walt.until(lambda: place.metric("raffia_connections") <= 2, "room again")
