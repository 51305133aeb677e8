"""The open rooms by document id: each is opened once and evicted when idle.

Rules (tests quote these ids):
    HU1  A document is loaded once, however many clients ask for it at the same time; no client sees it half loaded.
    HU2  A room is closed when it has been unused for `room_idle_s` (HU6: sometimes less) and all its edits are durable.
         A client that joins while it closes, or after it was lost, waits for a new room.
    HU3  A document whose stored bytes are damaged or cannot be read is quarantined: sessions are closed with 1011, the
         bytes are kept as they are, and the error is logged, but not each time that a client tries again.
    HU4  Draining: no new rooms or sessions; edits are made durable, for a limited time; then sockets are closed with
         1012, in random order and not all at once.
    HU5  A document that is deleted while it is being opened is loaded again, and then found deleted.
    HU6  Unused rooms are closed sooner when there are more than `MANY_IDLE`: with twice as many, after half the time.
         All of them are closed when memory is short (document_memory.py).
    HU7  Each person may open `OPENINGS` empty documents that are not already open, and `OPENINGS_PER_S` more each
         second. A person who has used these up is told to try again later (1013), except for documents that are open.
    HU8  A document without entries is seeded before anyone sees it. If that fails, it is not opened.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import monotonic, thread_time
from types import TracebackType
from typing import Protocol, Self

from raffia.auth.revocation import Holder, RevocationList
from raffia.errors import CrdtError, DrainingError, QuarantinedError, RaffiaError, TooFastError, UpdateError
from raffia.journal import Journal, Loaded
from raffia.rooms.backoff import Backoff
from raffia.rooms.document_memory import DocumentMemory, RoomMemory
from raffia.rooms.durable.loading import build
from raffia.rooms.pruning import prune_forever
from raffia.rooms.quarantine import Quarantine
from raffia.rooms.rate_limits import RateLimits
from raffia.rooms.room import Room
from raffia.rooms.services import Services
from raffia.rooms.turns import Payer, Turns
from raffia.runtime.jobs import Job
from raffia.runtime.logs import get_logger
from raffia.runtime.malloc import Trimmer
from raffia.runtime.memory import available_bytes
from raffia.runtime.metrics import Metrics
from raffia.runtime.quota import Quota
from raffia.runtime.single_flight import SingleFlight
from raffia.runtime.workers import Workers
from raffia.settings import Settings
from raffia.types import START, DocumentId

log = get_logger("raffia.rooms.hub")

TICK_S = 5.0
TICK_PARTS = 10  # thousands of keep-alives at once would delay all edits
OPENINGS, OPENINGS_PER_S = 200, 5.0  # (HU7)
MANY_IDLE = 1000  # unused rooms, above which they are closed sooner (HU6)
TRIM_EVERY_ROOMS = 100  # evicted rooms, after which freed memory is returned to the system
MAX_SPREAD_S = 2.0  # when draining, sockets are closed within this time
CLOSES_PER_S = 2000


def _call_soon(call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(call)


Seed = Callable[[DocumentId], Awaitable[bool]]
"""Makes the first entry of a document without entries (HU8); returns whether the document may have one now."""


def is_new(loaded: Loaded) -> bool:
    """Whether a document never had an entry."""
    return loaded.position == START and loaded.snapshot is None and not loaded.entries


class OpenConnection(Holder, Protocol):
    """An open socket: the hub closes it, and the revocation list ends sessions on it."""

    def close(self, error: RaffiaError) -> None:
        """Close the socket for a reason that is not the client's fault."""
        ...


