"""Limits concurrent work that takes time and memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Person:
    """One person's turns; `here` counts the tasks that hold a turn or wait for one."""

    __slots__ = ("free", "here")

    def __init__(self, each: int) -> None:
        self.free = asyncio.Semaphore(each)
        self.here = 0


class Turns:
    """Limits concurrent work, in total and per person, so that one slow person does not block the others.

    Args:
        at_once: maximum number of concurrent turns.
        each: maximum number of concurrent turns per person.
    """

    def __init__(self, at_once: int, each: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._each = each
        self._people: dict[str | None, _Person] = {}

    @asynccontextmanager
    async def of(self, who: str | None) -> AsyncIterator[None]:
        """Wait for a turn for this person and hold it during the block; all who are no person (None) count as one."""
        person = self._people.setdefault(who, _Person(self._each))
        person.here += 1
        try:
            async with person.free, self._free:
                yield
        finally:
            person.here -= 1
            if not person.here:
                del self._people[who]
