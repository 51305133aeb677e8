"""The bus of the Redis journal: BS1-BS4 of `raffia.journal.bus`, RQ1-RQ4 of `raffia.journal.redis.bus`."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.journals import Journals, Reader, until

from raffia.journal.bus import Bus
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.redis.keys import Keys
from raffia.journal.testing.contract import DOCUMENT, OTHER, edit

KEYS = Keys("raffia")


class Ears:
    """Hears one document at one replica."""

    def __init__(self, journal: RedisJournal, document: str = DOCUMENT) -> None:
        self.payloads: list[bytes] = []
        self.connections = 0
        journal.bus.join(document, self)  # type: ignore[arg-type]

    def heard(self, payload: bytes) -> None:
        self.payloads.append(payload)

    def connected(self) -> None:
        self.connections += 1

    async def open(self) -> None:
        await until(lambda: self.connections > 0, "connected")

    async def has(self, count: int) -> list[bytes]:
        await until(lambda: len(self.payloads) >= count, f"{count} payloads")
        return self.payloads


async def test_bs2_others_hear_and_oneself_does_not(journals: Journals) -> None:
    one, two, three = [await journals.open() for _ in range(3)]
    assert isinstance(one.bus, Bus)
    assert len({one.bus.replica, two.bus.replica, three.bus.replica}) == 3
    ears = [Ears(journal) for journal in (one, two, three)]
    elsewhere = Ears(two, OTHER)
    for ear in (*ears, elsewhere):
        await ear.open()
    one.bus.publish(DOCUMENT, "é🦊".encode())
    two.bus.publish(DOCUMENT, b"from two")
    assert sorted(await ears[2].has(2)) == sorted(["é🦊".encode(), b"from two"])
    assert await ears[0].has(1) == [b"from two"]
    assert await ears[1].has(1) == ["é🦊".encode()]
    assert elsewhere.payloads == []


async def test_bs3_what_is_said_in_one_turn_is_one_message(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    ears = Ears(two)
    await ears.open()
    journals.server.command("CONFIG", "RESETSTAT")
    said = [b"first", b"", b"\n third \n"]
    for payload in said:
        one.bus.publish(DOCUMENT, payload)
    assert await ears.has(3) == said
    assert journals.server.info("commandstats")["cmdstat_publish"].startswith("calls=1,")
    assert one.redis_stats.presence_published == 1


async def test_bs1_whoever_hears_is_told_when_the_way_is_open_again(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    ears = Ears(two)
    await ears.open()
    journals.server.command("CLIENT", "KILL", "TYPE", "pubsub")
    await until(lambda: ears.connections == 2, "connected again")
    one.bus.publish(DOCUMENT, b"after")
    assert await ears.has(1) == [b"after"]


async def test_bs1_a_channel_that_is_followed_already_is_open_at_once(journals: Journals) -> None:
    one = await journals.open()
    async with Reader(one):
        ears = Ears(one)
        await ears.open()
        one.bus.leave(DOCUMENT)
        position = await one.append(DOCUMENT, (edit(b"\x00\x00"),))
        assert (await one.load(DOCUMENT)).position == position
    server = journals.server
    await until(lambda: server.command("PUBSUB", "NUMSUB", KEYS.channel(DOCUMENT))[1] == 0, "given up")


async def test_who_has_left_hears_nothing(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    ears, others = Ears(two), Ears(two, OTHER)
    await ears.open()
    await others.open()
    two.bus.leave(DOCUMENT)
    two.bus.leave(DOCUMENT)
    one.bus.publish(DOCUMENT, b"nobody hears")
    one.bus.publish(OTHER, b"heard")
    await others.has(1)
    assert ears.payloads == []


async def test_rq2_what_is_said_while_redis_is_away_is_bounded_and_the_newest_is_kept(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    ears = Ears(two)
    await ears.open()
    journals.server.pause()
    one.bus.publish(DOCUMENT, b"under way")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for number in range(1000):
        one.bus.publish(DOCUMENT, b"%d" % number)
    assert len(one.bus._outgoing[DOCUMENT].parts) == 64
    journals.server.resume()
    assert (await ears.has(65))[-1] == b"999"
    assert one.redis_stats.presence_dropped == 1000 - 64


async def test_bs4_who_leaves_is_gone_at_once_and_once(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    gone: list[frozenset[str]] = []
    one.bus.on_gone(gone.append)
    server = journals.server
    await until(lambda: server.command("PUBSUB", "NUMSUB", KEYS.replica_channel)[1] == 2, "subscribed")
    await two.__aexit__(None, None, None)
    await until(lambda: gone != [], "told")
    server.command("ZADD", KEYS.replicas, "9999999999999", two.bus.replica)  # a sign of life that was still under way
    for _ in range(3):
        await one.bus.beat()
    assert gone == [frozenset((two.bus.replica,))]


async def test_bs4_who_is_silent_is_gone_once_the_others_were_heard_long_enough(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr("raffia.journal.redis.bus.monotonic", lambda: now_s[0])
    one = await journals.open(beat_s=3600.0)
    server = journals.server
    await until(lambda: server.command("ZCARD", KEYS.replicas) == 1, "the first sign of life")
    gone: list[frozenset[str]] = []
    one.bus.on_gone(gone.append)
    server.command("ZADD", KEYS.replicas, "9999999999999", "another")
    await one.bus.beat()
    server.command("ZADD", KEYS.replicas, "1", "another")  # silent for very long
    await one.bus.beat()
    assert gone == [], "this replica has not listened for long enough itself"
    now_s[0] += 15
    await one.bus.beat()
    await one.bus.beat()
    assert gone == [frozenset(("another",))]
    assert server.command("ZSCORE", KEYS.replicas, "another") is None

    server.command("ZADD", KEYS.replicas, "9999999999999", "third")
    await one.bus.beat()
    server.command("ZADD", KEYS.replicas, "1", "third")
    server.command("CONFIG", "SET", "maxmemory", "1")  # an outage: nobody can give signs of life
    await one.bus.beat()
    server.command("CONFIG", "SET", "maxmemory", "0")
    await one.bus.beat()
    assert len(gone) == 1, "while nobody can be heard, nobody is gone"
    now_s[0] += 15
    await one.bus.beat()
    assert gone[1:] == [frozenset(("third",))]


async def test_signs_of_life_come_by_themselves(journals: Journals) -> None:
    one = await journals.open(beat_s=0.01)
    score = journals.server.command("ZSCORE", KEYS.replicas, one.bus.replica)
    server = journals.server
    await until(lambda: server.command("ZSCORE", KEYS.replicas, one.bus.replica) not in (None, score), "renewed")
