"""What clients lack of a document that is large or not quick: base and tail as one update, from a worker (L3, L5)."""

from __future__ import annotations

from typing import NamedTuple

from raffia.crdt.document import Document
from raffia.crdt.merge import diff, merge
from raffia.runtime.jobs import Job
from raffia.runtime.single_flight import SingleFlight
from raffia.runtime.workers import Workers
from raffia.types import EMPTY_STATE_VECTOR, DocumentId

MAX_KEPT = 8  # states are large, and are dropped at every tick of the room


class LargeState(NamedTuple):
    """What a client lacks.

    Attributes:
        base, tail, version: the parts and the version of the document from which it was computed.
        step2: the content of the step 2.
    """

    base: bytes
    tail: list[bytes]
    version: int
    step2: bytes

    def later(self, document: Document) -> bytes | None:
        """What was added to the document since then, as an update; None for nothing."""
        covered = {id(update) for update in self.tail}
        # `Document.pack` may have joined some of it with covered updates; the client then gets those twice (harmless).
        later = [update for update in document.tail if id(update) not in covered]
        return merge(later) if later else None


def run_state(base: bytes, tail: list[bytes], state_vector: bytes) -> bytes:
    """What a client with this state vector lacks of base and tail; pure, for a worker."""
    part = base if state_vector == EMPTY_STATE_VECTOR else diff(base, state_vector)
    return merge([part, *tail]) if tail else part  # the tail is short: what the client knows of it does no harm


class LargeStates:
    """The states of one document. One job runs at a time for each state vector, and its result is shared."""

    __slots__ = ("_document", "_document_id", "_jobs", "_kept", "_workers")

    def __init__(self, document_id: DocumentId, document: Document, workers: Workers) -> None:
        self._document_id = document_id
        self._document = document
        self._workers = workers
        self._kept: dict[bytes, LargeState] = {}  # by state vector
        self._jobs: SingleFlight[bytes, None] = SingleFlight()  # likewise

    def clear(self) -> None:
        """Drop the cached states, to free memory."""
        self._kept.clear()

    async def state(self, state_vector: bytes) -> LargeState:
        """What a client with this state vector lacks; includes everything that is in the document now."""
        document, wanted = self._document, self._document.version
        while True:
            known = self._kept.get(state_vector)
            # A fold may have replaced the base: it drops deleted content without changing the version.
            if known is not None and known.base is document.base and known.version >= wanted:
                return known
            await self._jobs.run(state_vector, lambda: self._compute(state_vector))

    async def _compute(self, state_vector: bytes) -> None:
        document = self._document
        base, tail, version = document.base, document.tail, document.version
        step2 = base
        if tail or state_vector != EMPTY_STATE_VECTOR:
            job = Job(len(base) + sum(map(len, tail)), self._document_id)
            step2 = await self._workers.run_job(job, run_state, base, tail, state_vector)
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[state_vector] = LargeState(base, tail, version, step2)
