"""The state that `feeds` keeps per reader and per followed document (RF1-RF7 there)."""

from __future__ import annotations

import asyncio
from collections import deque

from raffia.errors import RaffiaError
from raffia.journal.protocol import Entry, Folded, Followed, Gap, Reset
from raffia.types import Batch, DocumentId, Position


class FeedReader:
    """One iterator of `Feeds.follow`: its position and its queue.

    Attributes:
        last: position after the last item that it yielded.
        items: items that it has not yielded yet.
        lost: position up to which everything was dropped because the queue was full; None if nothing was.
        lost_is_reset: whether a `Reset` was among the dropped items.
        error: the error that ends it.
        wake: set when any of this has changed.
    """

    __slots__ = ("error", "items", "last", "lost", "lost_is_reset", "wake")

    def __init__(self, last: Position) -> None:
        self.last = last
        self.items: deque[Followed] = deque()
        self.lost: Position | None = None
        self.lost_is_reset = False
        self.error: RaffiaError | None = None
        self.wake = asyncio.Event()

    def put(self, item: Followed, limit: int) -> None:
        """Queue an item, or count it as lost."""
        if self.lost is None and len(self.items) < limit:
            self.items.append(item)
        elif not isinstance(item, Folded):
            if self.lost is None:
                self.lost_is_reset = any(isinstance(one, Reset) for one in self.items)
                self.items.clear()
            self.lost_is_reset |= isinstance(item, Reset)
            self.lost = position_after(item)
        self.wake.set()

    async def next(self) -> Followed:
        """Wait for the next item that is new to this reader.

        Raises:
            RaffiaError: the error that ended it.
        """
        while True:
            if self.error is not None:
                raise type(self.error)(*self.error.args)
            item = self._take()
            if item is not None:
                return item
            await self.wake.wait()
            self.wake.clear()

    def _take(self) -> Followed | None:
        if self.lost is not None:
            lost, is_reset = self.lost, self.lost_is_reset
            self.lost, self.lost_is_reset = None, False
            if is_reset:
                return Reset(lost)
            if lost > self.last:
                return Gap(self.last, lost)
        while self.items:
            item = self.items.popleft()
            if isinstance(item, Entry) and item.position <= self.last:
                continue
            if isinstance(item, Gap):
                if item.upto <= self.last:
                    continue
                return Gap(self.last, item.upto)
            return item
        return None

    def note(self, item: Followed) -> None:
        """Record that it is about to yield an item."""
        if not isinstance(item, Folded):
            self.last = position_after(item)


class Feed:
    """The delivery of one document's log to its readers.

    Attributes:
        cursor: position up to which log entries have been delivered; None until the first reader has read the log.
        is_reading: whether the log is being read from the cursor.
        is_reset: whether a `Reset` is queued for the readers; until one receives it, they still act on the lost log.
        is_doubtful: whether the last read was inconclusive (RP3).
        was_confirmed: whether the subscription has been confirmed; the first reader may have read the log before that.
        kept, kept_bytes: messages received during a read (RF3).
        own: maps nonces to batches being appended and the times at which they were sent (RF4).
    """

    __slots__ = (
        "cursor",
        "document",
        "is_doubtful",
        "is_reading",
        "is_reset",
        "kept",
        "kept_bytes",
        "own",
        "readers",
        "was_confirmed",
    )

    def __init__(self, document: DocumentId) -> None:
        self.document = document
        self.cursor: Position | None = None
        self.readers: list[FeedReader] = []
        self.is_reading = False
        self.is_reset = False
        self.is_doubtful = False
        self.was_confirmed = False
        self.kept: list[tuple[int, list[bytes], bytes]] = []
        self.kept_bytes = 0
        self.own: dict[int, tuple[Batch, float]] = {}


def position_after(item: Entry | Gap | Reset) -> Position:
    """Return the position of a reader after an item."""
    return item.upto if isinstance(item, Gap) else item.position
