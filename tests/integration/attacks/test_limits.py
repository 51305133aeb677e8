"""An attacker at each limit of pace and number, over real sockets, and a victim who must not notice.

Attackers come from addresses of their own, through a proxy that is believed: X-Forwarded-For. The victim types into the
same document all the time; an edit of theirs is stored within `NOTICED_S`, whatever the attacker does.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.client import HocuspocusClient, YClient, drop_all
from tests.support.lib0 import insert, string
from tests.support.server import RaffiaServer
from tests.support.tokens import SECRET, token
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

DOCUMENT = "team/plan"
NOTICED_S = 1.0
FLOOD_S = 30.0
ENV = {
    "RAFFIA_MAX_UPDATES_PER_S": "50",
    "RAFFIA_MAX_BYTES_PER_S": "100KiB",
    "RAFFIA_MAX_MESSAGES_PER_S": "100",
    "RAFFIA_MAX_SIGN_INS_PER_S": "2",
    "RAFFIA_TOO_FAST_S": "3",
    "RAFFIA_MAX_CONNECTIONS_PER_ADDRESS": "5",
    "RAFFIA_MAX_HANDSHAKES_PER_ADDRESS_PER_S": "3",
    "RAFFIA_MAX_FAILURES_PER_ADDRESS_PER_S": "2",
}
client_ids = itertools.count(1000)
last_bytes = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    folder = tmp_path_factory.mktemp("limits")
    (folder / "secret").write_text(SECRET)
    with RaffiaServer(folder / "data", env={"RAFFIA_AUTH_KEY_FILE": str(folder / "secret"), **ENV}) as running:
        yield running


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncIterator[None]:
    yield
    await drop_all()


def new_address() -> str:
    return f"203.0.113.{next(last_bytes)}"


def headers(address: str, made: str | None = None) -> dict[str, str]:
    return {"X-Forwarded-For": address, "Authorization": f"Bearer {made or token()}"}


class Victim:
    """Types a character every 50 ms and measures how long each takes to be stored."""

    def __init__(self) -> None:
        self.client = YClient()
        self.id = next(client_ids)
        self.slowest_s = 0.0
        self.typed = 0
        self.goes_on = True

    async def join(self, server: RaffiaServer) -> None:
        await self.client.join(server.ws, DOCUMENT, headers=headers(new_address(), token(sub="Opfer é")))

    async def type(self) -> None:
        while self.goes_on:
            began_s = time.monotonic()
            self.client.update(insert(self.id, self.typed, "é"))
            self.typed += 1
            await self.client.until_stored()
            self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def victim(server: RaffiaServer) -> AsyncIterator[Victim]:
    """Somebody who works on the document as long as this is entered, and notices nothing."""
    someone = Victim()
    await someone.join(server)
    task = asyncio.create_task(someone.type())
    try:
        yield someone
        before = someone.typed
        await someone.client.until(lambda: someone.typed > before + 3, "the victim goes on")
    finally:
        someone.goes_on = False
        await asyncio.wait_for(task, 20)
    assert someone.client.closed is None
    assert someone.slowest_s < NOTICED_S
    await someone.client.close()


def refusals(server: RaffiaServer, reason: str) -> float:
    return server.metrics().get(f'raffia_refusals_total{{reason="{reason}"}}', 0.0)


async def status(server: RaffiaServer, address: str, made: str | None = None, document: str = DOCUMENT) -> int:
    try:
        async with connect(f"{server.ws}/{document}", additional_headers=headers(address, made)):
            return 101
    except InvalidStatus as refused:
        return int(refused.response.status_code)


async def until_status(server: RaffiaServer, address: str, wanted: int) -> None:
    async with asyncio.timeout(15):
        while await status(server, address) != wanted:  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.1)


# -- pace


async def attacker(server: RaffiaServer, dialect: str, address: str) -> YClient | HocuspocusClient:
    if dialect == "y":
        return await YClient().join(server.ws, DOCUMENT, headers=headers(address))
    client = HocuspocusClient(DOCUMENT, token=token())
    return await client.join(server.ws, headers={"X-Forwarded-For": address})


async def flood(client: YClient | HocuspocusClient, send: Any, per_turn: int) -> tuple[int, str]:
    """Send as fast as the socket takes it until the server closes; the code and reason."""
    async with asyncio.timeout(FLOOD_S):
        while client.closed is None:
            for _ in range(per_turn):
                send()
            await asyncio.sleep(0.01)
    return client.closed


@pytest.mark.parametrize("dialect", ["y", "hocuspocus"])
async def test_pc3_pc4_too_many_updates_are_slowed_then_refused(server: RaffiaServer, dialect: str) -> None:
    async with victim(server):
        before = server.metric("raffia_delays_total")
        client = await attacker(server, dialect, new_address())
        clocks = itertools.count()
        me = next(client_ids)
        began_s = time.monotonic()
        code, reason = await flood(client, lambda: client.update(insert(me, next(clocks), "x")), 20)
        assert (code, reason.partition(":")[0]) == (1013, "too-fast")
        assert time.monotonic() - began_s > 3  # delayed first
        assert server.metric("raffia_delays_total") > before
        assert refusals(server, "too-fast") >= 1


async def test_pc3_too_many_bytes(server: RaffiaServer) -> None:
    async with victim(server):
        client = await attacker(server, "y", new_address())
        clocks, me = itertools.count(0, 20_000), next(client_ids)
        code, reason = await flood(client, lambda: client.update(insert(me, next(clocks), "x" * 20_000)), 5)
        assert (code, reason.partition(":")[0]) == (1013, "too-fast")


async def test_pc5_messages_that_do_nothing(server: RaffiaServer) -> None:
    async with victim(server):
        for message in (b"\x01\x01\x00", b"\x03"):  # an empty presence message; a question for presence
            client = await attacker(server, "y", new_address())
            code, reason = await flood(client, partial(client.send, message), 100)
            assert (code, reason.partition(":")[0]) == (1013, "too-fast")


async def test_pc5_endless_tokens(server: RaffiaServer) -> None:
    async with victim(server):
        client = HocuspocusClient(DOCUMENT, token=token())
        await client.join(server.ws, headers={"X-Forwarded-For": new_address()})
        code, reason = await flood(client, client.authenticate, 5)
        assert (code, reason.partition(":")[0]) == (1013, "too-fast")


async def test_pc1_pc3_who_sends_much_at_once_is_only_slowed(server: RaffiaServer) -> None:
    """800 edits at once where 50 a second are allowed: ten seconds' worth is taken at once, the rest within 6 s."""
    client = await attacker(server, "y", new_address())
    me = next(client_ids)
    began_s = time.monotonic()
    for clock in range(500):
        client.update(insert(me, clock, "x"))
    await client.until_stored()
    assert time.monotonic() - began_s < 3
    for clock in range(500, 600):
        client.update(insert(me, clock, "x"))
    await client.until_stored(b"late")
    assert time.monotonic() - began_s > 1.5
    assert client.closed is None
    await client.close()


