"""What the parts of the Redis journal share: the engine, the key names, the clock, and this replica's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from raffia.errors import JournalUnavailableError
from raffia.journal.passed_time import PassedTime
from raffia.journal.redis.client import Engine
from raffia.journal.redis.engine import Argument, Command, Reply
from raffia.journal.redis.keys import FORMAT, Keys
from raffia.journal.redis.replies import all_checked, check_format, checked, parts, status
from raffia.journal.redis.scripts import load_script
from raffia.runtime.logs import get_logger
from raffia.types import START, DocumentId, Position

log = get_logger("raffia.journal")

KEEP_MS = 60_000  # folded entries stay in the log this long for readers behind, dropped blobs for reads under way


class RedisStats:
    """Counters of the Redis journal; plain attributes, read by metrics.

    Attributes:
        gaps: how often a message did not continue what readers had received.
        resyncs: how often the log was read because of a gap, a subscription or a comparison.
        resets: how often the log lacked or contradicted what readers had received.
        reconnects: how often a subscriber's connection was lost and had to be reopened.
        presence_published, presence_dropped: messages between replicas that were sent, and that were not.
        lag_s: seconds from sending an append to receiving it on its channel; `slowest_lag_s` is the longest.
    """

    __slots__ = (
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
        self.presence_published = 0
        self.presence_dropped = 0
        self.lag_s = 0.0
        self.slowest_lag_s = 0.0


class Base:
    """What the parts of one journal share to access Redis.

    Attributes:
        engine: the connections.
        keys: the key names.
        passed_time: the system clock, and the time that has certainly passed.
        now_ms: the time to store for something that happens now, Unix time in milliseconds (PT5).
        replica: this journal's name among all replicas.
        publish: the command that publishes: `SPUBLISH` on a cluster.
        is_open: whether the journal is open.
        stats: counters.
    """

    __slots__ = ("_reported", "engine", "is_open", "keys", "now_ms", "passed_time", "publish", "replica", "stats")

    def __init__(self, engine: Engine, keys: Keys, passed_time: PassedTime, replica: str) -> None:
        self.engine = engine
        self.keys = keys
        self.passed_time = passed_time
        self.now_ms = passed_time.stamp_ms
        self.replica = replica
        self.publish = "SPUBLISH" if engine.is_cluster else "PUBLISH"
        self.is_open = False
        self.stats = RedisStats()
        self._reported: set[str] = set()

    def report(self, what: str, error: Exception) -> None:
        """Log damage, once for each `what`."""
        if what not in self._reported:
            self._reported.add(what)
            log.error("damaged, and left out", what=what, detail=str(error))

    def check_open(self) -> None:
        """Raise unless the journal is open.

        Raises:
            JournalUnavailableError: it is not.
        """
        if not self.is_open:
            raise JournalUnavailableError("the journal is closed")

    async def run(self, *commands: tuple[Argument, ...]) -> Sequence[Reply]:
        """Run commands whose second word is their key; raise the first error."""
        return all_checked(await self.engine.run([Command(str(args[1]), args) for args in commands]))

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> Reply:
        """Run a script; raise its error."""
        (reply,) = await self.engine.run_scripts([(load_script(name), keys, args)])
        return checked(reply)

    async def ask(
        self, name: str, document: DocumentId, keys: Sequence[str], args: Sequence[Argument] = ()
    ) -> tuple[bytes, list[Any]]:
        """Run a script on a document; its first argument is the format, and its reply begins with a word."""
        return status(await self.script(name, keys, (FORMAT, *args)), document)

    async def head(self, document: DocumentId, *fields: str) -> list[bytes | None]:
        """Read fields of a document's meta.

        Raises:
            FormatTooNewError, FormatTooOldError: it was written by a newer or an older Raffia.
        """
        (reply,) = await self.run(("HMGET", self.keys.meta(document), "format", *fields))
        form, *found = parts(reply)
        check_format(document, form)
        return found


def optional(text: str | None) -> str:
    """Encode a text that may be missing, for scripts."""
    return "0" if text is None else "1" + text


class Seen:
    """The latest position of each document that this journal has returned or appended (J20).

    Attributes:
        followed: documents that have a reader; they are never forgotten.
    """

    __slots__ = ("_lineages", "_positions", "followed")
    LIMIT = 100_000  # beyond this, the least recently used of the other documents are no longer checked

    def __init__(self) -> None:
        self.followed: set[DocumentId] = set()
        self._positions: dict[DocumentId, Position] = {}
        self._lineages: dict[DocumentId, int] = {}

    def get(self, document: DocumentId) -> Position | None:
        """Return the position; None if nothing of the document has been seen."""
        return self._positions.get(document)

    def set(self, document: DocumentId, position: Position) -> None:
        """Set a position regardless of the one before: the log has been read again."""
        self._positions.pop(document, None)
        self._positions[document] = position
        for _ in range(max(0, len(self._positions) - max(self.LIMIT, len(self.followed)))):
            oldest = next(iter(self._positions))
            kept = self._positions.pop(oldest)
            if oldest in self.followed:
                self._positions[oldest] = kept  # a later call finds one that may go

    def advance(self, document: DocumentId, position: Position) -> None:
        """Set a position unless a later one is known."""
        if position >= self._positions.get(document, START):
            self.set(document, position)

    def reset(self, document: DocumentId, position: Position) -> None:
        """Start a new lineage at a position: the users of the document have been told, or have read it again."""
        self._lineages[document] = self.lineage(document) + 1
        self.set(document, position)

    def lineage(self, document: DocumentId) -> int:
        """The number of resets: an append called before one would leave a gap after it."""
        return self._lineages.get(document, 0)

    def forget(self, document: DocumentId) -> None:
        """Stop checking a document."""
        self._positions.pop(document, None)

    def clear(self) -> None:
        """Forget all documents."""
        self._positions.clear()
        self._lineages.clear()
