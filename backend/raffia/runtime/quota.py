"""One budget per person, which refills over time. No I/O.

Rules (tests quote these ids):
    QT1  Each person has a budget of `burst`, which refills by `per_s` per second. A cost above the whole budget counts
         as the whole budget.
    QT2  When the table has grown, people whose budgets are full again are dropped from it.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

_SWEEP = 1000  # number of people from which those with a full budget are dropped


class Quota:
    """The budgets of many people.

    Args:
        burst: size of a budget, in any unit.
        per_s: how much it refills per second.
        clock: monotonic seconds.
    """

    __slots__ = ("_burst", "_clock", "_full_s", "_per_s", "_sweep_at")

    def __init__(self, burst: float, per_s: float, clock: Callable[[], float] = monotonic) -> None:
        self._burst = burst
        self._per_s = per_s
        self._clock = clock
        self._full_s: dict[str, float] = {}  # when each budget will be full again
        self._sweep_at = _SWEEP

    def __len__(self) -> int:
        """Number of people in the table."""
        return len(self._full_s)

    def wait_s(self, who: str, cost: float) -> float:
        """Seconds until a person can afford this cost; 0.0 for now."""
        return max(0.0, (self._used(who) + min(cost, self._burst) - self._burst) / self._per_s)

    def charge(self, who: str, cost: float) -> None:
        """Charge a person, even if the budget does not suffice."""
        now_s = self._clock()
        self._full_s[who] = now_s + (self._used(who) + min(cost, self._burst)) / self._per_s
        if len(self._full_s) > self._sweep_at:
            self._full_s = {one: full_s for one, full_s in self._full_s.items() if full_s > now_s}
            self._sweep_at = max(_SWEEP, 2 * len(self._full_s))

    def _used(self, who: str) -> float:
        now_s = self._clock()
        return max(0.0, self._full_s.get(who, now_s) - now_s) * self._per_s
