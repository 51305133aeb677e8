"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import sys
import threading

import psutil
import pytest

from raffia.runtime import malloc
from raffia.runtime.malloc import Trimmer, give_back


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


async def test_memory_is_given_back_once_enough_was_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []
    go_on = threading.Event()

    def trim() -> bool:
        assert go_on.wait(10)
        trims.append(threading.get_ident())
        return True

    monkeypatch.setattr(malloc, "give_back", trim)
    trimmer = Trimmer(2)
    await trimmer.finish()  # nothing is under way
    trimmer.freed()
    trimmer.trim()
    assert trimmer._task is None, "too little was freed"
    for _ in range(4):
        trimmer.freed()
    trimmer.trim()
    trimmer.freed()
    trimmer.trim()  # one at a time
    go_on.set()
    await trimmer.finish()
    assert len(trims) == 1
    assert trims[0] != threading.get_ident(), "not on the loop's thread"
    trimmer.freed()
    trimmer.trim()
    await trimmer.finish()
    assert len(trims) == 2
