"""Long work in another process: pycrdt and our own readers never release the GIL.

Rules:
    K1  Only pure functions of bytes go there, so a worker that dies loses nothing: the work is done again, once.
    K2  No process is started before there is long work; leaving the context ends them all.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

from weft.errors import InternalError

P = ParamSpec("P")
R = TypeVar("R")


class Workers:
    """A small pool of processes for merges, folds, diffs and reads of large updates."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)

    async def run(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a picklable function with picklable arguments in a worker.

        Raises:
            InternalError: two workers died over it.
            Exception: what the function raised.
        """
        for _ in range(2):
            pool = self._pool
            if pool is None:
                # Not fork: a copy of a process with threads and an event loop may hang.
                context = multiprocessing.get_context("spawn")
                pool = self._pool = ProcessPoolExecutor(self._processes, mp_context=context)
            try:
                return await asyncio.wrap_future(pool.submit(work, *args, **kwargs))
            except BrokenProcessPool:
                if self._pool is pool:
                    self._pool = None
                pool.shutdown(wait=False)
        raise InternalError(f"two worker processes died over {getattr(work, '__qualname__', work)}")
