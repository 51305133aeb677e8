"""Part `appends`: CPU of a replica and of Redis for each appended update, at 500 updates/s over 200 documents.

With one typist and one reader per document at replica A: the cost of an append. With a reader of each at replica B: its
CPU is the cost of following. With more readers at A: the cost of a delivery, which is subtracted from the other two,
as is what the same replicas used while idle.
"""

from __future__ import annotations

import asyncio

import uvloop

from tools.bench.replicas.places import Place, started
from tools.bench.replicas.tally import Tally
from tools.bench.replicas.typists import Typing, gather_crowd, quiet_collector
from tools.bench.work import Figures

FULL = Typing(rooms=200, typists=1, per_s=500, seconds=15)
QUICK = Typing(rooms=10, typists=1, per_s=50, seconds=1)
MANY = 6  # readers of a document
IDLE_S = 5.0


def measure(quick: bool) -> Figures:
    """One reader, one at another replica, and several."""
    typing, idle_s = (QUICK, 1.0) if quick else (FULL, IDLE_S)
    with started("raffia", 2) as place:
        alone = uvloop.run(_one(place, typing, [0], idle_s))
        followed = uvloop.run(_one(place, typing, [0, 1], idle_s))
        many = uvloop.run(_one(place, typing, [0] * MANY, idle_s))
    delivery_us = max(0.0, (many["cpu_s_0"] - alone["cpu_s_0"]) / (MANY - 1))
    return {
        "replica_us_per_append": round(alone["cpu_s_0"] - delivery_us, 1),
        "replica_us_per_followed": round(max(0.0, followed["cpu_s_1"] - delivery_us), 1),
        "replica_us_per_delivery": round(delivery_us, 1),
        "redis_us_per_append": alone["redis_cpu_s"],
        "redis_us_per_append_followed": followed["redis_cpu_s"],
        "redis_in_bytes_per_append": alone["in_bytes"],
        "redis_out_bytes_per_append": alone["out_bytes"],
        "scripts_per_update": alone["scripts"],
    }


async def _one(place: Place, typing: Typing, readers_at: list[int], idle_s: float) -> Figures:
    targets = [place.target(0), place.target(1)]
    crowd = await gather_crowd(typing, targets, readers_at, name="rooms" + "".join(map(str, readers_at)))
    first = await crowd.type(0, 1.0)
    await asyncio.sleep(1.0)
    start = Tally.take(place)
    await asyncio.sleep(idle_s)
    before = Tally.take(place)
    with quiet_collector():
        last = await crowd.type(first, typing.seconds)
    grown = Tally.take(place).since(before)
    used = grown.above(before.since(start))
    crowd.close()
    updates = last - first
    figures = {name: round(value / updates * 1e6, 1) for name, value in used.items() if "cpu" in name}
    figures |= {name: round(used[name] / updates, 1) for name in ("in_bytes", "out_bytes")}
    return figures | {"scripts": round(used.get("calls_evalsha", 0) / updates, 3)}
