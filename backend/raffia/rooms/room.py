"""A live document on this replica: who is on it, and what is sent to them and to the journal.

Everything here runs on the event loop, in turns: a message goes through the gate, into the document and into the
pending batch in one turn (intake.py); a flush sends the batch to readers and hands it to the saver in one turn.

Rules (tests quote these ids; R1, R4 and R6 to R9 stand in intake.py, R5 in catch_up.py):
    R2  Fan-out does not wait for durability; acknowledgement always does.
    R3  A session that wrote into a batch gets the others' parts; its own come back only when durable (y-websocket).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from time import monotonic
from typing import Protocol

from raffia.crdt.document import Document
from raffia.crdt.merge import merge
from raffia.crdt.update import UpdateFacts
from raffia.errors import CrdtError, DocumentDeletedError, RaffiaError, RoomFullError
from raffia.journal import Loaded
from raffia.rooms.durable.append_queue import AppendQueue
from raffia.rooms.durable.compactor import Compactor
from raffia.rooms.durable.log_follower import LogFollower
from raffia.rooms.inbound.intake import Intake
from raffia.rooms.metadata import Metadata, outdated
from raffia.rooms.outbound.acknowledgements import Acknowledgements
from raffia.rooms.outbound.catch_up import CatchUp
from raffia.rooms.outbound.fanout import Fanout, Pacer
from raffia.rooms.outbound.pending import Item, Pending
from raffia.rooms.presence.room_presence import RoomPresence
from raffia.rooms.services import Services
from raffia.rooms.session import KEEP_ALIVE, Session, Ticket, step1_body, update_body
from raffia.runtime.logs import get_logger
from raffia.types import DocumentId, Position
from raffia.wire.messages import Awareness, Message, QueryAwareness, Step1, Step2, SyncStatusRequest, Update
from raffia.wire.transport import Transport

log = get_logger("raffia.rooms.room")

UPDATES = (Update, Step2)


class Client(Protocol):
    """The connection that a session came by."""

    @property
    def transport(self) -> Transport:
        """Where its frames go."""
        ...

    def end(self, session: Session, error: RaffiaError) -> None:
        """End one session with an error."""
        ...


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
        self._loop = asyncio.get_running_loop()
        self._clients: dict[Session, Client] = {}
        self._pacer = Pacer(services.settings.coalesce_factor, services.settings.coalesce_max_s)
        self._flush_handle: asyncio.Handle | None = None
        self._flushing = False
        self._last_broadcast_s = 0.0
        self._lost: RaffiaError | None = None
        self._tell_lost: list[asyncio.Future[RaffiaError]] = []
        self._fanout = fanout = Fanout(services.metrics)
        self._pending = Pending(self._schedule)
        self._presence = RoomPresence(document_id, services, fanout, self._schedule)
        self._append_queue = AppendQueue(
            document_id,
            services,
            loaded,
            on_saved=self._saved,
            on_lost=self._journal_lost,
            on_log_lost=self._log_lost,
        )
        self._acknowledgements = Acknowledgements(fanout, services.metrics, self._pending, self._append_queue)
        self._follower = self._follow(services, loaded, complete=waiting is None)
        self._compactor = Compactor(
            document_id,
            document,
            self._append_queue,
            services,
            position=self._followed if self._follower is not None else None,
            durable=self._durable if self._follower is not None else None,
        )
        self._metadata = Metadata(document_id, document, services, self._schema_grew)
        self._intake = Intake(
            document_id,
            document,
            services,
            fanout=fanout,
            presence=self._presence,
            pending=self._pending,
            append_queue=self._append_queue,
            compactor=self._compactor,
            metadata=self._metadata,
            acknowledgements=self._acknowledgements,
            early_entries=waiting,
            completed=self._log_completed,
            end=self._end,
        )
        self._catch_up = CatchUp(
            document,
            self._compactor,
            fanout,
            self._presence,
            services,
            flush_pending=self._flush_pending,
            end=self._end,
        )

    def _follow(self, services: Services, loaded: Loaded, *, complete: bool) -> LogFollower | None:
        """Follow what other replicas write into the log, where there may be others."""
        if not services.journal.is_shared:
            return None
        return LogFollower(
            self.document_id,
            self.document,
            self._append_queue,
            services,
            after=loaded.position,
            complete=complete,
            take=self._take_from_log,
            on_cut=self._log_was_cut,
            on_lost=self._journal_lost,
        )

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
        if self._lost is not None:
            raise self._lost
        limit = self._settings.max_sessions_per_document
        if len(self._fanout) >= limit:
            raise RoomFullError(f"the document has {limit} sessions, its limit; try again later")
        self._fanout.add(session, client.transport)
        self._clients[session] = client
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
        del self._clients[session]
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
            self._barrier(session, message.payload)

    def refuse(self, session: Session, message: Update | Step2) -> None:
        """Answer "refused" to an update that its connection does not hand to `receive`."""
        self._intake.refuse_update(session, is_step2=isinstance(message, Step2))

    def knows_step2(self, update: bytes) -> bool:
        """Whether a client that sends these bytes as a step 2 knows exactly what we know: they need not be read."""
        return self._intake.knows_step2(update)

    def fell_behind(self, session: Session) -> None:
        """The transport of a session is congested."""
        self._catch_up.fell_behind(session)

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
        for session in tuple(self._clients):
            self._end(session, error)

    def _end(self, session: Session, error: RaffiaError) -> None:
        client = self._clients.get(session)
        if client is not None:
            client.end(session, error)

    def take_from_server(self, update: bytes, facts: UpdateFacts, ticket: Ticket) -> None:
        """Take an edit that this server makes, through the gate; the ticket is answered as a client's is.

        Raises:
            TooLargeError, JournalUnavailableError: as in `Intake.take`.
            InternalError: it refers to what is not there.
            RaffiaError: the room has been lost (deleted, journal failed).
        """
        if self._lost is not None:
            raise self._lost
        self._intake.take_from_server(update, facts, ticket)

    # -- what other replicas write --------------------------------------------------------------------------------

    def _take_from_log(self, updates: Sequence[bytes]) -> bool:
        return self._intake.take_from_log(updates)

    def _log_was_cut(self) -> None:
        self._intake.early_entries.cut()

    def _log_completed(self) -> None:
        if self._follower is not None:
            self._follower.completed()

    def _followed(self) -> Position:
        assert self._follower is not None
        return self._follower.position

    async def _durable(self) -> bool:
        """Wait until what the document holds now is durable; False when it cannot be."""
        self.flush()
        return await self._append_queue.durable()

    def _log_lost(self) -> None:
        if self._follower is not None:
            self._follower.log_lost()

    # -- flush ---------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if self._flush_handle is None:
            delay_s = self._pacer.delay(monotonic())
            if delay_s > 0:
                self._flush_handle = self._loop.call_later(delay_s, self.flush)
            else:
                self._flush_handle = self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what is pending to the readers and hand it to the saver."""
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        if self._flushing:
            return
        self._flushing = True
        started_s = monotonic()
        try:
            if self._pending:
                pending = self._pending.take()
                # First: what is in the document but never gets into the log would be a gap in it.
                self._append_queue.put([(item.edit, item.ticket) for item in pending if not item.is_durable])
                self._broadcast(pending)
                self.document.pack()
                self._compactor.check()
            self._presence.flush()
        finally:
            self._flushing = False
        self._catch_up.set_aside()
        self._last_broadcast_s = started_s
        self._metrics.flushes += 1
        self._loop.call_soon(self._flushed, started_s)

    def _flush_pending(self) -> bool:
        """Flush if anything is pending; says whether nothing more has to be done. During a flush nothing is."""
        if self._flushing:
            return True
        if self._pending:
            self.flush()
            return True
        return False

    def _flushed(self, started_s: float) -> None:
        """The turn of a flush is over, and with it its writes."""
        ended_s = monotonic()
        self._metrics.flush_s.observe(ended_s - started_s)
        self._pacer.flushed(started_s, ended_s)

    def _broadcast(self, pending: list[Item]) -> None:
        updates = [item.edit.update for item in pending if item.edit is not None]
        if not updates:
            return
        try:
            self._send(pending, updates)
        except CrdtError:
            # Readers must miss nothing, whatever one of the updates is: each by itself needs no merging.
            log.exception("updates cannot be merged and are sent one by one", document=self.document_id)
            for item in pending:
                if item.edit is not None:
                    self._send([item], [item.edit.update])

    def _send(self, pending: list[Item], updates: list[bytes]) -> None:
        """Send a batch to all readers, merged; to those who wrote into it without their own (R3)."""
        writers = {item.session for item in pending if item.edit is not None and item.session is not None}
        several = len(writers) > 1 or any(item.session is None for item in pending)
        body = update_body(updates[0] if len(updates) == 1 else merge(updates))
        sent = self._fanout.broadcast(body, writers)
        if several:
            for writer in writers:
                if writer.reading and writer.behind is None and writer in self._fanout:
                    others = [p.edit.update for p in pending if p.edit is not None and p.session is not writer]
                    self._fanout.send(
                        writer, writer.prefix + update_body(others[0] if len(others) == 1 else merge(others))
                    )
                    sent += 1
        self._metrics.updates_out += sent

    # -- answers -------------------------------------------------------------------------------------------------

    def _saved(self, tickets: list[Ticket]) -> None:
        """A batch is durable: answer those whose last part it held."""
        for ticket in tickets:
            self._acknowledgements.part_saved(ticket)
        self._compactor.check()

    def _barrier(self, session: Session, payload: bytes) -> None:
        """Send a payload back once everything that this session sent before is durable (y-sweet's sync status)."""
        waiting = {waiting.ticket: None for waiting in self._intake.waiting.of(session)}
        self._acknowledgements.barrier(session, payload, waiting)

    def until_lost(self) -> asyncio.Future[RaffiaError]:
        """A future of the error with which the room is lost, if it ever is."""
        future: asyncio.Future[RaffiaError] = self._loop.create_future()
        self._tell_lost = [other for other in self._tell_lost if not other.done()]
        self._tell_lost.append(future)
        return future

    def deleted(self) -> None:
        """The document has got its tombstone: end everybody, take nobody."""
        self._journal_lost(DocumentDeletedError(f"document {self.document_id} was deleted"))

    def _schema_grew(self, schema: int) -> None:
        """End the sessions of editors that are older than what the document holds now."""
        for session in tuple(self._clients):
            if session.schema is not None and session.schema < schema:
                self._end(session, outdated(session.schema, schema))

    def _journal_lost(self, error: RaffiaError) -> None:
        self._lost = error
        self._append_queue.give_up()
        for future in self._tell_lost:
            if not future.done():
                future.set_result(error)
        self.end_all(error)

    # -- time ----------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Every few seconds: keep connections alive, let presence expire."""
        cutoff_s = now_s - self._settings.keepalive_s
        for session in self._fanout:
            heard = session.last_sent_s > cutoff_s
            if not heard and session.reading and session.behind is None and not session.open_tickets:
                heard = self._last_broadcast_s > cutoff_s
            if not heard and session.behind is None:
                self._fanout.send(session, session.prefix + KEEP_ALIVE)
        self._presence.expire(now_s)
        self._intake.retry_parked()
        self._compactor.tick(now_s)

    # -- the end -------------------------------------------------------------------------------------------------

    @property
    def is_lost(self) -> bool:
        """Whether it has lost its journal, and with it edits: it takes nobody any more."""
        return self._lost is not None

    @property
    def holds_last_copy(self) -> bool:
        """Whether it holds back what the log has lost: nobody else may have it."""
        return self._intake.early_entries.is_last_copy

    @property
    def is_settled(self) -> bool:
        """Whether nothing is pending, unsaved or being folded."""
        is_read = self._follower is None or not self._follower.is_busy
        is_quiet = not self._compactor.is_busy and self._metadata.is_idle
        return not self._pending and self._append_queue.is_idle and is_quiet and is_read

    async def settled(self) -> None:
        """Wait until everything is durable."""
        self.flush()
        await self._append_queue.settled()

    async def close(self) -> None:
        """Make everything durable, leave a snapshot if that is worth it, and give the memory back."""
        await self.settled()
        await self._metadata.close()
        await self._compactor.close()
        while self._pending or not self._append_queue.is_idle:
            await self.settled()  # while the snapshot was made the log has lost what this room may be the last to hold
        if self._follower is not None:
            await self._follower.stop()
        self._let_go()

    def _let_go(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
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
