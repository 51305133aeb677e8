"""A primary behind real sentinels (RS1, RS2, RE5)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from redis.exceptions import ResponseError
from tests.support.hearing import Ears, until
from tests.support.redis import RedisSentinels, RedisServer, obedient_sentinel
from tests.support.server import free_port

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.client import Engine, open_engine
from raffia.journal.redis.engine import Command, Lane
from raffia.journal.redis.replies import error_of
from raffia.journal.redis.topology import Primary

SET = Command("k", ("SET", "k", "v"))
GET = Command("k", ("GET", "k"))


@pytest.fixture
def sentinels() -> Iterator[RedisSentinels]:
    with RedisSentinels(requirepass="secret", masterauth="secret") as sentinels:
        yield sentinels


async def works(engine: Engine, deadline_s: float = 12.0) -> None:
    """Append until it is taken, as the journal does; each attempt gives an answer."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    while (replies := await engine.run([SET], lane=Lane.APPEND)) != [b"OK"]:
        assert isinstance(replies[0], Exception)
        assert isinstance(error_of(replies[0]), JournalUnavailableError)
        assert loop.time() - began_s < deadline_s, replies
        await asyncio.sleep(0.05)


async def test_re5_a_primary_that_is_killed_is_replaced(sentinels: RedisSentinels) -> None:
    ears = Ears()
    url = sentinels.url.replace("redis+sentinel://", "redis+sentinel://:secret@")
    async with open_engine(url, timeout_s=2) as engine:
        engine.listener = ears
        engine.subscribe("c")
        await ears.confirmation("c")
        assert await engine.run([SET, GET]) == [b"OK", b"v"]
        [warning] = await engine.warnings()
        assert sentinels.primary.place in warning

        await until(lambda: sentinels.replica.command("GET", "k") == b"v", "it is copied")
        sentinels.primary.kill()
        ears.told.clear()
        await works(engine)
        assert sentinels.replica.info("replication")["role"] == "master"
        await ears.confirmation("c")
        assert ears.told[0] == "disconnected"
        sentinels.replica.command("PUBLISH", "c", "x")
        await until(lambda: ears.messages == [("c", b"x")], "it hears the new primary")


async def test_rs1_re5_readonly_drops_connections_and_sentinels_are_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers and one sentinel of ours, which says what we want: no vote, so no waiting."""
    with RedisServer() as one, RedisServer() as two:
        named = [one]

        monkeypatch.setattr(Primary, "read_s", 0.05)
        ears = Ears()
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(obedient_sentinel("main", lambda: named[0].port))
            url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{port}/main"
            engine = await stack.enter_async_context(open_engine(url, timeout_s=1))
            engine.listener = ears
            engine.subscribe("c")
            await ears.confirmation("c")
            assert await engine.run([SET]) == [b"OK"]

            named[0] = two  # the first still works, but is not the primary any more
            await until(lambda: ears.channels == ["c", "c"], "the subscriber has moved")
            assert await engine.run([GET]) == [None]
            assert await engine.run([SET]) == [b"OK"]

            one.command("REPLICAOF", "127.0.0.1", two.port)
            named[0] = one  # a sentinel that is wrong: what it names is no master
            await until(lambda: ears.told[-1] == "disconnected", "it left")
            [error] = await engine.run([SET])
            assert isinstance(error, JournalUnavailableError)
            assert "no master (slave)" in str(error)

            named[0] = two
            await works(engine)
            assert await engine.run([SET]) == [b"OK"]
            two.command("REPLICAOF", "127.0.0.1", one.port)
            [error] = await engine.run([SET])
            assert isinstance(error, ResponseError)
            assert isinstance(error_of(error), JournalUnavailableError)
            assert "READONLY" in str(error)
            assert "no master" in str((await engine.run([SET]))[0])
            two.command("REPLICAOF", "NO", "ONE")
            await works(engine)


async def test_re5_a_name_that_no_sentinel_knows() -> None:
    async with open_engine(f"redis+sentinel://127.0.0.1:{free_port()}/main", timeout_s=0.5) as engine:
        [error] = await engine.run([SET])
        assert isinstance(error, JournalUnavailableError)
        assert "No master found for 'main'" in str(error)
