"""A time that has certainly passed, so that a wrong system clock does not make data expire early.

History, the content of deleted documents, and revocations must not be dropped because the system clock is wrong for a
while. Until the clock has been steady for a day, they expire only when the time that processes have measured agrees
with it.

Rules (tests quote these ids):
    PT1  The store keeps `passed_ms`, a time that has certainly passed. A process that read the value T and has run for
         E since then may raise it to T + E. Of several such claims the largest is kept, so they do not add up.
    PT2  After a day (`SETTLED_MS`) without a jump, a process trusts its system clock and stores that time. This is how
         a store that has no time yet, or was closed for a while, catches up. Until then data expires late.
    PT3  `passed_ms()` is never later than the system clock. If the store has a clock, it is not later than that either.
    PT4  The clock has jumped if it moved differently from the monotonic clock by more than `JUMP_MS` plus `DRIFT` of
         the elapsed time. The first jump is logged as a warning, later ones as information, until the clock has been
         steady for an hour.
    PT5  The stored time of a deletion or revocation is never before the time that has certainly passed. So a document
         that was deleted while the clock was behind does not look old when the clock is right again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from raffia.runtime.logs import get_logger

log = get_logger("raffia.journal")

SETTLED_MS = 24 * 3_600_000
JUMP_MS = 60_000
DRIFT = 0.01
ANCHOR_MS = 3_600_000  # how often slow drift is accepted (PT4)

# Where available, a clock that keeps running while the machine sleeps, so that waking up is not a jump.
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def system_ms() -> int:
    """The system clock: Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def elapsed_ms() -> int:
    """A monotonic clock, in milliseconds."""
    return time.clock_gettime_ns(_ELAPSED) // 1_000_000


class Claim(NamedTuple):
    """The time that a process reports to the store.

    Attributes:
        passed_ms: Unix time in milliseconds that has passed; None if the process knows none.
        is_settled: whether it replaces even a later stored time (PT2).
    """

    passed_ms: int | None
    is_settled: bool

    def with_stored(self, stored_ms: int | None) -> int | None:
        """The time to store, given the one that is stored now."""
        if self.is_settled:
            return self.passed_ms
        return max((one for one in (self.passed_ms, stored_ms) if one is not None), default=None)


class PassedTime:
    """One process's knowledge of the time that has passed. It reads clocks and does no I/O.

    Args:
        now_ms: the system clock, Unix time in milliseconds.
        elapsed_ms: a monotonic clock, in milliseconds.
    """

    __slots__ = ("_anchor", "_elapsed_ms", "_known", "_now_ms", "_steady_since_ms", "_was_warned", "_witness")

    def __init__(self, now_ms: Callable[[], int] = system_ms, elapsed_ms: Callable[[], int] = elapsed_ms) -> None:
        self._now_ms = now_ms
        self._elapsed_ms = elapsed_ms
        self._known: tuple[int, int] | None = None  # what the store had, and when it was read
        self._witness: tuple[int, int] | None = None  # the clock of the store, and when it was read
        at_ms = elapsed_ms()
        self._anchor = (now_ms() - at_ms, at_ms)  # the offset of the system clock, and since when
        self._steady_since_ms = at_ms
        self._was_warned = False

    def now_ms(self) -> int:
        """The system clock; also checks whether it has jumped (PT4)."""
        self._watch()
        return self._now_ms()

    def least_ms(self) -> int:
        """The store's time plus what this process has measured since it read it; 0 if the store has none (PT1)."""
        return 0 if self._known is None else self._known[0] + self._elapsed_ms() - self._known[1]

    def stamp_ms(self) -> int:
        """The time to store for something that happens now (PT5)."""
        return max(self.now_ms(), self.least_ms())

    def passed_ms(self) -> int:
        """The time that has certainly passed, in Unix milliseconds; 0 if that is unknown (PT3)."""
        now_ms = self._agreed_ms()
        return now_ms if self._is_settled else min(now_ms, self.least_ms())

    def claim(self) -> Claim:
        """What to report to the store (PT1, PT2)."""
        now_ms = self._agreed_ms()
        if self._is_settled:
            return Claim(now_ms, True)
        return Claim(self.least_ms() if self._known is not None else None, False)

    def stored(self, passed_ms: int | None, witness_ms: int | None = None) -> None:
        """Note the stored time.

        Args:
            passed_ms: the time in the store; None if it has none.
            witness_ms: the store's clock; None if it has none (PT3).
        """
        self._watch()
        at_ms = self._elapsed_ms()
        self._known = None if passed_ms is None else (passed_ms, at_ms)
        if witness_ms is not None:
            self._witness = (witness_ms, at_ms)

    @property
    def _is_settled(self) -> bool:
        return self._elapsed_ms() - self._steady_since_ms >= SETTLED_MS

    def _agreed_ms(self) -> int:
        """The earlier of the system clock and the store's clock (PT3)."""
        now_ms = self.now_ms()
        if self._witness is None:
            return now_ms
        return min(now_ms, self._witness[0] + self._elapsed_ms() - self._witness[1])

    def _watch(self) -> None:
        at_ms = self._elapsed_ms()
        offset_ms, since_ms = self._anchor
        moved_ms = self._now_ms() - at_ms - offset_ms
        if abs(moved_ms) > JUMP_MS + DRIFT * (at_ms - since_ms):
            say = log.info if self._was_warned else log.warning
            say(
                "the system clock jumped; it is not believed about what time destroys until it is steady for a day",
                by_s=round(moved_ms / 1000),
            )
            self._was_warned = True
            self._steady_since_ms = at_ms
            self._anchor = (offset_ms + moved_ms, at_ms)
        elif at_ms - since_ms >= ANCHOR_MS:
            self._was_warned = False
            self._anchor = (offset_ms + moved_ms, at_ms)
