"""One WebSocket between its client and the rooms: order, rate limits, back-pressure, errors.

A connection has a dialect (ywebsocket.py, hocuspocus.py), which decodes what the client sends and encodes what is said
to it about its sessions.

Rules (tests quote these ids):
    X1  No exception leaves a call from the socket. A client's mistake ends its session or its socket with the error's
        code; a mistake of ours closes the socket with 1011 and is logged. Other rooms are not affected.
    X2  Messages of a connection are handled in order. While one of them is being read in another process the socket is
        not read, and messages that were already read from it wait.
    X3  A connection that reads too slowly is not read from either, which keeps what we owe it small.
    X4  A text frame is refused with 4400 and a reason that says what was expected.
    X5  The grant is checked on every message; messages after it expires are rejected. A new grant applies from the next
        message on, and to messages that were waiting or being read in another process.
    X7  A client that sends too fast is not read for a while; one that keeps doing so is told "later" (PC3, PC4 of
        rate_limits.py).
    X9  A connection waits for its turn when it costs more than others (turns.py). Its user pays, without one the link
        or token, without those the address; until somebody has signed in on it, the address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from time import monotonic
from typing import Protocol

from raffia.auth.revocation import Judge
from raffia.crdt.shape import SMALL_BYTES, Allowance, CostlyError
from raffia.crdt.update import UpdateFacts, read_update
from raffia.errors import InternalError, MalformedError, RaffiaError, TooFastError
from raffia.rooms.hub import Hub
from raffia.rooms.rate_limits import Budget
from raffia.rooms.room import Room
from raffia.rooms.session import Session
from raffia.rooms.turns import Lane, Principal, payer_of
from raffia.runtime.logs import get_logger
from raffia.sockets.expiry import Expiry
from raffia.sockets.refusals import close_reason
from raffia.sockets.task_turn import TaskTurn
from raffia.types import DocumentId, Grant
from raffia.wire.messages import Message, Step2, Update
from raffia.wire.transport import Transport

log = get_logger("raffia.sockets.connection")

# Larger updates are read in another process, and so are those that would take longer here by their shape (shape.py).
READ_AWAY_BYTES = 32 * 1024
READ_AWAY_S = 0.002
UPDATES = (Update, Step2)


class Dialect(Protocol):
    """How one connection speaks with its client, and the sessions that the client has."""

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

    def sessions(self) -> Sequence[tuple[Session, Room]]:
        """The sessions that have joined, each with its room."""

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

    def sessions(self) -> Sequence[tuple[Session, Room]]:
        return ()

    def ask_token(self, session: Session) -> None: ...

    def end(self, session: Session, error: RaffiaError) -> None: ...

    def closed(self) -> None: ...


_CLOSED = _Closed()


class Connection:
    """One WebSocket; `raffia.wire.transport.Listener` describes the calls that it gets.

    Args:
        hub: opens documents.
        dialect: speaks with the client.
        expiry: ends sessions when their grants expire; by default one that does not tick.
        schema: the schema version that the client's editor knows; None if it did not say.
        address: what the client's address counts as (AD1); None for one that is not counted.

    Attributes:
        hub: see above.
        expiry: see above.
        turn: measures the connection and lets it wait (X9).
    """

    __slots__ = (
        "_budget",
        "_dialect",
        "_held",
        "_rate_limits",
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
        address: str | None = None,
    ) -> None:
        self.hub = hub
        self.expiry = Expiry() if expiry is None else expiry
        self._dialect = dialect
        self._schema = schema
        self._transport: Transport | None = None
        self._tasks: set[asyncio.Task[None]] | None = None
        # Messages behind a large update while that is being read (X2); None when none is being read.
        self._held: list[tuple[Session, Room, Message]] | None = None
        self._rate_limits = hub.rate_limits
        self._budget = Budget(monotonic())
        self.turn = Lane(hub.turns, self, hub.turns.principal(address))
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

    def closed(self, _code: int) -> None:
        """The connection is over: its sessions leave their rooms."""
        dialect, self._dialect = self._dialect, _CLOSED
        self.turn.close()
        self.hub.connections.discard(self)
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
        """Close the socket without counting or logging it: nobody made a mistake (a restart)."""
        if self._transport is not None:
            self._transport.close(error.close_code, error.reason)

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
            document: which one.
            grant: who the client is and what it may do.
            address: the client's Hocuspocus address; None on y-websocket.

        Raises:
            RaffiaError: the document cannot be opened, the room takes no more sessions, or the grant no longer holds.
        """
        settings = self.hub.settings
        if document not in self.hub.rooms:
            wait_s = self.hub.turns.opening_wait_s(self._payer(grant))
            if wait_s > 0:
                await asyncio.sleep(wait_s)
        room = await self.hub.open(document, self.turn)
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
            self._pays(session)
            room.join(session, self)
            self.expiry.watch(session, self._dialect)
        except BaseException:
            self.hub.release(room)
            raise
        return session, room

    def _payer(self, grant: Grant) -> Principal:
        """Who pays for what a grant is used for (X9)."""
        payer = payer_of(grant)
        return self.turn.principal if payer is None else self.hub.turns.principal(payer)

    def _pays(self, session: Session) -> None:
        """Let whoever has signed in pay for the session, and for the connection if it is its first one (X9)."""
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
        """Wait until this connection's principal may have something done by a task (X9)."""
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
        facts: UpdateFacts | None = None
        if len(message.update) > SMALL_BYTES and not room.knows_step2(message.update):
            facts = self._read_here(session, room, message)
            if facts is None:
                self.transport.pause_reading()
                self._held = []
                self.start(self._take_large(session, room, message))
                return
        room.receive(session, message, facts)

    def _read_here(self, session: Session, room: Room, message: Update | Step2) -> UpdateFacts | None:
        """Read an update if that is quick; None if another process should."""
        if len(message.update) > READ_AWAY_BYTES:
            return None
        try:
            return read_update(
                message.update, limit=self.hub.settings.max_update_bytes, allowance=Allowance(READ_AWAY_S)
            )
        except CostlyError:
            return None
        except RaffiaError:
            room.refuse(session, message)
            raise

    async def _take_large(self, session: Session, room: Room, message: Update | Step2) -> None:
        try:
            facts = await self._read_away(session, room, message)
            if session in room.sessions:
                room.receive(session, message, facts)
        except RaffiaError as error:
            if session in room.sessions:
                self.end(session, error)
        finally:
            held, self._held = self._held, None
        for entry in held or ():
            if entry[0] in entry[1].sessions:
                self.deliver(*entry)  # if this is a large update too, it holds the rest again
        self.read_on()

    async def _read_away(self, session: Session, room: Room, message: Update | Step2) -> UpdateFacts:
        """Read an update in another process, then check the grant again (X5)."""
        try:
            facts = await self.hub.workers.run(read_update, message.update, limit=self.hub.settings.max_update_bytes)
            if session in room.sessions:
                self.expiry.check(session.grant, session)
        except RaffiaError:
            if session in room.sessions:
                room.refuse(session, message)
            raise
        return facts

    def read_on(self) -> None:
        """Resume reading the socket, unless there is a reason not to (X2, X3, X7, X9)."""
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

    def _slow_down(self, budget: Budget) -> None:
        """Refill an overdrawn budget, and stop reading for a while if it is still overdrawn (X7).

        Raises:
            TooFastError: it has been overdrawn for too long.
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
