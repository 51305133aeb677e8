"""`raffia serve` with a faulty journal, for tests that have to notice the fault.

Started like the command: `python -m tests.faults.broken_server serve --port ...`

RAFFIA_TEST_JOURNAL selects the fault:
    eager   acknowledges an append 100 ms before making it
    held    neither makes nor acknowledges appends while the file RAFFIA_TEST_HOLD exists
"""

from __future__ import annotations

import asyncio
import functools
import os
from pathlib import Path

from raffia.cli import main as cli
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.types import Batch, DocumentId, Position

LATE_S = 0.1
POLL_S = 0.01


def eager(cls: type[SqliteJournal]) -> None:
    """Acknowledge first and write later, like a server that does not wait for its disk."""
    durable = cls.append
    last: dict[DocumentId, int] = {}
    writing: set[asyncio.Task[None]] = set()

    async def write(journal: SqliteJournal, document: DocumentId, batch: Batch) -> None:
        await asyncio.sleep(LATE_S)
        await durable(journal, document, batch)

    @functools.wraps(durable)
    def append(journal: SqliteJournal, document: DocumentId, batch: Batch) -> asyncio.Future[Position]:
        task = asyncio.get_running_loop().create_task(write(journal, document, batch))
        writing.add(task)
        task.add_done_callback(writing.discard)
        last[document] = last.get(document, 0) + 1
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        future.set_result(Position(last[document]))
        return future

    cls.append = append  # type: ignore[method-assign,assignment]


def held(cls: type[SqliteJournal], hold: Path) -> None:
    """Keep every append waiting while `hold` exists, like a disk that does not respond."""
    durable = cls.append

    @functools.wraps(durable)
    async def append(journal: SqliteJournal, document: DocumentId, batch: Batch) -> Position:
        while hold.exists():  # noqa: ASYNC110  (another process removes it)
            await asyncio.sleep(POLL_S)
        return await durable(journal, document, batch)

    @functools.wraps(durable)
    def ordered(journal: SqliteJournal, document: DocumentId, batch: Batch) -> asyncio.Future[Position]:
        return asyncio.get_running_loop().create_task(append(journal, document, batch))

    cls.append = ordered  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    how = os.environ.pop("RAFFIA_TEST_JOURNAL")
    if how == "eager":
        eager(SqliteJournal)
    elif how == "held":
        held(SqliteJournal, Path(os.environ.pop("RAFFIA_TEST_HOLD")))
    else:
        raise SystemExit(f"RAFFIA_TEST_JOURNAL={how} is not known; use eager or held")
    cli.main()
