"""What the diffs of one document may take of the workers' time (L7 of compactor.py). No I/O; time is an argument.

The cost of a diff is estimated: how long it took says nothing about it while the worker is busy with other things.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import Final

SHARE: Final = 0.1  # seconds per second
BURST_S: Final = 1.0
S_PER_BYTE: Final = 0.3 / (1 << 20)
S_PER_CLIENT: Final = 5e-6


class DiffBudget:
    """The budget of one document.

    Args:
        now_s: monotonic time.
    """

    __slots__ = ("_gained_s", "_left_s")

    def __init__(self, now_s: float) -> None:
        self._left_s = BURST_S
        self._gained_s = now_s

    def take(self, size_bytes: int, clients: int, now_s: float) -> bool:
        """Charge one diff if anything is left; returns whether it was."""
        self._left_s = min(BURST_S, self._left_s + SHARE * (now_s - self._gained_s))
        self._gained_s = now_s
        if self._left_s <= 0:
            return False
        self._left_s -= S_PER_BYTE * size_bytes + S_PER_CLIENT * clients
        return True
