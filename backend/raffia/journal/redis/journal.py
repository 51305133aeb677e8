"""The journal for several replicas. Every document is a log in Redis; its channel tells the replicas of new entries.

Modules: `writer` appends, `feeds` delivers new entries, `loading` reads whole documents, `compaction` and `history`
fold entries and keep history, `bus` carries presence; `directory`, `versions`, `links` and `revocations` implement the
protocols of these names. Rules: J1-J24 of `raffia.journal.protocol`, and those in the modules' docstrings.

Rules (tests quote these ids):
    RJ1  The store and each document record their format; a newer one is refused before anything is written (J16).
    RJ2  A Redis that refuses writes (read-only, full, loading, too few replicas) counts as unavailable: nothing is
         acknowledged, and everything resumes without intervention when it accepts writes again (J7).
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from raffia.errors import JournalUnavailableError, SettingsError
from raffia.journal import history
from raffia.journal.follow import FOLLOW_ENTRIES
from raffia.journal.passed_time import PassedTime, elapsed_ms, system_ms
from raffia.journal.protocol import TRASH_MS, Followed, Journal, JournalStats, Loaded, Snapshot
from raffia.journal.redis.base import Base, RedisStats, Seen
from raffia.journal.redis.bus import BEAT_S, RedisBus
from raffia.journal.redis.channels import Channels
from raffia.journal.redis.client import Engine
from raffia.journal.redis.compaction import Compaction
from raffia.journal.redis.directory import RedisDirectory
from raffia.journal.redis.edited_index import EditedIndex
from raffia.journal.redis.engine import Argument, Command, Reply
from raffia.journal.redis.feeds import Feeds
from raffia.journal.redis.history import RedisHistory
from raffia.journal.redis.keys import FORMAT, Keys, sequence_of
from raffia.journal.redis.links import RedisShareLinks
from raffia.journal.redis.loading import load
from raffia.journal.redis.replies import check_format, checked, error_of, texts
from raffia.journal.redis.revocations import RedisRevocations
from raffia.journal.redis.versions import RedisVersions
from raffia.journal.redis.writer import Writer
from raffia.runtime.logs import get_logger
from raffia.runtime.metrics import Metrics
from raffia.types import Batch, DocumentId, Position

log = get_logger("raffia.journal")

REDIS_RETENTION_MS = 3_600_000
CHECK_S = 5.0


class RedisJournal(Journal):
    """`Journal` in Redis, shared by all replicas that use the same prefix.

    Args:
        engine: the connections; entered and left by the journal.
        prefix: what all keys begin with.
        now_ms: the system clock, Unix time in milliseconds.
        elapsed_ms: a monotonic clock, in milliseconds.
        server_ms: the clock of Redis, Unix time in milliseconds; by default Redis is asked. For tests.
        retention_ms: how long history is kept (J11); 0 keeps none.
        trash_ms: how long a deleted document can be restored (J14).
        fold: makes segments smaller; see `history.Fold`.
        follow_entries: how many entries are queued for one reader (J15).
        check_s: seconds between two comparisons of the cursors with the ends of the logs (RF2 of feeds.py).
        beat_s: seconds between two heartbeats.
        replica: this replica's name, unique and never reused; random by default.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        prefix: str = "raffia",
        now_ms: Callable[[], int] = system_ms,
        elapsed_ms: Callable[[], int] = elapsed_ms,
        server_ms: Callable[[], int] | None = None,
        retention_ms: int = REDIS_RETENTION_MS,
        trash_ms: int = TRASH_MS,
        fold: history.Fold = history.fold,
        follow_entries: int = FOLLOW_ENTRIES,
        check_s: float = CHECK_S,
        beat_s: float = BEAT_S,
        replica: str | None = None,
    ) -> None:
        self.stats = JournalStats()
        self.is_shared = True
        self._engine = engine
        self.passed_time: PassedTime = PassedTime(now_ms, elapsed_ms)
        self._server_ms = server_ms
        self._base = Base(engine, Keys(prefix), self.passed_time, replica or secrets.token_hex(8))
        self._seen = Seen()
        self._channels = Channels(engine)
        self._feeds = Feeds(self._base, self._seen, self._channels, follow_entries=follow_entries, check_s=check_s)
        self._recent = EditedIndex(self._base)
        self._writer = Writer(self._base, self._seen, self._feeds, self.stats, self._recent)
        self._compactor = Compaction(self._base, self._seen, retention_ms=retention_ms, fold=fold)
        self.history: RedisHistory = RedisHistory(self._base, retention_ms=retention_ms)
        self.versions = RedisVersions(self._base)
        self.directory: RedisDirectory = RedisDirectory(self._base, self._writer, self._feeds, trash_ms=trash_ms)
        self.links = RedisShareLinks(self._base)
        self.revocations: RedisRevocations = RedisRevocations(self._base, self._channels)
        self.bus: RedisBus = RedisBus(self._base, self._channels, beat_s=beat_s)
        self._stack: AsyncExitStack | None = None

    @property
    def redis_stats(self) -> RedisStats:
        """Counters that only this journal has."""
        return self._base.stats

    async def warnings(self) -> list[str]:
        """Describe, in one sentence each, how the setup of Redis could lose data."""
        return await self._engine.warnings()

    def export(self, metrics: Metrics) -> None:
        """Write the Redis counters into the metrics."""
        stats = self._base.stats
        metrics.redis_gaps = stats.gaps
        metrics.redis_resyncs = stats.resyncs
        metrics.redis_reconnects = stats.reconnects
        metrics.redis_lag_s = stats.lag_s
        metrics.redis_presence_dropped = stats.presence_dropped

    async def __aenter__(self) -> Self:
        """Open it."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._engine)
            try:
                await self._check_format()
            except JournalUnavailableError as error:
                raise JournalUnavailableError(
                    f"{error}; start Redis, or set --redis (RAFFIA_REDIS) to where it is"
                ) from error
            (kept,) = await self._base.run(("GET", self._base.keys.passed_time))
            self.passed_time.stored(_time_of(kept))
            self._feeds.start()
            stack.push_async_callback(self._feeds.stop)
            self.revocations.start()
            stack.callback(self.revocations.stop)
            await stack.enter_async_context(self.bus)
            self._recent.start()
            stack.push_async_callback(self._recent.stop)
            self._writer.start()
            stack.push_async_callback(self._writer.stop)
            self._stack = stack.pop_all()
            self._base.is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Append what is queued, and close (J17)."""
        stack, self._stack = self._stack, None
        self._base.is_open = False
        if stack is not None:
            self._engine.hurry()
            await stack.aclose()
        self._seen.clear()

    async def _check_format(self) -> None:
        """Refuse a store written by a newer Raffia (RJ1)."""
        key = self._base.keys.format
        (found,) = await self._base.run(("GET", key))
        if isinstance(found, bytes):
            if not found.isdigit():
                raise SettingsError(f"{key} in Redis does not belong to Raffia; choose another prefix")
            check_format("what is stored", found)
            return
        # If Redis refuses writes now, the first replica that can write does it.
        (reply,) = await self._engine.run([Command(key, ("SET", key, FORMAT, "NX"))])
        if isinstance(reply, BaseException):
            log.warning("Redis accepts no writes", detail=str(error_of(reply)))

    async def healthy(self) -> None:
        """Write something (RJ2)."""
        self._base.check_open()
        key = self._base.keys.probe
        (reply,) = await self._engine.run([Command(key, ("SET", key, self._base.replica))])
        checked(reply)

    # the log

    def append(self, document: DocumentId, batch: Batch) -> Awaitable[Position]:
        """Queue a batch at once."""
        return self._writer.append(document, batch)

    async def append_first(self, document: DocumentId, batch: Batch) -> Position | None:
        """Append a batch if the document has no entry yet."""
        return await self._writer.append_first(document, batch)

    async def load(self, document: DocumentId) -> Loaded:
        """Read a document."""
        self._base.check_open()
        before = self._seen.get(document)
        loaded = await load(self._base, document)
        self.stats.loads += 1
        self._note(document, before, loaded)
        return loaded

    def _note(self, document: DocumentId, before: Position | None, loaded: Loaded) -> None:
        """Record what was returned (J20), if it is from the same log as what was returned before.

        Args:
            document: the document.
            before: the position that had been seen when reading began.
            loaded: what was read.
        """
        now = self._seen.get(document)
        position = loaded.position
        if not now or now == position or any(entry.position == now for entry in loaded.entries):
            self._seen.set(document, position)
        elif self._feeds.follows(document):
            # It may be another log. Its readers find out, and appends are refused until one of them has been told.
            self._feeds.check(document)
        elif now != before:
            self._seen.advance(document, position)  # an append of ours in the meantime, or another load
        elif sequence_of(position) > sequence_of(now):
            self._seen.reset(document, position)  # it may be another log, and a load accepts it as it is
        else:
            self._seen.reset(document, position)
            log.warning("the log lacks entries that this replica had seen", document=document, position=position)

    def follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        """Yield the entries after a position."""
        return self._follow(document, after)

    async def _follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        self._base.check_open()
        async for item in self._feeds.follow(document, after):
            yield item

    async def compact(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
        """Replace entries with a snapshot."""
        self._base.check_open()
        if await self._compactor.compact(document, snapshot, upto):
            self.stats.compactions += 1
            await self.history.prune(document)
        else:
            self._feeds.check(document)  # perhaps the log was cut

    async def prune(self) -> None:
        """Drop expired history and revocations, and the content of documents deleted long ago."""
        self._base.check_open()
        await self._learn_time()
        await self.history.prune_due()
        await self.directory.purge_due()
        await self.revocations.forget()

    async def _learn_time(self) -> None:
        """Exchange the time that has passed with Redis (PT1, PT3)."""
        claim = self.passed_time.claim()
        args: list[Argument] = ["" if claim.passed_ms is None else claim.passed_ms, "1" if claim.is_settled else "0"]
        kept, server = texts(await self._base.script("passed_time", [self._base.keys.passed_time], args))
        server_ms = int(server) if self._server_ms is None else self._server_ms()
        self.passed_time.stored(_time_of(kept), server_ms)


def _time_of(kept: Reply) -> int | None:
    return int(kept) if isinstance(kept, bytes) and kept.isdigit() else None
