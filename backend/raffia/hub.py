"""Document id -> room: opened once, evicted when idle.

Rules (tests quote these ids):
    U1  A document is loaded once, however many ask for it at the same time; nobody sees it half loaded.
    U2  A room is closed when nobody has used it for `room_idle_s` and everything of it is durable; whoever comes while
        it closes, or after it has lost its journal, waits and gets a new one.
    U3  A document whose stored bytes cannot be read is quarantined: closed with 1011, kept as it is, reported.
    U4  Draining: no new rooms and sessions; everything durable first, then sockets are closed 1012 in a jittered
        spread.
    U5  A document that is deleted while it is being opened is opened anew, and is not there then.
"""

from __future__ import annotations

import asyncio
import random
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

from raffia.document import Document
from raffia.errors import CrdtError, DrainingError, JournalUnavailableError, QuarantinedError, UpdateError
from raffia.journal import Journal, Loaded
from raffia.logs import get_logger
from raffia.memory import give_back
from raffia.metrics import Metrics
from raffia.pace import Pace
from raffia.rebuild import build_document, rebuild
from raffia.revocation import RevocationList
from raffia.room import Room
from raffia.services import Services
from raffia.settings import Settings
from raffia.types import DocumentId
from raffia.workers import Workers

if TYPE_CHECKING:
    from raffia.connection import Connection

log = get_logger("raffia.hub")

TICK_S = 5.0
TICK_PARTS = 10  # thousands of keep-alives at once would hold up everybody's edits
PRUNE_EVERY_S = 300.0
TRIM_EVERY_ROOMS = 100  # what so many evicted rooms have freed is given back to the system
MOST_SPREAD_S = 2.0  # sockets are closed over this time at most when draining
CLOSES_PER_S = 2000


def _build_own(loaded: Loaded, *, keep_deleted: bool) -> tuple[Document, bytes | None]:
    return build_document(loaded, keep_deleted=keep_deleted), None


def _build_shared(loaded: Loaded, *, keep_deleted: bool) -> tuple[Document, bytes | None]:
    return rebuild(loaded, keep_deleted=keep_deleted)


