"""The time that has surely passed: what time destroys or forgives waits for it, not for the system clock alone.

A system clock that is wrong for a while must not destroy anything: history, the content of deleted documents, and
revocations go only when their time has passed by the system clock and by the time that processes have measured.

Rules (tests quote these ids):
    PT1  The store keeps `passed_ms`, a time that has surely passed. A process that has seen it at T and has run for E
         since then may raise it to T + E. Such claims are true together, so several replicas never add up.
    PT2  After a day (`SETTLED_MS`) without a jump, a process believes its system clock, and stores that time. This is
         how a store that has no time yet, or was not open for a while, catches up. Until then nothing is destroyed
         early, only late.
    PT3  `passed_ms()` is never later than the system clock, nor than the clock of the store if that has one.
    PT4  The clock jumps when it and the monotonic clock differ by more than `JUMP_MS` and `DRIFT` of the time between.
         The first jump is logged as a warning, later ones as information, until the clock has been steady for an hour.
    PT5  Times that are stored for later (of a deletion, of a revocation) are not before the time that has surely
         passed: what was deleted while the clock was behind does not look old when the clock is right again.
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

# Where there is one, a clock that goes on while the machine sleeps: waking up is no jump.
_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def system_ms() -> int:
    """The system clock: Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def elapsed_ms() -> int:
    """A clock that nobody sets, in milliseconds."""
    return time.clock_gettime_ns(_ELAPSED) // 1_000_000


class Claim(NamedTuple):
    """What a process says to the store about the time.

    Attributes:
        passed_ms: Unix time in milliseconds that has passed; None if it does not know one.
        is_settled: whether the store should take it even if it has a later one (PT2).
    """

    passed_ms: int | None
    is_settled: bool

    def with_stored(self, stored_ms: int | None) -> int | None:
        """What the store should keep, given what it has."""
        if self.is_settled:
            return self.passed_ms
        return max((one for one in (self.passed_ms, stored_ms) if one is not None), default=None)


class PassedTime:
    """What one process knows about the time that has passed. It reads clocks and does no I/O.

    Args:
        now_ms: the system clock, Unix time in milliseconds.
        elapsed_ms: a clock that nobody sets, in milliseconds.
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
        """The system clock, after a look at whether it has jumped (PT4)."""
        self._watch()
        return self._now_ms()

    def least_ms(self) -> int:
        """A time that has passed by what the store says and this process has measured; 0 if that is unknown (PT1)."""
        return 0 if self._known is None else self._known[0] + self._elapsed_ms() - self._known[1]

    def stamp_ms(self) -> int:
        """The time to store for something that happens now (PT5)."""
        return max(self.now_ms(), self.least_ms())

    def passed_ms(self) -> int:
        """The time that has surely passed, in Unix milliseconds; 0 if that is unknown (PT3)."""
        now_ms = self._agreed_ms()
        return now_ms if self._is_settled else min(now_ms, self.least_ms())

    def claim(self) -> Claim:
        """What to say to the store (PT1, PT2)."""
        now_ms = self._agreed_ms()
        if self._is_settled:
            return Claim(now_ms, True)
        return Claim(self.least_ms() if self._known is not None else None, False)

    def stored(self, passed_ms: int | None, witness_ms: int | None = None) -> None:
        """Take what the store has kept.

        Args:
            passed_ms: the time in the store; None if it has none.
            witness_ms: the clock of the store; None if it has none (PT3).
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
        """The earlier one of the system clock and the clock of the store (PT3)."""
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
