"""A room's answers to updates: "stored" once they are durable, or "refused" (S2 in session.py)."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from raffia.rooms.context import RoomContext
from raffia.rooms.outbound.flush import Flush
from raffia.rooms.session import STORED, Barrier, Session, Ticket


class Acknowledgements:
    """Creates tickets and answers them."""

    __slots__ = ("_fanout", "_flush", "_metrics")

    def __init__(self, context: RoomContext, flush: Flush) -> None:
        self._fanout = context.fanout
        self._metrics = context.services.metrics
        self._flush = flush

    @staticmethod
    def ticket(session: Session, echo: bytes | None, *, is_step2: bool) -> Ticket:
        """Create the ticket of a Step2 or Update, which must then be answered; `echo` as in `Ticket`."""
        session.open_tickets += 1
        ticket = Ticket(session, echo, monotonic())
        ticket.is_silent = is_step2 and not session.counts_step2()
        if ticket.is_silent:
            ticket.settles = session.refused  # S8
        else:
            session.counted += 1
        return ticket

    def ride(self, ticket: Ticket) -> None:
        """Answer "stored" once everything that is unsaved now is durable."""
        if not self._flush.ride(ticket):
            self.part_saved(ticket)

    def nothing_new(self, ticket: Ticket) -> None:
        """Answer an update that contained nothing new."""
        self._metrics.updates_known += 1
        self.ride(ticket)

    def part_saved(self, ticket: Ticket) -> None:
        """Note that one part of a ticket's update is durable; answer after the last part."""
        ticket.parts -= 1
        if ticket.parts == 0:
            self._metrics.ack_s.observe(monotonic() - ticket.taken_s)
            self._metrics.acks["stored"] += 1
            self._close(ticket, ticket.stored())
            ticket.session.counted -= not ticket.is_silent
            self._settle(ticket)
            for follower in ticket.followers or ():
                self.part_saved(follower)

    def refuse(self, ticket: Ticket) -> None:
        """Answer "refused": nothing more of the update will be taken."""
        self._metrics.acks["refused"] += 1
        payload = ticket.refused()
        ticket.session.refused += payload is not None
        self._close(ticket, payload)

    def barrier(self, session: Session, payload: bytes, waiting: Iterable[Ticket]) -> None:
        """Send a payload back once everything that a session has sent is durable (y-sweet's sync status).

        Args:
            session: the session that asks.
            payload: the bytes to send back.
            waiting: the session's tickets whose updates wait for missing dependencies.
        """
        session.open_tickets += 1
        barrier = Barrier(session, payload, monotonic())
        barrier.is_silent = True  # it is no update
        for ticket in waiting:
            barrier.parts += 1
            ticket.followers = [*(ticket.followers or ()), barrier]
        self.ride(barrier)

    def _settle(self, ticket: Ticket) -> None:
        """Answer the updates that were refused before a step 2 that is durable now (S8)."""
        session = ticket.session
        settled = min(ticket.settles, session.refused)
        session.refused -= settled
        session.counted -= settled
        for _ in range(settled):
            self._give(session, session.prefix + STORED)

    def _close(self, ticket: Ticket, payload: bytes | None) -> None:
        ticket.session.open_tickets -= 1
        if payload is not None:
            self._give(ticket.session, payload)

    def _give(self, session: Session, payload: bytes) -> None:
        if session not in self._fanout:
            return
        if session.behind is not None:
            session.hold(payload)
        else:
            self._fanout.send(session, payload)
