"""infra/haproxy.cfg with a real HAProxy and real replicas: rules HA1 to HA8."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.support.client import HocuspocusClient, YClient
from tests.support.cluster import Cluster, Replica
from tests.support.haproxy import CONFIG, Haproxy
from tests.support.lib0 import insert
from tests.support.server import ROOT, RaffiaServer

from raffia.settings import Settings
from raffia.sockets.server.run import make_config

COMMAND = [sys.executable, "-m", "tests.integration.cluster.unready_server", "serve", "--host", "127.0.0.1"]
COMMAND += ["--port", "{port}", "--data", "{data}"]
HEAD_MS = 400

HOOK = """
from pathlib import Path
from raffia.types import Access, Grant

def authorize(handshake, token, document):
    with Path("seen.txt").open("a") as seen:
        seen.write(f"{document} {handshake.address} {handshake.headers.get('forwarded')}\\n")
    return Grant(Access.EDIT)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    folder = tmp_path_factory.mktemp("haproxy")
    env = {"PYTHONPATH": str(ROOT), "RAFFIA_READY_GRACE_S": "0.3", "RAFFIA_REDIS_TIMEOUT_S": "0.5"}
    async with Cluster(folder, command=COMMAND, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RaffiaServer, Haproxy]]:
    """One server with a hook that notes who came, on SQLite, behind an HAProxy with little patience."""
    folder = tmp_path_factory.mktemp("behind")
    (folder / "noting_hook.py").write_text(HOOK)
    with (
        RaffiaServer(folder / "data", env={"RAFFIA_AUTHORIZE": "noting_hook:authorize"}) as server,
        Haproxy(folder / "haproxy", [f"127.0.0.1:{server.port}"], env={"LB_HEAD_MS": str(HEAD_MS)}) as haproxy,
    ):
        yield server, haproxy


def marker(replica: Replica) -> Path:
    """The file that makes this replica unready."""
    return replica.server.data.with_name(f"{replica.server.data.name}.unready")


def sockets(replica: Replica) -> int:
    return int(replica.server.metrics()["raffia_connections"])


async def spread(cluster: Cluster, document: str) -> dict[str, YClient]:
    """One client on each replica, through HAProxy, which gives a connection to who has fewest."""
    await cluster.until(lambda: cluster.haproxy.open_now() == 0, "what earlier tests had open is closed")
    found: dict[str, YClient] = {}
    before = cluster.haproxy.sessions()
    for _ in cluster.replicas:
        client = await YClient().join(cluster.ws, document)
        now = cluster.haproxy.sessions()
        name = next(name for name, count in now.items() if count > before[name])
        found[name], before = client, now
    return found


# -- routing


async def test_ha1_both_dialects_reach_every_replica(cluster: Cluster) -> None:
    clients = await spread(cluster, "routes/e")
    assert set(clients) == {"replica1", "replica2", "replica3"}
    before = cluster.haproxy.sessions()
    others = [await HocuspocusClient("routes/e").join(cluster.ws) for _ in range(3)]
    after = cluster.haproxy.sessions()
    assert [after[name] - before[name] for name in sorted(after)] == [1, 1, 1]
    for number, client in enumerate([*clients.values(), *others], 1):
        client.update(insert(number, 0, f"é😀 {number}"))
        await client.settle()


async def test_ha1_http_endpoints_go_through(cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.http) as http:
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        page = await http.get("/")
        assert (page.status_code, "content-security-policy" in page.headers) == (200, True)
        assert (await http.get("/sync/some/document")).status_code == 426
        assert (await http.get("/sync")).status_code == 426
        metrics = await http.get("/metrics")
        assert (metrics.status_code, "raffia_connections" in metrics.text) == (200, True), "HA8: from this machine"


