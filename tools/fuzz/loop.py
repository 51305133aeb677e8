"""One event loop for all inputs of a process: creating one per input would take longer than the input itself."""

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
