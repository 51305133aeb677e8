"""Checks whether the journal is available, as rarely as possible.

A check may write to the disk, so an idle server does not do it unless `/readyz` is requested.

Rules (tests quote these ids):
    JH1  The journal is checked, at most once a second, if `/readyz` was requested, if one of its commits failed, if
         appends are queued and none becomes durable, and as long as it is unavailable.
    JH2  It is unavailable from the first check that fails, or gets no answer within `ANSWER_S`, until one succeeds.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from raffia.errors import RaffiaError
from raffia.journal import Journal
from raffia.runtime.logs import get_logger

log = get_logger("raffia.journal.health")

LOOK_S = 1.0
ANSWER_S = 5.0


class JournalHealth:
    """Watches one journal inside `async with`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._away_since_s: float | None = None
        self._asked = False
        self._failures = 0
        self._commits = 0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def away_s(self) -> float:
        """How long the journal has been unavailable, in seconds; 0.0 if it is available. Requests a check (JH1)."""
        self._asked = True
        if self._away_since_s is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._away_since_s

    async def look(self) -> None:
        """Check the journal if there is a reason to (JH1)."""
        stats = self._journal.stats
        stuck = stats.queued > 0 and stats.commits == self._commits
        failing = stats.failures != self._failures
        self._commits, self._failures = stats.commits, stats.failures
        if not (stuck or failing or self._asked or self._away_since_s is not None):
            return
        self._asked = False
        begun_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._journal.healthy()
        except (RaffiaError, TimeoutError) as error:
            if self._away_since_s is None:
                self._away_since_s = begun_s
                log.warning("journal away", detail=str(error) or f"no answer within {ANSWER_S:g} s")
            return
        if self._away_since_s is not None:
            log.info("journal back", away_s=round(asyncio.get_running_loop().time() - self._away_since_s, 3))
            self._away_since_s = None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except Exception:
                log.exception("the check of the journal failed")
