"""Followers within one process: who wants to hear of new entries, and how they are told (J15)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from raffia.errors import RaffiaError
from raffia.journal.protocol import Entry, Folded, Followed, Gap, Loaded, Reset
from raffia.types import DocumentId, Position

FOLLOW_ENTRIES = 1024  # more than these wait for nobody: they become a gap

Read = Callable[[DocumentId, Position], Awaitable[tuple[Position, Loaded]]]
"""Reads (position up to which entries are folded away, the entries after a position, the last position)."""


class _Follower:
    __slots__ = ("entries", "error", "lost", "reset", "wake")

    def __init__(self) -> None:
        self.entries: deque[Entry | Folded] = deque()
        self.lost: Position | None = None  # everything up to here was dropped because the queue was full
        self.reset: Position | None = None  # the log was cut: it ends here
        self.error: RaffiaError | None = None
        self.wake = asyncio.Event()


class Followers:
    """The followers of all documents of one journal. Belongs to the event loop."""

    __slots__ = ("_followers", "_limit")

    def __init__(self, limit: int = FOLLOW_ENTRIES) -> None:
        self._followers: dict[DocumentId, list[_Follower]] = {}
        self._limit = limit

    def __contains__(self, document: DocumentId) -> bool:
        """Whether anybody follows the document."""
        return document in self._followers

    def tell(self, document: DocumentId, entry: Entry) -> None:
        """Hand a durable entry to those who follow its document; never waits for them."""
        for follower in self._followers.get(document, ()):
            if follower.lost is not None or len(follower.entries) >= self._limit:
                # A gap grows until its reader comes, who then loads once.
                follower.entries.clear()
                follower.lost = entry.position
            else:
                follower.entries.append(entry)
            follower.wake.set()

    def folded(self, document: DocumentId, upto: Position) -> None:
        """Tell the followers of a document that entries are in a snapshot now; in a full queue it is left out."""
        for follower in self._followers.get(document, ()):
            if follower.lost is None and len(follower.entries) < self._limit:
                follower.entries.append(Folded(upto))
                follower.wake.set()

    def miss(self, document: DocumentId, upto: Position) -> None:
        """Let the followers of a document know that they have missed what came up to a position."""
        for follower in self._followers.get(document, ()):
            follower.entries.clear()
            follower.lost = upto
            follower.wake.set()

    def reset(self, document: DocumentId, position: Position) -> None:
        """Let the followers of a document know that the log was cut and ends at a position."""
        for follower in self._followers.get(document, ()):
            follower.entries.clear()
            follower.lost = None
            follower.reset = position
            follower.wake.set()

    def end(self, error: RaffiaError, document: DocumentId | None = None) -> None:
        """End the iterators of a document, or of all, with an error."""
        chosen = [self._followers.get(document, [])] if document is not None else list(self._followers.values())
        for followers in chosen:
            for follower in followers:
                follower.error = error
                follower.wake.set()

    async def follow(
        self,
        document: DocumentId,
        after: Position,
        read: Read,
        on_reset: Callable[[DocumentId], None] = lambda _: None,
    ) -> AsyncIterator[Followed]:
        """Yield what is in the store after a position and then what is told (J15).

        Args:
            document: which one.
            after: the last position that the follower has.
            read: reads what is there.
            on_reset: called in the turn in which a follower takes a `Reset` (J20).
        """
        follower = _Follower()
        self._followers.setdefault(document, []).append(follower)
        try:
            # Registered first, read second: what is appended meanwhile comes both ways and is dropped once.
            folded, loaded = await read(document, after)
            last = after
            if loaded.position < after:
                on_reset(document)
                yield Reset(loaded.position)
                last = loaded.position
            elif folded > after:
                yield Gap(after, folded)
                last = folded
            for entry in loaded.entries:
                if entry.position > last:
                    yield entry
                    last = entry.position
            while True:
                await follower.wake.wait()
                follower.wake.clear()
                if follower.error is not None:
                    raise type(follower.error)(*follower.error.args)
                if follower.reset is not None:
                    last, follower.reset = follower.reset, None
                    on_reset(document)
                    yield Reset(last)
                if follower.lost is not None:
                    lost, follower.lost = follower.lost, None
                    if lost > last:
                        yield Gap(last, lost)
                        last = lost
                while follower.entries:
                    item = follower.entries.popleft()
                    if isinstance(item, Folded):
                        yield item
                    elif item.position > last:
                        yield item
                        last = item.position
        finally:
            left = self._followers[document]
            left.remove(follower)
            if not left:
                del self._followers[document]
