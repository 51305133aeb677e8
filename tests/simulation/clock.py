"""An event loop whose time stands still while any callback is ready, and jumps to the next timer when none is."""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never sleeps: timers fire at once, in order."""

    def __init__(self) -> None:
        super().__init__(selectors.DefaultSelector())
        self.now_s = 1000.0
        self._selector.select = self._jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self.now_s

    def _jump(self, timeout: float | None) -> list[object]:
        if timeout is None:
            raise RuntimeError("everything waits for something that never comes")
        self.now_s += max(0.0, timeout)
        return []


@contextmanager
def virtual_time() -> Iterator[VirtualLoop]:
    """Run the block on a loop of virtual time; the modules under test read that time too."""
    loop = VirtualLoop()
    timed = [
        name for name, module in sys.modules.items() if name.startswith("raffia.") and hasattr(module, "monotonic")
    ]
    patches = [patch(f"{name}.monotonic", loop.time) for name in timed]
    for one in patches:
        one.start()
    try:
        yield loop
    finally:
        for one in patches:
            one.stop()
        loop.close()