# -- addresses


async def test_ad3_connections_of_an_address(server: RaffiaServer) -> None:
    address = new_address()
    async with victim(server), AsyncExitStack() as stack:
        for _ in range(5):
            client = await stack.enter_async_context(YClient())
            await client.join(server.ws, DOCUMENT, headers=headers(address))
        before = refusals(server, "full")
        assert await status(server, address) == 503
        assert refusals(server, "full") == before + 1
        assert await status(server, new_address()) == 101
        await client.close()
        await until_status(server, address, 101)


async def test_ad1_ipv6_counts_with_its_64(server: RaffiaServer) -> None:
    async with AsyncExitStack() as stack:
        for number in range(5):
            client = await stack.enter_async_context(YClient())
            await client.join(server.ws, DOCUMENT, headers=headers(f"2001:db8:0:7::{number:x}"))
        assert await status(server, "2001:db8:0:7:ffff::1") == 503
        assert await status(server, "2001:db8:0:8::1") == 101


async def test_ad3_handshakes_of_an_address(server: RaffiaServer) -> None:
    address = new_address()
    async with victim(server):
        said = [await status(server, address) for _ in range(40)]
        assert said[:30] == [101] * 30
        assert 503 in said
        assert await status(server, new_address()) == 101
        await until_status(server, address, 101)


