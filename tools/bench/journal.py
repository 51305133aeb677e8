"""The cost of an append to the SQLite journal for the event loop, and the time until it is acknowledged.

    python tools/bench/journal.py FOLDER [SECONDS]

Four figures: the call and the delivery, each timed on the event loop's thread, at 100 appends/s over 20 documents; the
same in one burst of 20,000; acknowledgement times, alone and during a storm of loads with a compaction.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable

import uvloop

from raffia.journal import Snapshot
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.types import DocumentId, Edit

RATE = 100
BURST = 20_000
UPDATE = bytes(33)


def quantiles(seconds: list[float]) -> str:
    """Median, 99th percentile and maximum in ms."""
    ordered = sorted(seconds)
    picked = (ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])
    return "p50 {:.2f} p99 {:.2f} max {:.2f} ms".format(*(second * 1e3 for second in picked))


class Appender:
    """Appends at a steady rate and times it."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self._documents = [DocumentId(f"room/{number}") for number in range(20)]
        self.call_s: list[float] = []
        self.acknowledged_s: list[float] = []

    def append(self, number: int) -> asyncio.Future[int]:
        """One append, timed."""
        began_s, began_cpu_s = time.perf_counter(), time.thread_time()
        batch = (Edit("zoë", 1_700_000_000_000 + number, UPDATE),)
        future = self._journal.append(self._documents[number % 20], batch)
        self.call_s.append(time.thread_time() - began_cpu_s)
        future.add_done_callback(lambda _: self.acknowledged_s.append(time.perf_counter() - began_s))
        return future

    async def steadily(self, seconds: float, busy: Callable[[], bool] = lambda: False) -> None:
        """Append at the rate for some seconds, or while something else is busy."""
        began_s, number, last = time.perf_counter(), 0, None
        while number < seconds * RATE or busy():
            last = self.append(number)
            number += 1
            await asyncio.sleep(max(0.0, began_s + number / RATE - time.perf_counter()))
        if last is not None:
            await last


async def load(journal: SqliteJournal, document: DocumentId) -> None:
    """Load and discard: keeping a million entries would measure the garbage collector."""
    await journal.load(document)


async def main(folder: str, seconds: float) -> None:
    """Measure and print."""
    async with SqliteJournal(tempfile.mkdtemp(dir=folder)) as journal:
        delivered_s: list[float] = []
        deliver = journal._thread._deliver

        def timed(*delivery: object) -> None:
            began_s = time.thread_time()
            deliver(*delivery)  # type: ignore[arg-type]
            delivered_s.append(time.thread_time() - began_s)

        journal._thread._deliver = timed
        steady = Appender(journal)
        await steady.steadily(seconds)
        per_append_us = (sum(steady.call_s) + sum(delivered_s)) / len(steady.call_s) * 1e6
        print(
            f"{RATE}/s: {per_append_us:.1f} us of the event loop per append, of it the call "
            f"{sum(steady.call_s) / len(steady.call_s) * 1e6:.1f}; acknowledged {quantiles(steady.acknowledged_s)}"
        )

        burst = Appender(journal)
        delivered_s.clear()
        await asyncio.gather(*[burst.append(number) for number in range(BURST)])
        per_append_us = (sum(burst.call_s) + sum(delivered_s)) / BURST * 1e6
        print(f"burst of {BURST}: {per_append_us:.1f} us of the event loop per append")

        large = DocumentId("large")
        position = await journal.append(large, (Edit(None, 1, UPDATE),))
        await journal.compact(large, Snapshot(bytes(5_000_000), b""), position)
        position = await journal.append(large, (Edit(None, 1, UPDATE),))
        stormy = Appender(journal)
        storm = asyncio.gather(
            journal.compact(large, Snapshot(bytes(60_000_000), b""), position),
            *[load(journal, DocumentId(f"room/{number % 20}")) for number in range(1000)],
        )
        await stormy.steadily(0, lambda: not storm.done())
        await storm
        print(f"1000 loads and a snapshot of 60 MB meanwhile: acknowledged {quantiles(stormy.acknowledged_s)}")


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 10.0))
