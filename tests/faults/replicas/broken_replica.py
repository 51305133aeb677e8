"""`raffia serve --redis` with a fault, for tests that have to notice it.

Started like the command: `python -m tests.faults.replicas.broken_replica serve --port ...`

RAFFIA_TEST_BROKEN selects the fault:
    eager   acknowledges an append 100 ms before sending it to Redis
    deaf    is told that the log has lost something, and does not append what it lacks
    newer   no fault, but a later version: its entries have an additional field, its presence has another format
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Sequence
from typing import Any

import raffia.rooms.durable.log_follower
import raffia.rooms.presence.relay
from raffia.cli import main as cli
from raffia.journal import Loaded
from raffia.journal.redis import scripts, writer
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.redis.keys import new_nonce, position_at
from raffia.journal.redis.scripts import Script
from raffia.types import Batch, DocumentId, Position

LATE_S = 0.1


def eager() -> None:
    """Acknowledge first and append later, like a replica that does not wait for Redis."""
    durable = RedisJournal.append
    last: dict[DocumentId, int] = {}
    writing: set[asyncio.Task[None]] = set()

    async def write(journal: RedisJournal, document: DocumentId, batch: Batch) -> None:
        await asyncio.sleep(LATE_S)
        await durable(journal, document, batch)

    @functools.wraps(durable)
    def append(journal: RedisJournal, document: DocumentId, batch: Batch) -> asyncio.Future[Position]:
        task = asyncio.get_running_loop().create_task(write(journal, document, batch))
        writing.add(task)
        task.add_done_callback(writing.discard)
        last[document] = last.get(document, 0) + 1
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        future.set_result(position_at(last[document], new_nonce()))
        return future

    RedisJournal.append = append  # type: ignore[method-assign]


def deaf() -> None:
    """Treat a log that has lost something as if it had not."""
    compare = raffia.rooms.durable.log_follower.compare

    @functools.wraps(compare)
    def half(loaded: Loaded, parts: Sequence[bytes], state_vector: bytes, **options: Any) -> tuple[bytes, bytes | None]:
        return compare(loaded, parts, state_vector, **options)[0], None

    raffia.rooms.durable.log_follower.compare = half


def newer() -> None:
    """Write an additional field with each entry, and presence that this version cannot read."""
    load_script = scripts.load_script

    def load(name: str) -> Script:
        script = load_script(name)
        before, after = "id, 'u', ARGV[i + 1])", "id, 'future', 'é😀', 'u', ARGV[i + 1])"
        if name != "append":
            return script
        if before not in script.source:
            raise SystemExit(f"append.lua has no {before}")
        source = script.source.replace(before, after)
        return scripts.make_script(name, source)

    writer.load_script = load  # type: ignore[attr-defined]
    raffia.rooms.presence.relay.FORMAT = 250


if __name__ == "__main__":
    how = os.environ.pop("RAFFIA_TEST_BROKEN")
    kinds = {"eager": eager, "deaf": deaf, "newer": newer}
    if how not in kinds:
        raise SystemExit(f"RAFFIA_TEST_BROKEN={how} is not known; use one of {', '.join(kinds)}")
    kinds[how]()
    cli.main()
