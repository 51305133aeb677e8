"""Limits how many documents and copies one person can create with short requests.

Rules (tests quote these ids):
    QU1  Every person (people.py) has a budget of `BURST_BYTES`, which refills by `BYTES_PER_S` per second. A new
         document costs `LEAST_BYTES`; a copy costs its size, but at least that much. Requests that exceed the budget
         are refused until later (503). A copy larger than the whole budget is allowed when the budget is full.
    QU2  Clients on this machine without a user or token id are not limited.
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
    """The budgets for new documents and copies.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._quota = Quota(BURST_BYTES, BYTES_PER_S, clock)

    def charge(self, person: str, size_bytes: int) -> None:
        """Charge a person for a new document or copy (QU1).

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