async def test_a_refused_handshake_is_the_replicas_answer(cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.http) as http:
        headers = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        headers["sec-websocket-key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
        assert (await http.get("/sync/..%2Fetc", headers=headers)).status_code == 400
        headers["origin"] = "https://evil.example"
        assert (await http.get("/sync/a", headers=headers)).status_code == 403


# -- health


async def test_ha1_ha2_unready_gets_nobody_new_and_keeps_who_is_there(cluster: Cluster) -> None:
    clients = await spread(cluster, "unready/one")
    unready = cluster.replica(1)
    mine = clients.pop(unready.name)
    marker(unready).touch()
    try:
        await cluster.until(lambda: cluster.haproxy.states()[unready.name] == "DOWN", "marked down")
        assert cluster.haproxy.states()["replica1"] == "UP"
        before = sockets(unready)
        newcomers = [await YClient().join(cluster.ws, "unready/two") for _ in range(6)]
        assert sockets(unready) == before, "somebody new came to an unready replica"
        mine.update(insert(77, 0, "still here é😀"))
        await mine.settle()
        assert mine.closed is None
        for newcomer in newcomers:
            await newcomer.close()
    finally:
        marker(unready).unlink()
    await cluster.until(lambda: cluster.haproxy.states()[unready.name] == "UP", "back")
    assert mine.closed is None
    await mine.settle()


async def test_ha3_all_unready_still_routes(cluster: Cluster) -> None:
    clients = await spread(cluster, "unready/all")
    for replica in cluster.replicas:
        marker(replica).touch()
    try:
        await cluster.until(lambda: set(cluster.haproxy.states().values()) == {"DOWN"}, "all marked down")
        before = sum(cluster.haproxy.sessions("raffia_any").values())
        late = [await YClient().join(cluster.ws, "unready/all") for _ in range(3)]
        assert sum(cluster.haproxy.sessions("raffia_any").values()) == before + 3
        for number, client in enumerate([*clients.values(), *late], 1):
            client.update(insert(number, 0, f"é😀 {number}"))
            await client.settle()
        async with httpx.AsyncClient(base_url=cluster.http) as http:
            assert (await http.get("/readyz")).status_code == 503, "and it is no secret"
    finally:
        for replica in cluster.replicas:
            marker(replica).unlink()
    await cluster.wait_ready()


async def test_a_dead_replica_is_passed_over_before_the_checks_know(cluster: Cluster) -> None:
    """`option redispatch`: also when all are unready, and nobody is checked (HA3)."""
    dead = cluster.replica(0)
    await dead.kill()
    try:
        for _ in range(6):
            await YClient().join(cluster.ws, "redispatch")
        for replica in cluster.replicas[1:]:
            marker(replica).touch()
        await cluster.until(lambda: set(cluster.haproxy.states().values()) == {"DOWN"}, "all marked down")
        for _ in range(6):
            await YClient().join(cluster.ws, "redispatch")
    finally:
        for replica in cluster.replicas[1:]:
            marker(replica).unlink(missing_ok=True)
        await dead.start()
    await cluster.wait_ready()


async def test_ha2_ha3_redis_away_makes_all_unready_and_cuts_nobody(cluster: Cluster) -> None:
    alice = next(iter((await spread(cluster, "away")).values()))
    bob = await HocuspocusClient("away").join(cluster.ws)
    cluster.redis.pause()
    try:
        await cluster.until(lambda: set(cluster.haproxy.states().values()) == {"DOWN"}, "all marked down")
        async with httpx.AsyncClient(base_url=cluster.http) as http:
            assert (await http.get("/healthz")).status_code == 200, "HA3"
            unready = await http.get("/readyz")
            assert (unready.status_code, unready.json()["status"]) == (503, "unready")
        alice.update(insert(501, 0, "while it is away é😀"))
        assert (alice.closed, bob.closed) == (None, None), "HA2"
    finally:
        cluster.redis.resume()
    await alice.settle()
    await bob.until(lambda: bob.holds("while it is away é😀".encode()), "what was written meanwhile")
    await cluster.wait_ready()
    assert (alice.closed, bob.closed) == (None, None)


class Opener:
    """Opens one connection after the other, each on one of a few documents; closes each when it is synced."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster, self.number = cluster, number
        self.opened = 0
        self.ended: list[int] = []

    async def run(self, over: asyncio.Event) -> None:
        while not over.is_set():
            # A handshake that fails raises: nobody who comes may notice that a replica goes.
            client = await YClient().open(f"{self.cluster.ws}/opened/{self.number}-{self.opened % 5}")
            self.opened += 1
            client.step1()
            try:
                await client.until_synced()
            except AssertionError:
                assert client.closed is not None, f"open, but silent: {client}"
                self.ended.append(client.closed[0])
            await client.close()


@pytest.mark.parametrize("how", ["terminate", "kill"])
async def test_no_handshake_fails_while_a_replica_goes_and_comes_back(cluster: Cluster, how: str) -> None:
    over = asyncio.Event()
    openers = [Opener(cluster, number) for number in range(4)]
    replica = cluster.replica(2)
    async with asyncio.TaskGroup() as group:
        for opener in openers:
            group.create_task(opener.run(over))
        try:
            await cluster.until(lambda: all(opener.opened > 20 for opener in openers), "connections")
            if how == "terminate":
                assert await replica.terminate() == 0
            else:
                await replica.kill()
            await replica.start()
            await cluster.wait_ready()
            before = [opener.opened for opener in openers]
            await cluster.until(
                lambda: all(opener.opened > count + 20 for opener, count in zip(openers, before, strict=True)), "more"
            )
        finally:
            over.set()
    ended = [code for opener in openers for code in opener.ended]
    assert set(ended) <= ({1012} if how == "terminate" else {1006})
    assert len(ended) <= len(openers), "only those who were there"


async def test_documents_meet_on_one_replica_when_hashed(cluster: Cluster, tmp_path: Path) -> None:
    """LB_HASH_DOCUMENTS; a replica gets no more than its share and a half, so not all of them do."""
    addresses = [f"127.0.0.1:{replica.server.port}" for replica in cluster.replicas]
    with Haproxy(tmp_path / "haproxy", addresses, env={"LB_HASH_DOCUMENTS": "1"}) as haproxy:
        places: dict[str, list[str]] = {}
        before = haproxy.sessions("raffia_by_document")
        for document in [f"hashed/{number}" for number in range(20)] * 2:
            await YClient().join(haproxy.ws, document)
            now = haproxy.sessions("raffia_by_document")
            places.setdefault(document, []).append(next(name for name in now if now[name] > before[name]))
            before = now
        met = sum(len(set(listed)) == 1 for listed in places.values())
        assert met >= 14, f"of 20 documents {met} were on one replica: {places}"
        assert max(before.values()) <= 24, f"of 40 connections: {before}"
        await HocuspocusClient("hashed/1").join(haproxy.ws)
        assert sum(haproxy.sessions("raffia").values()) == 1, "a Hocuspocus connection is balanced as always"


# -- strangers


async def test_ha6_the_client_s_address_is_what_haproxy_saw(behind: tuple[RaffiaServer, Haproxy]) -> None:
    server, haproxy = behind
    forged = {"X-Forwarded-For": "8.8.8.8", "Forwarded": "for=8.8.8.8", "X-Forwarded-Proto": "https"}
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    sock.bind(("127.0.0.9", 0))
    await loop.sock_connect(sock, ("127.0.0.1", haproxy.port))
    await YClient().join(haproxy.ws, "forwarded?token=t", sock=sock, headers=forged)
    seen = (server.data.parent / "seen.txt").read_text().splitlines()
    assert "forwarded 127.0.0.9 None" in seen


@pytest.mark.parametrize("part", [b"", b"GET /sync/a HTTP/1.1\r\nHost: a\r\nX-Slow: "], ids=["silent", "half a head"])
async def test_ha5_a_slow_handshake_is_cut(behind: tuple[RaffiaServer, Haproxy], part: bytes) -> None:
    _, haproxy = behind
    reader, writer = await asyncio.open_connection("127.0.0.1", haproxy.port)
    begun = time.monotonic()
    writer.write(part)
    answer = await asyncio.wait_for(reader.read(), 5)
    took_s = time.monotonic() - begun
    assert HEAD_MS / 2000 < took_s < 3
    assert answer == b"" if not part else answer.startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()


async def test_ha5_a_head_byte_by_byte_is_cut_too(behind: tuple[RaffiaServer, Haproxy]) -> None:
    _, haproxy = behind
    reader, writer = await asyncio.open_connection("127.0.0.1", haproxy.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
    end = time.monotonic() + 5
    answer = asyncio.ensure_future(reader.read(100))
    while not answer.done():
        assert time.monotonic() < end, "each byte bought more time"
        writer.write(b"a")
        await asyncio.wait({answer}, timeout=0.05)
    assert answer.result().startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()


async def test_ha7_no_token_in_the_log(behind: tuple[RaffiaServer, Haproxy]) -> None:
    _, haproxy = behind
    client = await YClient().join(haproxy.ws, "logged?token=s3cret-token")
    await client.close()
    async with httpx.AsyncClient(base_url=haproxy.http) as http:
        await http.get("/healthz?token=s3cret-token")
    end = time.monotonic() + 5
    while not re.search(r"GET /sync/logged$", haproxy.log(), re.MULTILINE):
        assert time.monotonic() < end, haproxy.log()
        await asyncio.sleep(0.02)
    assert "s3cret" not in haproxy.log_path.read_text()


STRANGER = """
import sys, urllib.error, urllib.request
from pathlib import Path
from tests.support.haproxy import Haproxy

def status(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code

with Haproxy(Path(sys.argv[1]), ["127.0.0.1:9", "127.0.0.1:10"], port=8000, env={"LB_BIND": ":8000"}):
    for place in ("127.0.0.1:8000/metrics", "10.9.8.7:8000/metrics", "10.9.8.7:8000/%6Detrics/", "10.9.8.7:8000/"):
        print(status(f"http://{place}"))
"""


def test_ha8_metrics_are_for_this_machine(tmp_path: Path) -> None:
    """In a network namespace with a second address: who comes from there is somebody else."""
    network = 'ip link set lo up && ip address add 10.9.8.7/32 dev lo && exec "$@"'
    command = [sys.executable, "-c", STRANGER, str(tmp_path / "haproxy")]
    run = subprocess.run(
        ["unshare", "--net", "bash", "-c", network, "bash", *command],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=ROOT,
    )
    assert run.stdout.split() == ["503", "404", "404", "503"], f"503: no replica is there\n{run.stderr}"


def test_ha4_nothing_is_cut_before_raffia_itself_gives_up() -> None:
    text = CONFIG.read_text()
    found = dict(re.findall(r"^    timeout (\S+) (\d+)s$", text, re.MULTILINE))
    tunnel_s = int(found["tunnel"])
    assert tunnel_s > Settings.model_fields["keepalive_s"].default * 2
    config = make_config(None)
    assert config.ws_ping_interval is not None
    assert config.ws_ping_timeout is not None
    assert tunnel_s > config.ws_ping_interval + config.ws_ping_timeout
    assert "on-marked-down" not in re.sub(r"#.*", "", text), "HA2"
