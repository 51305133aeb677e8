"""Sending a session the content of a document: the state that it asks for, and what it has missed.

Rules (tests quote these ids):
    R5  A session receives broadcasts only after it has been sent the state, which then is complete in that turn.
    CU1 A session is asked for what we lack when it joins, or with the state; not before its `ask_after_s`.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from raffia.crdt.update import write_state_vector
from raffia.errors import TooFastError
from raffia.rooms.context import RoomContext
from raffia.rooms.durable.compactor import Compactor
from raffia.rooms.outbound.flush import Flush
from raffia.rooms.presence.room_presence import RoomPresence
from raffia.rooms.session import Session, step1_body, step2_body, update_body
from raffia.types import EMPTY_STATE_VECTOR


class CatchUp:
    """The state for new readers of one room, and for slow ones that have caught up (F2 in fanout.py).

    Args:
        context: the room.
        presence: sent to a session that begins to read.
        flush: sends pending updates before a slow reader is brought up to date.
        compactor: computes states, in another process if that takes long.
    """

    def __init__(self, context: RoomContext, presence: RoomPresence, flush: Flush, compactor: Compactor) -> None:
        self._document = context.document
        self._compactor = compactor
        self._fanout = context.fanout
        self._clients = context.clients
        self._presence = presence
        self._metrics = context.services.metrics
        self._max_step1_per_s = context.services.settings.max_step1_per_s
        self._flush = flush
        self._late_asks: dict[Session, asyncio.TimerHandle] = {}

    # -- asking --------------------------------------------------------------------------------------------------

    def ask(self, session: Session, *, counted: bool = True) -> None:
        """Ask a session for what we lack (CU1).

        Args:
            session: the session to ask.
            counted: whether a Hocuspocus provider counts its answer (S7).
        """
        wait_s = session.ask_after_s - monotonic()
        if wait_s > 0:
            self._drop_late_ask(session)
            loop = asyncio.get_running_loop()
            self._late_asks[session] = loop.call_later(wait_s, self._ask_now, session, counted)
        else:
            self._ask_now(session, counted)

    def _ask_now(self, session: Session, counted: bool) -> None:
        self._late_asks.pop(session, None)
        session.expect_step2(counted=counted)
        self._fanout.send(session, session.prefix + step1_body(self._document.state_vector()))

    def _drop_late_ask(self, session: Session) -> None:
        late_ask = self._late_asks.pop(session, None)
        if late_ask is not None:
            late_ask.cancel()

    # -- state ---------------------------------------------------------------------------------------------------

    def ask_state(self, session: Session, state_vector: bytes, *, counted: bool = True) -> None:
        """Answer a SyncStep1.

        Args:
            session: who asks.
            state_vector: what it has.
            counted: whether a Hocuspocus provider counts its answer to our step 1 (S7).

        Raises:
            UpdateError: the bytes are not a state vector (closes 4400).
            TooFastError: the session asks more often than the limit (closes 1013).
        """
        if not session.step1_rate.take(monotonic()):
            raise TooFastError(
                f"the state was requested more than {self._max_step1_per_s} times a second; wait before asking again"
            )
        self._compactor.state(
            state_vector,
            lambda step2, tail: self._give_state(session, step2, tail, counted=counted),
            lambda error: self._clients.end(session, error),
        )

    def known_to(self, session: Session) -> bytes:
        """The state vector of what a session has been sent; less than that if it is not known."""
        if not session.reading or self._flush.is_flushing:
            return EMPTY_STATE_VECTOR
        if session.behind is None:
            self._flush.flush_pending()
        return self._document.state_vector() if session.behind is None else write_state_vector(session.behind)

    def _give_state(self, session: Session, step2: bytes, tail: bytes | None, *, counted: bool) -> None:
        """Send the state to a session, which receives broadcasts from now on (R5)."""
        if session not in self._fanout:
            return
        if session.hocuspocus:
            self.ask(session, counted=counted)
        self._fanout.transport(session).write(self._compactor.frame(session.prefix, step2_body, step2))
        self._metrics.frames_out += 1
        self._metrics.bytes_out += len(step2)
        if tail is not None:
            # Not as an Update: a y-websocket client would take a tail that is its own update for "durable" (R2).
            self._fanout.send(session, session.prefix + step2_body(tail))
        if not session.reading:
            session.reading = True
            # A y-websocket client was sent presence when it joined, but no presence broadcasts since then.
            if session.presence_told != self._presence.broadcasts:
                self._presence.tell(session)
            if session.behind is None:
                self._fanout.start(session)

    # -- slow readers --------------------------------------------------------------------------------------------

    def caught_up(self, session: Session) -> None:
        """Handle a drained transport: one update brings the session up to date."""
        if session.behind is None or session not in self._fanout:
            return
        self._flush.flush_pending()
        if session.reading and session.behind_version != self._document.version:
            self._compactor.state(
                write_state_vector(session.behind),
                lambda missed, tail: self._catch_up(session, missed, tail),
                lambda error: self._clients.end(session, error),
            )
        else:
            self._rejoin(session)

    def _catch_up(self, session: Session, missed: bytes, tail: bytes | None) -> None:
        """Send a slow reader what it has missed; for a large document a worker computes it, so it may come late."""
        if session.behind is None or session not in self._fanout or self._fanout.transport(session).congested:
            return  # it is computed again the next time the transport drains
        self._rejoin(session)
        self._fanout.send(session, session.prefix + update_body(missed))
        if tail is not None:
            self._fanout.send(session, session.prefix + step2_body(tail))  # as in `_give_state`
        self._metrics.updates_out += 1
        self._metrics.slow_reader_catch_ups += 1

    def _rejoin(self, session: Session) -> None:
        """Let a slow reader receive broadcasts again; send it presence, with removals, and held answers."""
        session.behind = None
        self._metrics.slow_readers -= 1
        if session.reading:
            self._fanout.start(session)
            self._presence.tell(session, gone_since_s=session.behind_s)
        held, session.held = session.held, None
        for payload in held or ():
            self._fanout.send(session, payload)

    def left(self, session: Session) -> None:
        """Handle a session that has left."""
        self._drop_late_ask(session)
        if session.behind is not None:
            self._metrics.slow_readers -= 1
