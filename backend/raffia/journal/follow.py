"""Following the log within one process: the iterators of `follow`, and how new entries reach them (J15)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

from raffia.errors import RaffiaError
from raffia.journal.protocol import Entry, Folded, Followed, Gap, Loaded, Reset
from raffia.types import DocumentId, Position

FOLLOW_ENTRIES = 1024  # entries queued for one reader; more become a gap

Read = Callable[[DocumentId, Position], Awaitable[tuple[Position, Loaded]]]
"""Reads what is in the store after a position: (position up to which entries are folded away, the rest)."""


class _Reader:
    """The queue of one iterator."""

    __slots__ = ("entries", "error", "lost", "reset", "wake")

    def __init__(self) -> None:
        self.entries: deque[Entry | Folded] = deque()
        self.lost: Position | None = None  # everything up to here was dropped because the queue was full
        self.reset: Position | None = None  # the log was cut: it ends here
        self.error: RaffiaError | None = None
        self.wake = asyncio.Event()


class LogReaders:
    """The readers of all documents of one journal. Use it from the event loop only."""

    __slots__ = ("_limit", "_readers")

    def __init__(self, limit: int = FOLLOW_ENTRIES) -> None:
        self._readers: dict[DocumentId, list[_Reader]] = {}
        self._limit = limit

    def __contains__(self, document: DocumentId) -> bool:
        """Whether the document has a reader."""
        return document in self._readers

    def tell(self, document: DocumentId, entry: Entry) -> None:
        """Hand a durable entry to the readers of its document, without waiting for them."""
        for reader in self._readers.get(document, ()):
            if reader.lost is not None or len(reader.entries) >= self._limit:
                # A gap grows until its reader gets to it and loads once.
                reader.entries.clear()
                reader.lost = entry.position
            else:
                reader.entries.append(entry)
            reader.wake.set()

    def folded(self, document: DocumentId, upto: Position) -> None:
        """Tell the readers of a document, except those whose queue is full, that entries are now in a snapshot."""
        for reader in self._readers.get(document, ()):
            if reader.lost is None and len(reader.entries) < self._limit:
                reader.entries.append(Folded(upto))
                reader.wake.set()

    def miss(self, document: DocumentId, upto: Position) -> None:
        """Tell the readers of a document that they have missed everything up to a position."""
        for reader in self._readers.get(document, ()):
            reader.entries.clear()
            reader.lost = upto
            reader.wake.set()

    def reset(self, document: DocumentId, position: Position) -> None:
        """Tell the readers of a document that the log was cut and ends at a position."""
        for reader in self._readers.get(document, ()):
            reader.entries.clear()
            reader.lost = None
            reader.reset = position
            reader.wake.set()

    def end(self, error: RaffiaError, document: DocumentId | None = None) -> None:
        """End the iterators of a document, or of all, with an error."""
        chosen = [self._readers.get(document, [])] if document is not None else list(self._readers.values())
        for readers in chosen:
            for reader in readers:
                reader.error = error
                reader.wake.set()

    async def follow(
        self,
        document: DocumentId,
        after: Position,
        read: Read,
        on_reset: Callable[[DocumentId], None] = lambda _: None,
    ) -> AsyncIterator[Followed]:
        """Yield what is in the store after a position, then what is handed to this reader (J15).

        Args:
            document: the document.
            after: the last position that the reader has.
            read: reads what is in the store.
            on_reset: called in the turn of the event loop in which a reader receives a `Reset` (J20).
        """
        reader = _Reader()
        self._readers.setdefault(document, []).append(reader)
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
                await reader.wake.wait()
                reader.wake.clear()
                if reader.error is not None:
                    raise type(reader.error)(*reader.error.args)
                if reader.reset is not None:
                    last, reader.reset = reader.reset, None
                    on_reset(document)
                    yield Reset(last)
                if reader.lost is not None:
                    lost, reader.lost = reader.lost, None
                    if lost > last:
                        yield Gap(last, lost)
                        last = lost
                while reader.entries:
                    item = reader.entries.popleft()
                    if isinstance(item, Folded):
                        yield item
                    elif item.position > last:
                        yield item
                        last = item.position
        finally:
            left = self._readers[document]
            left.remove(reader)
            if not left:
                del self._readers[document]
