"""Following logs on Redis: entries in order, from the channel and, where necessary, from the stream.

Rules (tests quote these ids):
    RF1  A feed delivers the log in order, up to its *cursor*. A message that continues from the cursor is delivered;
         anything else makes the feed read the log from the cursor. Nothing is delivered twice or skipped silently.
    RF2  It reads whenever the subscription is confirmed, and compares its cursor with the end of the log every
         `check_s`: no later message would reveal that the last one was lost.
    RF3  Messages that arrive during a read are kept, in order and up to a limit, and delivered afterwards.
    RF4  This replica's own entries are delivered as the batches that were appended; their payload is not decoded.
    RF5  A reader that joins later reads up to the cursor on its own. A full queue becomes a `Gap` (J15).
    RF6  When the log lacks or contradicts what was delivered, all readers get a `Reset`, in order with the rest. Until
         one has received it, appends are refused: they were made in ignorance of the loss, and would leave a gap.
    RF7  While Redis is unavailable, reads are retried, after jittered pauses that grow.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from time import monotonic

from raffia.errors import InternalError, JournalUnavailableError, QuarantinedError, RaffiaError
from raffia.journal.protocol import Entry, Folded, Followed, Gap, Reset
from raffia.journal.redis.base import Base, Seen
from raffia.journal.redis.channels import Channels
from raffia.journal.redis.engine import Command, Reply
from raffia.journal.redis.feed import Feed, FeedReader
from raffia.journal.redis.keys import nonce_of, position_of, sequence_of
from raffia.journal.redis.pages import Page, judge, reading
from raffia.journal.redis.records import decode_entry
from raffia.journal.redis.replies import deleted, parts
from raffia.runtime.logs import get_logger
from raffia.types import START, Batch, DocumentId, Position

log = get_logger("raffia.journal")

_ENTRY, _ANNOUNCED, _FOLDED, _DELETED = b"EAFD"
_READ_AT_ONCE = 32  # feeds that one round trip reads for
_COMPARE_AT_ONCE = 500
_KEPT_MESSAGES = 1024
_KEPT_BYTES = 4 * 1024 * 1024
_OWN = 4096
_CATCH_UPS = 3
_FIRST_PAUSE_S = 0.05
_LAST_PAUSE_S = 2.0


class Feeds:
    """The feeds of all documents that are followed. Use it from the event loop only.

    Args:
        base: Redis.
        seen: where the cursors are recorded for appends.
        channels: the subscriptions.
        follow_entries: how many items are queued for one reader.
        check_s: seconds between two comparisons (RF2).
    """

    def __init__(self, base: Base, seen: Seen, channels: Channels, *, follow_entries: int, check_s: float) -> None:
        self._base = base
        self._seen = seen
        self._channels = channels
        self._own = base.replica.encode()
        self._limit = follow_entries
        self._check_s = check_s
        self._feeds: dict[DocumentId, Feed] = {}
        self._behind: dict[DocumentId, None] = {}  # feeds that have to read, in order
        self._away: dict[DocumentId, None] = {}  # those whose last reading failed
        self._wake = asyncio.Event()
        self._fail_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        channels.add(self)

    def start(self) -> None:
        """Start reading and comparing."""
        self._wake, self._fail_wake = asyncio.Event(), asyncio.Event()
        self._tasks = [asyncio.create_task(run()) for run in (self._read, self._try_again, self._compare_always)]

    async def stop(self) -> None:
        """End all readers."""
        for feed in self._feeds.values():
            self._end(feed, JournalUnavailableError("the journal is closed"))
            self._channels.close(self._base.keys.channel(feed.document), self)
        # A reader that is slow to notice must not count as one when the journal is entered again.
        self._feeds = {}
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._behind, self._away = {}, {}

    # what the writer says

    def sent(self, document: DocumentId, batches: Iterable[tuple[int, Batch]], sent_s: float) -> None:
        """Note that batches are being appended; they come back under their nonces (RF4)."""
        feed = self._feeds.get(document)
        if feed is None:
            return
        if len(feed.own) > _OWN:
            feed.own.clear()  # they never came back; those that still do are decoded like others'
        for nonce, batch in batches:
            feed.own[nonce] = batch, sent_s

    def unsent(self, document: DocumentId, nonce: int) -> None:
        """Note that a batch failed. If it arrives anyway, it is delivered like an entry of another replica."""
        feed = self._feeds.get(document)
        if feed is not None:
            feed.own.pop(nonce, None)

    def follows(self, document: DocumentId) -> bool:
        """Return whether a document has a reader."""
        return document in self._feeds

    def check(self, document: DocumentId) -> bool:
        """Read the log from the cursor; return whether the document has a reader."""
        feed = self._feeds.get(document)
        if feed is None:
            return False
        self._must_read(feed)
        return True

    async def compare(self) -> None:
        """Compare the cursors of all feeds with the ends of their logs (RF2)."""
        feeds = [feed for feed in self._feeds.values() if feed.cursor is not None]
        for at in range(0, len(feeds), _COMPARE_AT_ONCE):
            chosen = [(feed, feed.cursor) for feed in feeds[at : at + _COMPARE_AT_ONCE]]
            names = [self._base.keys.meta(feed.document) for feed, _ in chosen]
            replies = await self._base.engine.run(
                [Command(name, ("HMGET", name, "last", "deleted_ms")) for name in names]
            )
            for (feed, cursor), reply in zip(chosen, replies, strict=True):
                try:
                    last, deleted_ms = parts(reply)
                except RaffiaError as error:  # an unavailable node, or a key that is not ours: the others continue
                    log.debug("nothing to compare with", document=feed.document, detail=str(error))
                    continue
                position = START if last is None else position_of(last)
                is_behind = feed.cursor is not None and position > feed.cursor
                if deleted_ms is not None or is_behind or (position != cursor and position < (cursor or START)):
                    self._must_read(feed)

    # what the channel says

    def heard(self, document: DocumentId, kind: int, words: list[bytes], message: bytes) -> None:
        """Receive a message (RF1)."""
        feed = self._feeds.get(document)
        if feed is None or kind not in (_ENTRY, _ANNOUNCED, _FOLDED, _DELETED):
            return
        if feed.cursor is None or feed.is_reading or document in self._behind or document in self._away:
            feed.kept_bytes += len(message)
            if len(feed.kept) < _KEPT_MESSAGES and feed.kept_bytes < _KEPT_BYTES:
                feed.kept.append((kind, words, message))
            elif kind == _DELETED:
                self._end(feed, deleted(document))
            return
        self._take(feed, kind, words, message, is_late=False)

    def confirmed(self, document: DocumentId) -> None:
        """Read the log: messages published before the confirmation may have been missed (RF2)."""
        feed = self._feeds.get(document)
        if feed is None:
            return
        feed.was_confirmed = True
        self._away.pop(document, None)  # Redis is there again: now
        if feed.cursor is not None:
            self._must_read(feed)

    def disconnected(self) -> None:
        """Count it: the next confirmation causes a read."""
        self._base.stats.reconnects += 1

    def _take(self, feed: Feed, kind: int, words: list[bytes], message: bytes, *, is_late: bool) -> None:
        try:
            if kind == _DELETED:
                # Verified by reading: the document may have been restored in the meantime.
                self._must_read(feed)
            elif kind == _FOLDED:
                self._tell(feed, Folded(position_of(words[1])))
            else:
                self._take_entry(feed, kind, words, message, is_late=is_late)
        except (ValueError, IndexError, QuarantinedError):
            # Damaged on its way, or in the log too: that is found when it is read.
            log.warning("a message cannot be read", document=feed.document, size_bytes=len(message))
            self._must_read(feed)
        except RaffiaError as error:
            self._end(feed, error)

    def _take_entry(self, feed: Feed, kind: int, words: list[bytes], message: bytes, *, is_late: bool) -> None:
        assert feed.cursor is not None
        before, position = position_of(words[1]), position_of(words[2])
        own = None
        if words[0] == self._own:
            own = feed.own.get(nonce_of(position))
            if own is not None:
                stats = self._base.stats
                stats.lag_s = monotonic() - own[1]
                stats.slowest_lag_s = max(stats.slowest_lag_s, stats.lag_s)
        if before == feed.cursor and sequence_of(position) == sequence_of(before) + 1:
            if own is not None:
                self._hand_on(feed, position, None)
            elif kind == _ENTRY:
                self._hand_on(feed, position, message[message.index(b"\n") + 1 :])
            else:
                self._must_read(feed)  # large: only announced
        elif sequence_of(position) > sequence_of(feed.cursor):
            self._base.stats.gaps += 1
            self._must_read(feed)
        elif position != feed.cursor and not is_late:
            # An old message, or the log was cut and is growing again: the log decides.
            self._must_read(feed)
        else:
            feed.own.pop(nonce_of(position), None)

    # handing on

    def _hand_on(self, feed: Feed, position: Position, payload: bytes | None) -> None:
        own = feed.own.pop(nonce_of(position), None)
        if own is not None:
            batch = own[0]
        else:
            assert payload is not None
            batch = decode_entry(feed.document, position, payload)
        feed.cursor = position
        if not feed.is_reset:
            self._seen.advance(feed.document, position)
        self._tell(feed, Entry(position, batch))

    def _turn(self, feed: Feed, turn: Gap | Reset) -> None:
        feed.own.clear()
        if isinstance(turn, Reset):
            self._base.stats.resets += 1
            log.warning(
                "the log lacks entries that this replica had seen", document=feed.document, position=turn.position
            )
            feed.cursor = turn.position
            feed.is_reset = True  # appends are refused until a reader has it: see `_reset_told`
        else:
            feed.cursor = turn.upto
            if not feed.is_reset:
                self._seen.advance(feed.document, turn.upto)
        self._tell(feed, turn)

    def _reset_told(self, feed: Feed, turn: Reset) -> None:
        """Record that a reader is being given a `Reset`: its appends now build on the current log (RF6)."""
        feed.is_reset = False
        if feed.cursor is not None and feed.cursor != turn.position:
            self._must_read(feed)
        self._seen.reset(feed.document, turn.position if feed.cursor is None else feed.cursor)

    def _tell(self, feed: Feed, item: Followed) -> None:
        for reader in feed.readers:
            reader.put(item, self._limit)

    def _end(self, feed: Feed, error: RaffiaError) -> None:
        for reader in feed.readers:
            reader.error = error
            reader.wake.set()

    # reading

    def _must_read(self, feed: Feed) -> None:
        if feed.document not in self._away:  # those are tried again soon anyway
            self._behind[feed.document] = None
            self._wake.set()

    async def _read(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._behind:
                await self._read_some(self._chosen(self._behind))

    async def _try_again(self) -> None:
        """Retry the feeds whose last read failed, apart from the others: on a cluster, one node may be unavailable."""
        pause_s = _FIRST_PAUSE_S
        while True:
            await self._fail_wake.wait()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret (RF7)
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)
            before = len(self._away)
            while before > 0 and self._away:
                before -= _READ_AT_ONCE
                await self._read_some(self._chosen(self._away))
            if not self._away:
                pause_s = _FIRST_PAUSE_S
                self._fail_wake.clear()

    def _chosen(self, documents: dict[DocumentId, None]) -> list[Feed]:
        """Remove some of the feeds that have to read, and return them."""
        chosen = []
        for document in list(documents)[:_READ_AT_ONCE]:
            del documents[document]
            feed = self._feeds.get(document)
            if feed is not None and feed.cursor is not None:
                chosen.append(feed)
        return chosen

    async def _read_some(self, chosen: list[Feed]) -> None:
        if not chosen:
            return
        calls, cursors = [], []
        for feed in chosen:
            assert feed.cursor is not None
            feed.is_reading = True
            cursors.append(feed.cursor)
            calls.append(reading(self._base.keys, feed.document, feed.cursor))
        try:
            replies: Sequence[Reply] = await self._base.engine.run_scripts(calls)
        except Exception as error:  # the engine raises none; if it did, this task would never read again
            log.exception("the logs could not be asked for")
            replies = [JournalUnavailableError(f"the log could not be asked for: {error!r}")] * len(calls)
        self._base.stats.resyncs += len(chosen)
        for feed, cursor, reply in zip(chosen, cursors, replies, strict=True):
            feed.is_reading = False
            assert feed.cursor is not None
            if feed.cursor != cursor:
                # Two reads at once: one of a feed that was away, one after a confirmation. This may be the older one.
                self._must_read(feed)
                continue
            try:
                self._apply(feed, judge(feed.document, feed.cursor, reply))
            except JournalUnavailableError as error:
                log.debug("the log cannot be read now", document=feed.document, detail=str(error))
                self._behind.pop(feed.document, None)
                self._away[feed.document] = None
                self._fail_wake.set()
                continue
            except RaffiaError as error:
                self._end(feed, error)
            except Exception as error:
                log.exception("the log could not be handed on", document=feed.document)
                self._end(feed, InternalError(f"the log of {feed.document} could not be handed on: {error!r}"))
            self._replay(feed)

    def _apply(self, feed: Feed, page: Page) -> None:
        if page.is_doubtful and not page.entries:
            if feed.is_doubtful:  # twice: it is no change between two commands
                feed.is_doubtful = False
                self._turn(feed, Reset(page.last))
                return
            feed.is_doubtful = True
            self._must_read(feed)
            return
        feed.is_doubtful = False
        if page.turn is not None:
            self._turn(feed, page.turn)
        for position, payload in page.entries:
            self._hand_on(feed, position, payload)
        if page.has_more or page.is_doubtful:
            self._must_read(feed)

    def _replay(self, feed: Feed) -> None:
        """Deliver the messages that arrived while the log was read (RF3)."""
        if feed.document in self._behind or feed.document in self._away:
            return  # it stays kept
        overflow = feed.kept_bytes >= _KEPT_BYTES or len(feed.kept) >= _KEPT_MESSAGES
        kept, feed.kept, feed.kept_bytes = feed.kept, [], 0
        if overflow:
            self._must_read(feed)
        for message in kept:
            if feed.document in self._behind:
                if message[0] in (_FOLDED, _DELETED):
                    self._take(feed, *message, is_late=True)
                continue
            self._take(feed, *message, is_late=True)

    async def _compare_always(self) -> None:
        while True:
            await asyncio.sleep(self._check_s)
            try:
                await self.compare()
            except Exception:
                log.exception("the comparison with the ends of the logs failed")

    # following

    async def follow(self, document: DocumentId, after: Position) -> AsyncIterator[Followed]:
        """Yield the entries after a position, existing and future ones (J15)."""
        feed = self._feeds.get(document)
        if feed is None:
            feed = self._feeds[document] = Feed(document)
            self._seen.followed.add(document)
            self._channels.open(self._base.keys.channel(document), document, self)
        reader = FeedReader(after)
        feed.readers.append(reader)
        try:
            # Subscribed first, read second: what is appended meanwhile comes both ways and is dropped once (RF5).
            async for item in self._join(feed, reader):
                yield item
            while True:
                item = await reader.next()
                if isinstance(item, Entry) and sequence_of(item.position) != sequence_of(reader.last) + 1:
                    async for missing in self._catch_up(feed, reader):
                        yield missing
                    if item.position <= reader.last:
                        continue
                yield self._told(feed, reader, item)
        finally:
            feed.readers.remove(reader)
            if not feed.readers and self._feeds.get(document) is feed:
                del self._feeds[document]
                self._seen.followed.discard(document)
                self._behind.pop(document, None)
                self._away.pop(document, None)
                self._channels.close(self._base.keys.channel(document), self)

    async def _join(self, feed: Feed, reader: FeedReader) -> AsyncIterator[Followed]:
        """Bring a new reader up to the cursor; for the first reader, set the cursor to its position."""
        for _ in range(_CATCH_UPS):
            async for item in self._catch_up(feed, reader):
                yield item
            if feed.cursor is None:
                feed.cursor = reader.last
                self._seen.advance(feed.document, reader.last)
                if feed.was_confirmed:
                    self._must_read(feed)
                self._replay(feed)
            if sequence_of(feed.cursor) <= sequence_of(reader.last) or feed.cursor == reader.last:
                return
            if reader.items:
                return  # `follow` reads again where these do not follow on
        self._must_read(feed)  # the cursor is ahead of its log: that was cut

    def _told(self, feed: Feed, reader: FeedReader, item: Followed) -> Followed:
        """Record that an item is being delivered to a reader, and return the item."""
        reader.note(item)
        if isinstance(item, Reset):
            self._reset_told(feed, item)
        return item

    async def _catch_up(self, feed: Feed, reader: FeedReader) -> AsyncIterator[Followed]:
        """Read the log for one reader, from its position to the end."""
        is_doubtful = False
        while True:
            (reply,) = await self._base.engine.run_scripts([reading(self._base.keys, feed.document, reader.last)])
            page = judge(feed.document, reader.last, reply, folded_is_gap=True)
            if page.is_doubtful and not page.entries and not is_doubtful:
                is_doubtful = True
                continue
            turn = page.turn
            if page.is_doubtful and not page.entries:
                turn = Reset(page.last)
            is_doubtful = False
            if turn is not None:
                yield self._told(feed, reader, turn)
            for position, payload in page.entries:
                own = feed.own.get(nonce_of(position))
                batch = own[0] if own is not None else decode_entry(feed.document, position, payload)
                yield self._told(feed, reader, Entry(position, batch))
            if not page.has_more:
                return
