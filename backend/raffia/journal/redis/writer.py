"""The one task that appends: it takes everything queued, sends it in one pipeline, and reports the outcome.

Rules (tests quote these ids):
    RW1  One pipeline is sent at a time, limited in size; appends queued in the meantime go into the next. The queue
         is limited too: beyond that, an append fails at once.
    RW2  The batches of one document in a pipeline are one script call, which appends all of them or none.
    RW3  When a call fails, or it is unknown whether it was executed, everything queued for that document fails too
         (J6).
    RW4  A call names the last entry seen of the log; if the log lacks or contradicts it, nothing is appended and the
         readers are told (J20).
    RW5  A document is in the listing before its first append is acknowledged (J13); if a process was killed in between,
         the next append lists it.
    RW6  An append to a document without entries (J24) is a call of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Any

from raffia.errors import InternalError, JournalUnavailableError, LogLostError, RaffiaError
from raffia.journal.protocol import JournalStats
from raffia.journal.redis.base import Base, Seen
from raffia.journal.redis.edited_index import EditedIndex
from raffia.journal.redis.engine import Argument, Command, Lane, Reply
from raffia.journal.redis.feeds import Feeds
from raffia.journal.redis.keys import FORMAT, id_of, new_nonce, position_at, position_of, sequence_of
from raffia.journal.redis.records import encode_entry
from raffia.journal.redis.replies import error_of, status
from raffia.journal.redis.scripts import Script, load_script
from raffia.runtime.logs import get_logger
from raffia.types import Batch, DocumentId, Position

log = get_logger("raffia.journal")

PIPELINE_BYTES = 4 * 1024 * 1024
QUEUE_BYTES = 256 * 1024 * 1024
ANNOUNCE_BYTES = 64 * 1024  # larger payloads are announced without their bytes and read from the log
_OVERHEAD_BYTES = 256  # of one append, besides its payload


class _Append:
    __slots__ = ("batch", "document", "future", "is_first", "lineage", "nonce", "payload", "update_bytes")

    def __init__(
        self, document: DocumentId, batch: Batch, future: asyncio.Future[Any], lineage: int, *, is_first: bool
    ) -> None:
        self.is_first = is_first
        self.document = document
        self.batch = batch
        self.future = future
        self.lineage = lineage
        self.nonce = new_nonce()
        self.payload = encode_entry(document, self.nonce, batch)
        self.update_bytes = sum([len(edit.update) for edit in batch])


def _is_taken(reply: Reply) -> bool:
    return isinstance(reply, list) and bool(reply) and reply[0] == b"taken"


class Writer:
    """Appends for one journal; see the rules above. Use it from the event loop only."""

    def __init__(self, base: Base, seen: Seen, feeds: Feeds, stats: JournalStats, recent: EditedIndex) -> None:
        self._base = base
        self._recent = recent
        self._seen = seen
        self._feeds = feeds
        self._stats = stats
        self._waiting: deque[_Append] = deque()
        self._waiting_bytes = 0
        self._in_flight: dict[DocumentId, list[_Append]] = {}
        self._rounds: list[asyncio.Future[None]] = []  # waiters for the pipeline that is under way
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._append: Script = load_script("append")

    def start(self) -> None:
        """Start the task."""
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._write())

    async def stop(self) -> None:
        """Write what is queued, as far as Redis accepts it, and stop (J17)."""
        task, self._task = self._task, None
        if task is None:
            return
        self._wake.set()
        await task

    def append(self, document: DocumentId, batch: Batch) -> asyncio.Future[Position]:
        """Queue a batch (J1, J19)."""
        future: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._queue(document, batch, future)
        return future

    async def append_first(self, document: DocumentId, batch: Batch) -> Position | None:
        """Append a batch if the document has no entry yet (J24)."""
        future: asyncio.Future[Position | None] = asyncio.get_running_loop().create_future()
        self._queue(document, batch, future, is_first=True)
        return await future

    def _queue(
        self, document: DocumentId, batch: Batch, future: asyncio.Future[Any], *, is_first: bool = False
    ) -> None:
        if not batch:
            future.set_exception(InternalError("an empty batch cannot be appended"))
            return
        if self._task is None:
            future.set_exception(JournalUnavailableError("the journal is closed"))
            return
        try:
            append = _Append(document, batch, future, self._seen.lineage(document), is_first=is_first)
        except Exception as error:
            log.exception("a write failed because of a bug", document=document)
            future.set_exception(InternalError(f"cannot be stored: {error!r}"))
            return
        if self._waiting_bytes > QUEUE_BYTES:
            future.set_exception(
                JournalUnavailableError(f"{self._waiting_bytes} bytes are queued for Redis; the limit is {QUEUE_BYTES}")
            )
            return
        self._waiting.append(append)
        self._waiting_bytes += len(append.payload) + _OVERHEAD_BYTES
        self._stats.queued += 1
        self._stats.queued_bytes += append.update_bytes
        self._wake.set()

    async def settled(self, document: DocumentId) -> None:
        """Wait until everything queued for a document so far has been appended or has failed."""
        queued = {*self._in_flight.get(document, ()), *(one for one in self._waiting if one.document == document)}
        # Not on their futures: one whose wait was cancelled is done before it is written (J3).
        while queued & {*self._in_flight.get(document, ()), *self._waiting}:
            written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._rounds.append(written)
            await written

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._write_one(self._take())
            if self._task is None:
                return

    def _take(self) -> dict[DocumentId, list[_Append]]:
        """Take what goes into the next pipeline, by document (RW1, RW2)."""
        taken: dict[DocumentId, list[_Append]] = {}
        size = 0
        while self._waiting and size < PIPELINE_BYTES:
            append = self._waiting.popleft()
            earlier = taken.get(append.document)
            if earlier and (append.is_first or earlier[0].is_first):
                self._waiting.appendleft(append)  # it is a call of its own, after the other (J24)
                break
            size += len(append.payload) + _OVERHEAD_BYTES
            if append.lineage == self._seen.lineage(append.document):
                taken.setdefault(append.document, []).append(append)
            else:
                # Called before a reader was told that the log lost something: it would leave a gap (RW4).
                self._fail_one(
                    append, LogLostError(f"the log of {append.document} has lost entries that this replica had seen")
                )
        self._waiting_bytes -= size
        return taken

    def _call(self, document: DocumentId, appends: list[_Append]) -> tuple[Script, list[str], list[Argument]]:
        keys = self._base.keys
        seen = self._seen.get(document)
        first, last = appends[0].batch[0].time_ms, appends[-1].batch[-1].time_ms
        args: list[Argument] = [
            FORMAT,
            "none" if appends[0].is_first else "" if seen is None else id_of(seen),
            self._base.publish,
            keys.channel(document),
            self._base.replica,
            first,
            max(first, last),
            sum([append.update_bytes for append in appends]),
            ANNOUNCE_BYTES,
            appends[-1].batch[-1].author or "",
        ]
        for append in appends:
            args += (append.nonce, append.payload)
        return self._append, [keys.meta(document), keys.log(document)], args

    async def _write_one(self, taken: dict[DocumentId, list[_Append]]) -> None:
        self._in_flight = taken
        started_s = monotonic()
        for document, appends in taken.items():
            self._feeds.sent(document, [(append.nonce, append.batch) for append in appends], started_s)
        try:
            calls = [self._call(document, appends) for document, appends in taken.items()]
            replies: list[Reply] = await self._base.engine.run_scripts(calls, lane=Lane.APPEND)
            unlisted, failed = [], False
            done: list[tuple[DocumentId, Position]] = []
            # A copy: failed documents are removed from `taken`, which is what is under way.
            for document, reply in zip(tuple(taken), replies, strict=True):
                if _is_taken(reply):
                    self._not_first(taken.pop(document))
                    continue
                try:
                    last, is_listed = self._judge(document, reply)
                except RaffiaError as error:
                    failed = True
                    self._fail(document, error)
                    continue
                done.append((document, last))
                if not is_listed:
                    unlisted.append(document)
            if unlisted:
                await self._list({document: taken[document] for document in unlisted})
            for document, last in done:
                if document in taken:
                    self._recent.note(document, max(one.batch[-1].time_ms for one in taken[document]))
                self._succeed(taken.pop(document, []), last)
            if failed:
                self._stats.failures += 1
            if done:
                self._stats.committed(monotonic() - started_s)
        except Exception as error:
            # The task goes on for later appends; what was under way is not acknowledged.
            log.exception("appending failed")
            self._stats.failures += 1
            for document in tuple(taken):
                self._fail(document, error_of(error))
        finally:
            self._in_flight = {}
            rounds, self._rounds = self._rounds, []
            for written in rounds:
                if not written.done():
                    written.set_result(None)

    def _not_first(self, appends: list[_Append]) -> None:
        """Report that the document had an entry, so nothing was appended (J24)."""
        for append in appends:
            self._stats.queued -= 1
            self._stats.queued_bytes -= append.update_bytes
            self._feeds.unsent(append.document, append.nonce)
            if not append.future.done():
                append.future.set_result(None)

    def _judge(self, document: DocumentId, reply: Reply) -> tuple[Position, bool]:
        """Return the position of the last entry that a call appended, and whether the document is listed."""
        if isinstance(reply, BaseException):
            raise error_of(reply)
        word, rest = status(reply, document)
        if word == b"ok" and rest[0] is not None:
            return position_of(rest[0]), rest[1] == b"1"
        # RW4: the readers are told what the log holds now, and what has been seen is forgotten or updated.
        if not self._feeds.check(document) and word == b"behind":
            self._seen.forget(document)
        if word == b"lost":
            raise LogLostError(f"the log of {document} lacks entries that this replica had seen; load it again")
        raise JournalUnavailableError(
            f"the log of {document} was trimmed beyond the last entry that this replica had seen; load it again"
        )

    async def _list(self, unlisted: dict[DocumentId, list[_Append]]) -> None:
        """Add documents to the listing, then record that in their metas (RW5)."""
        keys, documents = self._base.keys, list(unlisted)
        added = await self._base.engine.run(
            [Command(keys.documents, ("ZADD", keys.documents, 0, document)) for document in documents],
            lane=Lane.APPEND,
        )
        listed = []
        for document, reply in zip(documents, added, strict=True):
            if isinstance(reply, BaseException):
                self._fail(document, error_of(reply))
            else:
                listed.append(document)
        # Whether this succeeds does not matter: the next append would do it again.
        await self._base.engine.run(
            [
                *[
                    Command(
                        keys.edited, ("ZADD", keys.edited, "GT", unlisted[document][-1].batch[-1].time_ms, document)
                    )
                    for document in listed
                ],
                *[Command(keys.meta(document), ("HSET", keys.meta(document), "listed", 1)) for document in listed],
            ],
            lane=Lane.APPEND,
        )

    def _succeed(self, appends: list[_Append], last: Position) -> None:
        first = sequence_of(last) - len(appends) + 1
        for index, append in enumerate(appends):
            if append.lineage != self._seen.lineage(append.document):
                # While the rest of the pipeline, or the listing, was awaited, readers were told of a loss, and this
                # append may be part of it. Its reply no longer counts, and it must not be acknowledged (RW4).
                self._fail_one(
                    append, LogLostError(f"the log of {append.document} has lost entries that this replica had seen")
                )
                continue
            position = position_at(first + index, append.nonce)
            self._seen.advance(append.document, position)
            self._stats.queued -= 1
            self._stats.queued_bytes -= append.update_bytes
            self._stats.appends += 1
            self._stats.append_bytes += append.update_bytes
            if not append.future.done():  # the wait may have been cancelled (J3)
                append.future.set_result(position)

    def _fail(self, document: DocumentId, error: RaffiaError) -> None:
        """Fail everything under way or queued for a document (RW3)."""
        appends = self._in_flight.pop(document, [])
        still: deque[_Append] = deque()
        for append in self._waiting:
            if append.document == document:
                appends.append(append)
                self._waiting_bytes -= len(append.payload) + _OVERHEAD_BYTES
            else:
                still.append(append)
        self._waiting = still
        for append in appends:
            self._fail_one(append, error)

    def _fail_one(self, append: _Append, error: RaffiaError) -> None:
        self._stats.queued -= 1
        self._stats.queued_bytes -= append.update_bytes
        self._feeds.unsent(append.document, append.nonce)
        if not append.future.done():
            append.future.set_exception(type(error)(*error.args))
