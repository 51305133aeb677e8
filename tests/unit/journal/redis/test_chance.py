"""Replicas, readers and faults by chance: whatever comes, every follower ends with the log as it is, in order (RF1)."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from tests.support.journals import Journals, Reader, until

from raffia.errors import JournalUnavailableError
from raffia.journal.protocol import Entry, Folded, Gap, Loaded, Reset, Snapshot
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.redis.keys import Keys, position_of, sequence_of
from raffia.journal.testing.contract import DOCUMENT, Clock, edit
from raffia.types import START, Position

KEYS = Keys("raffia")


def followed(items: list[object]) -> tuple[list[Entry], Position]:
    """What a reader holds who takes entries, and loads at each gap: entries behind the last gap, and that gap's end."""
    entries: list[Entry] = []
    begin = last = START
    for item in items:
        if isinstance(item, Entry):
            assert item.position > last
            entries.append(item)
            last = item.position
        elif isinstance(item, Gap):
            assert item.after == last
            entries, begin = [], item.upto
            last = item.upto
        else:
            assert isinstance(item, Folded)
    return entries, begin


async def load(journal: RedisJournal) -> Loaded:
    """Load, again where the connection was one of those that were killed and had not noticed."""
    for _ in range(10):
        with contextlib.suppress(JournalUnavailableError):
            return await journal.load(DOCUMENT)
    return await journal.load(DOCUMENT)


@pytest.mark.parametrize("seed", range(8))
async def test_every_follower_ends_with_the_log(journals: Journals, clock: Clock, seed: int) -> None:
    chance = random.Random(seed)
    replicas = [await journals.open(follow_entries=chance.choice((8, 1024))) for _ in range(3)]
    readers = [Reader(journal) for journal in replicas]
    for reader in readers:
        await reader.settled()
    acknowledged: set[Position] = set()
    written = 0

    def lossy(journal: RedisJournal) -> None:
        hear = journal._feeds.heard

        def heard(*message: object) -> None:
            if chance.random() > 0.2:
                hear(*message)  # type: ignore[arg-type]

        journal._feeds.heard = heard  # type: ignore[method-assign,assignment]

    for journal in replicas:
        lossy(journal)
    for _ in range(120):
        journal = chance.choice(replicas)
        step = chance.random()
        if step < 0.8:
            size = chance.choice((2, 100, 70_000))
            batches = [(edit(b"\x00" * size, author=f"{written + n}é"),) for n in range(chance.randrange(1, 12))]
            written += len(batches)
            waiting = [journal.append(DOCUMENT, batch) for batch in batches]
            if chance.random() < 0.5:
                found = await asyncio.gather(*waiting, return_exceptions=True)
                for position in found:
                    assert isinstance(position, int | JournalUnavailableError), position
                acknowledged |= {position for position in found if isinstance(position, int)}
            else:
                for future in waiting:
                    future.add_done_callback(lambda done: done.exception())  # type: ignore[attr-defined]
        elif step < 0.85:
            journals.server.command("CLIENT", "KILL", "TYPE", "pubsub")
        elif step < 0.9:
            journals.server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        elif step < 0.97 and acknowledged:
            upto = chance.choice(sorted(acknowledged))
            with contextlib.suppress(JournalUnavailableError):
                await journal.compact(DOCUMENT, Snapshot(b"\x00\x00", b""), upto)
            clock.advance(chance.choice((0, 30_000, 60_000)))
        else:
            with contextlib.suppress(JournalUnavailableError):
                await journal.prune()
    for journal in replicas:
        del journal._feeds.heard  # type: ignore[method-assign]
        await until(lambda journal=journal: journal.stats.queued == 0, "appended")  # type: ignore[misc]
    loaded = await load(replicas[0])
    folded_id = journals.server.command("HGET", KEYS.meta(DOCUMENT), "folded")
    folded = START if folded_id is None else position_of(folded_id)
    there = {entry.position for entry in loaded.entries}
    assert {position for position in acknowledged if position > folded} <= there, "acknowledged and not in the log"
    assert sequence_of(loaded.position) == sequence_of(folded) + len(loaded.entries)
    for journal, reader in zip(replicas, readers, strict=True):
        await journal._feeds.compare()

        def is_there(reader: Reader = reader) -> bool:
            items = [item for item in reader.items if not isinstance(item, Folded)]
            last = items[-1] if items else None
            return (last.upto if isinstance(last, Gap) else getattr(last, "position", None)) == loaded.position

        await until(is_there, "the end of the log")
        entries, begin = followed(reader.items)
        assert not any(isinstance(item, Reset) for item in reader.items)
        assert reader.error is None
        numbers = [sequence_of(entry.position) for entry in entries]
        assert numbers == list(range(sequence_of(begin) + 1, sequence_of(loaded.position) + 1)), "one is left out"
        start = max(begin, folded)
        expected = [entry for entry in loaded.entries if entry.position > start]
        assert [entry for entry in entries if entry.position > start] == expected
        await reader.stop()
