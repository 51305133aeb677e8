"""The order by time in Redis, brought up to date now and then: an append costs no command for it.

Rules (tests quote these ids):
    RN1  What was appended within `LATE_S` is told in one command, by the replica that appended it. Only documents that
        stand in the order already are moved, so that a deletion is not undone; new ones are put there with the listing.
    RN2  What Redis does not take is told again with the next; at the end it is told at once.
"""

from __future__ import annotations

import asyncio
import contextlib

from raffia.errors import RaffiaError
from raffia.journal.redis.base import Base
from raffia.journal.redis.engine import Argument
from raffia.runtime.logs import get_logger
from raffia.types import DocumentId

log = get_logger("raffia.journal")

LATE_S = 2.0


class EditedIndex:
    """Which documents of this replica have been edited since they were told."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._noted: dict[DocumentId, int] = {}
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tell."""
        self._some = asyncio.Event()
        self._task = asyncio.create_task(self._tell_forever())

    async def stop(self) -> None:
        """Tell what there is, and end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.tell()

    def note(self, document: DocumentId, time_ms: int) -> None:
        """A document was edited."""
        if time_ms > self._noted.get(document, 0):
            self._noted[document] = time_ms
            self._some.set()

    async def tell(self) -> None:
        """Bring the order up to date (RN1)."""
        noted, self._noted = self._noted, {}
        self._some.clear()
        if not noted:
            return
        scores: list[Argument] = [part for document, time_ms in noted.items() for part in (time_ms, document)]
        key = self._base.keys.edited
        try:
            await self._base.run(("ZADD", key, "XX", "GT", *scores))
        except RaffiaError as error:
            log.warning("the listing by time is late", detail=str(error))
            for document, time_ms in noted.items():
                self.note(document, time_ms)  # RN2

    async def _tell_forever(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(LATE_S)
            with contextlib.suppress(RaffiaError):
                await self.tell()
