"""Budgets of many people: each one is used up and gains with time. No I/O.

Rules (tests quote these ids):
    QT1  Everybody has a budget of `burst`, which gains `per_s` a second. A cost that is larger than the whole budget
         counts as the whole.
    QT2  Whoever has a full budget again is forgotten, so the table is as large as the number of people who lately used
         theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

_SWEEP = 1000  # people, above which those with a full budget are looked for


class Quota:
    """What people have used of their budgets.

    Args:
        burst: size of a budget, in any unit.
        per_s: what it gains in a second.
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
        """How many people are counted."""
        return len(self._full_s)

    def wait_s(self, who: str, cost: float) -> float:
        """In how many seconds somebody can pay so much; 0.0 for now."""
        return max(0.0, (self._used(who) + min(cost, self._burst) - self._burst) / self._per_s)

    def charge(self, who: str, cost: float) -> None:
        """Let somebody pay, even more than there is."""
        now_s = self._clock()
        self._full_s[who] = now_s + (self._used(who) + min(cost, self._burst)) / self._per_s
        if len(self._full_s) > self._sweep_at:
            self._full_s = {one: full_s for one, full_s in self._full_s.items() if full_s > now_s}
            self._sweep_at = max(_SWEEP, 2 * len(self._full_s))

    def _used(self, who: str) -> float:
        now_s = self._clock()
        return max(0.0, self._full_s.get(who, now_s) - now_s) * self._per_s
