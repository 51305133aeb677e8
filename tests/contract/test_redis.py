"""The Redis journal keeps the contract, on a real one that is full or has too few replicas in the way of J6 and J7."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.redis import RedisCluster, RedisServer

from raffia.journal import Journal
from raffia.journal.protocol import RETENTION_MS
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.testing.contract import Clock, IntegrityContract, JournalContract
from raffia.types import DocumentId


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(appendonly="yes", appendfsync="always") as server:
        yield server


class TestRedisJournal(JournalContract, IntegrityContract):
    failing = ("maxmemory", "1", "0")

    @pytest.fixture
    async def journal(self, clock: Clock, server: RedisServer) -> AsyncIterator[Journal]:
        self.server = server
        server.command("FLUSHALL")
        async with RedisJournal(
            open_engine(server.url),
            now_ms=clock,
            elapsed_ms=clock.elapsed_ms,
            server_ms=clock,
            retention_ms=RETENTION_MS,
        ) as journal:
            yield journal

    async def damage(self, journal: Journal, document: DocumentId) -> None:
        key = f"raffia:{{{document}}}:log"
        (id_, (field, payload)), *others = self.server.command("XRANGE", key, "-", "+")
        self.server.command("DEL", key)
        self.server.command("XADD", key, id_, field, payload[:-9] + bytes([payload[-9] ^ 1]) + payload[-8:])
        for other, fields in others:
            self.server.command("XADD", key, other, *fields)

    def fail(self, journal: Journal) -> None:
        option, bad, _ = self.failing
        assert self.server.command("CONFIG", "SET", option, bad) == b"OK"

    def mend(self, journal: Journal) -> None:
        option, _, good = self.failing
        assert self.server.command("CONFIG", "SET", option, good) == b"OK"


class TestRedisJournalWithTooFewReplicas(TestRedisJournal):
    failing = ("min-replicas-to-write", "1", "0")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster(appendonly="yes") as cluster:
        yield cluster


class TestRedisJournalOnACluster(JournalContract):
    @pytest.fixture
    async def journal(self, clock: Clock, cluster: RedisCluster) -> AsyncIterator[Journal]:
        self.cluster = cluster
        for node in cluster.nodes:
            node.command("FLUSHALL")
        async with RedisJournal(
            open_engine(cluster.url),
            now_ms=clock,
            elapsed_ms=clock.elapsed_ms,
            server_ms=clock,
            retention_ms=RETENTION_MS,
        ) as journal:
            yield journal

    def fail(self, journal: Journal) -> None:
        for node in self.cluster.nodes:
            assert node.command("CONFIG", "SET", "maxmemory", "1") == b"OK"

    def mend(self, journal: Journal) -> None:
        for node in self.cluster.nodes:
            assert node.command("CONFIG", "SET", "maxmemory", "0") == b"OK"
