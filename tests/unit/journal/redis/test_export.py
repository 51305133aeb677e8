"""The Redis journal exports its own counters."""

from __future__ import annotations

from tests.support.journals import Journals, Reader

from raffia.journal.testing.contract import DOCUMENT, edit
from raffia.runtime.metrics import Metrics


async def test_its_counters_are_exported(journals: Journals) -> None:
    one = await journals.open()
    async with Reader(one) as reader:
        await one.append(DOCUMENT, (edit(b"\x00\x00"),))
        await reader.has(1)
    stats = one.redis_stats
    stats.gaps, stats.reconnects, stats.presence_dropped = 2, 3, 5
    metrics = Metrics()
    one.export(metrics)
    assert (metrics.redis_gaps, metrics.redis_reconnects, metrics.redis_presence_dropped) == (2, 3, 5)
    assert metrics.redis_resyncs == stats.resyncs > 0
    assert metrics.redis_lag_s == stats.lag_s > 0
