"""A live document on this replica: who is on it, and what is sent to them and to the journal.

Everything here runs on the event loop, in turns: a message goes through the gate, into the document and into the
pending batch in one turn (inbound/intake.py); a flush sends the batch to readers and hands it to the append queue in
one turn (outbound/flush.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from time import monotonic

from raffia.crdt.document import Document
from raffia.crdt.update import UpdateFacts
from raffia.errors import DocumentDeletedError, RaffiaError, RoomFullError
from raffia.journal import Loaded
from raffia.rooms.clients import Client, Clients
from raffia.rooms.context import RoomContext
from raffia.rooms.durable.append_queue import AppendQueue
from raffia.rooms.durable.compactor import Compactor
from raffia.rooms.durable.log_follower import LogFollower
from raffia.rooms.fanout import Fanout
from raffia.rooms.inbound.intake import Intake
from raffia.rooms.metadata import Metadata
from raffia.rooms.outbound.acknowledgements import Acknowledgements
from raffia.rooms.outbound.catch_up import CatchUp
from raffia.rooms.outbound.flush import Flush
from raffia.rooms.presence.room_presence import RoomPresence
from raffia.rooms.services import Services
from raffia.rooms.session import KEEP_ALIVE, Session, Ticket, step1_body
from raffia.types import DocumentId
from raffia.wire.messages import Awareness, Message, QueryAwareness, Step1, Step2, SyncStatusRequest, Update

UPDATES = (Update, Step2)


class Room:
    """One document, live.

    Attributes:
        document_id: which one.
        document: its content.
        idle_since_s: since when nobody has used it, monotonic seconds; None while somebody does.
        holds: how many use it.
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
        self._fanout = Fanout(services.metrics)
        self._clients = Clients()
        context = RoomContext(document_id, document, services, self._fanout, self._clients)
        # Each part is given the parts that stand below it.
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
        # What parts report to those above them.
        self._presence.on_change = self._flush.schedule
        self._append_queue.on_saved = self._saved
        if services.journal.is_shared:
            self._follower = LogFollower(context, self._append_queue, self._intake, after=loaded.position)
            self._append_queue.on_log_lost = self._follower.log_lost
            self._compactor.share_log(self._follower, self._flush)

    # -- sessions ------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Collection[Session]:
        """The sessions that have joined and not left."""
        return self._fanout

    def join(self, session: Session, client: Client) -> None:
        """Let a session in and say the first word.

        Raises:
            RoomFullError: as many sessions as a document may have (closes 1013).
            RaffiaError: the room has been lost (deleted, journal failed).
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
            self._fanout.send(session, step1_body(self.document.state_vector()))
            self._presence.tell(session)

    def leave(self, session: Session) -> None:
        """A session has gone: its presence goes, and what it left waiting."""
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
        """Handle one message of a session.

        A message that raises was not applied; an update among them has been answered "refused". Messages that concern
        the connection alone (Auth, Ping and the like) are ignored.

        Args:
            session: who sent it; it has joined and not left.
            message: what it sent.
            facts: of an update, what the strict reader found in it, if it has been read already.

        Raises:
            UpdateError, PresenceError: it cannot be read (closes 4400).
            TooLargeError: it, or the document with it, is too large (closes 4413).
            WaitingFullError, JournalUnavailableError, TooFastError: a limit is reached; later (closes 1013).
        """
        if isinstance(message, UPDATES):
            is_step2 = isinstance(message, Step2)
            try:
                self._intake.take(session, message.update, facts, is_step2=is_step2)
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

    def refuse(self, session: Session, message: Update | Step2) -> None:
        """Answer "refused" to an update that its connection does not hand to `receive`."""
        self._intake.refuse_update(session, is_step2=isinstance(message, Step2))

    def knows_step2(self, update: bytes) -> bool:
        """Whether a client that sends these bytes as a step 2 knows exactly what we know: they need not be read."""
        return self._intake.knows_step2(update)

    def fell_behind(self, session: Session) -> None:
        """The transport of a session is congested."""
        self._flush.fell_behind(session)

    def caught_up(self, session: Session) -> None:
        """The transport of a session has drained."""
        self._catch_up.caught_up(session)

    async def check_schema(self, schema: int | None) -> None:
        """Check that an editor with this schema may join; None passes.

        Raises:
            SchemaError: the document has a newer schema.
            JournalUnavailableError, DocumentDeletedError: the listing, which knows the schema, cannot be read.
        """
        await self._metadata.check_schema(schema)

    async def update_listing(self) -> None:
        """Write what the document says of itself into the listing.

        Raises:
            JournalUnavailableError, DocumentDeletedError: the listing cannot be written.
        """
        await self._metadata.now()

    def forget_replicas(self, gone: frozenset[str]) -> None:
        """Remove the presence of replicas that are gone."""
        self._presence.forget_replicas(gone)

    # -- ending sessions -------------------------------------------------------------------------------------------

    def end_all(self, error: RaffiaError) -> None:
        """End every session with an error."""
        self._clients.end_all(error)

    def take_from_server(self, update: bytes, facts: UpdateFacts, ticket: Ticket) -> None:
        """Take an edit that this server makes, through the gate; the ticket is answered as a client's is.

        Raises:
            TooLargeError, JournalUnavailableError: as in `Intake.take`.
            InternalError: it refers to what is not there.
            RaffiaError: the room has been lost (deleted, journal failed).
        """
        if self._clients.lost is not None:
            raise self._clients.lost
        self._intake.take_from_server(update, facts, ticket)

    def flush(self) -> None:
        """Send what is pending to the readers and hand it to the append queue."""
        self._flush.flush()

    # -- answers -------------------------------------------------------------------------------------------------

    def _saved(self, tickets: list[Ticket]) -> None:
        """A batch is durable: answer those whose last part it held."""
        for ticket in tickets:
            self._acknowledgements.part_saved(ticket)
        self._compactor.check()

    def until_lost(self) -> asyncio.Future[RaffiaError]:
        """A future of the error with which the room is lost, if it ever is."""
        return self._clients.until_lost()

    def deleted(self) -> None:
        """The document has got its tombstone: end everybody, take nobody."""
        self._append_queue.lose(DocumentDeletedError(f"document {self.document_id} was deleted"))

    # -- time ----------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Every few seconds: keep connections alive, let presence expire."""
        cutoff_s = now_s - self._settings.keepalive_s
        for session in self._fanout:
            heard = session.last_sent_s > cutoff_s
            if not heard and session.reading and session.behind is None and not session.open_tickets:
                heard = self._flush.last_s > cutoff_s
            if not heard and session.behind is None:
                self._fanout.send(session, session.prefix + KEEP_ALIVE)
        self._presence.expire(now_s)
        self._intake.retry_parked()
        self._compactor.tick(now_s)

    # -- the end -------------------------------------------------------------------------------------------------

    @property
    def is_lost(self) -> bool:
        """Whether it has lost its journal, and with it edits: it takes nobody any more."""
        return self._clients.lost is not None

    @property
    def holds_last_copy(self) -> bool:
        """Whether it holds back what the log has lost: nobody else may have it."""
        return self._intake.early_entries.is_last_copy

    @property
    def is_settled(self) -> bool:
        """Whether nothing is pending, unsaved or being folded."""
        is_read = self._follower is None or not self._follower.is_busy
        is_quiet = not self._compactor.is_busy and self._metadata.is_idle
        return not self._flush.is_pending and self._append_queue.is_idle and is_quiet and is_read

    async def settled(self) -> None:
        """Wait until everything is durable."""
        self.flush()
        await self._append_queue.settled()

    async def close(self) -> None:
        """Make everything durable, leave a snapshot if that is worth it, and give the memory back."""
        await self.settled()
        await self._metadata.close()
        await self._compactor.close()
        while self._flush.is_pending or not self._append_queue.is_idle:
            await self.settled()  # while the snapshot was made the log has lost what this room may be the last to hold
        if self._follower is not None:
            await self._follower.stop()
        self._let_go()

    def _let_go(self) -> None:
        self._flush.cancel()
        self._presence.close()
        self._append_queue.retire()

    async def abandon(self) -> None:
        """Drop what is not durable: only for a document that has been deleted or a process that must end."""
        if self._follower is not None:
            await self._follower.stop()
        await self._append_queue.stop()
        await self._compactor.stop()
        await self._metadata.stop()
        self._let_go()