class Hub:
    """All live documents of one replica.

    Attributes:
        connections: every open socket.
        turns: who is read when.
        draining: whether this replica refuses new sessions.
    """

    def __init__(
        self,
        journal: Journal,
        workers: Workers,
        settings: Settings,
        metrics: Metrics,
        revocations: RevocationList | None = None,
        *,
        turns: Turns | None = None,
        seed: Seed | None = None,
    ) -> None:
        self._seed = seed
        self.revocations = RevocationList() if revocations is None else revocations
        self.journal = journal
        self.workers = workers
        self.settings = settings
        self.metrics = metrics
        self.rate_limits = RateLimits(settings)
        self.backoff = Backoff()
        self.memory = DocumentMemory(settings.max_open_documents_bytes or available_bytes() // 2)
        self.turns = Turns(_call_soon, metrics, monotonic, thread_time) if turns is None else turns
        self._quarantine = Quarantine(metrics)
        self._services = Services(
            journal, workers, settings, metrics, self._quarantine, self.turns, journal.bus, memory=self.memory
        )
        self._openings = Quota(OPENINGS, OPENINGS_PER_S)
        self.connections: set[OpenConnection] = set()
        self._rooms: dict[DocumentId, Room] = {}
        self._idle: dict[DocumentId, Room] = {}  # unused rooms, longest idle first
        self._opening: SingleFlight[DocumentId, Room] = SingleFlight()
        self._deleted: set[DocumentId] = set()  # deleted while they are being opened (HU5)
        self._closing: dict[DocumentId, asyncio.Task[None]] = {}
        self.draining = False
        self._stop_by_s: float | None = None
        self._owners = 0
        self._trimmer = Trimmer(TRIM_EVERY_ROOMS)
        self._replica = journal.bus.replica if journal.bus is not None else random.getrandbits(64).to_bytes(8).hex()
        if journal.bus is not None:
            journal.bus.on_gone(self._replicas_gone)
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._tick_forever()), asyncio.create_task(prune_forever(self.journal))]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.draining = True
        self._left_s()
        for connection in tuple(self.connections):
            connection.close(DrainingError("this server is stopping; connect again"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._await_tasks([*self._opening.tasks, *self._closing.values()])
        await self._trimmer.finish()
        rooms, self._rooms = list(self._rooms.values()), {}
        for result in await asyncio.gather(*(self._finish(room) for room in rooms), return_exceptions=True):
            if isinstance(result, Exception):
                log.error("a room did not close cleanly", detail=repr(result))
        self.metrics.rooms -= len(rooms)

    def _left_s(self, deadline_s: float | None = None) -> float:
        """How many seconds are left for stopping; the first call sets the time limit (HU4)."""
        now_s = asyncio.get_running_loop().time()
        if self._stop_by_s is None:
            self._stop_by_s = now_s + (self.settings.drain_s if deadline_s is None else deadline_s)
        return max(0.0, self._stop_by_s - now_s)

    async def _await_tasks(self, tasks: list[asyncio.Task[Room] | asyncio.Task[None]]) -> None:
        """Wait for rooms that are being opened or closed; cancel those that take longer than `drain_s`."""
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._left_s())
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    async def _close(room: Room) -> None:
        """Close a room; if that fails or is cancelled, abandon it, so that none of its tasks keeps running."""
        try:
            await room.close()
        except BaseException:
            await room.abandon()
            raise

    async def _finish(self, room: Room) -> None:
        """Close a room within `drain_s`; edits that are not durable by then were never acknowledged."""
        try:
            async with asyncio.timeout(self._left_s()):
                await self._close(room)
        except TimeoutError:
            log.exception(
                "stopped before all edits were durable; the others were not acknowledged", document=room.document_id
            )

    # -- rooms -------------------------------------------------------------------------------------------------------

    @property
    def rooms(self) -> dict[DocumentId, Room]:
        """The open rooms; do not change the dict."""
        return self._rooms

    def new_owner(self) -> tuple[str, int]:
        """A name for a session that is unique among all replicas (presence)."""
        self._owners += 1
        return self._replica, self._owners

    async def open_for(self, person: str | None, document: DocumentId, payer: Payer | None = None) -> Room:
        """As `open`, for a person, who may open so many empty documents (HU7); None for one that is not counted.

        Raises:
            TooFastError: they have opened too many (closes 1013).
        """
        is_new = person is not None and document not in self._rooms and document not in self._opening
        if is_new and person is not None and self._openings.wait_s(person, 1) > 0:
            raise TooFastError("you have opened many empty documents; try again later")
        room = await self.open(document, payer)
        if is_new and person is not None and not room.document.clocks:
            self._openings.charge(person, 1)
        return room

    async def open(self, document: DocumentId, payer: Payer | None = None) -> Room:
        """Open the room of a document, or return the open one, and hold it until `release`.

        Args:
            document: which one.
            payer: charged for loading it; None if nobody is.

        Raises:
            DrainingError: this process is stopping.
            DocumentDeletedError, JournalUnavailableError, QuarantinedError: the document cannot be loaded.
            RoomFullError: the open documents take too much memory (closes 1013).
        """
        while True:
            if self.draining:
                raise DrainingError("this server is stopping; connect again")
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
            await self._opening.run(document, lambda: self._load_for(payer, document))

    def deleted(self, document: DocumentId) -> None:
        """Handle the deletion of a document: its room, if open, ends its sessions."""
        if document in self._opening:
            self._deleted.add(document)
        room = self._rooms.get(document)
        if room is not None and not room.is_lost:
            room.deleted()

    def release(self, room: Room) -> None:
        """Release a room that `open` returned."""
        room.holds -= 1
        if room.holds == 0:
            self._rest(room)

    def _rest(self, room: Room) -> None:
        room.idle_since_s = monotonic()
        if self._rooms.get(room.document_id) is room:
            self._idle[room.document_id] = room

    async def _load_for(self, payer: Payer | None, document: DocumentId) -> Room:
        return await (self._load(document) if payer is None else self.turns.metered(payer, self._load(document)))

    async def _load(self, document: DocumentId) -> Room:
        try:
            while True:
                self._deleted.discard(document)
                room = await self._load_once(document)
                if document not in self._deleted:
                    break
                await room.abandon()
        finally:
            self._deleted.discard(document)
        self._rooms[document] = room
        self._rest(room)
        self.metrics.rooms += 1
        self.metrics.rooms_opened += 1
        return room

    async def _load_once(self, document: DocumentId) -> Room:
        self._make_room(0)
        try:
            loaded = await self.journal.load(document)
            if self._seed is not None and is_new(loaded) and await self._seed(document):
                loaded = await self.journal.load(document)  # this seed or another replica's
        except QuarantinedError as error:
            self._quarantine.add(document, error)
            raise
        size = sum(len(edit.update) for entry in loaded.entries for edit in entry.batch)
        with self._memory_for(size + (0 if loaded.snapshot is None else len(loaded.snapshot.state))):
            return await self._build(document, loaded, size)

    async def _build(self, document: DocumentId, loaded: Loaded, size: int) -> Room:
        is_shared, keep_deleted = self.journal.is_shared, self.settings.keep_deleted
        try:
            if size > self.settings.worker_threshold_bytes:
                job = Job(size)
                built, waiting = await self.workers.run_job(
                    job, build, loaded, is_shared=is_shared, keep_deleted=keep_deleted
                )
            else:
                built, waiting = build(loaded, is_shared=is_shared, keep_deleted=keep_deleted)
        except (UpdateError, CrdtError) as error:
            self._quarantine.add(document, error)
            raise QuarantinedError(
                f"document {document} is quarantined: its stored bytes cannot be read ({error})"
            ) from error
        if waiting is not None:
            log.warning("dependencies are missing from the log; entries wait", document=document, bytes=len(waiting))
        return Room(document, built, loaded, self._services, waiting=waiting)

    @contextmanager
    def _memory_for(self, size_bytes: int) -> Iterator[None]:
        """Count a document while it is being loaded, until its room counts itself.

        Raises:
            RoomFullError: there is no memory for it (closes 1013).
        """
        self._make_room(size_bytes)
        loading = RoomMemory(self.memory)
        loading.has(size_bytes)
        try:
            yield
        finally:
            loading.close()

    def _make_room(self, size_bytes: int) -> None:
        """Check that there is memory for one more document, and close unused ones if there is none (DM2).

        Raises:
            RoomFullError: there is still none (closes 1013).
        """
        if not self.memory.fits(size_bytes, rooms=1):
            self.evict_idle(monotonic(), all_of_them=True)
        self.memory.check(size_bytes, rooms=1)

    def _replicas_gone(self, gone: frozenset[str]) -> None:
        log.info("replicas are gone", replicas=sorted(gone))
        for room in tuple(self._rooms.values()):
            room.forget_replicas(gone)

    # -- time --------------------------------------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        while True:
            for part in range(TICK_PARTS):
                await asyncio.sleep(TICK_S / TICK_PARTS)
                try:
                    self.tick(monotonic(), part)
                except Exception:
                    log.exception("tick failed")

    def tick(self, now_s: float, part: int | None = None) -> None:
        """Keep connections alive, expire presence states and evict idle rooms.

        Args:
            now_s: monotonic time.
            part: which tenth of the rooms to tick; None for all of them.
        """
        rooms = tuple(self._rooms.items())
        for document, room in rooms if part is None else rooms[part::TICK_PARTS]:
            try:
                room.tick(now_s)
            except Exception:
                log.exception("tick failed", document=document)
        self.evict_idle(now_s)

    def evict_idle(self, now_s: float, *, all_of_them: bool = False) -> None:
        """Close the rooms that have been idle for long enough and have nothing left to save (HU2, HU6)."""
        idle_s = self.settings.room_idle_s * MANY_IDLE / max(MANY_IDLE, len(self._idle))
        until_s = now_s if all_of_them else now_s - idle_s
        for document, room in tuple(self._idle.items()):
            assert room.idle_since_s is not None
            if room.idle_since_s > until_s:
                break  # they are in the order in which they became idle
            if room.is_settled and not room.holds_last_copy:
                self._evict(document, room)

    def _evict(self, document: DocumentId, room: Room) -> None:
        del self._rooms[document]
        room.uncount()
        self._idle.pop(document, None)
        self.metrics.rooms -= 1
        self.metrics.rooms_evicted += 1
        self._trimmer.freed()
        task = asyncio.create_task(room.abandon() if room.is_lost else self._close(room))
        self._closing[document] = task

        def closed(task: asyncio.Task[None]) -> None:
            self._closing.pop(document, None)
            if not self._closing:
                self._trimmer.trim()
            if not task.cancelled() and task.exception() is not None:
                log.error("a room did not close cleanly", document=document, detail=repr(task.exception()))

        task.add_done_callback(closed)

    # -- the end -----------------------------------------------------------------------------------------------------

    async def drain(self, deadline_s: float) -> None:
        """Refuse new sessions, make everything durable, then close the sockets (HU4)."""
        self.draining = True
        try:
            async with asyncio.timeout(min(deadline_s / 2, self._left_s(deadline_s))):
                rooms = tuple(self._rooms.values())
                for result in await asyncio.gather(*(room.settled() for room in rooms), return_exceptions=True):
                    if isinstance(result, Exception):
                        log.error("draining: a room could not be settled", detail=repr(result))
        except TimeoutError:
            log.warning("draining: not all edits became durable in time")
        connections = list(self.connections)
        random.shuffle(connections)
        spread_s = min(MAX_SPREAD_S, deadline_s / 4, len(connections) / CLOSES_PER_S)
        error = DrainingError("this server is stopping; connect again")
        pause_every = max(1, len(connections) // 20)
        for number, connection in enumerate(connections):
            connection.close(error)
            if number % pause_every == pause_every - 1:
                await asyncio.sleep(spread_s / 20)
