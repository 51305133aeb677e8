"""One WebSocket: what comes in goes to rooms, what rooms and errors say goes out; dialects.py has what differs.

Rules (tests quote these ids):
    X1  No exception leaves a call from the socket: what a client did wrong ends its session or its socket with the
        error's code; what we did wrong ends the socket with 1011 and is logged. Other rooms do not notice.
    X2  Messages of a connection are handled in order; while one is read in another process the socket is not read, and
        what had been read of it already waits.
    X3  A connection that reads too slowly is not read from either, so what we owe it stays small.
    X4  A text frame is refused with 4400 and a reason that says what was expected.
    X5  A grant is looked at anew with every message: what comes after its end is not taken, and a new grant counts from
        the next message on, also for what was being read elsewhere or waited.
    X7  Who sends too fast is not read for a while; who goes on so is told "later" (PC3, PC4 of rate_limits.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from time import monotonic
from typing import TYPE_CHECKING

from raffia.auth.revocation import Judge
from raffia.crdt.update import UpdateFacts, read_update
from raffia.errors import InternalError, MalformedError, RaffiaError, TooFastError
from raffia.rooms.rate_limits import Budget
from raffia.rooms.session import Session
from raffia.runtime.logs import get_logger
from raffia.sockets.conversation import close_reason
from raffia.sockets.expiry import Expiry
from raffia.types import DocumentId, Grant
from raffia.wire import hocuspocus
from raffia.wire.messages import Message, Step2, Update
from raffia.wire.transport import Transport

if TYPE_CHECKING:
    from raffia.rooms.hub import Hub
    from raffia.rooms.room import Room

log = get_logger("raffia.sockets.connection")

# Reading an update of this size strictly takes about 5 ms; larger ones are read in another process.
READ_AWAY_BYTES = 32 * 1024
UPDATES = (Update, Step2)


class Connection:
    """What both dialects share; see `raffia.wire.transport.Listener` for the calls."""

    __slots__ = (
        "__weakref__",
        "_budget",
        "_expiry",
        "_held",
        "_hub",
        "_is_closed",
        "_rate_limits",
        "_resting",
        "_tasks",
        "_transport",
        "schema",
    )

    def __init__(self, hub: Hub, expiry: Expiry) -> None:
        self._hub = hub
        self._expiry = expiry
        self.schema: int | None = None  # what the editor knows; None when it does not say
        self._transport: Transport | None = None
        self._tasks: set[asyncio.Task[None]] | None = None
        # What comes after a large update, while that is being read (X2); None when none is.
        self._held: list[tuple[Session, Room, Message]] | None = None
        self._is_closed = False
        self._rate_limits = hub.rate_limits
        self._budget = Budget(monotonic())
        self._resting: asyncio.TimerHandle | None = None  # until it ends nothing is read (X7)

    @property
    def transport(self) -> Transport:
        """Where frames go; there is one from `opened` on."""
        assert self._transport is not None
        return self._transport

    # -- what the socket tells ------------------------------------------------------------------------------------

    def opened(self, transport: Transport) -> None:
        """The handshake is done."""
        self._transport = transport
        if self._is_closed:
            return
        self._hub.connections.add(self)
        self._begin()

    def message(self, payload: bytes) -> None:
        """One binary message (X1)."""
        metrics = self._hub.metrics
        metrics.frames_in += 1
        size_bytes = len(payload)
        metrics.bytes_in += size_bytes
        budget, rate_limits = self._budget, self._rate_limits
        budget.left_s -= rate_limits.message_s + rate_limits.message_byte_s * size_bytes
        try:
            if budget.left_s < 0:
                self._slow_down(budget)
            self._receive(payload)
        except RaffiaError as error:
            self.fail(error)
        except Exception:
            log.exception("connection failed")
            self.fail(InternalError("internal error"))

    def text(self, payload: str) -> None:
        """One text message (X4)."""
        self.fail(MalformedError(f"a text frame of {len(payload)} characters came; send binary frames"))

    def congested(self) -> None:
        """The peer reads too slowly (X3)."""
        self.transport.pause_reading()
        for session, room in self._sessions():
            room.fell_behind(session)

    def drained(self) -> None:
        """The peer has read what was sent."""
        for session, room in self._sessions():
            room.caught_up(session)
        self._read_on()

    def closed(self, _code: int) -> None:
        """It is over."""
        self._is_closed = True
        self._hub.connections.discard(self)
        for task in tuple(self._tasks or ()):
            task.cancel()
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        for session, room in self._sessions():
            self._leave(session, room)
        self._forget_all()

    def _leave(self, session: Session, room: Room) -> None:
        self._expiry.forget(session)
        room.leave(session)
        self._hub.release(room)

    # -- what each dialect does in its own way ----------------------------------------------------------------------

    def _begin(self) -> None:
        raise NotImplementedError

    def _receive(self, payload: bytes) -> None:
        raise NotImplementedError

    def _sessions(self) -> list[tuple[Session, Room]]:
        raise NotImplementedError

    def _forget_all(self) -> None:
        raise NotImplementedError

    def end(self, session: Session, error: RaffiaError) -> None:
        """End one session with an error."""
        raise NotImplementedError

    def ask_token(self, session: Session) -> None:
        """Ask the client for a fresh token, where the dialect can (EX2 of expiry.py)."""

    def end_those(self, judge: Judge) -> int:
        """End every session for which there is an error (REV3 of revocation.py)."""
        ended = 0
        for session, _ in self._sessions():
            error = judge(session.grant, session.document)
            if error is not None:
                self.end(session, error)
                ended += 1
        return ended

    # -- ending -----------------------------------------------------------------------------------------------------

    def fail(self, error: RaffiaError) -> None:
        """Close the socket with an error."""
        self._hub.metrics.refusals[error.reason] += 1
        log.info("connection closed", reason=error.reason, code=error.close_code, detail=str(error))
        self.transport.close(error.close_code, close_reason(error))

    def close(self, error: RaffiaError) -> None:
        """Close the socket for a reason that is nobody's mistake (a restart)."""
        if self._transport is not None:
            self._transport.close(error.close_code, error.reason)

    # -- messages of an open session --------------------------------------------------------------------------------

    def _deliver(self, session: Session, room: Room, message: Message) -> None:
        if self._held is not None:
            self._held.append((session, room, message))
            return
        try:
            self._hand_over(session, room, message)
        except RaffiaError as error:
            self.end(session, error)

    def _hand_over(self, session: Session, room: Room, message: Message) -> None:
        if session.grant.expires_s is not None:
            self._check_grant(session, room, message)
        if isinstance(message, UPDATES):
            self._take(session, room, message)
        else:
            room.receive(session, message)

    def _check_grant(self, session: Session, room: Room, message: Message) -> None:
        """Take nothing once the grant has ended (X5)."""
        try:
            self._expiry.check(session.grant, session)
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
        if len(message.update) > READ_AWAY_BYTES and not room.knows_step2(message.update):
            self.transport.pause_reading()
            self._held = []
            self._start(self._take_large(session, room, message))
            return
        room.receive(session, message)

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
                self._deliver(*entry)  # one more large update holds the rest again
        self._read_on()

    async def _read_away(self, session: Session, room: Room, message: Update | Step2) -> UpdateFacts:
        """Read an update in another process, and look at the grant once more after that (X5)."""
        try:
            facts = await self._hub.workers.run(read_update, message.update, limit=self._hub.settings.max_update_bytes)
            if session in room.sessions:
                self._expiry.check(session.grant, session)
        except RaffiaError:
            if session in room.sessions:
                room.refuse(session, message)
            raise
        return facts

    def _read_on(self) -> None:
        """Read the socket again, unless there is a reason not to (X2, X3, X7)."""
        if (
            self._held is None
            and self._resting is None
            and not self._is_closed
            and not self.transport.congested
            and self._may_read()
        ):
            self.transport.resume_reading()

    def _may_read(self) -> bool:
        return True

    def _slow_down(self, budget: Budget) -> None:
        """A budget is used up: let it gain what is due, and rest when that is not enough (X7).

        Raises:
            TooFastError: it has been so for too long.
        """
        now_s = monotonic()
        wait_s = budget.wait_s(now_s)
        if not wait_s:
            return
        if budget.strained_s(now_s) > self._rate_limits.patience_s:
            raise TooFastError(
                f"too much was sent for {self._rate_limits.patience_s:g} s; send less, or ask for a higher limit"
            )
        if self._resting is None:
            self._hub.metrics.delays += 1
            self.transport.pause_reading()
            self._resting = asyncio.get_running_loop().call_later(wait_s, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._read_on()

    # -- tasks ------------------------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._guard(work))
        if self._tasks is None:
            self._tasks = set()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # one that is cancelled before its first turn never runs
        return task

    async def _guard(self, work: Coroutine[None, None, None]) -> None:
        """Nothing that happens in a task of this connection may go unnoticed, or any further (X1)."""
        try:
            await work
        except RaffiaError as error:
            self.fail(error)
        except Exception:
            log.exception("connection failed")
            self.fail(InternalError("internal error"))

    async def _join(self, document: DocumentId, grant: Grant, address: str | None) -> tuple[Session, Room]:
        """Open the document and join its room; whoever cancels this leaves nothing behind."""
        settings = self._hub.settings
        room = await self._hub.open(document)
        try:
            await room.check_schema(self.schema)
            # It may have ended or been taken back while the document was loaded.
            self._expiry.check(grant)
            self._hub.revocations.check(grant, document)
            session = Session(
                document,
                grant,
                self._hub.new_owner(),
                address=address,
                presence_per_s=settings.max_presence_per_s,
                step1_per_s=settings.max_step1_per_s,
                now_s=monotonic(),
            )
            session.schema = self.schema
            room.join(session, self)
            if address is not None:
                self.transport.send(hocuspocus.authenticated(session.prefix, read_only=not grant.may_write))
            self._expiry.watch(session, self)
        except BaseException:
            self._hub.release(room)
            raise
        return session, room