class Hub:
    """All live documents of one replica.

    Attributes:
        connections: every open socket.
        draining: whether this replica takes nobody any more.
    """

    def __init__(
        self,
        journal: Journal,
        workers: Workers,
        settings: Settings,
        metrics: Metrics,
        revocations: RevocationList | None = None,
    ) -> None:
        self.revocations = RevocationList() if revocations is None else revocations
        self.journal = journal
        self.workers = workers
        self.settings = settings
        self.metrics = metrics
        self.pace = Pace(settings)
        self._services = Services(journal, workers, settings, metrics, journal.bus)
        self.connections: set[Connection] = set()
        self._rooms: dict[DocumentId, Room] = {}
        self._idle: dict[DocumentId, Room] = {}  # those that nobody uses, longest idle first
        self._opening: dict[DocumentId, asyncio.Task[Room]] = {}
        self._deleted: set[DocumentId] = set()  # of those that are being opened
        self._closing: dict[DocumentId, asyncio.Task[None]] = {}
        self.draining = False
        self._stop_by_s: float | None = None
        self._owners = 0
        self._evicted = 0
        self._trimming: asyncio.Task[bool] | None = None
        self._replica = journal.bus.replica if journal.bus is not None else random.getrandbits(64).to_bytes(8).hex()
        if journal.bus is not None:
            journal.bus.on_gone(self._replicas_gone)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._tick_forever()), asyncio.create_task(self._prune_forever())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.draining = True
        self._left_s()
        for connection in tuple(self.connections):
            connection.close(DrainingError("this server stops; connect again"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._await_tasks([*self._opening.values(), *self._closing.values()])
        if self._trimming is not None:
            await self._trimming
        rooms, self._rooms = list(self._rooms.values()), {}
        for result in await asyncio.gather(*(self._finish(room) for room in rooms), return_exceptions=True):
            if isinstance(result, Exception):
                log.error("a room did not close cleanly", detail=repr(result))
        self.metrics.rooms -= len(rooms)

    def _left_s(self, deadline_s: float | None = None) -> float:
        """How long stopping may take still; the first who asks begins it (U4)."""
        now_s = asyncio.get_running_loop().time()
        if self._stop_by_s is None:
            self._stop_by_s = now_s + (self.settings.drain_s if deadline_s is None else deadline_s)
        return max(0.0, self._stop_by_s - now_s)

    async def _await_tasks(self, tasks: list[asyncio.Task[Room] | asyncio.Task[None]]) -> None:
        """Wait for rooms that are being opened and closed, and give up those that the journal keeps waiting."""
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._left_s())
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    async def _close(room: Room) -> None:
        """Close a room; when that fails, or is given up, nothing of it goes on all the same."""
        try:
            await room.close()
        except BaseException:
            await room.abandon()
            raise

    async def _finish(self, room: Room) -> None:
        """Close a room at the end; what the journal does not take in time was never acknowledged."""
        try:
            async with asyncio.timeout(self._left_s()):
                await self._close(room)
        except TimeoutError:
            log.exception(
                "stopped before everything was durable; the rest was not acknowledged", document=room.document_id
            )

    # -- rooms -------------------------------------------------------------------------------------------------------

    @property
    def rooms(self) -> dict[DocumentId, Room]:
        """The open rooms; not to be changed."""
        return self._rooms

    def new_owner(self) -> tuple[str, int]:
        """A name for one session that no other session of any replica has (presence)."""
        self._owners += 1
        return self._replica, self._owners

    async def open(self, document: DocumentId) -> Room:
        """The room of a document, held until `release`.

        Raises:
            DrainingError: this process is stopping.
            DocumentDeletedError, JournalUnavailableError, QuarantinedError: it cannot be loaded.
        """
        while True:
            if self.draining:
                raise DrainingError("this server stops; connect again")
            room = self._rooms.get(document)
            if room is not None and room.is_lost:
                self._evict(document, room)
                continue
            if room is not None:
                room.holds += 1
                room.idle_since_s = None
                self._idle.pop(document, None)
                return room
            closing = self._closing.get(document)
            if closing is not None:
                await asyncio.gather(asyncio.shield(closing), return_exceptions=True)
                continue
            task = self._opening.get(document)
            if task is None:
                task = self._opening[document] = asyncio.create_task(self._load(document))
                task.add_done_callback(lambda task, document=document: self._opened(document, task))  # type: ignore[misc]
            await asyncio.shield(task)

    def _opened(self, document: DocumentId, task: asyncio.Task[Room]) -> None:
        del self._opening[document]
        self._deleted.discard(document)
        if not task.cancelled():
            task.exception()  # told to those who wait; when all of them have left, it is no error of ours

    def deleted(self, document: DocumentId) -> None:
        """A document has got its tombstone; a room that is open ends its sessions."""
        if document in self._opening:
            self._deleted.add(document)
        room = self._rooms.get(document)
        if room is not None and not room.is_lost:
            room.deleted()

    def release(self, room: Room) -> None:
        """Give up a hold on a room."""
        room.holds -= 1
        if room.holds == 0:
            self._rest(room)

    def _rest(self, room: Room) -> None:
        room.idle_since_s = monotonic()
        if self._rooms.get(room.document_id) is room:
            self._idle[room.document_id] = room

    async def _load(self, document: DocumentId) -> Room:
        while True:
            self._deleted.discard(document)
            room = await self._load_once(document)
            if document not in self._deleted:
                break
            await room.abandon()
        self._rooms[document] = room
        self._rest(room)
        self.metrics.rooms += 1
        self.metrics.rooms_opened += 1
        return room

    async def _load_once(self, document: DocumentId) -> Room:
        loaded = await self.journal.load(document)
        size = sum(len(edit.update) for entry in loaded.entries for edit in entry.batch)
        build = _build_shared if self.journal.is_shared else _build_own
        try:
            if size > self.settings.worker_threshold_bytes:
                built, waiting = await self.workers.run(build, loaded, keep_deleted=self.settings.keep_deleted)
            else:
                built, waiting = build(loaded, keep_deleted=self.settings.keep_deleted)
        except (UpdateError, CrdtError) as error:
            self.metrics.quarantined += 1
            log.exception(
                "document quarantined: its stored bytes cannot be read; see `raffia check`", document=document
            )
            raise QuarantinedError(
                f"document {document} is quarantined: its stored bytes cannot be read ({error})"
            ) from error
        if waiting is not None:
            log.warning("the log lacks what some of it refers to; that waits", document=document, bytes=len(waiting))
        return Room(document, built, loaded, self._services, waiting=waiting)

    def _replicas_gone(self, gone: frozenset[str]) -> None:
        log.info("replicas are gone", replicas=sorted(gone))
        for room in tuple(self._rooms.values()):
            room.attendance.forget_replicas(gone)

    # -- time --------------------------------------------------------------------------------------------------------

    async def _prune_forever(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_EVERY_S)
            try:
                await self.journal.prune()
            except JournalUnavailableError as error:
                log.warning("history not pruned", detail=str(error))
            except Exception:
                log.exception("history not pruned")

    async def _tick_forever(self) -> None:
        while True:
            for part in range(TICK_PARTS):
                await asyncio.sleep(TICK_S / TICK_PARTS)
                try:
                    self.tick(monotonic(), part)
                except Exception:
                    log.exception("tick failed")

    def tick(self, now_s: float, part: int | None = None) -> None:
        """Keep connections alive, let presence expire, evict idle rooms.

        Args:
            now_s: monotonic time.
            part: which tenth of the rooms is looked at; None for all of them.
        """
        rooms = tuple(self._rooms.items())
        for document, room in rooms if part is None else rooms[part::TICK_PARTS]:
            try:
                room.tick(now_s)
            except Exception:
                log.exception("tick failed", document=document)
        self.evict_idle(now_s)

    def evict_idle(self, now_s: float) -> None:
        """Close the rooms that nobody has used for long enough and that have nothing left to save (U2)."""
        until_s = now_s - self.settings.room_idle_s
        for document, room in tuple(self._idle.items()):
            assert room.idle_since_s is not None
            if room.idle_since_s > until_s:
                break  # in the order in which they became idle
            if room.is_settled and not room.holds_last_copy:
                self._evict(document, room)

    def _give_back(self) -> None:
        """Return freed memory to the system once many rooms are gone."""
        if self._evicted >= TRIM_EVERY_ROOMS and self._trimming is None:
            self._evicted = 0
            self._trimming = asyncio.create_task(asyncio.to_thread(give_back))
            self._trimming.add_done_callback(self._trimmed)

    def _trimmed(self, _task: asyncio.Task[bool]) -> None:
        self._trimming = None

    def _evict(self, document: DocumentId, room: Room) -> None:
        del self._rooms[document]
        self._idle.pop(document, None)
        self.metrics.rooms -= 1
        self.metrics.rooms_evicted += 1
        self._evicted += 1
        task = asyncio.create_task(room.abandon() if room.is_lost else self._close(room))
        self._closing[document] = task

        def closed(task: asyncio.Task[None]) -> None:
            self._closing.pop(document, None)
            if not self._closing:
                self._give_back()
            if not task.cancelled() and task.exception() is not None:
                log.error("a room did not close cleanly", document=document, detail=repr(task.exception()))

        task.add_done_callback(closed)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def drain(self, deadline_s: float) -> None:
        """Stop taking sessions, make everything durable, then close the sockets (U4)."""
        self.draining = True
        try:
            async with asyncio.timeout(min(deadline_s / 2, self._left_s(deadline_s))):
                rooms = tuple(self._rooms.values())
                for result in await asyncio.gather(*(room.settled() for room in rooms), return_exceptions=True):
                    if isinstance(result, Exception):
                        log.error("draining: a room could not be settled", detail=repr(result))
        except TimeoutError:
            log.warning("draining: the journal did not take everything in time")
        connections = list(self.connections)
        random.shuffle(connections)
        spread_s = min(MOST_SPREAD_S, deadline_s / 4, len(connections) / CLOSES_PER_S)
        error = DrainingError("this server stops; connect again")
        pause_every = max(1, len(connections) // 20)
        for number, connection in enumerate(connections):
            connection.close(error)
            if number % pause_every == pause_every - 1:
                await asyncio.sleep(spread_s / 20)
