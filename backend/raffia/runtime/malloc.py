"""Return freed memory to the system, if the allocator does not do so by itself."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable
from functools import cache


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):  # not glibc; musl and others do not have it, and do not need it
        return None
    return trim


def give_back() -> bool:
    """Make the C library return free memory to the system; returns whether it released any.

    By itself, glibc does not return freed blocks below the top of the heap: after 10,000 documents, a process held four
    times the memory that it used. This releases the GIL and can take milliseconds, so call it from a thread.
    """
    trim = _malloc_trim()
    return trim is not None and bool(trim(0))


class Trimmer:
    """Gives memory back in a thread, once enough has been freed.

    Args:
        after: how many large objects have to be freed before trimming is worth the time.
    """

    __slots__ = ("_after", "_freed", "_task")

    def __init__(self, after: int) -> None:
        self._after = after
        self._freed = 0
        self._task: asyncio.Task[bool] | None = None

    def freed(self) -> None:
        """Note that a large object is being freed."""
        self._freed += 1

    def trim(self) -> None:
        """Give memory back if enough has been freed since the last time; returns at once."""
        if self._freed >= self._after and self._task is None:
            self._freed = 0
            self._task = asyncio.create_task(asyncio.to_thread(give_back))
            self._task.add_done_callback(self._trimmed)

    def _trimmed(self, _task: asyncio.Task[bool]) -> None:
        self._task = None

    async def finish(self) -> None:
        """Wait for a trim that is in progress."""
        if self._task is not None:
            await self._task
