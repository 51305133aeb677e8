"""Turns at work that takes time and memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Person:
    """The turns of one person; `here` counts those who have one or wait for one."""

    __slots__ = ("free", "here")

    def __init__(self, each: int) -> None:
        self.free = asyncio.Semaphore(each)
        self.here = 0


class Turns:
    """Limits concurrent work, in total and for each person, so that slow people do not block the others.

    Args:
        at_once: turns at a time in total.
        each: turns at a time of one person.
    """

    def __init__(self, at_once: int, each: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._each = each
        self._people: dict[str, _Person] = {}

    @asynccontextmanager
    async def of(self, who: str) -> AsyncIterator[None]:
        """Wait for a turn of this person, and hold it in the block."""
        person = self._people.setdefault(who, _Person(self._each))
        person.here += 1
        try:
            async with person.free, self._free:
                yield
        finally:
            person.here -= 1
            if not person.here:
                del self._people[who]
