"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import sys

import psutil
import pytest

from raffia.runtime.malloc import give_back


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc keeps freed memory")
def test_freed_blocks_below_the_top_are_given_back() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    process = psutil.Process()
    blocks = [libc.malloc(100_000) for _ in range(600)]  # 60 MB, below the size that is mapped by itself
    for block in blocks:
        ctypes.memset(block, 1, 100_000)
    pinned = libc.malloc(100_000)  # stands above them: without a trim they stay ours
    ctypes.memset(pinned, 1, 100_000)
    for block in blocks:
        libc.free(block)
    held = process.memory_info().rss
    assert give_back()
    assert process.memory_info().rss < held - 40_000_000
    libc.free(pinned)
