"""Two journals on a real cluster: entries and presence go through sharded channels, also while a slot moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from redis.crc import key_slot
from tests.support.journals import Reader, until
from tests.support.redis import RedisCluster

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.redis.keys import Keys
from raffia.journal.testing.contract import edit, updates_of
from raffia.types import DocumentId

NAMES = [DocumentId(f"team/d{number}") for number in range(12)]  # they spread over all nodes
KEYS = Keys("raffia")


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster(appendonly="yes") as cluster:
        yield cluster


class Ears:
    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.is_open = False

    def heard(self, payload: bytes) -> None:
        self.payloads.append(payload)

    def connected(self) -> None:
        self.is_open = True


async def append(journal: RedisJournal, name: DocumentId, text: bytes) -> None:
    """Append again until it goes through, as a room does."""
    async with asyncio.timeout(15):
        while True:
            try:
                await journal.append(name, (edit(text),))
            except JournalUnavailableError:
                await asyncio.sleep(0.02)
            else:
                return


async def test_entries_and_presence_reach_the_other_replica(cluster: RedisCluster) -> None:
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(RedisJournal(open_engine(cluster.url), check_s=0.2)) for _ in range(2)
        ]
        ears = {name: Ears() for name in NAMES}
        readers = {name: await stack.enter_async_context(Reader(two, document=name)) for name in NAMES}
        for name, ear in ears.items():
            two.bus.join(name, ear)
        await until(lambda: all(ear.is_open for ear in ears.values()), "connected")
        await asyncio.gather(*[append(one, name, b"first") for name in NAMES])
        for name in NAMES:
            one.bus.publish(name, name.encode())
        for name in NAMES:
            await readers[name].has(1)
        await until(lambda: all(ears[name].payloads == [name.encode()] for name in NAMES), "presence")
        assert two.redis_stats.gaps == 0
        assert (await two.directory.documents(prefix="team/")).total == len(NAMES)

        gone: list[frozenset[str]] = []
        two.bus.on_gone(gone.append)
        slot = key_slot(KEYS.meta(NAMES[0]).encode())
        source = cluster.owner(slot)
        target = next(node for node in cluster.nodes if node is not source)
        writing = asyncio.ensure_future(asyncio.gather(*[append(one, NAMES[0], b"%d" % n) for n in range(50)]))
        await asyncio.to_thread(cluster.move_slot, slot, target)
        await writing
        await append(one, NAMES[0], b"last")
        reader = readers[NAMES[0]]
        loaded = await one.load(NAMES[0])
        await until(lambda: reader.items[-1:] == loaded.entries[-1:], "all is followed")
        assert reader.items == loaded.entries
        assert updates_of(loaded.entries)[0] == b"first"
        assert set(updates_of(loaded.entries)) == {b"first", b"last", *(b"%d" % n for n in range(50))}
        await one.__aexit__(None, None, None)
        await until(lambda: gone == [frozenset((one.bus.replica,))], "told that it has left")
        await one.__aenter__()
