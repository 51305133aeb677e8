"""Channels of one real Redis (E4, E5, RSU1-RSU4, RSU6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.backoff import NoBackoff
from tests.support.hearing import Ears, until
from tests.support.redis import RedisServer

from raffia.journal.redis import subscriber
from raffia.journal.redis.client import Engine, open_engine
from raffia.journal.redis.subscriber import PAUSE, PAUSE_MOST_S, PING_S

TIMEOUT_S = 0.4


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> RedisServer:
    if not shared.running:
        shared.start()
    shared.resume()
    shared.command("CONFIG", "RESETSTAT")
    return shared


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
async def engine(server: RedisServer, ears: Ears) -> AsyncIterator[Engine]:
    async with open_engine(server.url, timeout_s=TIMEOUT_S) as engine:
        engine.listener = ears
        yield engine


def calls(server: RedisServer, name: str) -> int:
    line = server.info("commandstats").get(f"cmdstat_{name}", "calls=0,")
    return int(line.split(",")[0].removeprefix("calls="))


async def test_messages_come_after_the_confirmation(server: RedisServer, engine: Engine, ears: Ears) -> None:
    engine.subscribe("é")
    await ears.confirmation("é")
    payloads = [bytes([number]) * number for number in range(256)]
    for payload in payloads:
        server.command("PUBLISH", "é", payload)
    await until(lambda: len(ears.messages) == 256, "all are heard")
    assert ears.messages == [("é", payload) for payload in payloads]
    engine.unsubscribe("é")
    await until(lambda: server.command("PUBSUB", "NUMSUB", "é") == ["é".encode(), 0], "it is given up")


async def test_e4_thousands_of_channels_are_subscribed_again_in_batches(
    server: RedisServer, engine: Engine, ears: Ears
) -> None:
    names = [f"channel {number}" for number in range(5000)]
    for name in names:
        engine.subscribe(name)
    await until(lambda: len(ears.channels) == 5000, "all are confirmed")
    for name in names[:100]:
        engine.unsubscribe(name)
    await until(lambda: len(server.command("PUBSUB", "CHANNELS")) == 4900, "some are given up")
    ears.told.clear()
    before = calls(server, "subscribe")
    assert server.command("CLIENT", "KILL", "TYPE", "pubsub") == 1
    await until(lambda: len(ears.channels) == 4900, "all others are confirmed again")
    assert sorted(ears.channels) == sorted(names[100:])
    assert calls(server, "subscribe") == before + 10


async def test_rsu1_whoever_subscribes_is_owed_a_confirmation(engine: Engine, ears: Ears) -> None:
    engine.subscribe("c")
    await ears.confirmation("c")
    engine.subscribe("c")
    await until(lambda: len(ears.channels) == 2, "confirmed again, being heard already")
    engine.unsubscribe("c")
    engine.subscribe("c")
    await until(lambda: len(ears.channels) == 3, "confirmed again, given up in the same turn")


async def test_what_was_given_up_is_not_heard(server: RedisServer, engine: Engine, ears: Ears) -> None:
    engine.subscribe("gone")
    engine.subscribe("here")
    await until(lambda: len(ears.channels) == 2, "both are confirmed")
    engine.unsubscribe("gone")
    server.command("PUBLISH", "gone", "x")  # before Redis has been told
    server.command("PUBLISH", "here", "y")
    await until(lambda: ears.messages, "the other is heard")
    assert ears.messages == [("here", b"y")]


async def test_e4_killed_by_an_operator_it_comes_back(server: RedisServer, engine: Engine, ears: Ears) -> None:
    for name in ("a", "b"):
        engine.subscribe(name)
    await until(lambda: len(ears.channels) == 2, "both are confirmed")
    ears.told.clear()
    assert server.command("CLIENT", "KILL", "TYPE", "pubsub") == 1
    assert await until(lambda: len(ears.channels) == 2, "both are confirmed again") < 0.5
    assert ears.told[0] == "disconnected"
    assert sorted(ears.channels) == ["a", "b"]
    server.command("PUBLISH", "b", "x")
    await until(lambda: ears.messages == [("b", b"x")], "it hears")


async def test_e4_after_a_restart_all_is_confirmed_again(server: RedisServer, engine: Engine, ears: Ears) -> None:
    engine.subscribe("c")
    await ears.confirmation("c")
    ears.told.clear()
    server.kill()
    await until(lambda: ears.told == ["disconnected"], "the loss is told")
    engine.subscribe("meanwhile")
    server.start()
    await until(lambda: set(ears.channels) == {"c", "meanwhile"}, "all are confirmed")
    assert ears.told.count("disconnected") == 1
    server.command("PUBLISH", "c", "x")
    await until(lambda: ears.messages == [("c", b"x")], "it hears")


async def test_e4_a_redis_that_is_away_at_first_is_found_later(server: RedisServer, ears: Ears) -> None:
    server.kill()
    async with open_engine(server.url, timeout_s=TIMEOUT_S) as engine:
        engine.listener = ears
        engine.subscribe("c")
        server.start()
        await ears.confirmation("c")
        assert "disconnected" not in ears.told


async def test_e5_a_redis_that_has_stopped_is_noticed_though_nobody_publishes(
    server: RedisServer, engine: Engine, ears: Ears
) -> None:
    engine.subscribe("c")
    await ears.confirmation("c")
    ears.told.clear()
    server.pause()
    took_s = await until(lambda: ears.told == ["disconnected"], "the silence is noticed")
    assert took_s < 2 * PING_S + TIMEOUT_S + 0.3
    server.resume()
    assert await ears.confirmation("c") < TIMEOUT_S + PAUSE_MOST_S + 0.3
    server.command("PUBLISH", "c", "x")
    await until(lambda: ears.messages == [("c", b"x")], "it hears")


async def test_e5_a_quiet_connection_is_kept(server: RedisServer, engine: Engine, ears: Ears) -> None:
    engine.subscribe("c")
    await ears.confirmation("c")
    engine.unsubscribe("c")  # without a channel Redis answers PING in another form
    before = calls(server, "ping")
    await until(lambda: calls(server, "ping") >= before + 2, "it is asked twice")
    assert "disconnected" not in ears.told


async def test_rsu6_a_reader_that_was_too_slow_is_only_disconnected(
    server: RedisServer, engine: Engine, ears: Ears
) -> None:
    server.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 64kb 64kb 1")
    try:
        engine.subscribe("c")
        await ears.confirmation("c")
        ears.told.clear()
        for _ in range(80):  # this blocks the event loop, so nobody reads
            server.command("PUBLISH", "c", b"x" * 200_000)
        await ears.confirmation("c")
        assert ears.told[0] == "disconnected"
        assert len(ears.messages) < 80
        ears.messages.clear()
        server.command("PUBLISH", "c", "y")
        await until(lambda: ears.messages == [("c", b"y")], "it hears")
    finally:
        server.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")


async def test_rsu4_pauses_double_up_to_a_second_and_are_jittered() -> None:
    for attempt, longest_s in enumerate([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]):
        pauses = [PAUSE.compute(attempt) for _ in range(200)]
        assert all(longest_s / 2 <= pause <= longest_s for pause in pauses)
        assert len(set(pauses)) > 100


async def test_rsu4_a_long_absence_does_not_overflow(
    server: RedisServer, engine: Engine, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py raises two to the power of the attempts, which no float holds after a thousand."""
    attempts: list[int] = []

    class Short(NoBackoff):
        def compute(self, failures: int) -> float:
            attempts.append(failures)
            return PAUSE.compute(failures) / 100

    monkeypatch.setattr(subscriber, "PAUSE", Short())
    server.kill()
    engine.subscribe("c")
    await until(lambda: len(attempts) > 20, "it tries again and again")
    server.start()
    await ears.confirmation("c")
    assert max(attempts) == 10


async def test_the_end_leaves_nothing_behind(server: RedisServer, ears: Ears) -> None:
    async with open_engine(server.url) as engine:
        engine.listener = ears
        engine.subscribe("c")
        await ears.confirmation("c")
    await until(lambda: "name=raffia" not in server.command("CLIENT", "LIST").decode(), "the connection is closed")
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task is left")
    assert "disconnected" not in ears.told


async def test_e4_a_failure_of_its_own_does_not_end_a_subscription(server: RedisServer) -> None:
    """A task that ended here would leave its replica without presence for ever."""

    class Failing(Ears):
        def confirmed(self, channel: str) -> None:
            super().confirmed(channel)
            if len(self.channels) == 1:
                raise RuntimeError("for once")

    ears = Failing()
    async with open_engine(server.url, timeout_s=TIMEOUT_S) as engine:
        engine.listener = ears
        engine.subscribe("é")
        await until(lambda: len(ears.channels) == 2, "it is confirmed again")
        assert ears.told == ["confirmed é", "disconnected", "confirmed é"]
