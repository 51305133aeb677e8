"""What the parts of the Redis journal share: the engine, the names of the keys, the clock, and who is asking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from raffia.journal.redis.client import Engine
from raffia.journal.redis.engine import Argument, Command, Lane, Reply
from raffia.journal.redis.keys import FORMAT, Keys
from raffia.journal.redis.replies import all_checked, checked, parts, status, too_new
from raffia.journal.redis.scripts import load_script
from raffia.types import START, DocumentId, Position

KEEP_MS = (
    60_000  # folded entries stay in the log so long, for those who catch up; dropped blobs for those who read them
)


class RedisStats:
    """What the Redis journal has seen; plain attributes, read by metrics.

    Attributes:
        gaps: times that a message did not follow on what had been handed on.
        resyncs: times that the log was read because of it, of a subscription or of a comparison.
        resets: times that the log lacked or contradicted what had been handed on.
        reconnects: times that the subscriber's connection stood again.
        epoch_changes: times that it then stood to another server or process.
        presence_published, presence_dropped: messages between replicas that were sent, and that were not.
        lag_s: seconds between sending an append and hearing it on its channel; `slowest_lag_s` the longest.
    """

    __slots__ = (
        "epoch_changes",
        "gaps",
        "lag_s",
        "presence_dropped",
        "presence_published",
        "reconnects",
        "resets",
        "resyncs",
        "slowest_lag_s",
    )

    def __init__(self) -> None:
        self.gaps = 0
        self.resyncs = 0
        self.resets = 0
        self.reconnects = 0
        self.epoch_changes = 0
        self.presence_published = 0
        self.presence_dropped = 0
        self.lag_s = 0.0
        self.slowest_lag_s = 0.0


class Base:
    """Redis as one journal sees it.

    Attributes:
        engine: the connections.
        keys: the names.
        now_ms: the clock of documents, Unix time in milliseconds.
        replica: this journal's name among all replicas.
        publish: the command that publishes: `SPUBLISH` on a cluster.
        stats: counters.
    """

    __slots__ = ("engine", "keys", "now_ms", "publish", "replica", "stats")

    def __init__(self, engine: Engine, keys: Keys, now_ms: Callable[[], int], replica: str) -> None:
        self.engine = engine
        self.keys = keys
        self.now_ms = now_ms
        self.replica = replica
        self.publish = "SPUBLISH" if engine.is_cluster else "PUBLISH"
        self.stats = RedisStats()

    async def run(self, *commands: tuple[Argument, ...]) -> Sequence[Reply]:
        """Run commands whose second word is their key; raises the first error."""
        return all_checked(await self.engine.run([Command(str(args[1]), args) for args in commands]))

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> Reply:
        """Run a script; raises its error."""
        return checked(await self.engine.run_script(load_script(name), keys, args, lane=Lane.READ))

    async def ask(
        self, name: str, document: DocumentId, keys: Sequence[str], args: Sequence[Argument] = ()
    ) -> tuple[bytes, list[Any]]:
        """Run a script on a document that answers with a word; the first argument is the format."""
        return status(await self.script(name, keys, (FORMAT, *args)), document)

    async def head(self, document: DocumentId, *fields: str) -> list[bytes | None]:
        """Fields of a document's meta.

        Raises:
            FormatTooNewError: a newer Raffia has written it.
        """
        (reply,) = await self.run(("HMGET", self.keys.meta(document), "format", *fields))
        form, *found = parts(reply)
        if form is not None and int(form) > FORMAT:
            raise too_new(document, form)
        return found


def optional(text: str | None) -> str:
    """A text that may be missing, as scripts take it."""
    return "0" if text is None else "1" + text


class Seen:
    """The latest position of each document that this journal has handed out or been acknowledged (J20).

    Attributes:
        followed: documents that somebody follows; they are never forgotten.
    """

    __slots__ = ("_lineages", "_positions", "followed")
    LIMIT = 100_000  # beyond, of the other documents those longest untouched are no longer checked

    def __init__(self) -> None:
        self.followed: set[DocumentId] = set()
        self._positions: dict[DocumentId, Position] = {}
        self._lineages: dict[DocumentId, int] = {}

    def get(self, document: DocumentId) -> Position | None:
        """The position; None when nothing of the document has been seen."""
        return self._positions.get(document)

    def set(self, document: DocumentId, position: Position) -> None:
        """Take a position whatever there was: the log has been read anew."""
        self._positions.pop(document, None)
        self._positions[document] = position
        for _ in range(max(0, len(self._positions) - max(self.LIMIT, len(self.followed)))):
            oldest = next(iter(self._positions))
            kept = self._positions.pop(oldest)
            if oldest in self.followed:
                self._positions[oldest] = kept  # one that may go comes up with a later call

    def advance(self, document: DocumentId, position: Position) -> None:
        """Take a position unless a later one is known."""
        if position >= self._positions.get(document, START):
            self.set(document, position)

    def reset(self, document: DocumentId, position: Position) -> None:
        """Take the position of another lineage: whoever uses this document has been told, or has read it anew."""
        self._lineages[document] = self.lineage(document) + 1
        self.set(document, position)

    def lineage(self, document: DocumentId) -> int:
        """Changes with each `reset`: what was appended before one would stand behind a gap after it."""
        return self._lineages.get(document, 0)

    def forget(self, document: DocumentId) -> None:
        """Check nothing more of it."""
        self._positions.pop(document, None)

    def clear(self) -> None:
        """Forget all."""
        self._positions.clear()
        self._lineages.clear()
