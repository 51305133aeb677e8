"""What is known about a job before it runs, its limits, and the documents whose jobs have overrun.

Rules (tests quote these ids):
    JB1  A job's limit of processor time grows with the bytes that it reads, between a floor and a ceiling. Honest work
         is linear and mostly takes a tenth of it.
    JB2  A document whose job overran is remembered, and the same work on it is refused meanwhile (other work is not: a
         document that pycrdt cannot load in time is still merged and stored): for `FORGET_S` the first time,
         twice as long each further time, at most `FORGET_MAX_S`. At most `MAX_REMEMBERED` are remembered.
    JB3  It is forgotten at once when it has become smaller, as by a compaction.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from raffia.errors import TooCostlyError

FLOOR_S: Final = 2.0
CEILING_S: Final = 120.0  # the longest honest job, a fold of 64 MiB, takes about 20 s
S_PER_MIB: Final = 3.0  # a fold takes 0.3 s per MiB, and 1.5 s if nothing can be joined in it
SHORT_BYTES: Final = 256 * 1024
FORGET_S: Final = 60.0
FORGET_MAX_S: Final = 3600.0
MAX_REMEMBERED: Final = 1024
SMALLER: Final = 0.75
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """What is known about a job.

    Attributes:
        size_bytes: of everything that it reads.
        document: the document that it reads; it is remembered if the job overruns (JB2). None for bytes that are not
            part of a document yet.
        person: who asked for it: a user or an address. One job of a person runs at a time. None for the server's own.
    """

    size_bytes: int
    document: str | None = None
    person: str | None = None

    @property
    def limit_s(self) -> float:
        """The job's limit of processor time in seconds (JB1)."""
        return min(FLOOR_S + S_PER_MIB * self.size_bytes / _MIB, CEILING_S)

    @property
    def is_short(self) -> bool:
        """Whether it belongs into the lane for short work."""
        return self.size_bytes <= SHORT_BYTES


def size_of(values: object) -> int:
    """Bytes in a value that is bytes, or a list or tuple of such; anything else counts nothing."""
    if isinstance(values, bytes):
        return len(values)
    if isinstance(values, list | tuple):
        return sum(map(size_of, values))
    return 0


@dataclass(slots=True)
class _Overrun:
    size_bytes: int
    times: int
    until_s: float


class Overruns:
    """The documents whose jobs have overrun (JB2, JB3).

    Args:
        clock: monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[str | None, str], _Overrun] = {}

    def check(self, job: Job, work: str) -> None:
        """Check that this work on the job's document is not remembered.

        Raises:
            TooCostlyError: it is.
        """
        key = (job.document, work)
        known = self._known.get(key)
        if known is None:
            return
        if job.size_bytes < SMALLER * known.size_bytes:
            del self._known[key]
            return
        left_s = known.until_s - self._clock()
        if left_s > 0:
            raise TooCostlyError(
                f"{work} on document {job.document} took longer than {job.limit_s:.1f} s of processor time for "
                f"{job.size_bytes} bytes; it is refused for another {left_s:.0f} s; copy the content into a new "
                "document"
            )

    def add(self, job: Job, work: str) -> None:
        """Remember the job's document for this work."""
        if job.document is None:
            return
        key = (job.document, work)
        known = self._known.pop(key, None)
        times = 1 if known is None else known.times + 1
        while len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        pause_s = min(FORGET_S * 2.0 ** min(times - 1, 16), FORGET_MAX_S)
        self._known[key] = _Overrun(job.size_bytes, times, self._clock() + pause_s)

    def __len__(self) -> int:
        return len(self._known)
