"""What `feeds` keeps of each follower and of each document that is followed (RF1-RF7 there)."""

from __future__ import annotations

import asyncio
from collections import deque

from raffia.errors import RaffiaError
from raffia.journal.protocol import Folded, Followed, Gap, Reset
from raffia.types import Batch, DocumentId, Position


class Follower:
    """One iterator: what waits for it.

    Attributes:
        items: what it has not yielded yet.
        lost: position up to which everything was dropped because the queue was full; None while it is not.
        lost_is_reset: whether a `Reset` was among what was dropped.
        error: what ends it.
        wake: set when something of this has changed.
    """

    __slots__ = ("error", "items", "lost", "lost_is_reset", "wake")

    def __init__(self) -> None:
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
            self.lost = item.upto if isinstance(item, Gap) else item.position
        self.wake.set()


class Feed:
    """Where one document stands.

    Attributes:
        cursor: position up to which the log has been handed on; None until the first follower has read.
        is_reading: whether the log is being read from there.
        is_reset: whether a `Reset` is on its way to the followers, who act on the log that is gone until they have it.
        is_doubtful: whether the last reading said nothing (RP3).
        was_confirmed: whether the channel has been; what the first follower read may be older than that.
        kept, kept_bytes: messages that came meanwhile (RF3).
        own: by nonce, batches under way and when they were sent (RF4).
    """

    __slots__ = (
        "cursor",
        "document",
        "followers",
        "is_doubtful",
        "is_reading",
        "is_reset",
        "kept",
        "kept_bytes",
        "own",
        "was_confirmed",
    )

    def __init__(self, document: DocumentId) -> None:
        self.document = document
        self.cursor: Position | None = None
        self.followers: list[Follower] = []
        self.is_reading = False
        self.is_reset = False
        self.is_doubtful = False
        self.was_confirmed = False
        self.kept: list[tuple[int, list[bytes], bytes]] = []
        self.kept_bytes = 0
        self.own: dict[int, tuple[Batch, float]] = {}
