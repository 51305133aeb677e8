"""The index of documents by time of edit in Redis, updated every few seconds so that appends need no command for it.

Rules (tests quote these ids):
    RN1  The replica that appended writes the times of all its appends within `LATE_S` in one command. Only documents
        already in the index are moved, so that a deletion is not undone; new ones are added with the listing.
    RN2  Times that Redis does not accept are sent again with the next command; on closing, they are sent at once.
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
    """The documents that this replica has edited since the last update of the index."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._noted: dict[DocumentId, int] = {}
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start updating."""
        self._some = asyncio.Event()
        self._task = asyncio.create_task(self._tell_forever())

    async def stop(self) -> None:
        """Write what is pending, and stop."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self.tell()

    def note(self, document: DocumentId, time_ms: int) -> None:
        """Note that a document was edited."""
        if time_ms > self._noted.get(document, 0):
            self._noted[document] = time_ms
            self._some.set()

    async def tell(self) -> None:
        """Update the index (RN1)."""
        noted, self._noted = self._noted, {}
        self._some.clear()
        if not noted:
            return
        scores: list[Argument] = [part for document, time_ms in noted.items() for part in (time_ms, document)]
        key = self._base.keys.edited
        try:
            await self._base.run(("ZADD", key, "XX", "GT", *scores))
        except RaffiaError as error:
            log.warning("the order of the listing by time is behind", detail=str(error))
            for document, time_ms in noted.items():
                self.note(document, time_ms)  # RN2

    async def _tell_forever(self) -> None:
        while True:
            await self._some.wait()
            await asyncio.sleep(LATE_S)
            with contextlib.suppress(RaffiaError):
                await self.tell()
