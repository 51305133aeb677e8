"""Users with no more rights than docs/scaling.md names, and TLS: a journal does all it can do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.support import hearing
from tests.support.certificates import Authority
from tests.support.journals import Reader, until
from tests.support.redis import RedisCluster, RedisServer, fresh_port
from tests.support.server import ROOT, free_port

from raffia.errors import JournalUnavailableError
from raffia.journal.protocol import Snapshot
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.engine import Command
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.testing.contract import edit
from raffia.types import DocumentId

DOCUMENT = DocumentId("team/notes")
PASSWORD = "päss:wörd/?#@% &"
OPTIONAL = ("+config|get", "+client|setname")


def rule() -> list[str]:
    [line] = re.findall(r"^ACL SETUSER raffia .*$", (ROOT / "docs" / "scaling.md").read_text(), re.MULTILINE)
    return [PASSWORD.join((">", "")) if word.startswith(">") else word for word in line.split(" ")]


def without(words: list[str], *left_out: str) -> list[str]:
    assert set(left_out) <= set(words)
    return [word for word in words if word not in left_out]


def sign_in(url: str) -> str:
    return url.replace("://", f"://raffia:{quote(PASSWORD, safe='')}@")


class Ears:
    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.is_open = False

    def heard(self, payload: bytes) -> None:
        self.payloads.append(payload)

    def connected(self) -> None:
        self.is_open = True


async def use(url: str) -> list[str]:
    """Everything that a journal asks of Redis, between two replicas; returns the warnings."""
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(RedisJournal(open_engine(url), check_s=0.2, trash_ms=0)) for _ in range(2)
        ]
        ears = Ears()
        two.bus.join(DOCUMENT, ears)
        reader = await stack.enter_async_context(Reader(two, document=DOCUMENT))
        position = await one.append(DOCUMENT, (edit(b"first"),))
        await reader.has(1)
        await until(lambda: ears.is_open, "presence is heard")
        one.bus.publish(DOCUMENT, b"here")
        await until(lambda: ears.payloads == [b"here"], "presence")
        await one.compact(DOCUMENT, Snapshot(b"state", b"index"), position)
        await one.append(DOCUMENT, (edit(b"second"),))
        assert len((await two.load(DOCUMENT)).entries) == 1
        saved = await one.versions.save(DOCUMENT, b"state", time_ms=1, authors=("zoë",), name="one")
        await one.versions.rename(DOCUMENT, saved.id, "two")
        assert [version.name for version in await two.versions.all(DOCUMENT)] == ["two"]
        await one.versions.delete(DOCUMENT, saved.id)
        await one.directory.set_info(DOCUMENT, title="Notes", kind="text")
        await one.links.add(DOCUMENT, "read", 1)
        await one.history.windows(DOCUMENT)
        assert (await two.directory.documents(prefix="team/")).total == 1
        await one.healthy()
        await one.revocations.read()
        await one.bus.beat()
        await one.directory.delete(DOCUMENT)
        await one.directory.restore(DOCUMENT)
        await one.directory.delete(DOCUMENT)
        await one.prune()
        return await one.warnings()


async def test_the_rights_that_are_documented_are_enough() -> None:
    with RedisServer(appendonly="yes") as server:
        assert server.command(*rule()) == b"OK"
        assert await use(sign_in(server.url)) == []


async def test_without_config_it_is_said_what_cannot_be_found_out() -> None:
    with RedisServer(appendonly="yes") as server:
        assert server.command(*without(rule(), *OPTIONAL)) == b"OK"
        [warning] = await use(sign_in(server.url))
    assert "cannot find out how" in warning
    assert "appendfsync" in warning


async def test_without_one_of_the_others_it_is_said_what_is_missing() -> None:
    with RedisServer() as server:
        server.command(*without(rule(), "+evalsha", "+eval"))
        async with RedisJournal(open_engine(sign_in(server.url))) as journal:
            with pytest.raises(JournalUnavailableError, match=r"NOPERM.*evalsha"):
                await journal.append(DOCUMENT, (edit(b"first"),))


async def test_a_subscription_that_is_refused_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer() as server:
        server.command(*without(rule(), "&raffia:*"))
        async with open_engine(sign_in(server.url)) as engine:
            ears = hearing.Ears()
            engine.listener = ears
            engine.subscribe("raffia:channel")
            await hearing.until(lambda: ears.told.count("disconnected") == 3, "it is tried again")
    assert sum("refuses to be heard" in record.getMessage() for record in caplog.records) == 1


async def test_other_keys_are_out_of_reach() -> None:
    with RedisServer() as server:
        server.command(*rule())
        async with open_engine(sign_in(server.url)) as engine:
            replies = await engine.run([Command("other", ("GET", "other")), Command("raffia:", ("FLUSHALL",))])
        assert all("NOPERM" in str(reply) for reply in replies)


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster(appendonly="yes") as cluster:
        yield cluster


async def test_the_rights_that_are_documented_are_enough_on_a_cluster(cluster: RedisCluster) -> None:
    for node in cluster.nodes:
        assert node.command(*rule()) == b"OK"
    assert await use(sign_in(cluster.url)) == []


async def test_a_journal_over_tls_that_shows_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours, theirs = authority.issue("raffia"), authority.issue("redis")
    port = free_port()
    tls = {"tls_port": port, "tls_cert_file": str(theirs.certificate), "tls_key_file": str(theirs.key)}
    with RedisServer(appendonly="yes", **tls, tls_ca_cert_file=str(authority.certificate), tls_auth_clients="yes"):
        url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority.certificate}"
        shown = f"{url}&ssl_certfile={ours.certificate}&ssl_keyfile={ours.key}"
        assert await use(f"{shown}&ssl_min_version=772") == []
        async with open_engine(url) as stranger:
            [error] = await stranger.run([Command("k", ("GET", "k"))])
        assert isinstance(error, JournalUnavailableError)


async def test_a_cluster_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    theirs = authority.issue("redis")
    options = {"tls_cert_file": str(theirs.certificate), "tls_key_file": str(theirs.key), "tls_cluster": "yes"}
    options |= {"tls_ca_cert_file": str(authority.certificate), "tls_auth_clients": "no"}
    with RedisCluster(appendonly="yes", tls_port=fresh_port, **options) as cluster:
        url = "rediss+cluster://" + ",".join(f"127.0.0.1:{node.options['tls_port']}" for node in cluster.nodes)
        assert await use(f"{url}?ssl_ca_certs={authority.certificate}") == []