@pytest.mark.parametrize("kind", ["nonsense", "forged", "enumeration", "rest"])
async def test_ad4_a_storm_of_refused_tokens(server: RaffiaServer, kind: str) -> None:
    address = new_address()
    made = {"nonsense": "a.b.c", "forged": token("y" * 40), "enumeration": token(), "rest": token("y" * 40)}[kind]

    async def attempt(number: int) -> int:
        if kind == "rest":
            async with httpx.AsyncClient(base_url=server.http) as client:
                asked = await client.post("/api/revocations", json={"user": "a"}, headers=headers(address, made))
                return asked.status_code
        return await status(server, address, made, f"other/{number}" if kind == "enumeration" else DOCUMENT)

    async with victim(server):
        said = [await attempt(number) for number in range(30)]
        refused = 403 if kind == "enumeration" else 401
        assert said[:20] == [refused] * 20
        assert set(said) <= {refused, 503}
        # With a good token too, for a while; how many attempts that takes depends on how fast this machine makes them.
        async with asyncio.timeout(20):
            while await status(server, address) != 503:
                said = await asyncio.gather(*(attempt(number) for number in range(8)))
        assert 503 in said
        assert await status(server, new_address()) == 101


async def test_ad4_in_band(server: RaffiaServer) -> None:
    """Each in-band denial counts as well; a session that is open goes on, also through a renewal meanwhile."""
    address = new_address()
    async with victim(server):
        neighbour = HocuspocusClient(DOCUMENT, token=token(sub="nachbar"))
        await neighbour.join(server.ws, headers={"X-Forwarded-For": address})
        async with connect(server.ws, additional_headers={"X-Forwarded-For": address}) as evil:
            for number in range(22):
                await evil.send(string(f"{DOCUMENT}{number}") + b"\x02\x00" + string("a.b.c"))
            await until_status(server, address, 503)
        neighbour.authenticate()
        neighbour.update(insert(next(client_ids), 0, "é"))
        await neighbour.until_stored()
        assert neighbour.closed is None
        assert not neighbour.denied
        await neighbour.close()


async def test_ad2_loopback_is_not_counted(server: RaffiaServer) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(40):
            client = await stack.enter_async_context(YClient())
            await client.join(server.ws, DOCUMENT, headers={"Authorization": f"Bearer {token()}"})


async def test_er3_missing_and_forbidden_look_the_same(server: RaffiaServer) -> None:
    """One that is there, one that is not, one that is deleted and one that cannot be a document's, to a stranger."""
    writer = token(raffia={"secret/*": "edit"})
    async with YClient() as client:
        await client.join(server.ws, "secret/there", headers=headers(new_address(), writer))
        client.update(insert(next(client_ids), 0, "geheim 😀"))
        await client.until_stored()
    said = set()
    address = new_address()
    for document in ("secret/there", "secret/missing"):
        try:
            async with connect(f"{server.ws}/{document}", additional_headers=headers(address)):
                said.add((101, b""))
        except InvalidStatus as refused:
            said.add((refused.response.status_code, bytes(refused.response.body)))
    assert said == {(403, b'{"reason": "forbidden", "message": "no access to this document"}')}


async def test_all_off(tmp_path: Path) -> None:
    """0 is no limit: 30,000 messages and 3,000 edits as fast as they come."""
    with_zeros = dict.fromkeys((name for name in ENV if "TOO_FAST" not in name), "0")
    server = RaffiaServer(tmp_path / "data", env=with_zeros)
    await asyncio.to_thread(server.start)
    try:
        async with YClient() as client:
            await client.join(server.ws, DOCUMENT)
            for _ in range(30_000):
                client.send(b"\x01\x01\x00")
            for clock in range(3000):
                client.update(insert(5, clock, "x"))
            await client.until_stored()
        assert server.metric("raffia_delays_total") == 0
    finally:
        await asyncio.to_thread(server.stop)
