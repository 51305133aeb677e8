"""The history on Redis: rebuilding past states, listing windows, and dropping expired history.

Rules (tests quote these ids):
    RP4  History is read in several steps; if the document is compacted or pruned in between, everything is read again,
         up to `TRIES` times in all.
    RP5  One sorted set records which documents are due, so that pruning examines no others. A claim keeps replicas that
         prune at the same time from working on the same document; doing it twice is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from raffia.errors import ForbiddenError, JournalUnavailableError, QuarantinedError, RaffiaError
from raffia.journal import history
from raffia.journal.history import BaseSnapshot
from raffia.journal.protocol import Entry, History, Window
from raffia.journal.redis.base import KEEP_MS, Base
from raffia.journal.redis.blobs import GoneError, read_blob
from raffia.journal.redis.compaction import read_segments, segments_of, trim
from raffia.journal.redis.engine import Argument
from raffia.journal.redis.keys import id_of, position_of, sequence_of
from raffia.journal.redis.loading import TRIES, UnsteadyError, base_at, base_snapshots, read_entries
from raffia.journal.redis.replies import deleted, texts
from raffia.runtime.logs import get_logger
from raffia.types import START, DocumentId, Position

log = get_logger("raffia.journal")

CLAIM_MS = 300_000
_CLAIMED = 50
_PRUNED = 500  # segments that one script call drops
T = TypeVar("T")


class _Head(NamedTuple):
    last: Position
    folded: Position
    folded_ms: int
    complete_from: Position


class RedisHistory(History):
    """The history of the documents of one journal."""

    def __init__(self, base: Base, *, retention_ms: int) -> None:
        self._base = base
        self._retention_ms = retention_ms

    async def at(self, document: DocumentId, time_ms: int) -> list[bytes]:
        """Rebuild a past state (J9)."""
        self._base.check_open()

        async def read(head: _Head) -> list[bytes]:
            kept = await base_snapshots(self._base, document)
            start = history.start_of([record.base for record in kept], time_ms)
            if start is None and head.complete_from:
                raise history.out_of_reach(document, time_ms)
            updates: list[bytes] = []
            after = START
            if start is not None:
                after = start.upto
                (record,) = (one for one in kept if one.base == start)
                (state,) = await read_blob(self._base, document, record.blob, record.state_bytes)
                updates.append(state)
            # By their own windows: the scores have no checksum.
            found = await segments_of(self._base, document, "-inf", "+inf")
            if start is None and head.folded and found and min(sequence_of(one.first) for one in found) > 1:
                raise QuarantinedError("its beginning is missing, but its meta says that it is complete")
            until_ms = history.window(time_ms)
            chosen = [segment for segment in found if segment.last > after and segment.window_ms <= until_ms]
            for body in await read_segments(self._base, document, chosen):
                updates += body
            return updates + history.updates_until(await self._tail(document, head), head.folded_ms, time_ms)

        return await self._steady(document, read)

    async def windows(self, document: DocumentId, since_ms: int = 0) -> list[Window]:
        """List who edited when."""
        self._base.check_open()

        async def read(head: _Head) -> list[Window]:
            found = await segments_of(self._base, document, "-inf", "+inf")
            kept = [
                Window(one.window_ms, one.author, one.size_bytes)
                for one in sorted(found, key=lambda one: one.window_ms)
                if one.window_ms >= since_ms
            ]
            tail = history.split(await self._tail(document, head), head.folded_ms)
            return history.windows(kept, tail, since_ms)

        return await self._steady(document, read)

    async def _tail(self, document: DocumentId, head: _Head) -> list[Entry]:
        return await read_entries(self._base, document, head.folded, head.last)

    async def _steady(self, document: DocumentId, read: Callable[[_Head], Awaitable[T]]) -> T:
        """Read until nothing has changed in between (RP4)."""
        reason: Exception | None = None
        for attempt in range(TRIES):
            head = await self._head(document)
            try:
                head = await self._checked(document, head)
                found = await read(head)
            except (GoneError, UnsteadyError, QuarantinedError, ValueError) as error:
                reason = error
            else:
                now = await self._head(document)
                if (now.folded, now.complete_from) == (head.folded, head.complete_from):
                    return found
            await asyncio.sleep(0.01 * attempt)
        if reason is None:
            raise JournalUnavailableError(f"document {document} is being compacted all the time; try again")
        raise QuarantinedError(f"the history of {document} cannot be read: {reason}") from reason

    async def _checked(self, document: DocumentId, head: _Head) -> _Head:
        """Return the head with the time that the snapshot itself has, because `folded_ms` has no checksum."""
        if head.folded:
            record = await base_at(self._base, document, head.folded)
            return head._replace(folded_ms=record.base.time_ms)
        if await base_snapshots(self._base, document):
            raise UnsteadyError("there are snapshots, but the meta names none")
        return head

    async def _head(self, document: DocumentId) -> _Head:
        fields = ("created_ms", "deleted_ms", "last", "folded", "folded_ms", "complete_from")
        created_ms, deleted_ms, *ids, folded_ms, from_id = await self._base.head(document, *fields)
        if deleted_ms is not None:
            raise deleted(document)
        if created_ms is None:
            raise ForbiddenError(f"there is no document {document}")
        try:
            last, folded, start = (START if one is None else position_of(one) for one in (*ids, from_id))
            return _Head(last, folded, int(folded_ms or 0), start)
        except ValueError as error:
            raise QuarantinedError(f"the meta of {document} is damaged: {error}") from error

    # dropping

    async def prune_due(self) -> None:
        """Drop the expired history of all documents that are due (J11, RP5)."""
        base = self._base
        while True:
            now_ms = base.now_ms()
            claimed = texts(await base.script("claim", [base.keys.due], [now_ms, CLAIM_MS, _CLAIMED]))
            for name in claimed:
                document = DocumentId(name.decode())
                try:
                    due_ms = await self.prune(document)
                except JournalUnavailableError:
                    raise
                except RaffiaError as error:
                    # One damaged document must not stop the pruning of the others.
                    log.warning("history is not pruned", document=document, detail=str(error))
                    continue
                # Due by the system clock, perhaps, but not by the time that has certainly passed: do not retry at once.
                next_ms: Argument = "" if due_ms is None else max(due_ms, now_ms + KEEP_MS)
                args: list[Argument] = [document, now_ms + CLAIM_MS, next_ms]
                await base.script("schedule", [base.keys.due], args)
            if len(claimed) < _CLAIMED:
                return

    async def prune(self, document: DocumentId) -> int | None:
        """Trim the log and drop expired history; return the time at which there will be more to drop."""
        deleted_ms, folded_id = await self._base.head(document, "deleted_ms", "folded")
        if deleted_ms is not None:
            return None
        trim_ms = await trim(self._base, document)
        kept = await base_snapshots(self._base, document)
        base = history.base_of(
            [record.base for record in kept], self._base.passed_time.passed_ms() - self._retention_ms
        )
        if not self._retention_ms and folded_id is not None:
            base = next((record.base for record in kept if record.base.upto == position_of(folded_id)), base)
        if base is not None:
            await self._drop_before(document, base)
        rest = [record.base for record in kept if base is None or record.base.upto > base.upto]
        dues = [one.time_ms + self._retention_ms for one in rest] if self._retention_ms else []
        if trim_ms is not None:
            dues.append(trim_ms)
        return min(dues, default=None)

    async def _drop_before(self, document: DocumentId, base: BaseSnapshot) -> None:
        keys = self._base.keys
        old = [record for record in await base_snapshots(self._base, document) if record.base.upto < base.upto]
        found = await segments_of(self._base, document, "-inf", history.window(base.time_ms))
        gone = [segment for segment in found if segment.last <= base.upto]
        from_id = (await self._base.head(document, "complete_from"))[0]
        if not old and not gone and from_id is not None and sequence_of(position_of(from_id)) >= sequence_of(base.upto):
            return
        for start in range(0, max(len(gone), 1), _PRUNED):
            chosen = gone[start : start + _PRUNED]
            args: list[Argument] = [id_of(base.upto), KEEP_MS, len(old)]
            for record in old:
                args += (id_of(record.base.upto), record.size_bytes)
            for segment in chosen:
                args += (segment.member, segment.size_bytes)
            blobs = [*(record.blob for record in old), *(segment.blob for segment in chosen)]
            names = [keys.meta(document), keys.base_snapshots(document), keys.segments(document)]
            names += [keys.blob(document, blob) for blob in blobs]
            await self._base.ask("prune", document, names, args)
            old = []
