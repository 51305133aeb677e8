"""How a session comes by the content of a document: the state that it asks for, and what it has missed.

Rules (tests quote these ids):
    R5  A session reads only after it has been given the state; what it is given then is all there is in that turn.
"""

from __future__ import annotations

from time import monotonic

from raffia.crdt.update import read_state_vector, write_state_vector
from raffia.errors import TooFastError
from raffia.rooms.context import RoomContext
from raffia.rooms.durable.compactor import Compactor
from raffia.rooms.outbound.flush import Flush
from raffia.rooms.presence.room_presence import RoomPresence
from raffia.rooms.session import Session, step1_body, step2_body, update_body


class CatchUp:
    """The readers of one room, slow ones among them (F2 in fanout.py).

    Args:
        context: the room.
        presence: told to a session when it begins to read.
        flush: sends what is pending.
        compactor: makes states, in another process where that takes long.
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

    # -- state ---------------------------------------------------------------------------------------------------

    def ask_state(self, session: Session, state_vector: bytes) -> None:
        """Answer a SyncStep1.

        Raises:
            UpdateError: not a state vector (closes 4400).
            TooFastError: asked more often than the limit (closes 1013).
        """
        if not session.step1_rate.take(monotonic()):
            raise TooFastError(
                f"the state was asked for more than {self._max_step1_per_s} times a second; wait before asking"
            )
        read_state_vector(state_vector)
        self._compactor.state(
            state_vector,
            lambda step2, tail: self._give_state(session, step2, tail),
            lambda error: self._clients.end(session, error),
        )

    def _give_state(self, session: Session, step2: bytes, tail: bytes | None) -> None:
        """Send the state to a session, which reads from here on (R5)."""
        if session not in self._fanout:
            return
        if session.hocuspocus:
            session.expect_step2(counted=True)
            self._fanout.send(session, session.prefix + step1_body(self._document.state_vector()))
        self._fanout.transport(session).write(self._compactor.frame(session.prefix, step2_body, step2))
        self._metrics.frames_out += 1
        self._metrics.bytes_out += len(step2)
        if tail is not None:
            # No update: a tail that is one update of its own would look to a y-websocket client like "durable" (R2).
            self._fanout.send(session, session.prefix + step2_body(tail))
        if not session.reading:
            session.reading = True
            # On y-websocket it was told when it joined; what was broadcast since then it did not get.
            if session.presence_told != self._presence.broadcasts:
                self._presence.tell(session)
            if session.behind is None:
                self._fanout.start(session)

    # -- slow readers --------------------------------------------------------------------------------------------

    def caught_up(self, session: Session) -> None:
        """The session's outlet has drained: one update brings it up to date."""
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
        """Send what a slow reader has missed; for a large document it was computed away and may be late."""
        if session.behind is None or session not in self._fanout or self._fanout.transport(session).congested:
            return  # when it drains the next time, it is computed anew
        self._rejoin(session)
        self._fanout.send(session, session.prefix + update_body(missed))
        if tail is not None:
            self._fanout.send(session, session.prefix + step2_body(tail))  # as in `_give_state`
        self._metrics.updates_out += 1
        self._metrics.slow_reader_catch_ups += 1

    def _rejoin(self, session: Session) -> None:
        """A slow reader reads again: presence, whole and with who has left meanwhile, and the answers it is owed."""
        session.behind = None
        self._metrics.slow_readers -= 1
        if session.reading:
            self._fanout.start(session)
            self._presence.tell(session, gone_since_s=session.behind_s)
        held, session.held = session.held, None
        for payload in held or ():
            self._fanout.send(session, payload)

    def left(self, session: Session) -> None:
        """A session has gone."""
        if session.behind is not None:
            self._metrics.slow_readers -= 1
