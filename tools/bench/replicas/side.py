"""One measurement of one checkout, for `pairs`: prints its figures as JSON.

Run by its path, with PYTHONPATH naming the checkout to measure (its root and its `backend`), so that it can be an older
one than this file is of.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time

import uvloop
from tests.support.redis import RedisServer

from raffia.journal.redis.journal import RedisJournal
from raffia.types import DocumentId
from tools.bench.replicas import appends, latency
from tools.bench.replicas.places import EVERYSEC, started
from tools.bench.replicas.throughput import BATCH

DOCUMENTS = [DocumentId(f"team-{number % 10}/document-{number}") for number in range(400)]
RATES = (1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 8_000, 10_000, 12_000, 15_000, 20_000)
STEP_S = 4.0
P99_S = 0.05
MET = 0.95


def open_journal(url: str) -> RedisJournal:
    """A journal, wherever `open_engine` is in that checkout."""
    for name in ("client", "opening"):
        try:
            module = importlib.import_module(f"raffia.journal.redis.{name}")
        except ModuleNotFoundError:
            continue
        return RedisJournal(module.open_engine(url))
    raise RuntimeError("this checkout has no open_engine")


async def step(journal: RedisJournal, rate: int, seconds: float) -> bool:
    """Append at a fixed rate (BR3 of throughput.py); whether p99 stayed below 50 ms (BR4)."""
    latencies_s: list[float] = []

    def note(due_s: float) -> object:
        return lambda _: latencies_s.append(time.perf_counter() - due_s)

    began_s, count = time.perf_counter(), 0
    while (now_s := time.perf_counter()) < began_s + seconds:
        while (due_s := began_s + count / rate) <= now_s:
            future = asyncio.ensure_future(journal.append(DOCUMENTS[count % len(DOCUMENTS)], BATCH))
            future.add_done_callback(note(due_s))  # type: ignore[arg-type]
            count += 1
        await asyncio.sleep(0.001)
    met = len(latencies_s) / count
    while len(latencies_s) < count and time.perf_counter() < began_s + 3 * seconds:  # noqa: ASYNC110 - the last of many
        await asyncio.sleep(0.01)
    return met >= MET and sorted(latencies_s)[int(len(latencies_s) * 0.99)] <= P99_S


async def throughput(quick: bool) -> float:
    """The highest rate, in appends/s, that one journal's appends pass at a p99 of 50 ms."""
    best = 0
    for rate in RATES[:2] if quick else RATES:
        with RedisServer(**EVERYSEC) as redis:
            async with open_journal(redis.url) as journal:
                await step(journal, 500, 0.5)
                for _ in range(2):
                    if await step(journal, rate, 0.5 if quick else STEP_S):
                        best = rate
                        break
                else:
                    break
    return float(best)


def main(quick: bool) -> dict[str, float]:
    """All figures that are compared."""
    found = appends.measure(quick)
    figures = {name: found[name] for name in ("replica_us_per_append", "replica_us_per_followed")}
    typing = latency.QUICK[0] if quick else latency.LIGHT
    with started("raffia", 2) as place:
        light = uvloop.run(latency._one(place, typing, "pairs"))
    figures |= {name: light[name] for name in ("added_p50_ms", "added_p99_ms")}
    return figures | {"appends_per_s": uvloop.run(throughput(quick))}


if __name__ == "__main__":
    print(json.dumps(main("--quick" in sys.argv)))
