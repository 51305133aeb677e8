"""One WebSocket between its client and the rooms: order, rate limits, back-pressure, errors.

A connection has a dialect (ywebsocket.py, hocuspocus.py), which decodes what the client sends and encodes what it is
told about its sessions.

Rules (tests quote these ids):
    X1  No exception leaves a call from the socket. A client's mistake ends its session or its socket with the error's
        code; an error of our own closes the socket with 1011 and is logged. Other rooms are not affected.
    X2  Messages of a connection are handled in order. While one of them is being read in another process the socket is
        not read, and messages that were already read from it wait.
    X3  A connection whose client reads too slowly is not read from either, so that few answers pile up for it.
    X4  A text frame is refused with 4400 and a reason that says what was expected.
    X5  The grant is checked on every message; messages after it expires are rejected. A new grant applies from the next
        message on, and to messages that were waiting or being read in another process.
    X7  A client that sends too fast is not read for a while; one that keeps doing so is told "later" (PC3, PC4 of
        rate_limits.py).
    X10 Errors that end a session or a socket are logged and counted by reason. When a session ends because something
        was too large or comes too early, the client's next session may be asked later for what we lack (`Hub.backoff`).
    X12 Unfinished messages and large updates that are being read are bounded for each person (received.py). Beyond that
        the connection ends with 1013: a client that sends so much at once connects again.
    X13 A connection waits for its turn when it costs more than others (turns.py). Its user pays, without one the link
        or token, without those the address; until somebody has signed in on it, the address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from time import monotonic
from typing import Protocol

from raffia.auth.person import address_person, person_of
from raffia.auth.revocation import Judge
from raffia.crdt.shape import SMALL_BYTES, Allowance, CostlyError
from raffia.crdt.update import UpdateFacts
from raffia.errors import InternalError, LaterError, MalformedError, RaffiaError, TooFastError, TooLargeError
from raffia.rooms.hub import Hub
from raffia.rooms.rate_limits import Budget
from raffia.rooms.room import Room
from raffia.rooms.session import Session
from raffia.rooms.turns import Lane, Principal
from raffia.runtime.logs import get_logger
from raffia.sockets.byte_budget import ByteBudget
from raffia.sockets.expiry import Expiry
from raffia.sockets.received import Received
from raffia.sockets.refusals import close_reason, comes_again, transport_error
from raffia.sockets.task_turn import TaskTurn
from raffia.types import DocumentId, Grant
from raffia.wire.messages import Message, Step2, Update
from raffia.wire.transport import Transport

log = get_logger("raffia.sockets.connection")

# Larger updates are read in another process, and so are those that would take longer here by their shape (shape.py).
READ_AWAY_BYTES = 32 * 1024
READ_AWAY_S = 0.002
UPDATES = (Update, Step2)
REFUSED_OPENING_S = 1.0  # of the connection's budget


class Dialect(Protocol):
    """How one connection speaks to its client, and the sessions that the client has."""

    @property
    def may_read(self) -> bool:
        """Whether the dialect can take the next message."""

    def opened(self, connection: Connection) -> None:
        """The handshake is done; called at most once, before anything else."""

    def receive(self, payload: bytes) -> None:
        """Decode one binary message and act on it; messages for rooms go to `Connection.deliver`.

        Raises:
            RaffiaError: closes the socket with this error.
        """

    def oversized(self, start: bytes, error: RaffiaError) -> None:
        """Refuse a message over the limit, of which only the start is known.

        Raises:
            RaffiaError: closes the socket with this error.
        """

    def sessions(self) -> Sequence[tuple[Session, Room]]:
        """The sessions that have joined, each with its room."""

    def dropped(self, session: Session) -> None:
        """Note that an update will not be answered: its session ended while it, or a large one before it, was read."""

    def ask_token(self, session: Session) -> None:
        """Ask the client for a fresh token, if the dialect can (EX2 of expiry.py)."""

    def end(self, session: Session, error: RaffiaError) -> None:
        """End one session with an error: in band, or with the socket."""

    def closed(self) -> None:
        """Forget all sessions: the connection has closed, and they have left their rooms."""


class _Closed:
    """The dialect of a closed connection, which does nothing. Replacing the real one breaks its reference cycle."""

    __slots__ = ()

    may_read = False

    def opened(self, connection: Connection) -> None: ...

    def receive(self, payload: bytes) -> None: ...

    def oversized(self, start: bytes, error: RaffiaError) -> None: ...

    def sessions(self) -> Sequence[tuple[Session, Room]]:
        return ()

    def dropped(self, session: Session) -> None: ...

    def ask_token(self, session: Session) -> None: ...

    def end(self, session: Session, error: RaffiaError) -> None: ...

    def closed(self) -> None: ...


_CLOSED = _Closed()


class Connection:
    """One WebSocket; `raffia.wire.transport.Listener` describes the calls that it gets.

    Args:
        hub: opens documents.
        dialect: speaks to the client.
        expiry: ends sessions when their grants expire; by default one that does not tick.
        schema: the schema version that the client's editor knows; None if it did not say.
        peer: the client's address, for `Hub.backoff`.
        address: what the client's address counts as (AD1); None for one that is not counted.
        received: the budget of X12; None for no limit.

    Attributes:
        hub: see above.
        expiry: see above.
        turn: measures the connection and lets it wait (X13).
    """

    __slots__ = (
        "_address",
        "_budget",
        "_dialect",
        "_held",
        "_peer",
        "_rate_limits",
        "_reading",
        "_received",
        "_resting",
        "_schema",
        "_tasks",
        "_transport",
        "expiry",
        "hub",
        "turn",
    )

    def __init__(
        self,
        hub: Hub,
        dialect: Dialect,
        expiry: Expiry | None = None,
        *,
        schema: int | None = None,
        peer: str = "",
        address: str | None = None,
        received: ByteBudget | None = None,
    ) -> None:
        self.hub = hub
        self.expiry = Expiry() if expiry is None else expiry
        self._dialect = dialect
        self._schema = schema
        self._peer = peer
        self._address = address
        self._received = Received(received)
        self._transport: Transport | None = None
        self._tasks: set[asyncio.Task[None]] | None = None
        # Messages behind a large update while that is being read (X2); None when none is being read.
        self._held: list[tuple[Session, Room, Message]] | None = None
        self._reading: asyncio.Task[None] | None = None  # the large update
        self._rate_limits = hub.rate_limits
        self._budget = Budget(monotonic())
        self.turn = Lane(hub.turns, self, hub.turns.principal(None if address is None else address_person(address)))
        self._resting: asyncio.TimerHandle | None = None  # while it runs the socket is not read (X7)

    @property
    def transport(self) -> Transport:
        """The transport that frames are written to; exists from `opened` on."""
        assert self._transport is not None
        return self._transport

    @property
    def is_closed(self) -> bool:
        """Whether the connection has closed."""
        return self._dialect is _CLOSED

    # -- calls from the transport ---------------------------------------------------------------------------------

    def opened(self, transport: Transport) -> None:
        """The handshake is done."""
        self._transport = transport
        if self.is_closed:
            return
        self.hub.connections.add(self)
        self._dialect.opened(self)

    def message(self, payload: bytes) -> None:
        """One binary message (X1)."""
        metrics = self.hub.metrics
        metrics.frames_in += 1
        size_bytes = len(payload)
        metrics.bytes_in += size_bytes
        budget, rate_limits = self._budget, self._rate_limits
        budget.left_s -= rate_limits.message_s + rate_limits.message_byte_s * size_bytes
        try:
            if budget.left_s < 0:
                self._slow_down(budget)
            self._dialect.receive(payload)
        except RaffiaError as error:
            self.fail(error)
        except Exception:
            log.exception("connection failed")
            self.fail(InternalError("internal error"))

    def oversized(self, size_bytes: int, limit_bytes: int, start: bytes) -> None:
        """A binary message over the limit, which is not kept (X10)."""
        self.hub.metrics.bytes_in += size_bytes
        self._budget.left_s -= self._rate_limits.message_byte_s * size_bytes
        try:
            if self._budget.left_s < 0:
                self._slow_down(self._budget)
            is_ours = limit_bytes >= self.hub.settings.max_frame_bytes
            setting = "RAFFIA_MAX_DOCUMENT_BYTES" if is_ours else "the ASGI server's limit, such as --ws-max-size"
            reason = f"message of {size_bytes} bytes is over the limit of {limit_bytes}; delete something"
            self._dialect.oversized(start, TooLargeError(f"{reason}, or raise {setting}"))
        except RaffiaError as error:
            self.fail(error)
        except Exception:
            log.exception("connection failed")
            self.fail(InternalError("internal error"))

    def refused(self, code: int, reason: str) -> None:
        """The transport closes the connection because of what the client did (X10)."""
        error = transport_error(code, reason)
        self.count_refusal(error)
        log.info("connection closed", reason=error.reason, code=code, detail=reason)
        for session, _ in self._dialect.sessions():
            self._note_refusal(session, error)

    def text(self, payload: str) -> None:
        """One text message (X4)."""
        self.fail(MalformedError(f"received a text frame of {len(payload)} characters; send binary frames"))

    def congested(self) -> None:
        """The peer reads too slowly (X3)."""
        self.transport.pause_reading()
        for session, room in self._dialect.sessions():
            room.fell_behind(session)

    def drained(self) -> None:
        """The peer has read what was sent."""
        for session, room in self._dialect.sessions():
            room.caught_up(session)
        self.read_on()

    def closed(self, code: int) -> None:
        """The connection is over: its sessions leave their rooms."""
        if code == 1009:  # our own server closes with 4413
            self.refused(code, "a message is too large for the ASGI server or for the client; see docs/embedding.md")
        dialect, self._dialect = self._dialect, _CLOSED
        self.turn.close()
        self.hub.connections.discard(self)
        self._received.release()
        for task in tuple(self._tasks or ()):
            task.cancel()
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        for session, room in dialect.sessions():
            self.leave(session, room)
        dialect.closed()

    # -- ending -----------------------------------------------------------------------------------------------------

    def end(self, session: Session, error: RaffiaError) -> None:
        """End one session with an error."""
        self._note_refusal(session, error)
        self._dialect.end(session, error)

    def end_those(self, judge: Judge) -> int:
        """End every session for which `judge` returns an error (REV3 of revocation.py); returns how many."""
        ended = 0
        for session, _ in self._dialect.sessions():
            error = judge(session.grant, session.document)
            if error is not None:
                self.end(session, error)
                ended += 1
        return ended

    def fail(self, error: RaffiaError) -> None:
        """Close the socket with an error."""
        self.count_refusal(error)
        log.info("connection closed", reason=error.reason, code=error.close_code, detail=str(error))
        self.transport.close(error.close_code, close_reason(error))

    def close(self, error: RaffiaError) -> None:
        """Close the socket without counting or logging an error, as for a restart."""
        if self._transport is not None:
            self._transport.close(error.close_code, error.reason)

    def _note_refusal(self, session: Session, error: RaffiaError) -> None:
        if comes_again(error):
            wait_s = self.hub.backoff.refused(self._client(session.document, session.grant), monotonic())
            if wait_s:
                log.info("refused again", document=session.document, reason=error.reason, asked_again_in_s=wait_s)

    def _client(self, document: DocumentId, grant: Grant) -> tuple[DocumentId, str | None, str]:
        return document, grant.user, self._peer

    def abort(self, error: RaffiaError) -> None:
        """End the socket without a closing handshake, because of an error (X8 of hocuspocus.py)."""
        self.count_refusal(error)
        log.info("connection aborted", reason=error.reason, detail=str(error))
        self.transport.abort()

    def count_refusal(self, error: RaffiaError) -> None:
        """Count an error that a client is told, by its reason."""
        self.hub.metrics.refusals[error.reason] += 1

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def join(self, document: DocumentId, grant: Grant, address: str | None = None) -> tuple[Session, Room]:
        """Open the document and join its room; holds nothing if it is cancelled.

        Args:
            document: the document to open.
            grant: the client's grant for it.
            address: the client's Hocuspocus address; None on y-websocket.

        Raises:
            RaffiaError: the document cannot be opened, the room accepts no more sessions, or the grant has ended.
        """
        settings = self.hub.settings
        if document not in self.hub.rooms:
            wait_s = self.hub.turns.opening_wait_s(self._payer(grant))
            if wait_s > 0:
                await asyncio.sleep(wait_s)
        room = await self.hub.open_for(person_of(grant, self._address), document, self.turn)
        try:
            await room.check_schema(self._schema)
            # The grant may have expired or been revoked while the document was loading.
            self.expiry.check(grant)
            self.hub.revocations.check(grant, document)
            session = Session(
                document,
                grant,
                self.hub.new_owner(),
                address=address,
                presence_per_s=settings.max_presence_per_s,
                step1_per_s=settings.max_step1_per_s,
                now_s=monotonic(),
            )
            session.schema = self._schema
            session.ask_after_s = self.hub.backoff.ask_after_s(self._client(document, grant))
            self._pays(session)
            room.join(session, self)
            self.expiry.watch(session, self._dialect)
        except BaseException:
            self.hub.release(room)
            raise
        return session, room

    def accept_large(self, grant: Grant) -> None:
        """Accept messages of the full size from now on: a client has signed in (X12)."""
        self._received.signed_in(person_of(grant, self._address))
        holds = self._may_arrive if self._received.is_limited else None
        self.transport.limit_messages(self.hub.settings.max_frame_bytes, holds)

    def _may_arrive(self, message_bytes: int) -> bool:
        if self._received.arriving(message_bytes):
            return True
        error = LaterError("too many bytes of unfinished messages")
        self.count_refusal(error)
        log.info("connection aborted", reason=error.reason, detail=str(error))
        return False

    def _payer(self, grant: Grant) -> Principal:
        """Who pays for what a grant is used for (X13)."""
        person = person_of(grant, self._address)
        return self.turn.principal if person is None else self.hub.turns.principal(person)

    def _pays(self, session: Session) -> None:
        """Let whoever has signed in pay for the session, and for the connection if it is its first one (X13)."""
        session.principal = self._payer(session.grant)
        if not self._dialect.sessions():
            self.turn.move(session.principal)

    def replace_grant(self, session: Session, grant: Grant) -> None:
        """Give a session a new grant, which applies from its next message on (X5)."""
        session.grant = grant
        self.expiry.watch(session, self._dialect)

    def leave(self, session: Session, room: Room) -> None:
        """Take a session out of its room."""
        self.expiry.forget(session)
        room.leave(session)
        self.hub.release(room)

    async def my_turn(self) -> None:
        """Wait until this connection's principal may have something done by a task (X13)."""
        if not self.hub.turns.is_light(self.turn.principal):
            await TaskTurn(self.hub.turns, self.turn.principal).wait()

    # -- messages of an open session --------------------------------------------------------------------------------

    def deliver(self, session: Session, room: Room, message: Message) -> None:
        """Hand a message of an open session to its room; an error ends the session."""
        if self._held is not None:
            self._held.append((session, room, message))
            return
        try:
            if session.grant.expires_s is not None:
                self._check_grant(session, room, message)
            if isinstance(message, UPDATES):
                self._take(session, room, message)
            else:
                room.receive(session, message)
        except RaffiaError as error:
            self.end(session, error)

    def _check_grant(self, session: Session, room: Room, message: Message) -> None:
        """Reject the message if the grant has expired (X5)."""
        try:
            self.expiry.check(session.grant, session)
        except RaffiaError:
            if isinstance(message, UPDATES):
                room.refuse(session, message)
            raise

    def _take(self, session: Session, room: Room, message: Update | Step2) -> None:
        budget, rate_limits = session.budget, self._rate_limits
        budget.left_s -= rate_limits.update_s + rate_limits.byte_s * len(message.update)
        if budget.left_s < 0:
            try:
                self._slow_down(budget)
            except RaffiaError:
                room.refuse(session, message)
                raise
        if not session.grant.may_write and room.refuse_news(session, message):
            return
        # Small updates have too few insertions to be weighed (CO1 of contention_guard.py).
        is_small = len(message.update) <= SMALL_BYTES and not room.is_behind
        if is_small or room.knows_step2(message.update):
            room.receive(session, message)
            return
        facts = self._read_here(session, room, message)
        if facts is not None and not room.must_weigh(session, facts):
            room.receive(session, message, facts)
            return
        if not self._received.reading(len(message.update)):
            room.refuse(session, message)
            raise LaterError("too many large updates at once; try again later")  # X12
        self.transport.pause_reading()
        self._held = []
        self._reading = self.start(self._take_large(session, room, message, facts))

    def _read_here(self, session: Session, room: Room, message: Update | Step2) -> UpdateFacts | None:
        """Read an update if that is quick; None if another process should."""
        if len(message.update) > READ_AWAY_BYTES:
            return None
        try:
            return room.read(message, Allowance(READ_AWAY_S))
        except CostlyError:
            return None
        except RaffiaError:
            room.refuse(session, message)
            raise

    async def _take_large(
        self, session: Session, room: Room, message: Update | Step2, facts: UpdateFacts | None
    ) -> None:
        try:
            read = await self._read_away(session, room, message, facts)
            if session not in room.sessions:
                self._dialect.dropped(session)
            else:
                self._receive_read(session, room, message, read)
        except RaffiaError as error:
            self.end(session, error)
        finally:
            self._received.reading(0)
            held, self._held = self._held, None
        for entry in held or ():
            if entry[0] in entry[1].sessions:
                self.deliver(*entry)  # if this is a large update too, it holds the rest again
            elif isinstance(entry[2], UPDATES):
                self._dialect.dropped(entry[0])
        self.read_on()

    async def _read_away(
        self, session: Session, room: Room, message: Update | Step2, facts: UpdateFacts | None
    ) -> UpdateFacts | RaffiaError:
        """Read an update in another process if it has not been read, and weigh it; returns what is wrong with it."""
        try:
            return await room.examine(session, message, facts)
        except RaffiaError as error:
            return error

    def _receive_read(
        self, session: Session, room: Room, message: Update | Step2, facts: UpdateFacts | RaffiaError
    ) -> None:
        """Hand an update that has been read to its room; the grant is checked again (X5)."""
        try:
            if isinstance(facts, RaffiaError):
                raise facts
            self.expiry.check(session.grant, session)
        except RaffiaError:
            room.refuse(session, message)
            raise
        room.receive(session, message, facts)

    async def all_read(self) -> None:
        """Wait until no large update is being read."""
        while self._reading is not None and not self._reading.done():
            await asyncio.wait([self._reading])

    def read_on(self) -> None:
        """Resume reading the socket, unless there is a reason not to (X2, X3, X7, X13)."""
        if (
            self._held is None
            and self._resting is None
            and not self.turn.waits
            and self._dialect.may_read  # false when closed
            and not self.transport.congested
        ):
            self.transport.resume_reading()

    def hold_back(self) -> None:
        """Stop reading the socket until `read_on`."""
        self.transport.pause_reading()

    # -- rate limits ------------------------------------------------------------------------------------------------

    def charge_sign_in(self) -> None:
        """Charge for a sign-in, which verifies a signature or asks a hook (PC5 of rate_limits.py).

        Raises:
            TooFastError: see X7.
        """
        self._budget.left_s -= self._rate_limits.sign_in_s
        if self._budget.left_s < 0:
            self._slow_down(self._budget)

    def charge_refused_opening(self) -> None:
        """Charge for a document that a rate limit kept from opening, so that further requests are read more slowly."""
        self._budget.left_s -= REFUSED_OPENING_S

    def _slow_down(self, budget: Budget) -> None:
        """Refill an overdrawn budget, and stop reading for a while if it is still overdrawn (X7).

        Raises:
            TooFastError: the budget has been overdrawn for too long.
        """
        now_s = monotonic()
        wait_s = budget.wait_s(now_s)
        if not wait_s:
            return
        if budget.strained_s(now_s) > self._rate_limits.patience_s:
            raise TooFastError(
                f"over the rate limit for {self._rate_limits.patience_s:g} s; send less, or ask for a higher limit"
            )
        if self._resting is None:
            self.hub.metrics.delays += 1
            self.transport.pause_reading()
            self._resting = asyncio.get_running_loop().call_later(wait_s, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self.read_on()

    # -- tasks ------------------------------------------------------------------------------------------------------

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run `work` in a task that is cancelled when the connection closes; an error closes the connection (X1)."""
        task = asyncio.get_running_loop().create_task(self._guard(work))
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        task.add_done_callback(lambda _: work.close())  # a task that is cancelled before its first turn never runs
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if self._tasks is not None:
            self._tasks.discard(task)
            self._tasks = self._tasks or None  # an empty set takes 216 bytes

    async def _guard(self, work: Coroutine[None, None, None]) -> None:
        try:
            await self.hub.turns.metered(self.turn, work)
        except RaffiaError as error:
            self.fail(error)
        except Exception:
            log.exception("connection failed")
            self.fail(InternalError("internal error"))
