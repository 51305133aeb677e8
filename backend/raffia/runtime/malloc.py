"""Memory that has been freed goes back to the system, where the allocator does not do so by itself."""

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
    except (AttributeError, OSError):  # not glibc: musl and others have none, and need none
        return None
    return trim


def give_back() -> bool:
    """Let the C library return what is free to the system; says whether it could.

    glibc keeps freed blocks below its top for ever: after 10,000 documents a process held four times what it used.
    Releases the GIL and takes milliseconds for hundreds of megabytes: call it from a thread.
    """
    trim = _malloc_trim()
    return trim is not None and bool(trim(0))
