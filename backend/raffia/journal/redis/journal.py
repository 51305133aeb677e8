"""The journal of many replicas. Every document is a log in Redis; replicas tell each other of entries on its channel.

Modules: `writer` appends, `feeds` hands on what comes, `loading` reads whole documents, `compaction` and `past` fold
and keep history, `versions` and `listing` do what their names say, `bus` carries presence. Rules: J1-J20 of
`raffia.journal.protocol`, K1-K3 of `keys`, and those at the heads of these modules.

Rules (tests quote these ids):
    RJ1  What is stored says its format, the whole store and each document; a newer one is refused before anything is
         written (J16).
    RJ2  Redis that refuses (read-only, full, loading, too few replicas) is "away": nothing is acknowledged, and
         everything goes on by itself when it takes writes again (J7).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Literal, Self

from raffia.errors import JournalUnavailableError, SettingsError
from raffia.journal import history
from raffia.journal.follow import FOLLOW_ENTRIES
from raffia.journal.protocol import (
    TRASH_MS,
    Clear,
    DocumentInfo,
    Followed,
    JournalStats,
    Links,
    Listing,
    Loaded,
    Revocations,
    Snapshot,
    Version,
    VersionInfo,
    Window,
)
from raffia.journal.redis.base import Base, RedisStats, Seen
from raffia.journal.redis.bus import BEAT_S, RedisBus
from raffia.journal.redis.channels import Channels
from raffia.journal.redis.client import Engine
from raffia.journal.redis.compaction import Compactor
from raffia.journal.redis.engine import Command
from raffia.journal.redis.feeds import Feeds
from raffia.journal.redis.keys import FORMAT, Keys, sequence_of
from raffia.journal.redis.listing import Directory
from raffia.journal.redis.loading import load
from raffia.journal.redis.past import Past
from raffia.journal.redis.recent import Recent
from raffia.journal.redis.replies import checked, error_of, too_new
from raffia.journal.redis.revoked import RedisRevocations
from raffia.journal.redis.shelf import Shelf
from raffia.journal.redis.versions import Versions
from raffia.journal.redis.writer import Writer
from raffia.journal.search import Order, Where
from raffia.logs import get_logger
from raffia.types import Batch, DocumentId, Position, Revocation

log = get_logger("raffia.journal")

REDIS_RETENTION_MS = 3_600_000
CHECK_S = 5.0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class RedisJournal:
    """`Journal` in Redis, shared by all replicas that use the same prefix.

    Args:
        engine: the connections; entered and left by the journal.
        prefix: what all keys begin with.
        now_ms: the clock of documents, Unix time in milliseconds.
        retention_ms: how long history is kept (J11); 0 keeps none.
        trash_ms: how long a deleted document can be restored (J14).
        fold: makes segments small; see `history.Fold`.
        follow_entries: how many entries may wait for one follower (J15).
        check_s: seconds between two comparisons of what was handed on with the ends of the logs.
        beat_s: seconds between two signs of life.
        replica: this replica's name, which no other may ever have; random by default.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        prefix: str = "raffia",
        now_ms: Callable[[], int] = _now_ms,
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
        self._base = Base(engine, Keys(prefix), now_ms, replica or secrets.token_hex(8))
        self._seen = Seen()
        self._channels = Channels(engine)
        self._feeds = Feeds(self._base, self._seen, self._channels, follow_entries=follow_entries, check_s=check_s)
        self._recent = Recent(self._base)
        self._writer = Writer(self._base, self._seen, self._feeds, self.stats, self._recent)
        self._compactor = Compactor(self._base, self._seen, retention_ms=retention_ms, fold=fold)
        self._past = Past(self._base, retention_ms=retention_ms)
        self._versions = Versions(self._base)
        self._directory = Directory(self._base, trash_ms=trash_ms)
        self._revoked = RedisRevocations(self._base, self._channels)
        self.bus = RedisBus(self._base, self._channels, beat_s=beat_s)
        self._stack: AsyncExitStack | None = None

    @property
    def redis_stats(self) -> RedisStats:
        """Counters of what is special to Redis."""
        return self._base.stats

    async def warnings(self) -> list[str]:
        """What Redis may lose by the way it is set up, a sentence each."""
        return await self._engine.warnings()

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
            self._feeds.start()
            stack.push_async_callback(self._feeds.stop)
            self._revoked.start()
            stack.callback(self._revoked.stop)
            await stack.enter_async_context(self.bus)
            self._recent.start()
            stack.push_async_callback(self._recent.stop)
            self._writer.start()
            stack.push_async_callback(self._writer.stop)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Append what waits, and close (J17)."""
        stack, self._stack = self._stack, None
        if stack is not None:
            self._engine.hurry()
            await stack.aclose()
        self._seen.clear()

    async def _check_format(self) -> None:
        """Refuse a store that a newer Raffia has written (RJ1)."""
        key = self._base.keys.format
        (found,) = await self._base.run(("GET", key))
        if isinstance(found, bytes):
            if not found.isdigit():
                raise SettingsError(f"{key} in Redis is not Raffia's; choose another prefix")
            if int(found) > FORMAT:
                raise too_new("what is stored", found)
            return
        # Redis may refuse to write now; then the first replica that can does it.
        (reply,) = await self._engine.run([Command(key, ("SET", key, FORMAT, "NX"))])
        if isinstance(reply, BaseException):
            log.warning("Redis takes no writes", detail=str(error_of(reply)))

    def _check_open(self) -> None:
        if self._stack is None:
            raise JournalUnavailableError("the journal is closed")

    async def healthy(self) -> None:
        """Write something (RJ2)."""
        self._check_open()
        key = self._base.keys.probe
        (reply,) = await self._engine.run([Command(key, ("SET", key, self._base.replica))])
        checked(reply)

    # the log

    def append(self, document: DocumentId, batch: Batch) -> Awaitable[Position]:
        """Queue a batch at once."""
        return self._writer.append(document, batch)

    async def load(self, document: DocumentId) -> Loaded:
        """Read a document."""
        self._check_open()
        before = self._seen.get(document)
        loaded = await load(self._base, document)
        self.stats.loads += 1
        self._note(document, before, loaded)
        return loaded

    def _note(self, document: DocumentId, before: Position | None, loaded: Loaded) -> None:
        """What was handed out counts (J20), if it is of the log that was handed out before.

        Args:
            document: which one.
            before: what had been seen when the reading began.
            loaded: what was read.
        """
        now = self._seen.get(document)
        position = loaded.position
        if not now or now == position or any(entry.position == now for entry in loaded.entries):
            self._seen.set(document, position)
        elif self._feeds.follows(document):
            # It may be another log. Its followers find out, and until one of them has been told appends are refused.
            self._feeds.check(document)
        elif now != before:
            self._seen.advance(document, position)  # one's own append meanwhile, or another load
        elif sequence_of(position) > sequence_of(now):
            self._seen.reset(document, position)  # it may be another log, and whoever loads takes it as it is
        else:
            self._seen.reset(document, position)
            log.warning("the log lacks what was seen of it", document=document, position=position)

    def follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        """Yield the entries after a position."""
        return self._follow(document, after)

    async def _follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        self._check_open()
        async for item in self._feeds.follow(document, after):
            yield item

    async def compact(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
        """Put a snapshot in the place of entries."""
        self._check_open()
        if await self._compactor.compact(document, snapshot, upto):
            self.stats.compactions += 1
            await self._past.prune(document)
        else:
            self._feeds.check(document)  # perhaps because the log was cut

    async def at(self, document: DocumentId, time_ms: int) -> list[bytes]:
        """Rebuild a moment."""
        self._check_open()
        return await self._past.at(document, time_ms)

    async def history(self, document: DocumentId, since_ms: int = 0) -> list[Window]:
        """List who did something when."""
        self._check_open()
        return await self._past.history(document, since_ms)

    # versions

    async def save_version(
        self, document: DocumentId, state: bytes, *, time_ms: int, authors: Sequence[str] = (), name: str | None = None
    ) -> VersionInfo:
        """Keep a state."""
        self._check_open()
        return await self._versions.save(document, state, time_ms=time_ms, authors=authors, name=name)

    async def versions(self, document: DocumentId) -> list[VersionInfo]:
        """List them, newest first."""
        self._check_open()
        return await self._versions.all(document)

    async def version(self, document: DocumentId, version: int) -> Version:
        """Read one."""
        self._check_open()
        return await self._versions.get(document, version)

    async def rename_version(self, document: DocumentId, version: int, name: str | None) -> VersionInfo:
        """Name one."""
        self._check_open()
        return await self._versions.rename(document, version, name)

    async def delete_version(self, document: DocumentId, version: int) -> None:
        """Drop one."""
        self._check_open()
        await self._versions.drop(document, version)

    # listing and deletion

    async def set_info(
        self, document: DocumentId, *, title: str | None, kind: str | None, schema: int | None = None
    ) -> None:
        """Mirror title, kind and schema."""
        self._check_open()
        await self._directory.set_info(document, title=title, kind=kind, schema=schema)

    async def add_link(self, document: DocumentId, can: Literal["read", "edit"], time_ms: int) -> Links:
        """Note that there is a link."""
        self._check_open()
        return await self._directory.change_links(document, can, time_ms)

    async def reset_links(self, document: DocumentId) -> Links:
        """Begin a new generation."""
        self._check_open()
        return await self._directory.change_links(document, "reset", 0)

    async def info(self, document: DocumentId) -> DocumentInfo | None:
        """Look one up."""
        self._check_open()
        return (await self._directory.infos([document]))[0]

    async def documents(
        self,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = 100,
        deleted: bool = False,
        order: Order = "name",
        where: Where | None = None,
    ) -> Listing:
        """List them."""
        self._check_open()
        shelf = Shelf(self._base, self._directory, prefix, deleted=deleted, order=order, where=where)
        return await shelf.page(after, limit)

    async def delete(self, document: DocumentId) -> None:
        """Set the tombstone."""
        self._check_open()
        await self._writer.settled(document)
        await self._directory.delete(document)
        self._feeds.check(document)

    async def restore(self, document: DocumentId) -> None:
        """Take the tombstone away."""
        self._check_open()
        await self._directory.restore(document)

    def on_purged(self, clear: Clear) -> None:
        """Say what removes what is kept elsewhere."""
        self._directory.clear = clear

    async def prune(self) -> None:
        """Drop what is past its retention."""
        self._check_open()
        await self._past.prune_due()
        await self._directory.purge_due()
        await self._revoked.forget()

    # revocations

    async def revoke(self, revocation: Revocation) -> None:
        """Keep a revocation."""
        self._check_open()
        await self._revoked.revoke(revocation)

    async def revocations(self, mark: bytes | None = None) -> Revocations | None:
        """All that are kept."""
        self._check_open()
        return await self._revoked.all(mark)

    def on_revoked(self, heard: Callable[[], None]) -> None:
        """Say who is told of others'."""
        self._revoked.on_revoked(heard)
