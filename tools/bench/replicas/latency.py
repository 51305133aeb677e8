"""Part `latency`: how much later a reader at another replica gets an edit than one at the typist's replica.

One reader of each document sits at replica A, where the typists are, and one at B. Added latency is the time between
the two for the same keystroke, so it excludes the typist's own path and the load generator.
"""

from __future__ import annotations

import asyncio

import uvloop

from tools.bench.replicas.places import Place, install_hocuspocus, started
from tools.bench.replicas.typists import Typing, gather_crowd, quiet_collector
from tools.bench.work import Figures, quantile_ms

WARM_S = 1.0
LIGHT = Typing(rooms=1, typists=1, per_s=10, seconds=30)
MODERATE = Typing(rooms=20, typists=5, per_s=1000, seconds=10)
QUICK = (Typing(1, 1, 10, 1), Typing(2, 2, 40, 1))


def measure(quick: bool) -> Figures:
    """Both loads on two replicas, then on two Hocuspocus instances with their Redis extension."""
    install_hocuspocus()
    figures: Figures = {}
    light, moderate = QUICK if quick else (LIGHT, MODERATE)
    for kind in ("raffia", "hocuspocus"):
        with started(kind, 2) as place:
            for name, typing in (("light", light), ("moderate", moderate)):
                found = uvloop.run(_one(place, typing, name))
                figures |= {f"{kind}_{name}_{key}": value for key, value in found.items()}
    return figures


async def _one(place: Place, typing: Typing, name: str) -> Figures:
    crowd = await gather_crowd(typing, [place.target(0), place.target(1)], [0, 1], name=name)
    await asyncio.sleep(WARM_S / 2)
    with quiet_collector():
        first = await crowd.type(0, WARM_S)
        await asyncio.sleep(WARM_S / 2)
        last = await crowd.type(first, typing.seconds)
    same: list[float] = []
    other: list[float] = []
    added: list[float] = []
    for near, far in zip(*crowd.readers, strict=True):
        for mark, near_s in near.seen.items():
            if int(mark[1:]) >= first:
                same.append(near_s - crowd.sent[mark])
                other.append(far.seen[mark] - crowd.sent[mark])
                added.append(far.seen[mark] - near_s)
    assert len(added) == last - first
    crowd.close()
    return {
        f"{what}_p{percent}_ms": quantile_ms(times_s, percent / 100)
        for what, times_s in (("same", same), ("other", other), ("added", added))
        for percent in (50, 99)
    }
