"""Turns at something that takes a while and some memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class _Person:
    """The turns of one person; `here` have one or wait for one."""

    __slots__ = ("free", "here")

    def __init__(self, each: int) -> None:
        self.free = asyncio.Semaphore(each)
        self.here = 0


class Turns:
    """So many at a time in all, and fewer of one person: who takes long keeps nobody else waiting.

    Args:
        at_once: in all.
        each: of one person.
    """

    def __init__(self, at_once: int, each: int) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._each = each
        self._people: dict[str, _Person] = {}

    @asynccontextmanager
    async def of(self, who: str) -> AsyncIterator[None]:
        """Wait for a turn of this person, and have it."""
        person = self._people.setdefault(who, _Person(self._each))
        person.here += 1
        try:
            async with person.free, self._free:
                yield
        finally:
            person.here -= 1
            if not person.here:
                del self._people[who]
