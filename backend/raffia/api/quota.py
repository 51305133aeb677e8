"""How much one person may make by short requests: new documents and copies.

Rules (tests quote these ids):
    QU1  Every person (people.py) has a budget of `BURST_BYTES`, which gains `BYTES_PER_S`. A new document costs
         `LEAST_BYTES`, a copy at least as much and otherwise its content. What does not fit is refused, later (503);
         a single copy that is larger than the whole budget is made when the budget is full.
    QU2  Clients on this machine that have not signed in are not counted, as in address_limits.py.
    QU3  A person whose budget is full again is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from raffia.api.people import LOCAL
from raffia.errors import TooFastError

MIB = 1024 * 1024
BURST_BYTES = 128 * MIB
BYTES_PER_S = MIB
LEAST_BYTES = 64 * 1024
_SWEEP = 1000  # people, above which those whose budget is full are looked for


class Quota:
    """What each person has used of their budget.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._full_s: dict[str, float] = {}  # when each person's budget will be full again
        self._sweep_at = _SWEEP

    def __len__(self) -> int:
        """How many people are counted."""
        return len(self._full_s)

    def charge(self, person: str, size_bytes: int) -> None:
        """Charge a person for something new (QU1).

        Raises:
            TooFastError: the budget is used up.
        """
        if person == LOCAL:
            return
        now_s = self._clock()
        used_bytes = max(0.0, self._full_s.get(person, now_s) - now_s) * BYTES_PER_S
        cost_bytes = min(max(size_bytes, LEAST_BYTES), BURST_BYTES)
        over_bytes = used_bytes + cost_bytes - BURST_BYTES
        if over_bytes > 0:
            raise TooFastError(
                f"you have made many documents or copies; try again in {max(1, round(over_bytes / BYTES_PER_S))} s"
            )
        self._full_s[person] = now_s + (used_bytes + cost_bytes) / BYTES_PER_S
        if len(self._full_s) > self._sweep_at:
            self._full_s = {who: full_s for who, full_s in self._full_s.items() if full_s > now_s}
            self._sweep_at = max(_SWEEP, 2 * len(self._full_s))
