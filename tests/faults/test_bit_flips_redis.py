"""Flipped bits in the values of Redis: nothing wrong is read, what was not hit is read as before (BF1, BF2, RR3)."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from raffia.crdt.merge import merge
from raffia.crdt.view import read_text
from raffia.errors import QuarantinedError, RaffiaError
from raffia.journal.protocol import Entry
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.testing.contract import BEGIN_MS, Clock, Typist
from raffia.rooms.durable.loading import build_document
from raffia.types import START, DocumentId, Edit
from tests.faults.bit_flips import document, folded, token
from tests.support.journals import Journals
from tests.support.redis import RedisServer

DOCUMENTS = 12
SEEDS, LONG_SEEDS = 16, 80
MOMENTS = (BEGIN_MS + 15_000, BEGIN_MS + 45_000)
FLIPPED = (b"log", b"stones", b"segments", b"versions")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


async def write(journal: RedisJournal, clock: Clock, number: int) -> None:
    name = document(number)
    typists = [Typist(10 + number), Typist(60 + number)]
    updates = []
    for step in range(24):
        clock.now_ms = BEGIN_MS + step * 5_000
        updates.append(typists[step % 2].type(token(number, step)))
        position = await journal.append(name, (Edit(("ana", "bo 🦊")[step % 2], clock.now_ms, updates[-1]),))
        if number % 3 and step in (9, 17):
            await journal.compact(name, folded(updates), position)
    if number % 3 == 2:
        await journal.versions.save(name, folded(updates).state, time_ms=clock.now_ms, authors=["ana"], name="é")
    await journal.directory.set_info(name, title=f"Title {number} 😀", kind="doc")


async def read(journal: RedisJournal, name: DocumentId) -> list[Any]:
    """The content, the history, what a follower gets, and the versions; an error for each that is damaged."""

    async def content() -> Any:
        return read_text(build_document(await journal.load(name), keep_deleted=False).merged(), "t")

    async def history() -> Any:
        moments = [read_text(merge(await journal.history.at(name, at)), "t") for at in MOMENTS]
        return moments, await journal.history.windows(name)

    async def followed() -> Any:
        end = (await journal.load(name)).position
        got = []
        async for item in journal.follow(name, START):
            got.append(item)
            if (item.position if isinstance(item, Entry) else getattr(item, "upto", None)) == end:
                return got
        return got

    async def versions() -> Any:
        return [(info, (await journal.versions.get(name, info.id)).state) for info in await journal.versions.all(name)]

    found: list[Any] = []
    for part in (content, history, followed, versions):
        try:
            found.append(await part())
        except QuarantinedError as error:
            found.append(error)
    return found


class Flipper:
    """Flips bits of values, and undoes it."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.dumps = {key: server.command("DUMP", key) for key in sorted(server.command("KEYS", "*"))}
        self.keys = [key for key in self.dumps if b":blob:" in key or key.rpartition(b":")[2] in FLIPPED]

    def restore(self) -> None:
        for key, dump in self.dumps.items():
            assert self.server.command("RESTORE", key, 0, dump, "REPLACE") == b"OK"

    def flip(self, chance: random.Random) -> str:
        """Flip one bit of a value; return the name of its document."""
        command, key = self.server.command, chance.choice(self.keys)
        kind = command("TYPE", key)
        if kind == b"hash":
            field = chance.choice(command("HKEYS", key))
            command("HSET", key, field, _flipped(chance, command("HGET", key, field)))
        elif kind == b"zset":
            member = chance.choice(command("ZRANGE", key, 0, -1))
            score = command("ZSCORE", key, member)
            command("ZREM", key, member)
            command("ZADD", key, score, _flipped(chance, member))
        else:
            assert kind == b"stream", kind
            entries = command("XRANGE", key, "-", "+")
            at = chance.randrange(len(entries))
            command("DEL", key)
            for index, (id_, fields) in enumerate(entries):
                payload = _flipped(chance, fields[1]) if index == at else fields[1]
                assert command("XADD", key, id_, fields[0], payload) == id_
        return key.partition(b"{")[2].partition(b"}")[0].decode()


def _flipped(chance: random.Random, value: bytes) -> bytes:
    at = chance.randrange(len(value))
    return value[:at] + bytes([value[at] ^ 1 << chance.randrange(8)]) + value[at + 1 :]


async def test_nothing_wrong_is_read_from_redis(server: RedisServer, long: bool) -> None:
    clock = Clock()
    names = [document(number) for number in range(DOCUMENTS)]
    async with Journals(server, clock) as journals:
        journal = await journals.open(retention_ms=86_400_000)
        for number in range(DOCUMENTS):
            await write(journal, clock, number)
        whole = {name: await read(journal, name) for name in names}
    assert not any(isinstance(part, QuarantinedError) for found in whole.values() for part in found)
    flipper = Flipper(server)
    refused = 0
    for seed in range(LONG_SEEDS if long else SEEDS):
        chance = random.Random(seed)
        hit = {flipper.flip(chance) for _ in range(chance.choice([1, 3, 6]))}
        async with Journals(server, clock) as journals:
            journal = await journals.open(retention_ms=86_400_000)
            for name in names:
                for part, expected in zip(await read(journal, name), whole[name], strict=True):
                    if isinstance(part, QuarantinedError):
                        refused += 1
                        assert name in hit, f"seed {seed}: {name} was not hit: {part}"
                    elif part != expected:  # a version that is damaged is not listed
                        assert name in hit, f"seed {seed}: {name} was not hit"
                        assert part == [], f"seed {seed}: {name}: {part!r} instead of {expected!r}"
        flipper.restore()
    assert refused >= seed


