"""Redis journals for tests: several on one server, like those of replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from raffia.journal.protocol import Followed
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.testing.contract import DOCUMENT, Clock
from raffia.types import START, DocumentId, Position
from tests.support.redis import RedisServer

DEADLINE_S = 15.0


async def until(condition: Callable[[], bool], what: str) -> None:
    """Poll with a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - what Redis does sets no event here
            await asyncio.sleep(0.005)
    assert condition(), what


class Journals:
    """Opens journals on one server, and closes them at the end. They compare positions only on request (`check_s`)."""

    def __init__(self, server: RedisServer, clock: Clock) -> None:
        self.server = server
        self.clock = clock
        self._stack = AsyncExitStack()

    async def open(self, **options: Any) -> RedisJournal:
        engine = open_engine(self.server.url)
        journal = RedisJournal(
            engine,
            **{
                "now_ms": self.clock,
                "elapsed_ms": self.clock.elapsed_ms,
                "server_ms": self.clock,
                "check_s": 3600.0,
                **options,
            },
        )
        return await self._stack.enter_async_context(journal)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


class Reader:
    """Reads a follower in the background, like a room; `items` holds what has arrived."""

    def __init__(self, journal: RedisJournal, after: Position = START, document: DocumentId = DOCUMENT) -> None:
        self.journal = journal
        self.document = document
        self.items: list[Followed] = []
        self.error: BaseException | None = None
        self._iterator: AsyncIterator[Followed] = journal.follow(document, after)
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for item in self._iterator:
                self.items.append(item)
        except Exception as error:
            self.error = error

    @property
    def feed(self) -> Any:
        return self.journal._feeds._feeds.get(self.document)

    async def settled(self) -> None:
        """Wait until the channel is subscribed and the log has been read."""
        await until(
            lambda: (
                self.feed is not None
                and self.feed.was_confirmed
                and self.feed.cursor is not None
                and not self.feed.is_reading
                and self.document not in self.journal._feeds._behind
            ),
            "the follower is settled",
        )

    async def has(self, count: int) -> list[Followed]:
        """Wait for `count` items."""
        await until(lambda: len(self.items) >= count or self.error is not None, f"{count} items")
        return self.items

    async def ended(self) -> BaseException | None:
        """Wait for the iterator to end; returns its error."""
        await until(self._task.done, "the follower has ended")
        return self.error

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._iterator.aclose()  # type: ignore[attr-defined]

    async def __aenter__(self) -> Self:
        await self.settled()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
