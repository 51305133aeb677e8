"""Compaction on Redis: a snapshot replaces entries, which stay as history.

Rules (tests quote these ids):
    RK1  A lease keeps two replicas from doing the same work; its fencing number makes it safe: a commit or a trim with
         an old number changes nothing.
    RK2  Blobs are written first, then one script switches to them. If interrupted before that, nothing has changed and
         they expire; if the reply is lost, the old state or the new one holds (J8).
    RK3  The entry at `upto` must be in the log unchanged: a snapshot of a lost lineage is not committed.
    RK4  Folded entries stay in the log for `KEEP_MS`, so that readers slightly behind need not load. The log is trimmed
         in bounded steps and never deleted; the entry at its floor stays and identifies the lineage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from raffia.errors import ForbiddenError, InternalError, QuarantinedError, RaffiaError
from raffia.journal import history
from raffia.journal.entries import decode_updates, encode_updates
from raffia.journal.protocol import Snapshot
from raffia.journal.redis.base import KEEP_MS, Base, Seen
from raffia.journal.redis.blobs import GoneError, read_blobs, write_blob, write_blobs
from raffia.journal.redis.engine import Argument
from raffia.journal.redis.keys import id_of, position_of
from raffia.journal.redis.loading import UnsteadyError, base_at, base_snapshots, read_entries
from raffia.journal.redis.records import BaseRecord, SegmentRecord, read_segment, write_base, write_segment
from raffia.journal.redis.replies import deleted, texts
from raffia.runtime.logs import get_logger
from raffia.types import START, DocumentId, Position

log = get_logger("raffia.journal")

LEASE_MS = 60_000
TRIM_ENTRIES = 1000  # removed from the log by one call
_TRIES = 3


async def _nothing(_step: str) -> None:
    """Do nothing; the default of `at_step`."""


class Compaction:
    """Compacts the documents of one journal.

    Attributes:
        at_step: awaited before the steps `commit` and `trim`, with their names; tests use it to intervene.
    """

    def __init__(self, base: Base, seen: Seen, *, retention_ms: int, fold: history.Fold) -> None:
        self._base = base
        self._seen = seen
        self._retention_ms = retention_ms
        self._fold = fold
        self._locks: dict[DocumentId, tuple[asyncio.Lock, list[None]]] = {}
        self.at_step: Callable[[str], Awaitable[None]] = _nothing

    async def compact(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> bool:
        """Replace entries with a snapshot; return whether that happened."""
        lock, users = self._locks.setdefault(document, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:  # the lease is held by the replica, in which only one task may use it
                return await self._with_lease(document, snapshot, upto)
        finally:
            users.pop()
            if not users:
                del self._locks[document]

    async def _with_lease(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> bool:
        keys, base = self._base.keys, self._base
        if not await self._is_due(document, upto):
            return False
        word, rest = await base.ask(
            "lease", document, [keys.meta(document), keys.lease(document)], [base.replica, LEASE_MS]
        )
        if word != b"ok":
            return False  # another replica is compacting, and announces it when it is done
        fence = rest[0]
        assert isinstance(fence, int)
        try:
            for _ in range(_TRIES):
                try:
                    return await self._compact(document, snapshot, upto, fence)
                except (GoneError, UnsteadyError):
                    # History was pruned, or the log was cut, during the read.
                    if not await self._is_due(document, upto):
                        return False
            return False
        finally:
            await asyncio.shield(asyncio.ensure_future(self._release(document)))

    async def _release(self, document: DocumentId) -> None:
        try:
            await self._base.script("release", [self._base.keys.lease(document)], [self._base.replica])
        except RaffiaError as error:
            log.debug("the lease is left to expire", document=document, detail=str(error))

    async def _is_due(self, document: DocumentId, upto: Position) -> bool:
        """Whether there is something to fold (J8)."""
        found = await self._base.head(document, "created_ms", "deleted_ms", "last", "folded")
        created_ms, deleted_ms, last_id, folded_id = found
        if deleted_ms is not None:
            raise deleted(document)
        if created_ms is None:
            raise ForbiddenError(f"there is no document {document}")
        last = START if last_id is None else position_of(last_id)
        if upto <= (START if folded_id is None else position_of(folded_id)):
            return False
        if upto > last and upto > (self._seen.get(document) or START):
            raise InternalError(f"{document} cannot be compacted up to {upto}: its last entry is {last}")
        return upto <= last  # otherwise the log has lost what was seen of it (RK3); its readers are told

    async def _compact(self, document: DocumentId, snapshot: Snapshot, upto: Position, fence: int) -> bool:
        base, keys = self._base, self._base.keys
        before_id, created_ms = await base.head(document, "folded", "created_ms")
        before = history.BaseSnapshot(START if before_id is None else position_of(before_id), 0)
        if before.upto:  # `folded_ms` of the meta has no checksum
            before = (await base_at(base, document, before.upto)).base
        entries = await read_entries(base, document, before.upto, upto, upto=upto)
        if not entries or entries[-1].position != upto:
            return False  # RK3
        size = sum([len(edit.update) for entry in entries for edit in entry.batch])
        splitter = history.Splitter(before.time_ms)
        for start in range(0, len(entries), 500):
            splitter.add(entries[start : start + 500])
            await asyncio.sleep(0)
        kept = await base_snapshots(base, document)
        if kept and not before.upto:
            raise UnsteadyError("there are snapshots, but the meta names none")
        older = max(
            (record.base for record in kept if record.base.upto < before.upto),
            key=lambda one: one.upto,
            default=history.BaseSnapshot(START, int(created_ms or 0)),
        )
        stays = before.upto > START and history.stays_as_base(
            before, older, self._retention_ms, base.passed_time.passed_ms()
        )
        boundary = before.upto if stays else older.upto
        added, replaced = await self._segments(document, splitter, boundary)
        blob = await write_blob(base, document, snapshot.state, snapshot.index)
        written = BaseRecord(
            history.BaseSnapshot(upto, splitter.latest_ms), blob, len(snapshot.state), len(snapshot.index)
        )
        dropped = [record.blob for record in replaced]
        if not stays:
            dropped += [record.blob for record in kept if record.base.upto == before.upto]
        args: list[Argument] = [
            fence,
            id_of(before.upto),
            id_of(upto),
            written.base.time_ms,
            written.size_bytes,
            size,
            write_base(document, written),
            "1" if stays else "0",
            base.publish,
            keys.channel(document),
            base.replica,
            base.now_ms(),
            KEEP_MS,
            1 + len(added),
            len(added),
            len(replaced),
        ]
        for record in added:
            args += (record.window_ms, record.member, record.size_bytes)
        for record in replaced:
            args += (record.member, record.size_bytes)
        blobs = [blob, *(record.blob for record in added), *dropped]
        names = [keys.meta(document), keys.log(document), keys.base_snapshots(document)]
        names += [keys.segments(document), *(keys.blob(document, name) for name in blobs)]
        # Recorded before the commit: if we are killed in between, pruning examines this document once for nothing.
        await base.run(("ZADD", keys.due, "LT", base.now_ms() + KEEP_MS, document))
        await self.at_step("commit")
        word, _ = await base.ask("commit", document, names, args)
        if word != b"ok":
            log.info("a compaction came too late", document=document, upto=upto)
            return False
        await self.at_step("trim")
        await trim(base, document, fence)
        return True

    async def _segments(
        self, document: DocumentId, splitter: history.Splitter, boundary: Position
    ) -> tuple[list[SegmentRecord], list[SegmentRecord]]:
        """Write the segments of a tail; return them and the stored ones that they replace (H2)."""
        segments = splitter.segments() if self._retention_ms else []
        if not segments:
            return [], []
        # Times never go back (J10), so the previous compaction can only have begun the first window.
        try:
            begun = await segments_of(self._base, document, segments[0].window_ms, segments[0].window_ms)
            bodies = await read_segments(self._base, document, begun)
        except QuarantinedError as error:
            # What is damaged is not joined with anything new (CS2).
            self._base.report(f"the history of {document}", error)
            begun, bodies = [], []
        old = {
            index: history.Segment(record.first, record.last, record.window_ms, record.author, updates)
            for index, (record, updates) in enumerate(zip(begun, bodies, strict=True))
        }
        segments = [history.take_in(segment, old, boundary) for segment in segments]
        segments = [replace(segment, updates=await self._fold(segment.updates)) for segment in segments]
        encoded = [encode_updates(segment.updates) for segment in segments]
        blobs = await write_blobs(self._base, document, [[body] for body in encoded])
        added = [
            write_segment(
                document,
                first=segment.first,
                last=segment.last,
                window_ms=segment.window_ms,
                author=segment.author,
                blob=blob,
                blob_bytes=len(body),
                size_bytes=segment.size_bytes,
            )
            for segment, body, blob in zip(segments, encoded, blobs, strict=True)
        ]
        return added, [begun[index] for segment in segments for index in segment.replaces]


async def trim(base: Base, document: DocumentId, fence: int | None = None) -> int | None:
    """Remove from the log what was folded long enough ago (RK4); return when there will be more to remove."""
    keys = [base.keys.meta(document), base.keys.log(document), base.keys.base_snapshots(document)]
    while True:
        args: list[Argument] = ["" if fence is None else fence, base.now_ms(), KEEP_MS, TRIM_ENTRIES]
        word, rest = await base.ask("trim", document, keys, args)
        if word != b"ok" or not rest[1]:
            return None
        if rest[0] != b"1":
            return int(rest[1])


async def segments_of(base: Base, document: DocumentId, from_ms: int | str, to_ms: int | str) -> list[SegmentRecord]:
    """Read the segment records of a range of windows, in order."""
    (reply,) = await base.run(("ZRANGEBYSCORE", base.keys.segments(document), from_ms, to_ms))
    return [read_segment(document, member) for member in texts(reply)]


async def read_segments(base: Base, document: DocumentId, records: Sequence[SegmentRecord]) -> list[list[bytes]]:
    """Read the updates of segments."""
    found = await read_blobs(base, document, [(record.blob, (record.blob_bytes,)) for record in records])
    return [decode_updates(body) for (body,) in found]
