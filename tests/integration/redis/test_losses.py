"""Journals whose subscriber is lost again and again, or alone hears nothing any more (E4, E5, RF1, RF2)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from redis.backoff import ConstantBackoff
from tests.support.freezing import FreezingProxy
from tests.support.hearing import Ears, until
from tests.support.journals import Reader
from tests.support.redis import RedisCluster, RedisServer

from raffia.errors import JournalUnavailableError
from raffia.journal.redis import subscriber
from raffia.journal.redis.client import Engine, open_engine
from raffia.journal.redis.engine import Command, Lane
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.redis.subscriber import PAUSE_MOST_S, PING_S
from raffia.journal.testing.contract import DOCUMENT, edit, updates_of

KILLS = 100
TIMEOUT_S = 0.5


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred losses one after the other would take a second each."""
    monkeypatch.setattr(subscriber, "PAUSE", ConstantBackoff(0.05))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(appendonly="yes") as server:
        yield server


async def killed(engine: Engine, kill: list[RedisServer]) -> None:
    """Append while pub/sub connections are killed; a follower elsewhere has every entry once, in order."""
    async with (
        RedisJournal(engine, check_s=3600.0) as one,
        RedisJournal(open_engine(kill[0].url if len(kill) == 1 else f"redis+cluster://{kill[0].place}")) as two,
    ):
        reader = Reader(two)
        await reader.settled()
        kills = sent = 0
        while kills < KILLS:
            kills += sum(node.command("CLIENT", "KILL", "TYPE", "pubsub") for node in kill)
            await one.append(DOCUMENT, (edit(b"%d" % sent),))
            sent += 1
            await asyncio.sleep(0)
        await reader.has(sent)
        assert updates_of(reader.items) == [b"%d" % number for number in range(sent)]  # type: ignore[arg-type]
        assert two.redis_stats.reconnects > 5
        await reader.stop()


@pytest.mark.usefixtures("impatient")
async def test_e4_a_hundred_kills_of_what_hears(server: RedisServer) -> None:
    await killed(open_engine(server.url), [server])


@pytest.mark.usefixtures("impatient")
async def test_e4_a_hundred_kills_of_what_hears_on_a_cluster() -> None:
    with RedisCluster(appendonly="yes") as cluster:
        await killed(open_engine(cluster.url), cluster.masters)


async def test_e5_a_subscriber_that_alone_is_frozen_is_noticed(server: RedisServer) -> None:
    """Commands come through all the while; only the connection that hears says nothing any more."""
    ears = Ears()
    async with (
        FreezingProxy(server.port) as proxy,
        open_engine(f"redis://127.0.0.1:{proxy.port}", timeout_s=TIMEOUT_S) as engine,
    ):
        engine.listener = ears
        engine.subscribe("c")
        await ears.confirmation("c")
        assert await engine.run([Command("k", ("INCR", "k"))], lane=Lane.APPEND) == [1]
        ears.told.clear()
        assert proxy.freeze(b"subscribe") == 1
        server.command("PUBLISH", "c", "lost")
        took_s = await until(lambda: "disconnected" in ears.told, "the silence is noticed")
        assert took_s < 2 * PING_S + TIMEOUT_S + 0.5
        assert await ears.confirmation("c") < TIMEOUT_S + PAUSE_MOST_S + 0.5
        assert await engine.run([Command("k", ("INCR", "k"))], lane=Lane.APPEND) == [2]
        assert ears.messages == []
        server.command("PUBLISH", "c", "heard")
        await until(lambda: ears.messages == [("c", b"heard")], "it hears")


async def test_e3_appends_that_alone_are_frozen_are_told_so(server: RedisServer) -> None:
    async with (
        FreezingProxy(server.port) as proxy,
        RedisJournal(open_engine(f"redis://127.0.0.1:{proxy.port}", timeout_s=TIMEOUT_S)) as journal,
    ):
        await journal.append(DOCUMENT, (edit(b"one"),))
        assert proxy.freeze(b"XADD") == 1  # the text of append.lua went through it
        with pytest.raises(JournalUnavailableError):
            await journal.append(DOCUMENT, (edit(b"two"),))
        await journal.append(DOCUMENT, (edit(b"two"),))
        assert updates_of((await journal.load(DOCUMENT)).entries) == [b"one", b"two"]
