"""Shares work under way: everyone who asks for the same key while a task runs waits for that task.

Rules (tests quote these ids):
    SF1  One task runs for each key at a time.
    SF2  A task that has ended is never handed out, even before its callbacks have run. Awaiting one does not yield to
         the event loop, so a caller that asks until it is satisfied would otherwise stop the whole process.
    SF3  A caller that is cancelled leaves the task to the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class SingleFlight(Generic[K, R]):
    """The tasks of one kind of work, by key."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[R]] = {}

    def __contains__(self, key: K) -> bool:
        """Whether work for a key is under way."""
        task = self._tasks.get(key)
        return task is not None and not task.done()

    @property
    def tasks(self) -> list[asyncio.Task[R]]:
        """The tasks under way."""
        return list(self._tasks.values())

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Wait for the task of this key; `work` is started if there is none.

        Raises:
            Exception: whatever the work raised.
        """
        task = self._tasks.get(key)
        if task is None or task.done():
            task = self._tasks[key] = asyncio.get_running_loop().create_task(work())
            task.add_done_callback(lambda task: self._ended(key, task))
        return await asyncio.shield(task)

    def _ended(self, key: K, task: asyncio.Task[R]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            task.exception()  # raised to the waiters; if all of them have left, it is not our error
