"""Keeps out of a document what takes its editors too long (crdt/contention.py).

Finding out how long takes as long as reading the document, so it is done in a worker, and not for each update.

Rules (tests quote these ids):
    CO1  An update with `MANY` insertions or more that may conflict is weighed before it is taken, together with the
         document. If that is too much, it is refused (4413), and nothing of it has an effect.
    CO2  Smaller ones are taken at once and counted. When half as many are unweighed as may be, the document is weighed
         in the background, at most a tenth of the time; when all are, each update with insertions that may conflict
         waits until the document has been weighed with it.
    CO3  As many insertions may be unweighed as can add `MAX_STEPS` twice if each passes over the longest sequence of
         the document, but at least `LEAST` and at most `MOST`.
    CO4  A document that is found to be too much takes only deletes (4413), as one that is full: also those of an update
         that is refused because it inserts something. It is weighed again at a later refusal, since its content may
         have been merged meanwhile.
    CO5  What is in the log already is never refused: replicas have to agree.
    CO6  The price: about 10 us of a worker for each struct of the document, for each update with many insertions and
         for `MOST` small ones; an update that is weighed is taken that much later. One that has waited for others and
         has many insertions is sent again by its client (1013), since it could not be weighed without them. And a
         writer can exceed the limit by what as many insertions take as may be unweighed.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from raffia.crdt.contention import MAX_NESTING, MAX_STEPS, Contention, contention, unproven
from raffia.crdt.document import Admission
from raffia.crdt.update import UpdateFacts
from raffia.errors import LaterError, RaffiaError, TooContendedError
from raffia.rooms.context import RoomContext
from raffia.rooms.durable.compactor import Compactor
from raffia.runtime.jobs import Job
from raffia.runtime.logs import get_logger

log = get_logger("raffia.rooms.inbound.contention_guard")

MANY = 512
LEAST = 64
MOST = 1024
SHARE = 10  # a pause is this many times as long as the weighing before it
LEAST_PAUSE_S = 1.0


class ContentionGuard:
    """Weighs one room's document.

    Args:
        context: the room.
        compactor: runs work in the background.

    Attributes:
        is_full: whether the document takes only deletes (CO4).
    """

    __slots__ = ("_compactor", "_context", "_is_weighing", "_may_be", "_not_before_s", "_turn", "_unweighed", "is_full")

    def __init__(self, context: RoomContext, compactor: Compactor) -> None:
        self._context = context
        self._compactor = compactor
        self._may_be = MOST  # this many insertions may be unweighed (CO3)
        self._unweighed = MOST // 2 - LEAST  # so it is weighed soon after it was opened and edited
        self._turn = asyncio.Lock()
        self._not_before_s = 0.0
        self._is_weighing = False
        self.is_full = False

    def must_weigh(self, facts: UpdateFacts) -> bool:
        """Whether an update has to be weighed before it is taken (CO1, CO2)."""
        if self.is_full:
            return False  # it is refused anyway (CO4)
        new = self._unproven(facts)
        return new >= MANY or (self.is_behind and new > 0)

    def _unproven(self, facts: UpdateFacts) -> int:
        clocks = self._context.document.clocks
        return unproven(section for section in facts.sections if section.end > clocks.get(section.client, 0))

    @property
    def is_behind(self) -> bool:
        """Whether as many insertions are unweighed as may be (CO3)."""
        return self._unweighed >= self._may_be

    async def weigh(self, update: bytes, facts: UpdateFacts, person: str | None) -> None:
        """Weigh an update together with the document (CO1, CO2).

        Raises:
            TooContendedError: it is too much.
            RaffiaError: it could not be weighed.
        """
        document = self._context.document
        async with self._turn:
            if not self.must_weigh(facts):
                return  # another update was weighed meanwhile, and the document with it
            admission = document.admit(update, facts)
            new = [part for part in (admission.ready, admission.waiting) if part is not None]
            found = await self._weigh((document.base, *document.tail, *new), person)
        if found.is_too_much:
            self._refuse(found)

    async def _weigh(self, parts: tuple[bytes, ...], person: str | None) -> Contention:
        counted = self._unweighed
        job = Job(sum(map(len, parts)), self._context.document_id, person)
        found = await self._context.services.workers.run_job(job, contention, parts)
        if not found.is_too_much:
            self._unweighed -= counted
            self._may_be = min(max(LEAST, 2 * MAX_STEPS // max(1, found.longest)), MOST)
        return found

    def check(self, admission: Admission) -> None:
        """Check that the document takes this admission.

        Raises:
            TooContendedError: it takes only deletes (CO4).
        """
        if admission.ends or admission.waiting is not None:
            self.check_open()

    def check_open(self) -> None:
        """Check that the document takes insertions.

        Raises:
            TooContendedError: it takes only deletes (CO4).
        """
        if self.is_full:
            self._weigh_soon()
            raise TooContendedError(
                "the document has so many conflicting insertions that editors cannot open it in time; it takes only "
                "deletes; copy its content into a new document"
            )

    @staticmethod
    def _refuse(found: Contention) -> None:
        if found.nesting > MAX_NESTING:
            raise TooContendedError(f"types nest {found.nesting} deep; {MAX_NESTING} is the most; split the document")
        raise TooContendedError(
            f"the update has so many conflicting insertions that editors would need over {found.steps} steps to order "
            f"{found.structs} of them; make the changes in smaller parts, after those of others have arrived"
        )

    def check_late(self, facts: UpdateFacts) -> None:
        """Check an update that has waited for others: it was weighed without them, if at all (CO1, CO2).

        Raises:
            LaterError: it has to be sent again.
        """
        if self._unproven(facts) >= MANY:
            raise LaterError("the update waited for others and has to be checked with them; connect again to send it")

    def took(self, facts: UpdateFacts) -> None:
        """Count an update that became part of the document (CO2)."""
        self._unweighed += unproven(facts.sections)
        if 2 * self._unweighed >= self._may_be:
            self._weigh_soon()

    def _weigh_soon(self) -> None:
        if not self._is_weighing and monotonic() >= self._not_before_s:
            self._is_weighing = True
            self._compactor.start(self._weigh_document())

    async def _weigh_document(self) -> None:
        document, document_id = self._context.document, self._context.document_id
        started_s = monotonic()
        try:
            async with self._turn:
                found = await self._weigh((document.base, *document.tail), None)
            if found.is_too_much and not self.is_full:
                log.warning(
                    "document takes only deletes", document=document_id, steps=found.steps, nesting=found.nesting
                )
            self.is_full = found.is_too_much
        except RaffiaError as error:
            log.warning("document not weighed", document=document_id, detail=str(error))
        finally:
            self._is_weighing = False
            self._not_before_s = monotonic() + max(LEAST_PAUSE_S, SHARE * (monotonic() - started_s))
