"""The way into a document: updates from sessions, other replicas and this server pass the gate, or wait.

An update passes the gate and enters the document and the pending batch in one turn of the event loop.

Rules (tests quote these ids):
    R1  Only the room changes its document, and every update, from a session or from the journal, passes the gate.
    R4  A gap never gets into the document, the journal or a broadcast: waiting parts stay with their session.
    R6  A read-only session's update is answered "stored" if it contains nothing new, otherwise "refused". If its first
        struct is new it is refused without being read.
    R7  An update is refused as a whole, with one error, before any part of it has an effect. One exception: of an
        update for which the document has no room (overflow.py), or which is refused because the document takes only
        deletes (CO4 of contention_guard.py), the deletes are taken.
    R8  Entries from the log are durable: they go to the readers, never back to the append queue. Entries whose
        dependencies are missing wait in the room, and no snapshot covers them.
    R9  New structs under a client id that is guarded for another user wait until the owner's own structs have arrived,
        or until the owner has left (client_owners.py); the owner's sessions are asked for them. The rest of the update
        proceeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic, time_ns

from raffia.crdt.document import Admission
from raffia.crdt.merge import merge
from raffia.crdt.shape import is_news
from raffia.crdt.update import UpdateFacts, read_update
from raffia.errors import DocumentFullError, InternalError, JournalUnavailableError, RaffiaError, TooContendedError
from raffia.rooms.context import RoomContext
from raffia.rooms.durable.compactor import Compactor
from raffia.rooms.inbound.client_owners import GUARD_S, ClientOwners, Split
from raffia.rooms.inbound.contention_guard import ContentionGuard
from raffia.rooms.inbound.early_entries import EarlyEntries, Piece
from raffia.rooms.inbound.overflow import Held, Overflow
from raffia.rooms.inbound.waiting import Waiting, WaitingList
from raffia.rooms.metadata import Metadata
from raffia.rooms.outbound.acknowledgements import Acknowledgements
from raffia.rooms.outbound.flush import Flush
from raffia.rooms.presence.room_presence import RoomPresence
from raffia.rooms.session import Session, Ticket, step1_body
from raffia.runtime.logs import get_logger
from raffia.types import EMPTY_UPDATE, Edit

log = get_logger("raffia.rooms.inbound.intake")

# From this size on, a step 2 is compared with the known one before it is read; below it, reading is as quick.
COMPARE_BYTES = 64


class Intake:
    """The way into one document.

    Args:
        context: the room; only the intake changes its document.
        presence: knows who is present under which client id.
        flush: takes accepted updates into its batch.
        compactor: finds out which deletes are implied by the content.
        metadata: notified of accepted updates.
        acknowledgements: answers updates that are accepted or refused.
        early_entries: an update of the log entries whose dependencies were missing on loading; None if there were none.

    Attributes:
        contention: keeps out what takes editors too long.
        early_entries: the log entries that wait (R8).
        owners: the owners of client ids (R9).
        waiting: the sessions' updates that wait (R4).
    """

    def __init__(
        self,
        context: RoomContext,
        *,
        presence: RoomPresence,
        flush: Flush,
        compactor: Compactor,
        metadata: Metadata,
        acknowledgements: Acknowledgements,
        early_entries: bytes | None,
    ) -> None:
        settings = context.services.settings
        self.early_entries = EarlyEntries([] if early_entries is None else [Piece(early_entries, is_durable=True)])
        self.contention = ContentionGuard(context, compactor)
        self.owners = ClientOwners(self._present_user, self._is_present, monotonic)
        self.waiting = WaitingList(
            max_updates=settings.max_waiting_updates,
            max_bytes=settings.max_waiting_bytes,
            max_update_bytes=settings.max_step2_bytes,
        )
        self._document_id = context.document_id
        self._document = context.document
        self._open_documents = context.services.memory
        self._settings = settings
        self._metrics = context.services.metrics
        self._fanout = context.fanout
        self._clients = context.clients
        self._presence = presence
        self._flush = flush
        self._compactor = compactor
        self._metadata = metadata
        self._acknowledgements = acknowledgements
        self._users: dict[Session, str | None] = {}  # the users when their sessions joined
        self._overflow = Overflow(
            max_bytes=settings.max_document_bytes,
            can_shrink=compactor.can_shrink,
            shrink=compactor.shrink,
            retry=self._retry_held,
        )

    # -- sessions ------------------------------------------------------------------------------------------------

    def joined(self, session: Session) -> None:
        """Handle a session that has joined."""
        self._users[session] = session.grant.user
        self.owners.joined(session.grant.user)

    def left(self, session: Session) -> None:
        """Handle a session that has left: drop its waiting updates."""
        for waiting in self.waiting.of(session):
            self._wait_no_more(waiting)
        self._overflow.left(session)
        if self.owners.left(self._users.pop(session)):
            self.retry_parked()

    def _present_user(self, client: int) -> str | None:
        return self._presence.table.user_of(client, self.owners.clock() - GUARD_S)

    def _is_present(self, user: str) -> bool:
        return self._presence.table.has_user(user, self.owners.clock() - GUARD_S)

    # -- updates of sessions -------------------------------------------------------------------------------------

    def take(
        self, session: Session, update: bytes, facts: UpdateFacts | None = None, *, is_step2: bool = False
    ) -> None:
        """Take an update from a session through the gate.

        Args:
            session: the sender.
            update: bytes from outside.
            facts: the strict reader's result, if the update was read already.
            is_step2: whether it came as a step 2.

        Raises:
            UpdateError: the bytes are not an update (closes 4400).
            TooLargeError: the update is too large, or the document has no room for it (closes 4413).
            TooContendedError: the document takes only deletes (closes 4413).
            WaitingFullError: too many updates would wait (closes 1013).
            JournalUnavailableError: too many edits wait for the journal (closes 1013).
        """
        self._metrics.updates_in += 1
        if update == EMPTY_UPDATE or (is_step2 and self.knows_step2(update)):
            self._acknowledgements.nothing_new(self._acknowledgements.ticket(session, None, is_step2=is_step2))
            return
        if facts is None:
            settings = self._settings
            facts = read_update(update, limit=settings.max_step2_bytes if is_step2 else settings.max_update_bytes)
        if not session.grant.may_write:
            self._take_from_reader(session, self._document.admit(update, facts), is_step2=is_step2)
            return
        try:
            self._take_from_writer(session, update, facts, is_step2=is_step2)
        except DocumentFullError:
            self._take_deletes(session, facts)
            if not self._hold(session, update, facts, is_step2=is_step2):
                raise
        except TooContendedError:
            self._take_deletes(session, facts)
            raise

    def _take_from_writer(
        self, session: Session, update: bytes, facts: UpdateFacts, *, is_step2: bool, ticket: Ticket | None = None
    ) -> None:
        """Take an update of a session that may write; `ticket` is given if it was held (OV2)."""
        split = self.owners.split(update, facts, self._document.clocks, session.grant.user)
        if split is not None:
            self._take_guarded(session, update, facts, split, is_step2=is_step2, ticket=ticket)
            return
        admission = self._document.admit(update, facts)
        # An echo of a step 2 that is already known would tell a y-websocket client nothing; of one that repeats a whole
        # document, only the new part is echoed.
        echo = admission.ready if is_step2 else update
        if admission.ready is None and admission.waiting is None:
            self._acknowledgements.nothing_new(self._ticket(session, echo, ticket, is_step2=is_step2))
            return
        self.contention.check(admission)
        if admission.ends or admission.waiting is not None:  # deletes are always taken
            # Count only what is new: a step 2 may repeat a whole document, which is no reason to refuse one more word.
            self._check_room_for(len(admission.ready or b"") + len(admission.waiting or b""))
        self._check_unsaved(len(admission.ready or b"") + len(admission.waiting or b""))
        if admission.waiting is not None:
            self.waiting.check(session, update, admission.needs)
        ticket = self._ticket(session, echo, ticket, is_step2=is_step2)
        if admission.waiting is not None:
            if admission.ready is not None:
                ticket.parts += 1
            self._wait(Waiting(update, facts, ticket, session.grant.user), admission.needs)
        if admission.ready is not None:
            self._accept(admission, ticket, session.grant.user, is_live=not is_step2)
            self.contention.took(facts)
            self._advanced(admission.ends)

    def _ticket(self, session: Session, echo: bytes | None, ticket: Ticket | None, *, is_step2: bool) -> Ticket:
        if ticket is None:
            return self._acknowledgements.ticket(session, echo, is_step2=is_step2)
        ticket.echo = echo
        return ticket

    def _take_deletes(self, session: Session, facts: UpdateFacts) -> None:
        """Take the deletes of an update that is refused otherwise (OV1; CO4 of contention_guard.py)."""
        admission = self._document.admit_deletes(facts)
        if admission is not None:
            assert admission.ready is not None
            self._check_unsaved(len(admission.ready))
            self._absorb(session, admission, None, session.grant.user)

    def _hold(self, session: Session, update: bytes, facts: UpdateFacts, *, is_step2: bool) -> bool:
        """Hold an update that does not fit if folding may make room (OV2, OV3)."""
        if not self._overflow.may_hold(len(update)):
            return False
        ticket = self._acknowledgements.ticket(session, None, is_step2=is_step2)
        self._overflow.hold(Held(update, facts, ticket, is_step2))
        return True

    def _retry_held(self, held: Held) -> None:
        """Judge a held update again after a fold (OV2)."""
        session = held.ticket.session
        if session not in self._users:
            return
        try:
            if not session.grant.may_write:
                self._answer_reader(held.ticket, implied=False)
            else:
                self._take_from_writer(session, held.update, held.facts, is_step2=held.is_step2, ticket=held.ticket)
        except RaffiaError as error:
            self._acknowledgements.refuse(held.ticket)
            self._clients.end(session, error)

    def _take_guarded(
        self,
        session: Session,
        update: bytes,
        facts: UpdateFacts,
        split: Split,
        *,
        is_step2: bool,
        ticket: Ticket | None,
    ) -> None:
        """Take an update with structs under guarded ids; those are parked (R9)."""
        self.contention.check_open()
        whole = self._document.admit(update, facts)
        size_bytes = len(whole.ready or b"") + len(whole.waiting or b"")  # only what is new
        self._check_room_for(size_bytes)
        self._check_unsaved(size_bytes)
        self.waiting.check(session, update, split.needs)
        user = session.grant.user
        ticket = self._ticket(session, None if is_step2 else update, ticket, is_step2=is_step2)
        ends: list[tuple[int, int]] = []
        if split.free is not None:
            facts = read_update(split.free)
            admission = self._document.admit(split.free, facts)
            if admission.waiting is not None:
                ticket.parts += 1
                self._wait(Waiting(split.free, facts, ticket, user), admission.needs)
            if admission.ready is not None:
                ticket.parts += 1
                self._accept(admission, ticket, user, is_live=not is_step2)
                self.contention.took(facts)
                ends = admission.ends
        self._metrics.parked_updates += 1
        self._await(Waiting(split.parked, read_update(split.parked), ticket, user, is_parked=True), split.needs)
        for owner, name in self._users.items():
            if name in split.owners and owner.may_be_asked(monotonic()):
                owner.expect_step2(counted=False)
                self._fanout.send(owner, owner.prefix + step1_body(self._document.state_vector()))
        self._advanced(ends)

    def retry_parked(self) -> None:
        """Try parked updates again: owners may have left."""
        if self.waiting:
            self._advanced([], self.waiting.parked())

    def knows_step2(self, update: bytes) -> bool:
        """Whether a client with exactly the document's content sent this step 2, so that it need not be read."""
        return len(update) >= COMPARE_BYTES and update == self._document.known_step2()

    def refuse_news(self, session: Session, update: bytes, *, is_step2: bool) -> bool:
        """Refuse a reader's update whose first struct is new, unread (R6); returns whether it was refused."""
        if session.grant.may_write or not is_news(update, self._document.clocks):
            return False
        self._metrics.updates_in += 1
        self._answer_reader(self._acknowledgements.ticket(session, None, is_step2=is_step2), implied=False)
        return True

    def _take_from_reader(self, session: Session, admission: Admission, *, is_step2: bool) -> None:
        ticket = self._acknowledgements.ticket(session, None, is_step2=is_step2)
        if admission.ready is None and admission.waiting is None:
            self._acknowledgements.nothing_new(ticket)
        elif admission.waiting is None and not admission.ends:
            # Only deletes: readers' editors send clean-ups by themselves, and the content implies some deletes.
            self._compactor.check_implied(
                admission.deletes, lambda implied: self._answer_reader(ticket, implied=implied)
            )
        else:
            self._answer_reader(ticket, implied=False)

    def _answer_reader(self, ticket: Ticket, *, implied: bool) -> None:
        if implied:
            self._acknowledgements.nothing_new(ticket)
        else:
            self._refuse_reader(ticket)

    def _refuse_reader(self, ticket: Ticket) -> None:
        session = ticket.session
        self._metrics.refusals["read-only"] += 1
        if not session.read_only_was_logged:  # an editor sends one with each key
            session.read_only_was_logged = True
            log.info("update refused: the session may only read", document=self._document_id, user=session.grant.user)
        self._acknowledgements.refuse(ticket)

    def refuse_update(self, session: Session, *, is_step2: bool) -> None:
        """Answer "refused" to a Step2 or Update that was not taken."""
        self._acknowledgements.refuse(self._acknowledgements.ticket(session, None, is_step2=is_step2))

    def barrier(self, session: Session, payload: bytes) -> None:
        """Send a payload back once everything that this session sent before is durable (y-sweet's sync status)."""
        waiting = {waiting.ticket: None for waiting in self.waiting.of(session)}
        self._acknowledgements.barrier(session, payload, waiting)

    def _check_room_for(self, size_bytes: int) -> None:
        limit = self._settings.max_document_bytes
        if self._document.size_bytes - len(EMPTY_UPDATE) + size_bytes > limit:
            # A close reason has room for 123 bytes: the way out comes first.
            raise DocumentFullError(
                f"the document is full; delete something (always accepted), then reconnect. It has "
                f"{self._document.size_bytes} bytes, {size_bytes} more arrived, and the limit is {limit} "
                "(RAFFIA_MAX_DOCUMENT_BYTES)"
            )
        self._open_documents.check(size_bytes)  # DM2

    def _check_unsaved(self, size_bytes: int) -> None:
        unsaved = self._flush.unsaved_bytes
        # One update is always taken, however large: otherwise a small limit would refuse a document for ever.
        if unsaved and unsaved + size_bytes > self._settings.max_unsaved_bytes:
            raise JournalUnavailableError(
                f"{unsaved} bytes wait for the journal, which is away or slow; the limit is "
                f"{self._settings.max_unsaved_bytes}; try again when it is back"
            )

    def _accept(self, admission: Admission, ticket: Ticket, author: str | None, *, is_live: bool) -> None:
        """Take the ready part of an admission into the document and the pending batch."""
        session = ticket.session
        # A step 2 does not show who wrote it: after a loss of the log, any client brings back others' first structs.
        if is_live and author is not None and len(admission.ends) == 1:
            client = admission.ends[0][0]
            self.owners.wrote(client, self._document.clocks.get(client, 0), author)
        if session.behind is not None:
            # The session has what it sends itself; on y-websocket that comes back only once it is durable.
            for client, end in admission.ends:
                if session.behind.get(client, 0) == self._document.clocks.get(client, 0):
                    session.behind[client] = end
        self._absorb(session, admission, ticket, author)

    def _absorb(self, session: Session, admission: Admission, ticket: Ticket | None, author: str | None) -> None:
        assert admission.ready is not None
        self._document.absorb(admission)
        edit = Edit(author, time_ns() // 1_000_000, admission.ready)
        self._flush.add(session, edit, ticket)
        self._metadata.edited_here(admission.ready)

    def take_from_server(self, update: bytes, facts: UpdateFacts, ticket: Ticket, *, is_weighed: bool = False) -> None:
        """Take an edit made by the server through the gate; its ticket is answered as a client's is.

        Args:
            update: bytes that the server made.
            facts: the strict reader's result.
            ticket: reports when the edit is durable.
            is_weighed: whether a document that takes only deletes refuses it (CO4 of contention_guard.py).

        Raises:
            TooLargeError, JournalUnavailableError: as in `take`.
            InternalError: the edit refers to something that the document lacks.
        """
        admission = self._document.admit(update, facts)
        if admission.waiting is not None:
            raise InternalError("an edit by the server refers to something that the document lacks")
        if admission.ready is None:
            self._acknowledgements.ride(ticket)
            return
        if is_weighed:
            self.contention.check(admission)
        if admission.ends:  # deletes are always taken
            self._check_room_for(len(update))
        self._check_unsaved(len(update))
        self._accept(admission, ticket, ticket.session.grant.user, is_live=False)
        if is_weighed:
            self.contention.took(facts)
        self._advanced(admission.ends)

    # -- what other replicas write --------------------------------------------------------------------------------

    @property
    def is_complete(self) -> bool:
        """Whether the log is complete, that is, no entries are waiting for missing dependencies (R8)."""
        return not self.early_entries

    def log_was_cut(self) -> None:
        """Note that the log may no longer contain the entries that are waiting (R8)."""
        self.early_entries.cut()

    def take_from_log(self, updates: Sequence[bytes]) -> bool:
        """Take updates that other replicas have made durable (R8); returns `is_complete`.

        Raises:
            UpdateError, CrdtError: the updates cannot be read.
        """
        update = updates[0] if len(updates) == 1 else merge(updates)
        if update == EMPTY_UPDATE:
            return self.is_complete
        facts = read_update(update)
        self.contention.took(facts)
        admission = self._document.admit(update, facts)
        if admission.waiting is not None:
            log.warning(
                "dependencies are missing from the log; an entry waits",
                document=self._document_id,
                needs=admission.needs[:3],
            )
            self.early_entries.add(admission.waiting)
        if admission.ready is not None:
            self._accept_from_log(admission, is_durable=True)
            self._advanced(admission.ends)
        return self.is_complete

    def _accept_from_log(self, admission: Admission, *, is_durable: bool) -> None:
        assert admission.ready is not None
        self._document.absorb(admission)
        edit = Edit(None, time_ns() // 1_000_000, admission.ready)
        self._flush.add(None, edit, None, is_durable=is_durable)
        self._metadata.edited_elsewhere(admission.ready)

    # -- waiting updates -----------------------------------------------------------------------------------------

    def _await(self, waiting: Waiting, needs: list[tuple[int, int]]) -> None:
        self.waiting.add(waiting, needs)
        self._metrics.waiting_updates += 1
        self._metrics.waiting_bytes += len(waiting.update)

    def _wait(self, waiting: Waiting, needs: list[tuple[int, int]]) -> None:
        session = waiting.ticket.session
        self._await(waiting, needs)
        if session.may_be_asked(monotonic()):
            session.expect_step2(counted=False)
            self._fanout.send(session, session.prefix + step1_body(self._document.state_vector()))

    def _wait_no_more(self, waiting: Waiting) -> None:
        self.waiting.remove(waiting)
        self._metrics.waiting_updates -= 1
        self._metrics.waiting_bytes -= len(waiting.update)

    def _advanced(self, ends: list[tuple[int, int]], parked: Sequence[Waiting] = ()) -> None:
        """Handle clocks that have been passed: try waiting updates and log entries until none of them is ready."""
        todo = list(parked)
        while True:
            if ends and self.early_entries:
                ends = [*ends, *self.early_entries.retry(self._document, self._accept_from_log)]
            if ends and self.waiting:
                todo += [waiting for waiting in self.waiting.passed(ends) if waiting not in todo]
            if not todo:
                return
            waiting, ends = todo.pop(0), []
            if waiting not in self.waiting:
                continue  # its session has ended meanwhile
            try:
                ends = self._retry(waiting)
            except RaffiaError as error:
                # The error goes to the sender of this update, not to the sender of its dependency.
                self._wait_no_more(waiting)
                self._acknowledgements.refuse(waiting.ticket)
                self._clients.end(waiting.ticket.session, error)

    def _retry(self, waiting: Waiting) -> list[tuple[int, int]]:
        """Try one update again; returns the clocks that it has advanced."""
        ticket = waiting.ticket
        if not ticket.session.grant.may_write:
            self._wait_no_more(waiting)
            self._refuse_reader(ticket)
            return []
        split = self.owners.split(waiting.update, waiting.facts, self._document.clocks, waiting.author)
        if split is not None:
            self.waiting.note(waiting, split.needs)
            return []
        admission = self._document.admit(waiting.update, waiting.facts)
        if admission.ready is not None:
            self.contention.check(admission)
            self.contention.check_late(waiting.facts)
        if admission.waiting is None:
            self._wait_no_more(waiting)
            if admission.ready is None:
                self._acknowledgements.nothing_new(ticket)  # its content has arrived in another way meanwhile
                return []
        else:
            self.waiting.note(waiting, admission.needs)
            if admission.ready is None:
                return []
            ticket.parts += 1
        self._accept(admission, ticket, waiting.author, is_live=False)
        self.contention.took(waiting.facts)
        return admission.ends
