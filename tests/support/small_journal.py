"""A journal with nothing but what is required: it keeps in memory, and leaves the optional nouns to their defaults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

from raffia.journal import Followed, Journal, Loaded, Snapshot
from raffia.journal.testing.memory import MemoryJournal
from raffia.types import Batch, DocumentId, Position


class SmallJournal(Journal):
    def __init__(self, now_ms: Callable[[], int], elapsed_ms: Callable[[], int]) -> None:
        self._inner = MemoryJournal(now_ms=now_ms, elapsed_ms=elapsed_ms)
        self.stats = self._inner.stats
        self.directory = self._inner.directory

    @property
    def disk_is_full(self) -> bool:
        return self._inner.store.failing is not None

    @disk_is_full.setter
    def disk_is_full(self, full: bool) -> None:
        self._inner.store.failing = "no space left on device" if full else None

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)

    async def healthy(self) -> None:
        await self._inner.healthy()

    def append(self, document: DocumentId, batch: Batch) -> Awaitable[Position]:
        return self._inner.append(document, batch)

    async def load(self, document: DocumentId) -> Loaded:
        return await self._inner.load(document)

    def follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        return self._inner.follow(document, after)

    async def compact(self, document: DocumentId, snapshot: Snapshot, upto: Position) -> None:
        await self._inner.compact(document, snapshot, upto)

    async def prune(self) -> None:
        await self._inner.prune()
