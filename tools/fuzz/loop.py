"""One event loop for all inputs of a process: making one for each would take longer than what runs on it."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Coroutine
from functools import cache


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


def finish(work: Coroutine[object, object, None]) -> None:
    """Run a coroutine to its end."""
    _loop().run_until_complete(work)
