"""Return freed memory to the system, if the allocator does not do so by itself."""

from __future__ import annotations

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

    glibc never returns freed blocks that are not at the top of the heap: after 10,000 documents, a process held four
    times the memory that it used. This releases the GIL and takes milliseconds for hundreds of megabytes, so call it
    from a thread.
    """
    trim = _malloc_trim()
    return trim is not None and bool(trim(0))
