"""The history of a memory journal."""

from __future__ import annotations

from raffia.journal import history
from raffia.journal.protocol import History, Window
from raffia.journal.testing.memory.store import StoreConnection, StoredDocument
from raffia.types import START, DocumentId


class MemoryHistory(History):
    """The history of the documents in a store."""

    def __init__(self, connection: StoreConnection, *, retention_ms: int) -> None:
        self._connection = connection
        self._retention_ms = retention_ms

    async def at(self, document: DocumentId, time_ms: int) -> list[bytes]:
        """Rebuild a past state."""
        self._connection.check_open()
        kept = self._connection.there(document)
        start = history.start_of([one for one, _ in kept.snapshots.values()], time_ms)
        if start is None and kept.complete_from:
            raise history.out_of_reach(document, time_ms)
        updates = []
        if start is not None:
            updates.append(kept.snapshots[start.upto][1].state)
        after = start.upto if start is not None else START
        limit = history.window(time_ms)
        for segment in kept.segments.values():
            if segment.last > after and segment.window_ms <= limit:
                updates += segment.updates
        return updates + history.updates_until(kept.entries, kept.folded.time_ms, time_ms)

    async def windows(self, document: DocumentId, since_ms: int = 0) -> list[Window]:
        """List who edited when."""
        self._connection.check_open()
        kept = self._connection.there(document)
        tail = history.split(kept.entries, kept.folded.time_ms)
        return history.windows([], [*kept.segments.values(), *tail], since_ms)

    def prune(self, kept: StoredDocument) -> None:
        """Drop the expired history of a document."""
        bases = [one for one, _ in kept.snapshots.values()]
        base = history.base_of(bases, self._connection.passed_time.passed_ms() - self._retention_ms)
        if not self._retention_ms and kept.folded.upto:
            base = kept.folded
        if base is None:
            return
        kept.complete_from = base.upto
        kept.snapshots = {upto: kept.snapshots[upto] for upto in kept.snapshots if upto >= base.upto}
        kept.segments = {id_: segment for id_, segment in kept.segments.items() if segment.last > base.upto}
