"""The flush: a room's pending updates go to its readers and to the append queue, in one turn of the event loop.

A batch is merged and framed once, so a busy room sends fewer, larger frames.

Rules (tests quote these ids):
    R2  Fan-out does not wait for durability; acknowledgements always do.
    R3  A session that contributed to a batch gets only the others' updates; on y-websocket its own come back when they
        are durable.
    F3  After a quiet period, a flush happens in the next turn of the event loop. After a flush that took d seconds, the
        next one waits for `coalesce_factor` times d, at most `coalesce_max_s`. d is measured to the end of the turn,
        because event loops write when a turn ends.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import NamedTuple

from raffia.crdt.merge import merge
from raffia.errors import CrdtError
from raffia.rooms.context import RoomContext
from raffia.rooms.durable.append_queue import AppendQueue
from raffia.rooms.durable.compactor import Compactor
from raffia.rooms.presence.room_presence import RoomPresence
from raffia.rooms.session import Session, Ticket, update_body
from raffia.runtime.logs import get_logger
from raffia.types import Edit

log = get_logger("raffia.rooms.outbound.flush")


class Pacer:
    """Decides when the next flush may come (F3); time is an argument."""

    __slots__ = ("_factor", "_max_s", "_not_before_s")

    def __init__(self, factor: float, max_s: float) -> None:
        self._factor = factor
        self._max_s = max_s
        self._not_before_s = 0.0

    def delay(self, now_s: float) -> float:
        """Seconds to wait before the next flush; 0 for "in the next turn"."""
        return max(0.0, self._not_before_s - now_s)

    def flushed(self, started_s: float, ended_s: float) -> None:
        """Record a flush that has ended."""
        self._not_before_s = ended_s + min(self._factor * (ended_s - started_s), self._max_s)


class Item(NamedTuple):
    """One pending update. Without an edit, only a ticket waits; without a session, the update comes from the log."""

    session: Session | None
    edit: Edit | None
    ticket: Ticket | None
    is_durable: bool = False


class Flush:
    """The pending batch of one room, and how it is sent.

    Attributes:
        last_s: when the last flush began, monotonic seconds.
    """

    __slots__ = (
        "_append_queue",
        "_compactor",
        "_congested",
        "_document",
        "_document_id",
        "_fanout",
        "_flushing",
        "_handle",
        "_items",
        "_loop",
        "_metrics",
        "_pacer",
        "_presence",
        "_turns",
        "_unsaved_bytes",
        "last_s",
    )

    def __init__(
        self, context: RoomContext, presence: RoomPresence, append_queue: AppendQueue, compactor: Compactor
    ) -> None:
        settings = context.services.settings
        self._document_id = context.document_id
        self._document = context.document
        self._metrics = context.services.metrics
        self._turns = context.services.turns
        self._fanout = context.fanout
        self._presence = presence
        self._append_queue = append_queue
        self._compactor = compactor
        self._pacer = Pacer(settings.coalesce_factor, settings.coalesce_max_s)
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.Handle | None = None
        self._flushing = False
        self._items: list[Item] = []
        self._unsaved_bytes = 0  # of the pending updates that are not durable
        self._congested: list[Session] = []
        self.last_s = 0.0

    # -- the pending batch ---------------------------------------------------------------------------------------

    @property
    def is_pending(self) -> bool:
        """Whether updates wait for the next flush."""
        return bool(self._items)

    @property
    def is_flushing(self) -> bool:
        """Whether a flush is under way in this turn."""
        return self._flushing

    @property
    def unsaved_bytes(self) -> int:
        """Size of all updates that are not durable: pending, queued or being appended."""
        return self._unsaved_bytes + self._append_queue.unsaved_bytes

    def add(self, session: Session | None, edit: Edit, ticket: Ticket | None, *, is_durable: bool = False) -> None:
        """Add an update that has just become part of the document."""
        self._items.append(Item(session, edit, ticket, is_durable))
        if not is_durable:
            self._unsaved_bytes += len(edit.update)
        if self._handle is None:
            self.schedule()

    def ride(self, ticket: Ticket) -> bool:
        """Let a ticket wait for everything that is unsaved now; returns False if nothing is (V3)."""
        if self._items:
            self._items.append(Item(ticket.session, None, ticket))
            return True
        return self._append_queue.ride(ticket)

    # -- flushing ------------------------------------------------------------------------------------------------

    def schedule(self) -> None:
        """Schedule a flush for as soon as the pacer allows, unless one is scheduled."""
        if self._handle is None:
            delay_s = self._pacer.delay(monotonic())
            if delay_s > 0:
                self._handle = self._loop.call_later(delay_s, self.flush)
            else:
                self._handle = self._loop.call_soon(self.flush)

    def cancel(self) -> None:
        """Cancel the scheduled flush, if any."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def flush(self) -> None:
        """Send pending updates and presence to the readers, and hand the updates to the append queue."""
        self.cancel()
        if self._flushing:
            return
        self._flushing = True
        started_s, began_s = monotonic(), self._turns.clock()
        items: list[Item] = []
        try:
            if self._items:
                items, self._items, self._unsaved_bytes = self._items, [], 0
                # Queue first: an edit that is in the document but never reaches the log would be a gap in the log.
                self._append_queue.put([(item.edit, item.ticket) for item in items if not item.is_durable])
                self._broadcast(items)
                self._document.pack()
                self._compactor.check()
            self._presence.flush()
        finally:
            self._flushing = False
        self._set_aside()
        self._charge(items, began_s)
        self.last_s = started_s
        self._metrics.flushes += 1
        self._loop.call_soon(self._flushed, started_s)

    def _charge(self, items: list[Item], began_s: float) -> None:
        """Charge a flush to those whose updates were in it (TU1 of turns.py)."""
        if items:
            self._turns.charge_all(
                [None if item.session is None else item.session.principal for item in items], began_s
            )

    def flush_pending(self) -> bool:
        """Flush if updates are pending; returns whether a flush was done or is in progress."""
        if self._flushing:
            return True
        if self._items:
            self.flush()
            return True
        return False

    def _flushed(self, started_s: float) -> None:
        """Handle the end of the turn in which a flush made its writes."""
        ended_s = monotonic()
        self._metrics.flush_s.observe(ended_s - started_s)
        self._pacer.flushed(started_s, ended_s)

    def _broadcast(self, items: list[Item]) -> None:
        updates = [item.edit.update for item in items if item.edit is not None]
        if not updates:
            return
        try:
            self._send(items, updates)
        except CrdtError:
            # Readers must not miss anything because one update breaks the merge; single updates need no merging.
            log.exception("updates cannot be merged and are sent one by one", document=self._document_id)
            for item in items:
                if item.edit is not None:
                    self._send([item], [item.edit.update])

    def _send(self, items: list[Item], updates: list[bytes]) -> None:
        """Send a merged batch to all readers; its writers get it without their own updates (R3)."""
        writers = {item.session for item in items if item.edit is not None and item.session is not None}
        several = len(writers) > 1 or any(item.session is None for item in items)
        body = update_body(updates[0] if len(updates) == 1 else merge(updates))
        sent = self._fanout.broadcast(body, writers)
        if several:
            for writer in writers:
                if writer.reading and writer.behind is None and writer in self._fanout:
                    others = [p.edit.update for p in items if p.edit is not None and p.session is not writer]
                    self._fanout.send(
                        writer, writer.prefix + update_body(others[0] if len(others) == 1 else merge(others))
                    )
                    sent += 1
        self._metrics.updates_out += sent

    # -- slow readers --------------------------------------------------------------------------------------------

    def fell_behind(self, session: Session) -> None:
        """Handle a congested transport: send what is pending, then no updates or presence until it has drained (F2)."""
        self._congested.append(session)
        # Flush first, so that the clocks that the session had are those of the document.
        if not self.flush_pending():
            self._set_aside()

    def _set_aside(self) -> None:
        """Stop sending to sessions whose transports are congested, and note the clocks they have (F2)."""
        congested, self._congested = self._congested, []
        for session in congested:
            if session in self._fanout and session.behind is None and self._fanout.transport(session).congested:
                session.behind = dict(self._document.clocks)
                session.behind_version = self._document.version
                session.behind_s = monotonic()
                self._fanout.stop(session)
                self._metrics.slow_readers += 1
