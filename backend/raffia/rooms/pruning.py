"""Periodic removal of expired data from the journal."""

from __future__ import annotations

import asyncio

from raffia.errors import RaffiaError
from raffia.journal import Journal
from raffia.runtime.logs import get_logger

log = get_logger("raffia.rooms.pruning")

PRUNE_EVERY_S = 300.0


async def prune_forever(journal: Journal) -> None:
    """Prune every `PRUNE_EVERY_S`. A failure is logged, and the next round tries again."""
    while True:
        await asyncio.sleep(PRUNE_EVERY_S)
        try:
            await journal.prune()
        except RaffiaError as error:
            log.warning("history not pruned", detail=str(error))
        except Exception:
            log.exception("history not pruned")
