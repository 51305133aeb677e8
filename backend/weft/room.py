"""A live document on this replica: its sessions, its presence, and its single writer.

Everything here runs on the event loop, in turns: a message goes through the gate, into the document and into the
pending batch in one turn; a flush sends the batch to readers and hands it to the saver in one turn.

Rules (tests quote these ids):
    R1  Only the room writes its document; whatever comes, from sessions or from the journal, passes the gate.
    R2  Fan-out does not wait for durability; acknowledgement always does.
    R3  A session that wrote into a batch gets the others' parts; its own come back only when durable (y-websocket).
    R4  A gap never gets into the document, the journal or a broadcast: parts that wait stay with their session.
    R5  A session reads only after it has been given the state; what it is given then is all there is in that turn.
    R6  A read-only session's update is answered "stored" if it holds nothing new, else "refused".
    R8  What comes from the log is durable: it goes to the readers, never back to the saver. What of it refers to
        something that the log lacks waits in the room, and no snapshot covers it.
    R9  New structs under a client id that is guarded for another user wait until its owner's own are there, or until
        he has left (owners.py); he is asked for them. The rest of the update goes on.
    R7  Whatever is refused is refused whole, with one error, before anything of it has an effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic, time_ns
from typing import NamedTuple, Protocol

from weft.crdt.merge import merge
from weft.crdt.update import UpdateFacts, read_state_vector, read_update, write_state_vector
from weft.document import Admission, Document
from weft.errors import (
    CrdtError,
    DocumentDeletedError,
    InternalError,
    JournalUnavailableError,
    RoomFullError,
    TooFastError,
    TooLargeError,
    WeftError,
)
from weft.fanout import Fanout, Pacer
from weft.folder import Folder
from weft.follower import Follower
from weft.journal import Loaded
from weft.logs import get_logger
from weft.mirror import Mirror, outdated
from weft.outlet import Outlet
from weft.owners import GUARD_S, Owners, Split
from weft.presence import Entry as PresenceEntry
from weft.presence import PresenceLimits, PresenceTable, encode
from weft.relay import Relay
from weft.saver import Saver
from weft.services import Services
from weft.session import KEEP_ALIVE, Barrier, Session, Ticket, presence_body, step1_body, step2_body, update_body
from weft.types import EMPTY_UPDATE, DocumentId, Edit, Position
from weft.waiting import Waiting, WaitingList

log = get_logger("weft.room")

# A step 2 that repeats our delete set is compared instead of read from this size on; below it reading is as quick.
COMPARE_BYTES = 64
MAX_HELD_BACK = 16  # pieces; more are merged


class Party(Protocol):
    """The connection that a session came by."""

    @property
    def outlet(self) -> Outlet:
        """Where its frames go."""
        ...

    def end(self, session: Session, error: WeftError) -> None:
        """End one session with an error."""
        ...


class _Pending(NamedTuple):
    """One update in the pending batch; without an edit it only rides, without a session it comes from the log."""

    session: Session | None
    edit: Edit | None
    ticket: Ticket | None
    is_durable: bool = False


class _HeldBack(NamedTuple):
    """What of the log refers to something that the log lacks."""

    update: bytes
    is_durable: bool  # whether the log still holds it, as far as is known


class Room:
    """One document, live.

    Attributes:
        document_id: which one.
        document: its content.
        mirror: carries its title into the listing.
        idle_since_s: since when nobody has used it, monotonic seconds; None while somebody does.
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
        self.presence = PresenceTable(PresenceLimits(max_state_bytes=services.settings.max_presence_bytes))
        self.idle_since_s: float | None = None
        self.holds = 0
        self._settings = services.settings
        self._metrics = services.metrics
        self._loop = asyncio.get_running_loop()
        self._fanout = Fanout(services.metrics)
        self._pacer = Pacer(services.settings.coalesce_factor, services.settings.coalesce_most_s)
        self._saver = Saver(
            document_id,
            services,
            loaded,
            on_saved=self._saved,
            on_lost=self._journal_lost,
            on_log_lost=self._log_lost,
        )
        self._held_back = [] if waiting is None else [_HeldBack(waiting, is_durable=True)]  # from the log (R8)
        self._follower: Follower | None = None
        if services.journal.is_shared:
            self._follower = Follower(
                document_id,
                document,
                self._saver,
                services,
                after=loaded.position,
                complete=waiting is None,
                take=self.take_from_log,
                on_cut=self.log_was_cut,
                on_lost=self._journal_lost,
            )
        self._folder = Folder(
            document_id,
            document,
            self._saver,
            services,
            position=self._followed if self._follower is not None else None,
            durable=self._durable if self._follower is not None else None,
        )
        self._relay: Relay | None = None
        if services.bus is not None:
            self._relay = Relay(
                document_id, services.bus, services.metrics, own=self._own_presence, take=self._take_presence
            )
        self.mirror = Mirror(document_id, document, services, self._schema_grew)
        self._parties: dict[Session, Party] = {}
        self._users: dict[Session, str | None] = {}  # as they were when they joined
        self._owners = Owners(self._present_user, self._is_present, monotonic)
        self._pending: list[_Pending] = []
        self._pending_bytes = 0
        self._waiting = WaitingList(
            max_updates=services.settings.max_waiting_updates, max_bytes=services.settings.max_waiting_bytes
        )
        self._flush_handle: asyncio.Handle | None = None
        self._congested: list[Session] = []
        self._flushing = False
        self._last_broadcast_s = 0.0
        self._lost: WeftError | None = None
        self._tell_lost: list[asyncio.Future[WeftError]] = []

    # -- sessions ------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Fanout:
        """Who is here."""
        return self._fanout

    def join(self, session: Session, party: Party) -> None:
        """Let a session in and say the first word.

        Raises:
            RoomFullError: as many sessions as a document may have (closes 1013).
            WeftError: the room has been lost (deleted, journal failed).
        """
        if self._lost is not None:
            raise self._lost
        limit = self._settings.max_sessions_per_document
        if len(self._fanout) >= limit:
            raise RoomFullError(f"the document has {limit} sessions, its limit; try again later")
        self._fanout.add(session, party.outlet)
        self._parties[session] = party
        self._users[session] = session.grant.user
        self._owners.came(session.grant.user)
        self._metrics.sessions += 1
        session.last_sent_s = monotonic()
        if not session.hocuspocus:
            self._say(session, step1_body(self.document.state_vector()))
            self._say_presence(session)

    def leave(self, session: Session) -> None:
        """A session has gone: its presence goes, and what it left waiting."""
        if session not in self._fanout:
            return
        if session.behind is not None:
            self._metrics.slow_readers -= 1
        self._fanout.remove(session)
        del self._parties[session]
        self._metrics.sessions -= 1
        for waiting in self._waiting.of(session):
            self._wait_no_more(waiting)
        if self.presence.remove_owner(session.owner, monotonic()):
            self._schedule()
        if self._owners.left(self._users.pop(session)) and self._waiting:
            self._retry_parked()

    def end_all(self, error: WeftError) -> None:
        """End every session with an error."""
        for session in tuple(self._parties):
            self._end(session, error)

    def _end(self, session: Session, error: WeftError) -> None:
        party = self._parties.get(session)
        if party is not None:
            party.end(session, error)

    # -- updates -------------------------------------------------------------------------------------------------

    def take(
        self, session: Session, update: bytes, facts: UpdateFacts | None = None, *, is_step2: bool = False
    ) -> None:
        """Take an update from a session, through the gate.

        Args:
            session: who sent it.
            update: bytes from outside.
            facts: what the strict reader found in them, if it has read them already.
            is_step2: whether it came as a step 2.

        Raises:
            UpdateError: not an update (closes 4400).
            TooLargeError: it, or the document with it, is too large (closes 4413).
            WaitingFullError: too much of it would wait (closes 1013).
            JournalUnavailableError: too much waits for the journal (closes 1013).
        """
        self._metrics.updates_in += 1
        if update == EMPTY_UPDATE or (is_step2 and self.knows_step2(update)):
            self._nothing_new(self._ticket(session, None, is_step2=is_step2))
            return
        if facts is None:
            facts = read_update(update, limit=self._settings.max_update_bytes)
        if not session.grant.may_write:
            self._take_from_reader(session, self.document.admit(update, facts), is_step2=is_step2)
            return
        split = self._owners.split(update, facts, self.document.clocks, session.grant.user)
        if split is not None:
            self._take_guarded(session, update, split, is_step2=is_step2)
            return
        admission = self.document.admit(update, facts)
        if admission.ready is None and admission.waiting is None:
            # y-websocket clients have nothing to learn from their own known step 2.
            self._nothing_new(self._ticket(session, None if is_step2 else update, is_step2=is_step2))
            return
        # By what is new of it: a step 2 may repeat a whole document, which is no reason to refuse one more word.
        new_bytes = len(admission.ready or b"") + len(admission.waiting or b"")
        self._check_room_for(new_bytes, only_deletes=not admission.ends and admission.waiting is None)
        if admission.waiting is not None:
            self._waiting.check(session, update, admission.needs)
        # Of a step 2, which may repeat a whole document, only what was new comes back.
        ticket = self._ticket(session, admission.ready if is_step2 else update, is_step2=is_step2)
        if admission.waiting is not None:
            if admission.ready is not None:
                ticket.parts += 1
            self._wait(Waiting(update, facts, ticket, session.grant.user), admission.needs)
        if admission.ready is not None:
            self._accept(admission, ticket, session.grant.user, is_live=not is_step2)
            self._advanced(admission.ends)

    def _take_guarded(self, session: Session, update: bytes, split: Split, *, is_step2: bool) -> None:
        """Take an update with structs under guarded ids: those are parked (R9)."""
        self._check_room_for(len(update))
        self._waiting.check(session, update, split.needs)
        user = session.grant.user
        ticket = self._ticket(session, None if is_step2 else update, is_step2=is_step2)
        ends: list[tuple[int, int]] = []
        if split.free is not None:
            facts = read_update(split.free)
            admission = self.document.admit(split.free, facts)
            if admission.waiting is not None:
                ticket.parts += 1
                self._wait(Waiting(split.free, facts, ticket, user), admission.needs)
            if admission.ready is not None:
                ticket.parts += 1
                self._accept(admission, ticket, user, is_live=not is_step2)
                ends = admission.ends
        self._metrics.parked_updates += 1
        self._await(Waiting(split.parked, read_update(split.parked), ticket, user, is_parked=True), split.needs)
        for owner, name in self._users.items():
            if name in split.owners and owner.ask_rate.take(monotonic()):
                owner.expect_step2(counted=False)
                self._say(owner, owner.prefix + step1_body(self.document.state_vector()))
        self._advanced(ends)

    def _present_user(self, client: int) -> str | None:
        return self.presence.user_of(client, self._owners.clock() - GUARD_S)

    def _is_present(self, user: str) -> bool:
        return self.presence.has_user(user, self._owners.clock() - GUARD_S)

    def _retry_parked(self) -> None:
        """Try what is parked again: owners may have left."""
        self._advanced([], self._waiting.parked())

    def knows_step2(self, update: bytes) -> bool:
        """Whether these are the bytes of a client that knows exactly what we know; they need not be read."""
        return len(update) >= COMPARE_BYTES and update == self.document.known_step2()

    @staticmethod
    def _ticket(session: Session, echo: bytes | None, *, is_step2: bool) -> Ticket:
        session.open_tickets += 1
        ticket = Ticket(session, echo, monotonic())
        ticket.is_silent = is_step2 and not session.counts_step2()
        return ticket

    def _nothing_new(self, ticket: Ticket) -> None:
        """Answer an update that held nothing new when everything that is pending now is durable."""
        self._metrics.updates_known += 1
        self._ride(ticket)

    def _ride(self, ticket: Ticket) -> None:
        if self._pending:
            self._pending.append(_Pending(ticket.session, None, ticket))
        elif not self._saver.ride(ticket):
            self._part_saved(ticket)

    def _take_from_reader(self, session: Session, admission: Admission, *, is_step2: bool) -> None:
        ticket = self._ticket(session, None, is_step2=is_step2)
        if admission.ready is None and admission.waiting is None:
            self._nothing_new(ticket)
        elif admission.waiting is None and not admission.ends:
            # Only deletes: readers' editors emit clean-ups by themselves, and some deletes are implied by the content.
            self._folder.check_implied(admission.deletes, lambda implied: self._answer_reader(ticket, implied=implied))
        else:
            self._answer_reader(ticket, implied=False)

    def _answer_reader(self, ticket: Ticket, *, implied: bool) -> None:
        if implied:
            self._nothing_new(ticket)
        else:
            self._metrics.refusals["read-only"] += 1
            self._refuse(ticket)

    def refuse_update(self, session: Session, *, is_step2: bool) -> None:
        """Answer "refused" to a Step2 or Update of which nothing was taken."""
        self._refuse(self._ticket(session, None, is_step2=is_step2))

    def _refuse(self, ticket: Ticket) -> None:
        self._metrics.acks["refused"] += 1
        self._answer(ticket.session, ticket.refused())

    def _check_room_for(self, size_bytes: int, *, only_deletes: bool = False) -> None:
        limit = self._settings.max_document_bytes
        if only_deletes:
            limit += limit // 4  # or a document that somebody has filled to the last byte could never be emptied
        if self.document.size_bytes + size_bytes > limit:
            raise TooLargeError(
                f"the document has {self.document.size_bytes} bytes and {size_bytes} more came; the limit is {limit}; "
                "split the document or raise WEFT_MAX_DOCUMENT_BYTES"
            )
        unsaved = self._saver.unsaved_bytes + self._pending_bytes
        if unsaved + size_bytes > self._settings.max_unsaved_bytes:
            raise JournalUnavailableError(
                f"{unsaved} bytes wait for the journal, which is away or slow; the limit is "
                f"{self._settings.max_unsaved_bytes}; edits are taken again when it is back"
            )

    def _accept(self, admission: Admission, ticket: Ticket, author: str | None, *, is_live: bool) -> None:
        """The ready part of an admission becomes part of the document, the batch and the log."""
        assert admission.ready is not None
        session = ticket.session
        # A step 2 says nothing about who wrote it: after a loss of the log anybody brings back anybody's first structs.
        if is_live and author is not None and len(admission.ends) == 1:
            client = admission.ends[0][0]
            self._owners.wrote(client, self.document.clocks.get(client, 0), author)
        if session.behind is not None:
            # What it sends itself it has; on y-websocket that comes back only when durable.
            for client, end in admission.ends:
                if session.behind.get(client, 0) == self.document.clocks.get(client, 0):
                    session.behind[client] = end
        self.document.absorb(admission)
        edit = Edit(author, time_ns() // 1_000_000, admission.ready)
        self._pending.append(_Pending(session, edit, ticket))
        self._pending_bytes += len(admission.ready)
        self.mirror.saw(admission.ready)
        self._schedule()

    def take_from_server(self, update: bytes, facts: UpdateFacts, ticket: Ticket) -> None:
        """Take an edit that this server makes, through the gate; the ticket is answered as a client's is.

        Raises:
            TooLargeError, JournalUnavailableError: as in `take`.
            InternalError: it refers to what is not there.
            WeftError: the room has been lost (deleted, journal failed).
        """
        if self._lost is not None:
            raise self._lost
        admission = self.document.admit(update, facts)
        if admission.waiting is not None:
            raise InternalError("an edit of the server refers to what the document does not hold")
        if admission.ready is None:
            self._ride(ticket)
            return
        self._check_room_for(len(update))
        self._accept(admission, ticket, ticket.session.grant.user, is_live=False)
        self._advanced(admission.ends)

    # -- what other replicas write --------------------------------------------------------------------------------

    def _followed(self) -> Position:
        assert self._follower is not None
        return self._follower.position

    async def _durable(self) -> bool:
        """Wait until what the document holds now is durable; False when it cannot be."""
        self.flush()
        return await self._saver.durable()

    def _log_lost(self) -> None:
        if self._follower is not None:
            self._follower.log_lost()

    def take_from_log(self, updates: Sequence[bytes]) -> bool:
        """Take updates that other replicas have made durable (R8); whether all of it could be taken.

        Raises:
            UpdateError, CrdtError: they cannot be read.
        """
        update = updates[0] if len(updates) == 1 else merge(updates)
        if update == EMPTY_UPDATE:
            return not self._held_back
        admission = self.document.admit(update, read_update(update))
        if admission.waiting is not None:
            log.warning(
                "the log holds what refers to something it lacks; it waits",
                document=self.document_id,
                needs=admission.needs[:3],
            )
            self._hold_back(_HeldBack(admission.waiting, is_durable=True))
        if admission.ready is not None:
            self._accept_from_log(admission, is_durable=True)
            self._advanced(admission.ends)
        return not self._held_back

    def log_was_cut(self) -> None:
        """What is held back may not stand in the log any more: if it becomes ready it is appended (R8)."""
        self._held_back = [_HeldBack(held.update, is_durable=False) for held in self._held_back]

    def _hold_back(self, held: _HeldBack) -> None:
        # Each reading of the log brings it again.
        self._held_back = [other for other in self._held_back if other.update != held.update]
        self._held_back.append(held)
        if len(self._held_back) > MAX_HELD_BACK:
            is_durable = all(other.is_durable for other in self._held_back)
            self._held_back = [_HeldBack(merge([other.update for other in self._held_back]), is_durable)]

    def _accept_from_log(self, admission: Admission, *, is_durable: bool) -> None:
        assert admission.ready is not None
        self.document.absorb(admission)
        edit = Edit(None, time_ns() // 1_000_000, admission.ready)
        self._pending.append(_Pending(None, edit, None, is_durable))
        if not is_durable:
            self._pending_bytes += len(admission.ready)
        self._schedule()

    def _retry_held_back(self) -> list[tuple[int, int]]:
        """Try again what the log held too early, until nothing more of it is ready; returns the clocks passed by it."""
        ends: list[tuple[int, int]] = []
        moved = True
        while moved and self._held_back:
            moved = False
            held_back, self._held_back = self._held_back, []
            for held in held_back:
                admission = self.document.admit(held.update, read_update(held.update))
                if admission.waiting is not None:
                    self._held_back.append(held._replace(update=admission.waiting))
                if admission.ready is not None:
                    self._accept_from_log(admission, is_durable=held.is_durable)
                    ends += admission.ends
                    moved = True
        if not self._held_back and self._follower is not None:
            self._follower.completed()
        return ends

    # -- what waits ----------------------------------------------------------------------------------------------

    def _await(self, waiting: Waiting, needs: list[tuple[int, int]]) -> None:
        self._waiting.add(waiting, needs)
        self._metrics.waiting_updates += 1
        self._metrics.waiting_bytes += len(waiting.update)

    def _wait(self, waiting: Waiting, needs: list[tuple[int, int]]) -> None:
        session = waiting.ticket.session
        self._await(waiting, needs)
        if session.ask_rate.take(monotonic()):
            session.expect_step2(counted=False)
            self._say(session, session.prefix + step1_body(self.document.state_vector()))

    def _wait_no_more(self, waiting: Waiting) -> None:
        self._waiting.remove(waiting)
        self._metrics.waiting_updates -= 1
        self._metrics.waiting_bytes -= len(waiting.update)

    def _advanced(self, ends: list[tuple[int, int]], parked: Sequence[Waiting] = ()) -> None:
        """Clocks have been passed: try what waited for them, of sessions and of the log, until nothing is ready."""
        todo = list(parked)
        while True:
            if ends and self._held_back:
                ends = [*ends, *self._retry_held_back()]
            if ends and self._waiting:
                todo += [waiting for waiting in self._waiting.passed(ends) if waiting not in todo]
            if not todo:
                return
            waiting, ends = todo.pop(0), []
            if waiting not in self._waiting:
                continue  # its session was ended meanwhile
            try:
                ends = self._retry(waiting)
            except WeftError as error:
                # Whoever sent it is told, not whoever sent what it waited for.
                self._wait_no_more(waiting)
                self._refuse(waiting.ticket)
                self._end(waiting.ticket.session, error)

    def _retry(self, waiting: Waiting) -> list[tuple[int, int]]:
        """Try one update again; returns the clocks that have advanced by it."""
        ticket = waiting.ticket
        if not ticket.session.grant.may_write:
            self._wait_no_more(waiting)
            self._metrics.refusals["read-only"] += 1
            self._refuse(ticket)
            return []
        split = self._owners.split(waiting.update, waiting.facts, self.document.clocks, waiting.author)
        if split is not None:
            self._waiting.note(waiting, split.needs)
            return []
        admission = self.document.admit(waiting.update, waiting.facts)
        if admission.waiting is None:
            self._wait_no_more(waiting)
            if admission.ready is None:
                self._nothing_new(ticket)  # it came by another way meanwhile
                return []
        else:
            self._waiting.note(waiting, admission.needs)
            if admission.ready is None:
                return []
            ticket.parts += 1
        self._accept(admission, ticket, waiting.author, is_live=False)
        return admission.ends

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
                pending, self._pending, self._pending_bytes = self._pending, [], 0
                # First: what is in the document but never gets into the log would be a gap in it.
                self._saver.put([(item.edit, item.ticket) for item in pending if not item.is_durable])
                self._broadcast(pending)
                self.document.pack()
                self._folder.check()
            self._broadcast_presence()
        finally:
            self._flushing = False
        self._set_aside()
        self._last_broadcast_s = started_s
        self._metrics.flushes += 1
        self._loop.call_soon(self._flushed, started_s)

    def _flushed(self, started_s: float) -> None:
        """The turn of a flush is over, and with it its writes."""
        ended_s = monotonic()
        self._metrics.flush_s.observe(ended_s - started_s)
        self._pacer.flushed(started_s, ended_s)

    def _broadcast(self, pending: list[_Pending]) -> None:
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

    def _send(self, pending: list[_Pending], updates: list[bytes]) -> None:
        """Send a batch to all readers, merged; to those who wrote into it without their own (R3)."""
        writers = {item.session for item in pending if item.edit is not None and item.session is not None}
        several = len(writers) > 1 or any(item.session is None for item in pending)
        body = update_body(updates[0] if len(updates) == 1 else merge(updates))
        sent = self._fanout.broadcast(body, writers)
        if several:
            for writer in writers:
                if writer.reading and writer.behind is None and writer in self._fanout:
                    others = [p.edit.update for p in pending if p.edit is not None and p.session is not writer]
                    self._say(writer, writer.prefix + update_body(others[0] if len(others) == 1 else merge(others)))
                    sent += 1
        self._metrics.updates_out += sent

    def _broadcast_presence(self) -> None:
        if self._relay is not None and self.presence.is_dirty:
            self._relay.tell(self.presence.dirty)
        payload = self.presence.take_dirty()
        if payload is not None:
            self._metrics.presence_out += self._fanout.broadcast(presence_body(payload))

    # -- answers -------------------------------------------------------------------------------------------------

    def _saved(self, tickets: list[Ticket]) -> None:
        """A batch is durable: answer those whose last part it held."""
        for ticket in tickets:
            self._part_saved(ticket)
        self._folder.check()

    def _part_saved(self, ticket: Ticket) -> None:
        ticket.parts -= 1
        if ticket.parts == 0:
            self._metrics.ack_s.observe(monotonic() - ticket.taken_s)
            self._metrics.acks["stored"] += 1
            self._answer(ticket.session, ticket.stored())
            for follower in ticket.followers or ():
                self._part_saved(follower)

    def _answer(self, session: Session, payload: bytes | None) -> None:
        session.open_tickets -= 1
        if payload is None or session not in self._fanout:
            return
        if session.behind is not None:
            session.hold(payload)
        else:
            self._say(session, payload)

    def barrier(self, session: Session, payload: bytes) -> None:
        """Send a payload back once everything that this session sent before is durable (y-sweet's sync status)."""
        session.open_tickets += 1
        barrier = Barrier(session, payload, monotonic())
        for ticket in {waiting.ticket: None for waiting in self._waiting.of(session)}:
            barrier.parts += 1
            ticket.followers = [*(ticket.followers or ()), barrier]
        self._ride(barrier)

    def until_lost(self) -> asyncio.Future[WeftError]:
        """A future of the error with which the room is lost, if it ever is."""
        future: asyncio.Future[WeftError] = self._loop.create_future()
        self._tell_lost = [other for other in self._tell_lost if not other.done()]
        self._tell_lost.append(future)
        return future

    def deleted(self) -> None:
        """The document has got its tombstone: end everybody, take nobody."""
        self._journal_lost(DocumentDeletedError(f"document {self.document_id} was deleted"))

    def _schema_grew(self, schema: int) -> None:
        """End the sessions of editors that are older than what the document holds now."""
        for session in tuple(self._parties):
            if session.schema is not None and session.schema < schema:
                self._end(session, outdated(session.schema, schema))

    def _journal_lost(self, error: WeftError) -> None:
        self._lost = error
        self._saver.give_up()
        for future in self._tell_lost:
            if not future.done():
                future.set_result(error)
        self.end_all(error)

    # -- state ---------------------------------------------------------------------------------------------------

    def ask_state(self, session: Session, state_vector: bytes) -> None:
        """Answer a SyncStep1.

        Raises:
            UpdateError: not a state vector (closes 4400).
            TooFastError: asked more often than the limit (closes 1013).
        """
        if not session.step1_rate.take(monotonic()):
            raise TooFastError(
                f"the state was asked for more than {self._settings.max_step1_per_s} times a second; wait before asking"
            )
        read_state_vector(state_vector)
        self._folder.state(
            state_vector,
            lambda step2, tail: self._give_state(session, step2, tail),
            lambda error: self._end(session, error),
        )

    def _give_state(self, session: Session, step2: bytes, tail: bytes | None) -> None:
        """Send the state to a session, which reads from here on (R5)."""
        if session not in self._fanout:
            return
        if session.hocuspocus:
            session.expect_step2(counted=True)
            self._say(session, session.prefix + step1_body(self.document.state_vector()))
        self._fanout.outlet(session).write(self._folder.frame(session.prefix, step2_body, step2))
        self._metrics.frames_out += 1
        self._metrics.bytes_out += len(step2)
        if tail is not None:
            # No update: a tail that is one update of its own would look to a y-websocket client like "durable" (R2).
            self._say(session, session.prefix + step2_body(tail))
        if not session.reading:
            session.reading = True
            if session.hocuspocus:
                self._say_presence(session)
            if session.behind is None:
                self._fanout.start(session)

    # -- slow readers --------------------------------------------------------------------------------------------

    def fell_behind(self, session: Session) -> None:
        """The session's outlet is congested."""
        self._congested.append(session)
        if not self._flushing:
            if self._pending:
                self.flush()  # so that "the clocks it had" are those of the document
            else:
                self._set_aside()

    def _set_aside(self) -> None:
        congested, self._congested = self._congested, []
        for session in congested:
            if session in self._fanout and session.behind is None and self._fanout.outlet(session).congested:
                session.behind = dict(self.document.clocks)
                session.behind_version = self.document.version
                session.behind_s = monotonic()
                self._fanout.stop(session)
                self._metrics.slow_readers += 1

    def caught_up(self, session: Session) -> None:
        """The session's outlet has drained: one update brings it up to date."""
        if session.behind is None or session not in self._fanout:
            return
        if self._pending:
            self.flush()
        if session.reading and session.behind_version != self.document.version:
            self._folder.state(
                write_state_vector(session.behind),
                lambda missed, tail: self._catch_up(session, missed, tail),
                lambda error: self._end(session, error),
            )
        else:
            self._rejoin(session)

    def _catch_up(self, session: Session, missed: bytes, tail: bytes | None) -> None:
        """Send what a slow reader has missed; for a large document it was computed away and may be late."""
        if session.behind is None or session not in self._fanout or self._fanout.outlet(session).congested:
            return  # when it drains the next time, it is computed anew
        self._rejoin(session)
        self._say(session, session.prefix + update_body(missed))
        if tail is not None:
            self._say(session, session.prefix + step2_body(tail))  # as in `_give_state`
        self._metrics.updates_out += 1
        self._metrics.slow_reader_catch_ups += 1

    def _rejoin(self, session: Session) -> None:
        """A slow reader reads again: presence, whole and with who has left meanwhile, and the answers it is owed."""
        session.behind = None
        self._metrics.slow_readers -= 1
        if session.reading:
            self._fanout.start(session)
            payload = self.presence.snapshot(gone_since_s=session.behind_s)
            if payload is not None:
                self._say(session, session.prefix + presence_body(payload))
        self._give_held(session)

    def _give_held(self, session: Session) -> None:
        held, session.held = session.held, None
        for payload in held or ():
            self._say(session, payload)

    # -- presence ------------------------------------------------------------------------------------------------

    def present(self, session: Session, payload: bytes) -> None:
        """Take a presence message.

        Raises:
            PresenceError: cannot be read (closes 4400).
            TooLargeError: over the size limit (closes 4413).
        """
        self._metrics.presence_in += 1
        now_s = monotonic()
        # Every client sends back whatever it receives: only what is news counts against the rate.
        may_speak = session.presence_rate.has(now_s)
        applied = self.presence.apply(payload, session.owner, now_s, user=session.grant.user, may_speak=may_speak)
        if applied.entries:
            session.presence_rate.take(now_s)
        self._metrics.presence_dropped += applied.dropped
        if applied.answers:
            self._say(session, session.prefix + presence_body(encode(applied.answers)))
        if applied.moved and self._relay is not None:
            self._relay.tell(applied.moved)
        if applied.entries:
            self._schedule()

    def _own_presence(self) -> list[PresenceEntry]:
        return self.presence.owned_by_all(session.owner for session in self._fanout)

    def _take_presence(self, entries: list[PresenceEntry]) -> None:
        """Take what another replica has accepted; a state that has moved here meanwhile is announced again (P10)."""
        applied = self.presence.merge(entries, monotonic())
        if applied.answers:
            owners = {session.owner for session in self._fanout}
            for entry in applied.answers:
                if entry.owner in owners:
                    self.presence.raise_above(entry.client, entry.clock)
        if applied.gone and self._relay is not None:
            self._relay.deny(applied.gone)
        if self.presence.is_dirty:
            self._schedule()

    def forget_replicas(self, gone: frozenset[str]) -> None:
        """Replicas are gone, and with them the presence of their sessions."""
        if self.presence.remove_where(lambda owner: isinstance(owner, tuple) and owner[0] in gone, monotonic()):
            self._schedule()

    def ask_presence(self, session: Session) -> None:
        """Answer a query for presence."""
        self._say_presence(session)

    def _say_presence(self, session: Session) -> None:
        payload = self.presence.snapshot()
        if payload is not None:
            self._say(session, session.prefix + presence_body(payload))

    def _say(self, session: Session, payload: bytes) -> None:
        session.last_sent_s = monotonic()
        self._fanout.say(session, payload)

    # -- time ----------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Every few seconds: keep connections alive, let presence expire."""
        cutoff_s = now_s - self._settings.keepalive_s
        for session in self._fanout:
            heard = session.last_sent_s > cutoff_s
            if not heard and session.reading and session.behind is None and not session.open_tickets:
                heard = self._last_broadcast_s > cutoff_s
            if not heard and session.behind is None:
                self._say(session, session.prefix + KEEP_ALIVE)
        if self.presence.expire(now_s):
            self._schedule()
        if self._waiting:
            self._retry_parked()
        self._folder.tick(now_s)

    # -- the end -------------------------------------------------------------------------------------------------

    @property
    def is_lost(self) -> bool:
        """Whether it has lost its journal, and with it edits: it takes nobody any more."""
        return self._lost is not None

    @property
    def holds_last_copy(self) -> bool:
        """Whether it holds back what the log has lost: nobody else may have it."""
        return not all(held.is_durable for held in self._held_back)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is pending, unsaved or being folded."""
        is_read = self._follower is None or not self._follower.is_busy
        is_quiet = not self._folder.is_busy and self.mirror.is_idle
        return not self._pending and self._saver.is_idle and is_quiet and is_read

    async def settled(self) -> None:
        """Wait until everything is durable."""
        self.flush()
        await self._saver.settled()

    async def close(self) -> None:
        """Make everything durable, leave a snapshot if that is worth it, and give the memory back."""
        await self.settled()
        await self.mirror.close()
        await self._folder.close()
        while self._pending or not self._saver.is_idle:
            await self.settled()  # while the snapshot was made the log has lost what this room may be the last to hold
        if self._follower is not None:
            await self._follower.stop()
        self._let_go()

    def _let_go(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        if self._relay is not None:
            self._relay.close()
            self._relay = None
        self._saver.retire()

    async def abandon(self) -> None:
        """Drop what is not durable: only for a document that has been deleted or a process that must end."""
        if self._follower is not None:
            await self._follower.stop()
        await self._saver.stop()
        await self._folder.stop()
        await self.mirror.stop()
        self._let_go()
