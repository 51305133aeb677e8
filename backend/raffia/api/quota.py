"""How much one person may make by short requests: new documents and copies.

Rules (tests quote these ids):
    QU1  Every person (people.py) has a budget of `BURST_BYTES`, which gains `BYTES_PER_S`. A new document costs
         `LEAST_BYTES`, a copy at least as much and otherwise its content. What does not fit is refused, later (503);
         a single copy that is larger than the whole budget is made when the budget is full.
    QU2  Clients on this machine that have not signed in are not counted, as in address_limits.py.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from raffia.api.people import LOCAL
from raffia.errors import TooFastError
from raffia.runtime.quota import Quota

MIB = 1024 * 1024
BURST_BYTES = 128 * MIB
BYTES_PER_S = MIB
LEAST_BYTES = 64 * 1024


class MakingQuota:
    """What each person has made lately.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._quota = Quota(BURST_BYTES, BYTES_PER_S, clock)

    def charge(self, person: str, size_bytes: int) -> None:
        """Charge a person for something new (QU1).

        Raises:
            TooFastError: the budget is used up.
        """
        if person == LOCAL:
            return
        cost_bytes = max(size_bytes, LEAST_BYTES)
        wait_s = self._quota.wait_s(person, cost_bytes)
        if wait_s > 0:
            raise TooFastError(f"you have made many documents or copies; try again in {max(1, round(wait_s))} s")
        self._quota.charge(person, cost_bytes)
