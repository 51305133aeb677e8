"""What messages cost in a simulation: now and then so much that their sender has to wait for its turn."""

from __future__ import annotations

import asyncio
import random

from raffia.rooms.turns import SLICE_S, Turns
from raffia.runtime.metrics import Metrics


class SimMeter:
    """A clock that jumps when it is read, by chances of its own, which leave those of the run as they are."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._jumped_s = 0.0

    def clock(self) -> float:
        self._jumped_s += self._rng.choice((0.0, 0.0, 0.0, SLICE_S / 2, 20 * SLICE_S))
        return self.cpu()

    def cpu(self) -> float:
        return asyncio.get_running_loop().time() + self._jumped_s


def sim_turns(metrics: Metrics, seed: int) -> Turns:
    """The turns of a simulated process."""
    meter = SimMeter(seed)
    return Turns(lambda call: asyncio.get_running_loop().call_soon(call), metrics, meter.clock, meter.cpu)