async def test_a_compaction_folds_no_damaged_history(server: RedisServer) -> None:
    server.command("FLUSHALL")
    clock = Clock()
    name, typist = document(0), Typist(7)
    async with Journals(server, clock) as journals:
        journal = await journals.open(retention_ms=86_400_000)
        updates = [typist.type(token(0, 0))]
        position = await journal.append(name, (Edit("ana", clock.now_ms, updates[0]),))
        await journal.compact(name, folded(updates), position)
        (member,) = server.command("ZRANGE", f"raffia:{{{name}}}:segments", 0, -1)
        blob = member.partition(b'"blob":"')[2].partition(b'"')[0].decode()
        key = f"raffia:{{{name}}}:blob:{blob}"
        server.command("HSET", key, "0", _flipped(random.Random(1), server.command("HGET", key, "0")))
        updates.append(typist.type(token(0, 1)))  # in the same window, so that it would be joined with the first
        position = await journal.append(name, (Edit("ana", clock.now_ms, updates[1]),))
        await journal.compact(name, folded(updates), position)
        loaded = await journal.load(name)
        assert loaded.entries == []
        assert read_text(build_document(loaded, keep_deleted=False).merged(), "t") == token(0, 0) + token(0, 1)
        assert server.command("ZCARD", f"raffia:{{{name}}}:segments") == 2


async def test_a_flip_in_a_meta_serves_nothing_wrong_and_destroys_nothing(server: RedisServer, long: bool) -> None:
    """One bit of a value or a field name of `meta`, or of a score; then a prune, and the flip is undone (RL3).

    Only the damaged meta is put back afterwards, so what pruning and reading have removed would be missing.
    """
    server.command("FLUSHALL")
    clock = Clock()
    names = [document(number) for number in range(3)]
    async with Journals(server, clock) as journals:
        journal = await journals.open(retention_ms=86_400_000)
        for number in range(3):
            await write(journal, clock, number)
        whole = {name: await read(journal, name) for name in names}
    clock.now_ms += 120_000  # so that entries are due to be trimmed
    dumps = {key: server.command("DUMP", key) for key in sorted(server.command("KEYS", "*"))}
    for seed in range(4 * (LONG_SEEDS if long else SEEDS)):
        chance = random.Random(seed)
        name = chance.choice(names)
        key = f"raffia:{{{name}}}:meta"
        segments = f"raffia:{{{name}}}:segments"
        meta = server.command("DUMP", key)
        if chance.random() < 0.2 and (members := server.command("ZRANGE", segments, 0, -1)):
            bits = 1 << chance.randrange(40)
            member = chance.choice(members)
            server.command("ZADD", segments, str(int(server.command("ZSCORE", segments, member)) ^ bits), member)
            flip = "a score"
        else:
            field = chance.choice(server.command("HKEYS", key))
            value = server.command("HGET", key, field)
            if value and chance.random() < 0.7:
                server.command("HSET", key, field, _flipped(chance, value))
            else:
                server.command("HDEL", key, field)
                server.command("HSET", key, _flipped(chance, field), value)
            flip = repr(field)
        async with Journals(server, clock) as journals:
            journal = await journals.open(retention_ms=86_400_000)
            for index, (part, expected) in enumerate(zip(await read_anyhow(journal, name), whole[name], strict=True)):
                if index == 2 and not isinstance(part, Exception):
                    # A follower may get entries that are in the snapshot too, or a gap instead of entries.
                    known = {item.position: item for item in expected if isinstance(item, Entry)}
                    got = [item for item in part if isinstance(item, Entry)]
                    assert all(known.get(item.position, item) == item for item in got), f"seed {seed}, {flip} of {name}"
                elif not isinstance(part, Exception):
                    assert part == expected, f"seed {seed}, {flip} of {name}: {part!r} instead of {expected!r}"
            await journal.prune()
        server.command("RESTORE", key, 0, meta, "REPLACE")
        async with Journals(server, clock) as journals:
            journal = await journals.open(retention_ms=86_400_000)
            for one in names:
                now = await read(journal, one)
                assert now[0] == whole[one][0], f"seed {seed}, {flip} of {name}: {now[0]!r}"
        for stored, dump in dumps.items():
            assert server.command("RESTORE", stored, 0, dump, "REPLACE") == b"OK"


async def read_anyhow(journal: RedisJournal, name: DocumentId) -> list[Any]:
    """Read as `read` does, where other refusals than a quarantine count as refused too."""
    try:
        return await read(journal, name)
    except RaffiaError as error:
        return [error, error, error, error]
