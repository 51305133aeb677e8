"""Part `commands`: the Redis commands of one keystroke with 2, 4 and 8 servers that have the document open.

One typist at the first server, one reader at each. Redis counts commands, also those that scripts run. The
cost of an earlier idle period of the same length is subtracted, so that heartbeats and comparisons do not count.
"""

from __future__ import annotations

import asyncio

import uvloop

from tools.bench.replicas.places import Place, install_hocuspocus, started
from tools.bench.replicas.tally import Tally
from tools.bench.replicas.typists import Typing, gather_crowd
from tools.bench.work import Figures

COUNTS = (2, 4, 8)
IDLE_S = 5.0
FULL_S = 8.0
PER_S = 10.0
SETTLE_S = 1.5  # presence of new clients, first saves


def measure(quick: bool) -> Figures:
    """All counts, with and without presence, ours and theirs."""
    install_hocuspocus()
    figures: Figures = {}
    for count in COUNTS[:1] if quick else COUNTS:
        for kind in ("raffia", "hocuspocus"):
            with started(kind, count) as place:
                for presence in (False, True):
                    typing = Typing(1, 1, PER_S, 1.0 if quick else FULL_S, presence)
                    found = uvloop.run(_one(place, typing, idle_s=1.0 if quick else IDLE_S))
                    name = f"{kind}_{count}_{'moving' if presence else 'typing'}"
                    figures |= {f"{name}_{key}": value for key, value in found.items()}
    return figures


async def _one(place: Place, typing: Typing, *, idle_s: float) -> Figures:
    servers = range(len(place.servers))
    targets = [place.target(index) for index in servers]
    crowd = await gather_crowd(typing, targets, servers, name="moving" if typing.presence else "typing")
    first = await crowd.type(0, 1.0)
    await asyncio.sleep(SETTLE_S)
    start = Tally.take(place)
    await asyncio.sleep(idle_s)
    before = Tally.take(place)
    last = await crowd.type(first, typing.seconds)
    await asyncio.sleep(SETTLE_S)
    used = Tally.take(place).since(before).above(before.since(start))
    crowd.close()
    keystrokes = last - first
    calls = {name.removeprefix("calls_"): count for name, count in used.items() if name.startswith("calls_")}
    publishes = calls.pop("publish", 0)
    scripts = calls.pop("evalsha", 0) + calls.pop("eval", 0)
    return {
        "publishes": round(publishes / keystrokes, 3),
        "scripts": round(scripts / keystrokes, 3),
        "others": round(sum(calls.values()) / keystrokes, 3),
        "in_bytes": round(used["in_bytes"] / keystrokes, 1),
        "out_bytes": round(used["out_bytes"] / keystrokes, 1),
        "redis_cpu_us": round(used["redis_cpu_s"] / keystrokes * 1e6, 1),
    }
