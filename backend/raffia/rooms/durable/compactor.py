"""A document's long-running work: folding base and tail, snapshots for the journal, states for newcomers.

Rules (tests quote these ids):
    L1  Documents that are quick (crdt/quick.py) are folded in place, others in another process while edits go on into
         the tail.
    L2  Folds run one at a time; all who need a fold meanwhile share the next one.
    L3  A newcomer gets squashed bytes, without content that was deleted before it asked. Its step 2 holds everything
        that was in the document when it asked: editors act on the first one, whatever comes after it.
    L4  A snapshot goes to the journal when the log after the last one has grown past a fraction of its size, so that
        the cost per update stays flat. It covers only what is durable, and is made in a quiet moment if there is one in
        time. In a shared log it is written only when everything in it is durable: other replicas never hear of an edit
        that the log never gets, and their next snapshot would remove it although later edits refer to it.
    L5  Answers to equal state vectors are computed and framed once per version of the document. What a vector says
        beyond the document makes no difference, so it is left out first. For a large document, or one that is not
        quick, the answer is computed in another process, one job at a time for each state vector; all who ask
        meanwhile share the next.
    L6  Checks of readers' deletes are bounded: one runs at a time for all readers, and `MAX_ASKED` may wait.
    L7  A client that has everything gets the deletes, and one that lacks more than half of the document gets all of it:
        both are ready. The others get a diff, from a worker if the document is not quick. A document's diffs may take
        a tenth of a worker's time (diff_budget.py); beyond that, the whole document is sent instead.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from time import monotonic, perf_counter
from typing import Protocol

from raffia.crdt.document import Deletes, Document, Fold
from raffia.crdt.implied import implied_deletes
from raffia.crdt.quick import is_quick
from raffia.crdt.ranges import IdRanges
from raffia.crdt.update import read_state_vector, write_state_vector
from raffia.errors import (
    DocumentDeletedError,
    InternalError,
    JournalUnavailableError,
    QuarantinedError,
    RaffiaError,
)
from raffia.journal import Snapshot
from raffia.rooms.context import RoomContext
from raffia.rooms.durable.append_queue import AppendQueue
from raffia.rooms.durable.diff_budget import DiffBudget
from raffia.rooms.durable.large_states import LargeStates
from raffia.rooms.durable.log_follower import LogFollower
from raffia.runtime.jobs import Job
from raffia.runtime.logs import get_logger
from raffia.runtime.single_flight import SingleFlight
from raffia.types import EMPTY_STATE_VECTOR, DocumentId, Position
from raffia.wire.transport import Frame

log = get_logger("raffia.rooms.durable.compactor")

MAX_ANSWERS = 16
# A document with more clients counts as large: merging it takes 10 us for each client.
MANY_CLIENTS = 5000
MAX_FRAMES = 8
MAX_ASKED = 64
OVERDUE = 4  # a log this many times too long is compacted even if the room is never quiet
COMPACT_AGAIN_S = 10.0  # pause after a snapshot that could not be made
BYTES_PER_UPDATE = 40  # a log with one update per this many bytes of snapshot is worth compacting

Give = Callable[[bytes, bytes | None], None]
Fail = Callable[[RaffiaError], None]


class Pending(Protocol):
    """The edits that are in the document but not in the append queue yet."""

    def flush(self) -> None:
        """Hand them to the append queue now."""
        ...


def run_fold(job: Fold, *, with_index: bool) -> tuple[bytes, bytes]:
    """Fold, and read the index of the result if it is wanted; pure, for a worker."""
    base = job.run()
    index = Document.from_state(base, keep_deleted=job.keep_deleted).index(base) if with_index else b""
    return base, index


class Compactor:
    """The long-running work of one room."""

    __slots__ = (
        "_answers",
        "_answers_version",
        "_append_queue",
        "_asked",
        "_asking",
        "_base_version",
        "_compacting",
        "_diff_budget",
        "_document",
        "_document_id",
        "_folds",
        "_follower",
        "_frames",
        "_implied",
        "_implied_version",
        "_journal",
        "_large_states",
        "_metrics",
        "_not_before_s",
        "_patience",
        "_pending",
        "_quarantine",
        "_settings",
        "_stopped",
        "_tasks",
        "_workers",
    )

    def __init__(self, context: RoomContext, append_queue: AppendQueue) -> None:
        services = context.services
        self._document_id = context.document_id
        self._document = context.document
        self._append_queue = append_queue
        self._follower: LogFollower | None = None
        self._pending: Pending | None = None
        self._patience = 1.0
        self._journal = services.journal
        self._workers = services.workers
        self._large_states = LargeStates(context.document_id, context.document, services.workers)
        self._settings = services.settings
        self._metrics = services.metrics
        self._quarantine = services.quarantine
        self._answers: dict[bytes, bytes] = {}
        self._answers_version = -1
        self._frames: dict[bytes, tuple[bytes, Frame]] = {}
        self._folds: SingleFlight[DocumentId, Snapshot] = SingleFlight()
        self._base_version = 0  # version of the document that is completely in its base
        self._diff_budget = DiffBudget(monotonic())
        self._implied = IdRanges()
        self._implied_version = -1
        self._asked: list[tuple[Deletes, Callable[[bool], None]]] = []
        self._asking = False
        self._compacting = False
        self._not_before_s = 0.0
        self._stopped = False
        self._tasks: set[asyncio.Task[None]] = set()

    def share_log(self, follower: LogFollower, pending: Pending) -> None:
        """Follow the rules of a shared log: cover only followed entries, and wait until all content is logged (L4)."""
        self._follower = follower
        self._pending = pending
        # Of the replicas that see the same log grow, one should be first.
        self._patience = random.uniform(1.0, 1.5)  # noqa: S311 - no secret

    @property
    def is_busy(self) -> bool:
        """Whether any work is in progress."""
        return self._compacting or self._is_folding or bool(self._tasks)

    @property
    def _is_folding(self) -> bool:
        return self._document_id in self._folds

    # -- the state for a client ----------------------------------------------------------------------------------

    def state(self, state_vector: bytes, give: Give, fail: Fail) -> None:
        """Compute what a client with this state vector lacks and pass it to `give`, at once if that is quick.

        Args:
            state_vector: bytes from outside.
            give: called with a step 2, and with an update of what was added while it was computed or None.
            fail: called with the error if the state cannot be computed; a client asks only once.

        Raises:
            UpdateError: the bytes are not a state vector.
        """
        document = self._document
        if self._answers_version == document.version and (known := self._answers.get(state_vector)) is not None:
            give(known, None)
            return
        known_clocks, clocks = document.clocks, read_state_vector(state_vector)
        shared = {
            client: min(clock, known_clocks[client]) for client, clock in clocks.items() if client in known_clocks
        }
        if clocks and shared == known_clocks:
            give(self._remember(state_vector, document.known_step2()), None)
            return
        quick = is_quick(document)
        if document.needs_fold_for_newcomers and quick and not self._is_folding:
            self._fold_in_place()
        if not quick and 2 * sum(shared.values()) < sum(known_clocks.values()):
            shared = {}
        asked = write_state_vector(shared)
        if document.needs_fold_for_newcomers or self._is_large or not (quick or asked == EMPTY_STATE_VECTOR):
            self.start(self._state_later(asked, give), fail)
        else:
            give(self._remember(state_vector, self._answer(asked)), None)

    @property
    def _is_large(self) -> bool:
        document = self._document
        return document.size_bytes > self._settings.worker_threshold_bytes or len(document.clocks) > MANY_CLIENTS

    async def _state_later(self, state_vector: bytes, give: Give) -> None:
        document = self._document
        if document.needs_fold_for_newcomers:
            await self._folded()
        quick, costs = is_quick(document), (document.size_bytes, len(document.clocks))
        if state_vector != EMPTY_STATE_VECTOR and not quick and not self._diff_budget.take(*costs, monotonic()):
            state_vector = EMPTY_STATE_VECTOR
        if not self._is_large and (quick or state_vector == EMPTY_STATE_VECTOR):
            give(self._answer(state_vector), None)
            return
        if len(document.base) < 2 * document.tail_bytes:
            await self._folded(anyway=True)
        state = await self._large_states.state(state_vector)
        give(state.step2, state.later(document))

    def _answer(self, state_vector: bytes) -> bytes:
        document = self._document
        if self._answers_version != document.version:
            self._answers.clear()
            self._answers_version = document.version
        known = self._answers.get(state_vector)
        if known is None:
            started_s = perf_counter()
            known = self._remember(state_vector, document.since(state_vector))
            self._metrics.merge_s.observe(perf_counter() - started_s)
        return known

    def _remember(self, state_vector: bytes, answer: bytes) -> bytes:
        """Keep an answer for others who ask the same (L5); returns it."""
        if self._answers_version != self._document.version:
            self._answers.clear()
            self._answers_version = self._document.version
        if len(self._answers) >= MAX_ANSWERS:
            self._answers.clear()
        self._answers[state_vector] = answer
        return answer

    def frame(self, prefix: bytes, body: Callable[[bytes], bytes], step2: bytes) -> Frame:
        """The frame of a step 2, prepared once for each address and answer (L5)."""
        cached = self._frames.get(prefix)
        if cached is not None and cached[0] is step2:
            return cached[1]
        frame = Frame(prefix + body(step2))
        if len(self._frames) >= MAX_FRAMES:
            self._frames.clear()
        self._frames[prefix] = (step2, frame)
        return frame

    def tick(self, _now_s: float) -> None:
        """Drop cached answers, so that they do not stay in memory."""
        self._frames.clear()
        self._answers.clear()
        self._large_states.clear()

    # -- deletes by readers --------------------------------------------------------------------------------------

    def check_implied(self, deletes: Deletes, done: Callable[[bool], None]) -> None:
        """Check in a worker whether the content implies these deletes (concurrent map sets and the like).

        Args:
            deletes: deletes that a session without the right to write has sent.
            done: called with the result; False without a check if `MAX_ASKED` checks are waiting (L6).
        """
        if self._are_implied(deletes):
            done(True)
        elif self._implied_version == self._document.version or len(self._asked) >= MAX_ASKED:
            done(False)
        else:
            self._asked.append((deletes, done))
            if len(self._asked) == 1 and not self._asking:
                self._asking = True
                self.start(self._find_implied())

    def _are_implied(self, deletes: Deletes) -> bool:
        return not any(self._implied.new_parts(client, ranges) for client, ranges in deletes)

    async def _find_implied(self) -> None:
        asked: list[tuple[Deletes, Callable[[bool], None]]] = []
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                version = self._document.version
                parts = (self._document.base, *self._document.tail)
                job = Job(self._document.size_bytes, self._document_id)
                found = await self._workers.run_job(job, implied_deletes, parts)
                # Deletes are permanent, so what an older version implies, later ones imply too.
                self._implied, self._implied_version = found, version
                while asked:
                    deletes, done = asked.pop()
                    done(self._are_implied(deletes))
        finally:
            self._asking = False
            asked += self._asked
            self._asked = []
            for _, done in asked:
                done(False)

    # -- folding -------------------------------------------------------------------------------------------------

    def _fold_in_place(self) -> None:
        started_s = perf_counter()
        job = self._document.fold()
        self._document.folded(job, job.run())
        self._base_version = self._document.version
        self._metrics.squash_s.observe(perf_counter() - started_s)

    async def _folded(self, *, anyway: bool = False) -> None:
        """Wait until everything in the document now has been folded (L2).

        Args:
            anyway: also if nothing of it is deleted.
        """
        version = self._document.version
        while self._base_version < version and (anyway or self._document.needs_fold_for_newcomers):
            await self._fold_once()

    async def _fold_once(self) -> None:
        """Wait for the fold that is under way, or for a new one."""
        await self._folds.run(self._document_id, lambda: self._fold_away(with_index=False))

    async def _fold_away(self, *, with_index: bool) -> Snapshot:
        started_s = perf_counter()
        job, version = self._document.fold(), self._document.version
        work = Job(self._document.size_bytes, self._document_id)
        base, index = await self._workers.run_job(work, run_fold, job, with_index=with_index)
        if not self._stopped:
            self._document.folded(job, base)
            self._base_version = version
        self._metrics.squash_s.observe(perf_counter() - started_s)
        return Snapshot(base, index)

    def can_shrink(self) -> bool:
        """Whether something has come since the last fold, so that another one would change the document's size."""
        return bool(self._document.tail)

    def shrink(self, done: Callable[[], None]) -> None:
        """Fold everything that is in the document now, then call `done`, whether or not that succeeded."""
        if is_quick(self._document) and not self._is_folding:
            self._fold_in_place()
            done()
        else:
            self.start(self._shrunk(done))

    async def _shrunk(self, done: Callable[[], None]) -> None:
        version = self._document.version
        try:
            while self._base_version < version:
                await self._fold_once()
        finally:
            done()

    # -- snapshots -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Start a snapshot if the log has grown enough (L4)."""
        if self._compacting or self._stopped:
            return
        excess = self._excess()
        if excess < self._patience or monotonic() < self._not_before_s:
            return
        if self._append_queue.is_idle or excess >= OVERDUE:
            self._compacting = True
            self.start(self._compact())

    def _excess(self) -> float:
        """The size of the log as a multiple of its limit; at 1 a snapshot is due."""
        settings, base_bytes = self._settings, len(self._document.base)
        max_bytes = max(settings.compact_tail_bytes, settings.compact_tail_fraction * base_bytes)
        max_updates = max(settings.compact_tail_updates, base_bytes / BYTES_PER_UPDATE)
        return max(self._append_queue.saved_bytes / max_bytes, self._append_queue.saved_updates / max_updates)

    @property
    def _position(self) -> Position:
        """The position up to which the document contains the log."""
        return self._append_queue.position if self._follower is None else self._follower.position

    async def _durable(self) -> bool:
        """Wait until a shared log has everything that is now in the document (L4); returns False if it never will."""
        if self._pending is None:
            return True
        self._pending.flush()
        return await self._append_queue.durable()

    async def _compact(self) -> None:
        document, append_queue = self._document, self._append_queue
        folded = append_queue.folded
        try:
            while self._is_folding:
                await asyncio.wait(self._folds.tasks)
            position, saved = self._position, (append_queue.saved_bytes, append_queue.saved_updates)
            if position <= append_queue.folded:
                self._not_before_s = monotonic() + COMPACT_AGAIN_S
                return  # there is nothing new to cover, or another replica was quicker
            append_queue.folded = position
            if is_quick(document):
                self._fold_in_place()
                snapshot = Snapshot(document.base, document.index(document.base))
            else:
                snapshot = await self._folds.run(self._document_id, lambda: self._fold_away(with_index=True))
            if not await self._durable():
                append_queue.folded = min(append_queue.folded, folded)
                self._not_before_s = monotonic() + COMPACT_AGAIN_S
                return  # the log has lost entries and is read first
            await self._journal.compact(self._document_id, snapshot, position)
            append_queue.compacted(*saved)
            self._metrics.compactions += 1
        except (JournalUnavailableError, DocumentDeletedError, QuarantinedError) as error:
            # Nothing is lost: the log is still complete, or damaged (CS2).
            if isinstance(error, QuarantinedError):
                self._quarantine.add(self._document_id, error)
            else:
                log.warning("snapshot not made", document=self._document_id, detail=str(error))
            append_queue.folded = min(append_queue.folded, folded)  # or START, if the log was cut meanwhile
            self._not_before_s = monotonic() + COMPACT_AGAIN_S
        except BaseException:
            append_queue.folded = min(append_queue.folded, folded)  # or START, if the log was cut meanwhile
            self._not_before_s = monotonic() + COMPACT_AGAIN_S
            raise
        finally:
            self._compacting = False

    # -- the end -------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Finish the work in progress; make a snapshot if the next load would take long without one."""
        while self.is_busy:
            # Waiting for nothing would not yield to the event loop, and never end.
            work = [*self._tasks, *self._folds.tasks]
            await (asyncio.gather(*work, return_exceptions=True) if work else asyncio.sleep(0))
        if self._append_queue.saved_updates >= self._settings.compact_tail_updates // 5 and self._append_queue.is_idle:
            self._compacting = True
            await self._guard(self._compact(), lambda _: None)  # on failure the room closes all the same

    async def stop(self) -> None:
        """Cancel the work in progress."""
        self._stopped = True
        tasks = [*self._tasks, *self._folds.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start(self, work: Coroutine[None, None, None], fail: Fail = lambda _: None) -> None:
        """Run work in the background; the room closes after it."""
        task = asyncio.get_running_loop().create_task(self._guard(work, fail))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # a task that is cancelled before its first turn never runs it

    async def _guard(self, work: Coroutine[None, None, None], fail: Fail) -> None:
        try:
            await work
        except Exception as error:
            # The document is not affected; the client that waited for this is told.
            log.exception("background work failed", document=self._document_id)
            fail(error if isinstance(error, RaffiaError) else InternalError("background work failed"))
