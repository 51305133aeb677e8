"""A cache for pure functions of one string from outside, such as an address or a header, that repeats.

Rules (tests quote these ids):
    SHC1  At most `ENTRIES` results are kept, the least recently used are dropped, and strings longer than `CHARACTERS`
         are never kept, so that clients cannot fill the memory.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

R = TypeVar("R")

ENTRIES = 1024
CHARACTERS = 256


def short_cache(function: Callable[[str], R]) -> Callable[[str], R]:
    """Cache the results of a pure function for short arguments (SHC1)."""
    cached = lru_cache(ENTRIES)(function)

    @wraps(function)
    def call(text: str) -> R:
        return cached(text) if len(text) <= CHARACTERS else function(text)

    return call
