"""What followers hear of a shared log: RF1-RF7 of `feeds`, RW1-RW5 of `writer`, J15 and J20."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from tests.support.journals import Journals, Reader, until
from tests.support.redis import RedisServer

from raffia.errors import DocumentDeletedError, JournalUnavailableError, LogLostError, QuarantinedError
from raffia.journal.protocol import Entry, Folded, Gap, Reset, Snapshot
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.redis.keys import Keys, id_of, sequence_of
from raffia.journal.redis.writer import ANNOUNCE_BYTES
from raffia.journal.testing.contract import DOCUMENT, OTHER, Clock, Typist, canonical, edit, updates_of
from raffia.types import START, DocumentId, Position

EMPTY = b"\x00\x00"
KEYS = Keys("raffia")


def entries(items: list[object]) -> list[Entry]:
    return [item for item in items if isinstance(item, Entry)]


class Ears:
    """A raw listener on a connection of its own."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.is_open = False

    def heard(self, channel: str, payload: bytes) -> None:
        self.messages.append(payload)

    def confirmed(self, channel: str) -> None:
        self.is_open = True

    def disconnected(self) -> None: ...


async def test_j20_two_replicas_see_one_order(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(one) as first, Reader(two) as second:
        chance = random.Random(3)
        waiting = []
        for number in range(300):
            journal = chance.choice((one, two))
            waiting.append(journal.append(DOCUMENT, (edit(EMPTY, author=f"é{number}"),)))
            if chance.random() < 0.2:
                await asyncio.sleep(0)
        positions = await asyncio.gather(*waiting)
        await first.has(300)
        await second.has(300)
        assert first.items == second.items
        assert [item.position for item in entries(first.items)] == sorted(positions)
        assert [sequence_of(item.position) for item in entries(first.items)] == list(range(1, 301))
        loaded = await one.load(DOCUMENT)
        assert loaded.entries == first.items


async def test_rf4_ones_own_batches_come_back_as_the_same_objects(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    large = b"\x00" * (ANNOUNCE_BYTES + 1)
    async with Reader(one) as reader:
        own = [(edit(EMPTY),), (edit(large),), (edit(EMPTY),)]
        for batch in own:
            await one.append(DOCUMENT, batch)
        foreign = (edit(EMPTY),)
        await two.append(DOCUMENT, foreign)
        found = entries(await reader.has(4))
        assert [found[index].batch is own[index] for index in range(3)] == [True] * 3
        assert found[3].batch == foreign
        assert reader.feed.own == {}, "nothing is kept of what has come back"
        assert one.redis_stats.gaps == 0
        assert 0 < one.redis_stats.lag_s <= one.redis_stats.slowest_lag_s


async def test_large_entries_are_only_announced(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    ears = Ears()
    async with open_engine(journals.server.url) as engine, Reader(two) as reader:
        engine.listener = ears
        engine.subscribe(KEYS.channel(DOCUMENT))
        await until(lambda: ears.is_open, "subscribed")
        large = random.Random(1).randbytes(3_000_000)
        small = (edit(b"small"),)
        await one.append(DOCUMENT, (edit(large),))
        await one.append(DOCUMENT, small)
        found = entries(await reader.has(2))
        assert [entry.batch for entry in found] == [(edit(large),), small]
        await until(lambda: len(ears.messages) == 2, "two messages")
        announced, whole = ears.messages
        assert announced[:1] == b"A"
        assert len(announced) < 200
        assert whole[:1] == b"E"
        assert b"small" in whole


async def test_one_append_is_one_call_one_entry_and_one_message(journals: Journals) -> None:
    journal = await journals.open()
    await journal.append(DOCUMENT, (edit(EMPTY),))
    journals.server.command("CONFIG", "RESETSTAT")
    await journal.append(DOCUMENT, (edit(EMPTY), edit(EMPTY)))
    stats = journals.server.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): value.split(",")[0] for name, value in stats.items()}
    calls = {name: count for name, count in calls.items() if not name.startswith(("config", "info", "ping"))}
    assert calls.pop("evalsha") == "calls=1"
    assert calls == dict.fromkeys(("hmget", "xadd", "publish", "hset", "hincrby"), "calls=1")


async def test_rw2_what_waits_of_one_document_goes_in_one_call(journals: Journals) -> None:
    journal = await journals.open()
    await journal.append(DOCUMENT, (edit(EMPTY),))
    await journal.append(OTHER, (edit(EMPTY),))
    journals.server.command("CONFIG", "RESETSTAT")
    commits = journal.stats.commits
    waiting = [journal.append(document, (edit(EMPTY),)) for _ in range(20) for document in (DOCUMENT, OTHER)]
    await asyncio.gather(*waiting)
    assert journal.stats.commits == commits + 1
    assert journals.server.info("commandstats")["cmdstat_evalsha"].startswith("calls=2,")
    assert journals.server.info("commandstats")["cmdstat_xadd"].startswith("calls=40,")


async def test_rf1_what_was_published_to_nobody_is_read(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(two) as reader:
        count = 0
        for _ in range(5):
            await one.append(DOCUMENT, (edit(EMPTY),))
            assert journals.server.command("CLIENT", "KILL", "TYPE", "pubsub") >= 1
            for _ in range(20):
                await one.append(DOCUMENT, (edit(EMPTY),))
            count += 21
            await reader.has(count)
        assert [sequence_of(item.position) for item in entries(reader.items)] == list(range(1, count + 1))
        assert two.redis_stats.resyncs > 0
        assert two.redis_stats.reconnects > 1


async def test_rf1_a_lost_message_shows_with_the_next(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(two) as reader:
        hear = two._feeds.heard
        monkeypatch.setattr(two._feeds, "heard", lambda *message: None)
        position = await one.append(DOCUMENT, (edit(EMPTY),))
        await one.append(OTHER, (edit(EMPTY),))
        seen = asyncio.Event()
        monkeypatch.setattr(two._feeds, "heard", lambda *message: (hear(*message), seen.set()))
        following = await one.append(DOCUMENT, (edit(EMPTY),))
        await reader.has(2)
        assert [item.position for item in entries(reader.items)] == [position, following]


async def test_rf2_a_lost_last_message_is_found_by_comparing(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(two) as reader:
        monkeypatch.setattr(two._feeds, "heard", lambda *message: None)
        position = await one.append(DOCUMENT, (edit(EMPTY),))
        assert reader.items == []
        await two._feeds.compare()
        assert await reader.has(1) == [Entry(position, (edit(EMPTY),))]
        resyncs = two.redis_stats.resyncs
        await two._feeds.compare()
        assert two.redis_stats.resyncs == resyncs, "what is equal is not read"


async def test_rf2_comparing_goes_by_itself(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await journals.open(), await journals.open(check_s=0.01)
    async with Reader(two) as reader:
        monkeypatch.setattr(two._feeds, "heard", lambda *message: None)
        position = await one.append(DOCUMENT, (edit(EMPTY),))
        assert await reader.has(1) == [Entry(position, (edit(EMPTY),))]


async def test_rf5_a_later_follower_gets_all_and_the_rest(journals: Journals) -> None:
    one = await journals.open()
    async with Reader(one) as first:
        for _ in range(500):
            one.append(DOCUMENT, (edit(EMPTY),))
        await first.has(100)
        async with Reader(one) as second:
            for _ in range(100):
                await one.append(DOCUMENT, (edit(EMPTY),))
            await second.has(600)
            await first.has(600)
            assert first.items == second.items
            assert len(first.items) == 600


async def test_rc1_a_channel_is_held_while_it_is_followed(journals: Journals) -> None:
    one = await journals.open()
    async with Reader(one), Reader(one):
        assert journals.server.command("PUBSUB", "NUMSUB", KEYS.channel(DOCUMENT))[1] == 1
    server = journals.server
    await until(lambda: server.command("PUBSUB", "NUMSUB", KEYS.channel(DOCUMENT))[1] == 0, "given up")
    assert one._feeds._feeds == {}


async def test_unknown_fields_kinds_and_words_are_skipped(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(two) as reader:
        position = await one.append(DOCUMENT, (edit(b"first"),))
        server, log, meta = journals.server, KEYS.log(DOCUMENT), KEYS.meta(DOCUMENT)
        payload = server.command("XRANGE", log, "-", "+")[0][1][1]
        newer = Position(position + (1 << 48))
        server.command("XADD", log, id_of(newer), "z", "what", "u", payload, "new", "field")
        server.command("HSET", meta, "last", id_of(newer), "unheard-of", "1")
        channel = KEYS.channel(DOCUMENT)
        server.command("PUBLISH", channel, b"Zreplica some words\nrest")
        server.command("PUBLISH", channel, b"Freplica " + id_of(position).encode() + b" more words\nrest")
        message = f"Ereplica {id_of(position)} {id_of(newer)} more words\n".encode() + payload
        server.command("PUBLISH", channel, message)
        items = await reader.has(3)
        assert items == [Entry(position, (edit(b"first"),)), Folded(position), Entry(newer, (edit(b"first"),))]
        assert (await one.load(DOCUMENT)).entries == entries(items)


async def test_rc3_garbage_on_the_channel_harms_nobody(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(two) as reader:
        position = await one.append(DOCUMENT, (edit(EMPTY),))
        for garbage in (b"", b"E", b"\n", b"E\n", b"Ex y\n", b"Ex 1-1\n", b"Ex 1-1 two\n", b"F\n", b"\xff\x00"):
            journals.server.command("PUBLISH", KEYS.channel(DOCUMENT), garbage)
        following = await one.append(DOCUMENT, (edit(EMPTY),))
        await reader.has(2)
        assert [item.position for item in entries(reader.items)] == [position, following]
        assert two.redis_stats.resets == 0


async def test_j15_what_was_trimmed_is_a_gap_and_appends_wait_for_it(
    journals: Journals, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await journals.open(), await journals.open()
    typist = Typist(1)
    updates = [typist.type("é") for _ in range(6)]
    first = await two.append(DOCUMENT, (edit(updates[0]),))
    async with Reader(two) as reader:
        hear = two._feeds.heard
        monkeypatch.setattr(two._feeds, "heard", lambda *message: None)
        monkeypatch.setattr(two._feeds, "confirmed", lambda *message: None)
        positions = [await one.append(DOCUMENT, (edit(update),)) for update in updates[1:4]]
        await one.compact(DOCUMENT, Snapshot(canonical(updates[:4]), b""), positions[-1])
        clock.advance(60_000)
        await one.prune()
        assert journals.server.command("XLEN", KEYS.log(DOCUMENT)) == 1, "the entry at the floor stays"
        monkeypatch.setattr(two._feeds, "heard", hear)
        with pytest.raises(JournalUnavailableError, match="trimmed"):
            await two.append(DOCUMENT, (edit(updates[4]),))
        assert await reader.has(2) == [Entry(first, (edit(updates[0]),)), Gap(first, positions[-1])]
        loaded = await two.load(DOCUMENT)
        assert loaded.position == positions[-1]
        position = await two.append(DOCUMENT, (edit(updates[4]),))
        assert (await reader.has(3))[2] == Entry(position, (edit(updates[4]),))
        assert one.redis_stats.resets == two.redis_stats.resets == 0


async def test_what_was_folded_a_moment_ago_can_still_be_caught_up_with(
    journals: Journals, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(two) as reader:
        hear = two._feeds.heard
        monkeypatch.setattr(two._feeds, "heard", lambda *message: None)
        positions = [await one.append(DOCUMENT, (edit(EMPTY),)) for _ in range(3)]
        await one.compact(DOCUMENT, Snapshot(EMPTY, b""), positions[-1])
        clock.advance(59_999)
        await one.prune()
        monkeypatch.setattr(two._feeds, "heard", hear)
        await two._feeds.compare()
        await reader.has(3)
        assert [item.position for item in entries(reader.items)] == positions


async def test_j14_deletion_ends_followers_everywhere(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, three = [await journals.open() for _ in range(3)]
    await one.append(DOCUMENT, (edit(EMPTY),))
    async with Reader(one) as first, Reader(two) as second, Reader(three) as third:
        monkeypatch.setattr(three._feeds, "heard", lambda *message: None)
        await two.directory.delete(DOCUMENT)
        assert isinstance(await first.ended(), DocumentDeletedError)
        assert isinstance(await second.ended(), DocumentDeletedError)
        assert third.error is None
        await three._feeds.compare()
        assert isinstance(await third.ended(), DocumentDeletedError)


async def test_an_entry_that_cannot_be_read_ends_its_followers_only(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(two) as reader, Reader(two, document=OTHER) as other:
        await one.append(DOCUMENT, (edit(EMPTY),))
        await reader.has(1)
        server, last = journals.server, reader.items[0]
        assert isinstance(last, Entry)
        following = id_of(Position(last.position + (1 << 48)))
        server.command("XADD", KEYS.log(DOCUMENT), following, "u", b"\x01\xff\xff")
        server.command("HSET", KEYS.meta(DOCUMENT), "last", following)
        await two._feeds.compare()
        assert isinstance(await reader.ended(), QuarantinedError)
        with pytest.raises(QuarantinedError):
            await two.load(DOCUMENT)
        await one.append(OTHER, (edit(EMPTY),))
        assert len(await other.has(1)) == 1


async def test_rw5_a_document_that_was_not_listed_is_listed_by_the_next_append(journals: Journals) -> None:
    one = await journals.open()
    await one.append(DOCUMENT, (edit(EMPTY),))
    journals.server.command("HDEL", KEYS.meta(DOCUMENT), "listed")
    journals.server.command("DEL", KEYS.documents)
    assert (await one.directory.documents()).total == 0
    await one.append(DOCUMENT, (edit(EMPTY),))
    assert (await one.directory.documents()).total == 1


async def test_rw1_what_waits_is_bounded(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raffia.journal.redis.writer.QUEUE_BYTES", 3000)
    monkeypatch.setattr("raffia.journal.redis.writer.PIPELINE_BYTES", 1000)
    one = await journals.open()
    waiting = [one.append(DOCUMENT, (edit(b"x" * 1000),)) for _ in range(5)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(result, JournalUnavailableError) for result in results] == [False] * 3 + [True] * 2
    assert (one.stats.queued, one.stats.queued_bytes) == (0, 0)
    assert one.stats.commits == 3
    await one.append(DOCUMENT, (edit(EMPTY),))


async def refusal(journal: RedisJournal) -> str:
    """Append until Redis is there again and refuses; returns what it says."""
    async with asyncio.timeout(15):
        while True:
            with pytest.raises(JournalUnavailableError) as failure:
                await journal.append(DOCUMENT, (edit(b"behind a gap"),))
            if "the log" in str(failure.value):
                return str(failure.value)


class Cut:
    """A Redis whose log file loses its end: power loss with `appendfsync everysec`."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        (self.path,) = Path(server.folder, "appendonlydir").glob("*.incr.aof")
        self.size = self.path.stat().st_size

    def now(self) -> None:
        """Lose what was written since this was made."""
        self.server.kill()
        with self.path.open("r+b") as file:
            file.truncate(self.size)
        self.server.start()


async def test_j20_a_log_that_was_cut_is_a_reset_and_appends_are_refused(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    kept = await one.append(DOCUMENT, (edit(b"kept"),))
    cut = Cut(journals.server)
    async with Reader(two) as reader:
        lost = [await one.append(DOCUMENT, (edit(b"lost"),)) for _ in range(3)]
        await reader.has(4)
        cut.now()
        # Nobody follows at `one`: what it was acknowledged counts all the same.
        assert "lacks" in await refusal(one)
        await until(lambda: len(reader.items) == 5, "the reset")
        assert [getattr(item, "position", None) for item in reader.items[:4]] == [kept, *lost]
        assert reader.items[4] == Reset(kept)
        assert two.redis_stats.resets == 1
        restored = await two.append(DOCUMENT, (edit(b"restored"),))
        assert (await reader.has(6))[5] == Entry(restored, (edit(b"restored"),))
        for _ in range(2):
            with pytest.raises(LogLostError, match="lacks"):
                await one.append(DOCUMENT, (edit(b"behind a gap"),))
        assert updates_of((await one.load(DOCUMENT)).entries) == [b"kept", b"restored"]
        await one.append(DOCUMENT, (edit(b"more"),))
        assert updates_of((await two.load(DOCUMENT)).entries) == [b"kept", b"restored", b"more"]


async def test_j20_another_lineage_of_the_same_length_is_a_reset(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await journals.open()
    await one.append(DOCUMENT, (edit(b"kept"),))
    cut = Cut(journals.server)
    async with Reader(one) as reader:
        await one.append(DOCUMENT, (edit(b"lost"),))
        await reader.has(2)
        monkeypatch.setattr(one._feeds, "_must_read", lambda feed: None)  # it finds out last of all
        cut.now()
        two = await journals.open()
        for text in (b"other", b"more"):
            await two.append(DOCUMENT, (edit(text),))
        monkeypatch.undo()
        assert "lacks" in await refusal(one)
        last = (await two.load(DOCUMENT)).position
        assert (await reader.has(3))[2:] == [Reset(last)]
        position = await one.append(DOCUMENT, (edit(b"restored"),))
        assert (await reader.has(4))[3] == Entry(position, (edit(b"restored"),))


async def test_j20_an_empty_redis_is_a_reset_to_the_start(journals: Journals) -> None:
    one = await journals.open()
    async with Reader(one) as reader:
        await one.append(DOCUMENT, (edit(b"lost"),))
        await reader.has(1)
        journals.server.command("FLUSHALL")
        await one._feeds.compare()
        assert (await reader.has(2))[1] == Reset(START)
        assert sequence_of(await one.append(DOCUMENT, (edit(b"again"),))) == 1


async def test_a_redis_that_is_paused_fails_appends_and_everything_goes_on_afterwards(journals: Journals) -> None:
    one = await journals.open()
    one._engine._timeout_s = 0.2  # type: ignore[attr-defined]
    async with Reader(one) as reader:
        await one.append(DOCUMENT, (edit(b"before"),))
        await reader.has(1)
        journals.server.pause()
        results = await asyncio.gather(
            *[one.append(DOCUMENT, (edit(b"unknown"),)) for _ in range(3)], return_exceptions=True
        )
        assert [type(result) for result in results] == [JournalUnavailableError] * 3
        with pytest.raises(JournalUnavailableError):
            await one.healthy()
        journals.server.resume()
        while True:
            try:
                await one.append(DOCUMENT, (edit(b"after"),))
                break
            except JournalUnavailableError:
                await asyncio.sleep(0.01)
        loaded = await one.load(DOCUMENT)
        assert updates_of(loaded.entries)[-1] == b"after"
        await until(lambda: [item.position for item in entries(reader.items)][-1] == loaded.position, "all")
        assert entries(reader.items) == loaded.entries
        assert one.redis_stats.resets == 0


async def test_many_documents_are_read_in_few_round_trips(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    names = [DocumentId(f"d{number}") for number in range(100)]
    readers = [Reader(two, document=name) for name in names]
    for reader in readers:
        await reader.settled()
    journals.server.command("CLIENT", "KILL", "TYPE", "pubsub")
    await asyncio.gather(*[one.append(name, (edit(EMPTY),)) for name in names])
    for reader in readers:
        await reader.has(1)
        await reader.stop()
    assert two._feeds._feeds == {}


async def test_a_follower_that_nobody_reads_does_not_outlive_the_journal(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    reader = Reader(one)
    await reader.settled()
    abandoned = one.follow(DOCUMENT, START)
    await two.append(DOCUMENT, (edit(EMPTY),))
    await anext(abandoned)
    await one.__aexit__(None, None, None)
    assert isinstance(await reader.ended(), JournalUnavailableError)
    await one.__aenter__()
    async with Reader(one) as again:
        await two.append(DOCUMENT, (edit(EMPTY),))
        await again.has(2)
        with pytest.raises(JournalUnavailableError):
            await anext(abandoned)
        await two.append(DOCUMENT, (edit(EMPTY),))
        await again.has(3)


async def test_rf7_one_document_that_cannot_be_read_holds_up_no_other(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(two) as reader, Reader(two, document=OTHER) as other:
        run_scripts, run = two._engine.run_scripts, two._engine.run
        away = [KEYS.meta(DOCUMENT)]

        async def some_away(calls, **options):  # type: ignore[no-untyped-def]
            replies = await run_scripts(calls, **options)
            refused = JournalUnavailableError("its node is away")
            return [refused if call[1][0] in away else reply for call, reply in zip(calls, replies, strict=True)]

        async def some_refused(commands, **options):  # type: ignore[no-untyped-def]
            replies = await run(commands, **options)
            refused = JournalUnavailableError("its node is away")
            return [refused if one.key in away else reply for one, reply in zip(commands, replies, strict=True)]

        monkeypatch.setattr(two._engine, "run_scripts", some_away)
        monkeypatch.setattr(two._engine, "run", some_refused)
        hear = two._feeds.heard
        monkeypatch.setattr(two._feeds, "heard", lambda *message: None)
        await one.append(DOCUMENT, (edit(EMPTY),))
        await one.append(OTHER, (edit(EMPTY),))
        two._feeds.check(DOCUMENT)
        await two._feeds.compare()
        assert len(await other.has(1)) == 1
        monkeypatch.setattr(two._feeds, "heard", hear)
        for _ in range(5):
            await one.append(DOCUMENT, (edit(EMPTY),))
            await one.append(OTHER, (edit(EMPTY),))
        assert len(await other.has(6)) == 6
        assert reader.items == []
        away.clear()
        assert len(await reader.has(6)) == 6
        assert two.redis_stats.resets == 0


async def test_j3_a_deletion_waits_for_an_append_that_nobody_waits_for(journals: Journals) -> None:
    one = await journals.open()
    await one.append(DOCUMENT, (edit(EMPTY),))
    for _ in range(3):
        one.append(DOCUMENT, (edit(EMPTY),)).cancel()  # type: ignore[attr-defined]
    await one.directory.delete(DOCUMENT)
    assert journals.server.command("XLEN", KEYS.log(DOCUMENT)) == 4
    assert (one.stats.queued, one.stats.appends) == (0, 4)


async def test_rw3_what_cannot_be_listed_fails_once(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await journals.open()
    run, refusing = one._engine.run, [True]

    async def no_listing(commands, **options):  # type: ignore[no-untyped-def]
        if refusing and any(command.args[0] == "ZADD" for command in commands):
            return [JournalUnavailableError("refused")] * len(commands)
        return await run(commands, **options)

    monkeypatch.setattr(one._engine, "run", no_listing)
    waiting = [one.append(document, (edit(EMPTY),)) for document in (DOCUMENT, OTHER) for _ in range(2)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [JournalUnavailableError] * 4
    assert (one.stats.queued, one.stats.queued_bytes, one.stats.appends) == (0, 0, 0)
    refusing.clear()
    await one.append(DOCUMENT, (edit(EMPTY),))
    assert [info.document for info in (await one.directory.documents()).documents] == [DOCUMENT]


async def test_rf1_an_answer_that_is_older_than_what_was_handed_on_meanwhile_is_no_loss(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(one) as reader:
        await two.append(DOCUMENT, (edit(b"1"),))
        await reader.has(1)
        run_scripts, answered, go = one._engine.run_scripts, asyncio.Event(), asyncio.Event()

        async def late(calls, **options):  # type: ignore[no-untyped-def]
            replies = await run_scripts(calls, **options)
            if not answered.is_set():
                answered.set()
                await go.wait()
            return replies

        monkeypatch.setattr(one._engine, "run_scripts", late)
        one._feeds._away[DOCUMENT] = None  # a reading failed: it is tried again, and Redis answers, slowly
        one._feeds._fail_wake.set()
        await answered.wait()
        await two.append(DOCUMENT, (edit(b"2"),))
        one._feeds.confirmed(DOCUMENT)  # and the channel stands again
        await reader.has(2)
        go.set()
        await two.append(DOCUMENT, (edit(b"3"),))
        await reader.has(3)
        await reader.settled()
        assert updates_of(entries(reader.items)) == [b"1", b"2", b"3"]
        assert reader.items == entries(reader.items)
        assert one.redis_stats.resets == 0


async def test_rf7_reading_goes_on_after_any_failure(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(one) as reader:
        run_scripts, failed = one._engine.run_scripts, []

        async def broken(calls, **options):  # type: ignore[no-untyped-def]
            if not failed:
                failed.append(True)
                raise RuntimeError("no engine is perfect")
            return await run_scripts(calls, **options)

        monkeypatch.setattr(one._engine, "run_scripts", broken)
        await two.append(DOCUMENT, (edit(b"\x00" * (ANNOUNCE_BYTES + 1)),))
        await reader.has(1)
        assert failed


async def test_rw4_a_reply_that_comes_after_the_loss_of_what_it_acknowledges_is_none(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await journals.open()
    run, go = one._engine.run, asyncio.Event()

    async def slow_listing(commands, **options):  # type: ignore[no-untyped-def]
        if any(command.args[0] == "ZADD" for command in commands):
            await go.wait()  # on a cluster another node lists; it may be slow, or away
        return await run(commands, **options)

    async with Reader(one) as reader:
        monkeypatch.setattr(one._engine, "run", slow_listing)
        early = one.append(DOCUMENT, (edit(b"lost"),))
        await reader.has(1)
        journals.server.command("FLUSHALL")
        await one._feeds.compare()
        await until(lambda: isinstance(reader.items[-1], Reset), "the follower knows")
        go.set()
        with pytest.raises(LogLostError):
            await early
        await one.append(DOCUMENT, (edit(b"restored"),))
        assert updates_of((await one.load(DOCUMENT)).entries) == [b"restored"]


async def test_rf6_nothing_is_appended_until_somebody_has_the_reset(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    await one.append(DOCUMENT, (edit(b"lost"),))
    follower = one.follow(DOCUMENT, (await one.load(DOCUMENT)).position)
    first = asyncio.ensure_future(anext(follower))
    await one.append(DOCUMENT, (edit(b"lost, too"),))
    assert isinstance(await first, Entry)
    journals.server.command("FLUSHALL")
    positions = [await two.append(OTHER, (edit(EMPTY),))]
    async with Reader(two):  # another lineage that is longer than what was lost
        two._seen.clear()
        positions = [await two.append(DOCUMENT, (edit(b"other"),)) for _ in range(5)]
    await one._feeds.compare()
    await until(lambda: one.redis_stats.resets == 1, "the feed knows")
    for _ in range(2):
        with pytest.raises(LogLostError):
            await one.append(DOCUMENT, (edit(b"behind a gap"),))
        await one.load(DOCUMENT)  # somebody else's: the follower does not know yet
    early = one.append(DOCUMENT, (edit(b"behind a gap"),))
    while not isinstance(item := await anext(follower), Reset):
        assert isinstance(item, Entry)  # of the log that is gone
    late = one.append(DOCUMENT, (edit(b"restored"),))
    with pytest.raises(LogLostError):
        await early
    position = await late
    assert updates_of((await two.load(DOCUMENT)).entries) == [b"other"] * 5 + [b"restored"]
    found = []
    while not found or found[-1].position < position:
        found.append(await anext(follower))  # type: ignore[arg-type]
    assert updates_of(found)[-1:] == [b"restored"]
    assert [entry.position for entry in found[:-1]] == [one for one in positions if one > item.position]
    await follower.aclose()  # type: ignore[attr-defined]
