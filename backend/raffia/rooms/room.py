"""A live document on this replica: its interface, and how its parts are connected.

Connections call the methods of `Room`, never those of its parts. Everything runs on the event loop, in turns: one turn
takes a message through the gate into the document and the pending batch (inbound/intake.py), and one turn flushes the
batch to the readers and the append queue (outbound/flush.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from time import monotonic

from raffia.crdt.document import Document
from raffia.crdt.shape import Allowance
from raffia.crdt.update import UpdateFacts, read_update
from raffia.errors import DocumentDeletedError, ForbiddenError, RaffiaError, RoomFullError
from raffia.journal import Loaded
from raffia.rooms.clients import Client, Clients
from raffia.rooms.context import RoomContext
from raffia.rooms.document_memory import RoomMemory
from raffia.rooms.durable.append_queue import AppendQueue
from raffia.rooms.durable.compactor import Compactor
from raffia.rooms.durable.log_follower import LogFollower
from raffia.rooms.fanout import Fanout
from raffia.rooms.inbound.intake import Intake
from raffia.rooms.metadata import Metadata
from raffia.rooms.outbound.acknowledgements import Acknowledgements
from raffia.rooms.outbound.catch_up import CatchUp
from raffia.rooms.outbound.flush import Flush
from raffia.rooms.presence.entries import PresenceEntry
from raffia.rooms.presence.room_presence import RoomPresence
from raffia.rooms.services import Services
from raffia.rooms.session import KEEP_ALIVE, Session, Ticket
from raffia.runtime.jobs import Job
from raffia.types import DocumentId, Position
from raffia.wire.messages import Awareness, Message, QueryAwareness, Step1, Step2, SyncStatusRequest, Update

UPDATES = (Update, Step2)


class Room:
    """One live document.

    Attributes:
        document_id: its name.
        document: its content.
        idle_since_s: monotonic time in seconds since which the room has been unused; None if it is in use.
        holds: how many `Hub.open` calls have not been released.

    Args:
        document_id: its name.
        document: its content, built from `loaded`.
        loaded: the journal's data.
        services: what all rooms share.
        waiting: entries of a shared log whose dependencies are missing, as an update; None if there are none.
    """

    def __init__(
        self,
        document_id: DocumentId,
        document: Document,
        loaded: Loaded,
        services: Services,
        *,
        waiting: bytes | None = None,
    ) -> None:
        self.document_id = document_id
        self.document = document
        self.idle_since_s: float | None = None
        self.holds = 0
        self._settings = services.settings
        self._metrics = services.metrics
        self._memory = RoomMemory(services.memory)
        self._memory.has(document.size_bytes)
        self._workers = services.workers
        self._turns = services.turns
        self._fanout = Fanout(services.metrics)
        self._clients = Clients()
        context = RoomContext(document_id, document, services, self._fanout, self._clients)
        # Each part is given the parts it uses.
        self._presence = RoomPresence(context)
        self._metadata = Metadata(context)
        self._append_queue = AppendQueue(context, loaded)
        self._compactor = Compactor(context, self._append_queue)
        self._flush = Flush(context, self._presence, self._append_queue, self._compactor)
        self._acknowledgements = Acknowledgements(context, self._flush)
        self._catch_up = CatchUp(context, self._presence, self._flush, self._compactor)
        self._intake = Intake(
            context,
            presence=self._presence,
            flush=self._flush,
            compactor=self._compactor,
            metadata=self._metadata,
            acknowledgements=self._acknowledgements,
            early_entries=waiting,
        )
        self._follower: LogFollower | None = None
        # Parts that were made first report to those that use them.
        self._presence.on_change = self._flush.schedule
        self._presence.on_end = self._end_here
        self._append_queue.on_saved = self._saved
        if services.journal.is_shared:
            self._follower = LogFollower(context, self._append_queue, self._intake, after=loaded.position)
            self._append_queue.on_log_lost = self._follower.log_lost
            self._compactor.share_log(self._follower, self._flush)

    # -- sessions ------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Collection[Session]:
        """The sessions that have joined and have not left."""
        return self._fanout

    def join(self, session: Session, client: Client) -> None:
        """Let a session join; a y-websocket client is sent our step 1 and the presence states.

        Raises:
            RoomFullError: the document has its maximum number of sessions (closes 1013).
            RaffiaError: the room is lost (document deleted, journal failed).
        """
        if self._clients.lost is not None:
            raise self._clients.lost
        limit = self._settings.max_sessions_per_document
        if len(self._fanout) >= limit:
            raise RoomFullError(f"the document has {limit} sessions, its limit; try again later")
        self._fanout.add(session, client.transport)
        self._clients.add(session, client)
        self._intake.joined(session)
        self._metrics.sessions += 1
        session.last_sent_s = monotonic()
        if not session.hocuspocus:
            self._catch_up.ask(session)
            self._presence.tell(session)

    def leave(self, session: Session) -> None:
        """Remove a session, with its presence and its waiting updates; does nothing if it has left already."""
        if session not in self._fanout:
            return
        self._catch_up.left(session)
        self._fanout.remove(session)
        self._clients.remove(session)
        self._metrics.sessions -= 1
        self._presence.left(session)
        self._intake.left(session)

    # -- messages --------------------------------------------------------------------------------------------------

    def receive(self, session: Session, message: Message, facts: UpdateFacts | None = None) -> None:
        """Handle one message from a session.

        If this raises, the message had no effect, except that deletes in an update may have been taken (OV1); an update
        has then been answered "refused". Messages that the connection handles (Auth, Ping and the like) are ignored.

        Args:
            session: the sender; it has joined and has not left.
            message: what it sent.
            facts: the strict reader's result, if the message is an update that was read already.

        Raises:
            UpdateError, PresenceError: the message cannot be read (closes 4400).
            TooLargeError: the update, or the document with it, is too large (closes 4413).
            WaitingFullError, JournalUnavailableError, TooFastError: a limit is reached; try later (closes 1013).
        """
        if isinstance(message, UPDATES):
            is_step2 = isinstance(message, Step2)
            try:
                self._intake.take(session, message.update, facts, is_step2=is_step2)
                self._memory.has(self.document.size_bytes)
            except RaffiaError:
                self._intake.refuse_update(session, is_step2=is_step2)
                raise
        elif isinstance(message, Awareness):
            self._presence.receive(session, message.payload)
        elif isinstance(message, Step1):
            self._catch_up.ask_state(session, message.sv)
        elif isinstance(message, QueryAwareness):
            self._presence.tell(session)
        elif isinstance(message, SyncStatusRequest):
            self._intake.barrier(session, message.payload)

    def known_to(self, session: Session) -> bytes:
        """The state vector of what a session has been sent, for `resume`."""
        return self._catch_up.known_to(session)

    def resume(self, session: Session, state_vector: bytes) -> None:
        """Let a reopened Hocuspocus session continue reading, because its provider does not send another step 1.

        Args:
            session: the new session.
            state_vector: what `known_to` returned for the old one.

        Raises:
            TooFastError: see `receive`.
        """
        self._catch_up.ask_state(session, state_vector, counted=False)

    def refuse_news(self, session: Session, message: Update | Step2) -> bool:
        """Refuse a reader's update whose first struct is new, unread (R6); returns whether it was refused."""
        return self._intake.refuse_news(session, message.update, is_step2=isinstance(message, Step2))

    def refuse(self, session: Session, message: Update | Step2) -> None:
        """Answer "refused" to an update that its connection does not pass to `receive`."""
        self._intake.refuse_update(session, is_step2=isinstance(message, Step2))

    def knows_step2(self, update: bytes) -> bool:
        """Whether a client with exactly the document's content sent this step 2, so that it need not be read."""
        return self._intake.knows_step2(update)

    def must_weigh(self, session: Session, facts: UpdateFacts) -> bool:
        """Whether an update has to be weighed before it is received (CO1, CO2 of contention_guard.py)."""
        return session.grant.may_write and self._intake.contention.must_weigh(facts)

    @property
    def is_behind(self) -> bool:
        """Whether even a small update has to be weighed if it may conflict (CO2 of contention_guard.py)."""
        return self._intake.contention.is_behind

    def read(self, message: Update | Step2, allowance: Allowance) -> UpdateFacts:
        """Read an update before it is received, if that is quick.

        Raises:
            CostlyError: it costs more than the allowance.
            UpdateError, TooLargeError: as in `receive`.
        """
        return read_update(message.update, limit=self._limit(message), allowance=allowance)

    def _limit(self, message: Update | Step2) -> int:
        """The most bytes that an update may have."""
        return self._settings.max_step2_bytes if isinstance(message, Step2) else self._settings.max_update_bytes

    async def examine(self, session: Session, message: Update | Step2, facts: UpdateFacts | None) -> UpdateFacts:
        """Read an update in a worker if it has not been read, and weigh it there if necessary, before it is received.

        Raises:
            UpdateError, TooLargeError: as in `receive`.
            TooContendedError: it would take editors too long (closes 4413).
            RaffiaError: it could not be read or weighed.
        """
        user = session.grant.user
        if facts is None:
            job = Job(len(message.update), person=user)
            facts = await self._workers.run_job(job, read_update, message.update, limit=self._limit(message))
        if self.must_weigh(session, facts):
            await self._intake.contention.weigh(message.update, facts, user)
        return facts

    def fell_behind(self, session: Session) -> None:
        """Handle a congested transport: the session gets no updates or presence until it has drained."""
        self._flush.fell_behind(session)

    def caught_up(self, session: Session) -> None:
        """Handle a drained transport: one update brings the session up to date."""
        self._catch_up.caught_up(session)

    async def check_schema(self, schema: int | None) -> None:
        """Check that an editor with this schema may join; an editor that states none (None) may.

        Raises:
            SchemaError: the document has a newer schema.
            JournalUnavailableError, DocumentDeletedError: the schema cannot be looked up in the listing.
        """
        await self._metadata.check_schema(schema)

    async def update_listing(self) -> None:
        """Write the document's metadata into the listing.

        Raises:
            JournalUnavailableError, DocumentDeletedError: the listing cannot be written.
        """
        await self._metadata.now()

    def forget_replicas(self, gone: frozenset[str]) -> None:
        """Remove the presence of replicas that are gone."""
        self._presence.forget_replicas(gone)

    @property
    def present(self) -> list[PresenceEntry]:
        """The presence states of this replica's sessions and, as far as they were heard of, of others'."""
        return self._presence.table.present()

    @property
    def position(self) -> Position:
        """A position up to which the document contains the log."""
        return self._append_queue.position if self._follower is None else self._follower.position

    # -- ending sessions -------------------------------------------------------------------------------------------

    def end_all(self, error: RaffiaError) -> None:
        """End every session with an error."""
        self._clients.end_all(error)

    def end_for(self, user: str | None, reason: str) -> int:
        """End a user's sessions, or everyone's (None), on all replicas (4403); returns how many there were here.

        Other replicas are told once, without waiting (BS1 of journal/bus.py).
        """
        self._presence.end_elsewhere(user, reason)
        return self._end_here(user, reason)

    def _end_here(self, user: str | None, reason: str) -> int:
        ending = [session for session in self._fanout if user is None or session.grant.user == user]
        for session in ending:
            self._clients.end(session, ForbiddenError(reason))
        return len(ending)

    def take_from_server(self, update: bytes, facts: UpdateFacts, ticket: Ticket, *, is_weighed: bool = False) -> None:
        """Take an edit made by the server through the gate; its ticket is answered as a client's is.

        Raises:
            TooLargeError, JournalUnavailableError: as in `Intake.take`.
            InternalError: the edit refers to something that the document lacks.
            RaffiaError: the room is lost (document deleted, journal failed).
        """
        if self._clients.lost is not None:
            raise self._clients.lost
        self._intake.take_from_server(update, facts, ticket, is_weighed=is_weighed)
        self._memory.has(self.document.size_bytes)

    def flush(self) -> None:
        """Send pending updates to the readers and hand them to the append queue."""
        self._flush.flush()

    # -- answers -------------------------------------------------------------------------------------------------

    def _saved(self, tickets: list[Ticket]) -> None:
        """Handle a durable batch: answer the tickets that waited for it, and see whether a snapshot is due."""
        began_s = self._turns.clock()
        for ticket in tickets:
            self._acknowledgements.part_saved(ticket)
        self._compactor.check()
        if tickets:
            self._turns.charge_all([ticket.session.principal for ticket in tickets], began_s)

    def until_lost(self) -> asyncio.Future[RaffiaError]:
        """Return a future that resolves to the error if the room is lost."""
        return self._clients.until_lost()

    def deleted(self) -> None:
        """Handle the deletion of the document: end all sessions and refuse new ones."""
        self._append_queue.lose(DocumentDeletedError(f"document {self.document_id} was deleted"))

    # -- time ----------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Keep idle connections alive, expire presence states and retry parked updates; called every few seconds."""
        cutoff_s = now_s - self._settings.keepalive_s
        for session in self._fanout:
            heard = session.last_sent_s > cutoff_s
            if not heard and session.reading and session.behind is None and not session.open_tickets:
                heard = self._flush.last_s > cutoff_s
            if not heard and session.behind is None:
                self._fanout.send(session, session.prefix + KEEP_ALIVE)
        self._presence.tick(now_s)
        self._intake.retry_parked()
        self._compactor.tick(now_s)
        self._memory.has(self.document.size_bytes)

    # -- the end -------------------------------------------------------------------------------------------------

    @property
    def is_lost(self) -> bool:
        """Whether the document was deleted or its journal failed; the room then refuses new sessions."""
        return self._clients.lost is not None

    @property
    def holds_last_copy(self) -> bool:
        """Whether the room may hold the only copy of entries that the log has lost."""
        return self._intake.early_entries.is_last_copy

    @property
    def is_settled(self) -> bool:
        """Whether all work is done: nothing is pending, unsaved, being compacted or being read."""
        is_read = self._follower is None or not self._follower.is_busy
        is_quiet = not self._compactor.is_busy and self._metadata.is_idle
        return not self._flush.is_pending and self._append_queue.is_idle and is_quiet and is_read

    async def settled(self) -> None:
        """Wait until everything is durable."""
        self.flush()
        await self._append_queue.settled()

    async def close(self) -> None:
        """Make everything durable, write a snapshot if one is worthwhile, and stop all tasks."""
        await self.settled()
        await self._metadata.close()
        await self._compactor.close()
        while self._flush.is_pending or not self._append_queue.is_idle:
            await self.settled()  # during the snapshot the log has lost entries of which this may be the only copy
        if self._follower is not None:
            await self._follower.stop()
        self._let_go()

    def uncount(self) -> None:
        """Stop counting the room's memory (DM1): it is being closed."""
        self._memory.close()

    def _let_go(self) -> None:
        self._memory.close()
        self._flush.cancel()
        self._presence.close()
        self._append_queue.retire()

    async def abandon(self) -> None:
        """Stop without saving: only for a room that is lost or cannot be closed."""
        if self._follower is not None:
            await self._follower.stop()
        await self._append_queue.stop()
        await self._compactor.stop()
        await self._metadata.stop()
        self._let_go()
