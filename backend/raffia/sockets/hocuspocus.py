"""The Hocuspocus dialect: many documents on one socket, with an in-band sign-in for each.

`conversation.py` decides what each frame asks for; this module carries it out.

Rules (tests quote these ids; X1 to X5, X7, X10, X12 and X13 are in connection.py):
    X6  A fresh token that is accepted replaces the grant. The client is told only if its right to write changes. If the
        token is rejected the session ends, with a denial and a CLOSE. If it cannot be checked, the old grant stands
        (EX3 of expiry.py).
    X8  Until its first session is open, a connection sends messages of at most `preauth_bytes`, one token and their
        envelope. What it keeps, in messages that wait and in an unfinished one, counts for a budget (byte_budget.py);
        so do messages that wait for further sessions. A connection over the budget is aborted.
    X9  A session that ended because something was too large leaves behind its grant and the state vector of what its
        client has been sent. Providers go on sending without another Auth or step 1; what they send opens the session
        again, and it continues. Their answer to our step 1 contains what they have deleted since, and what was too much
        to keep until then.
    X11 Of a message over the limit only the start is read. If that contains an address, the message ends the session
        that it is for, or is answered with a CLOSE if there is none; the socket and the other sessions stay open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from raffia.errors import AuthUnavailableError, LaterError, RaffiaError, TooFastError, TooLargeError, WireError
from raffia.rooms.room import Room
from raffia.rooms.session import Session
from raffia.runtime.logs import get_logger
from raffia.settings import Settings
from raffia.sockets.byte_budget import ByteBudget, ByteShare
from raffia.sockets.connection import Connection
from raffia.sockets.conversation import Authorise, Deliver, Detach, Effect, HocuspocusConversation, Renew
from raffia.sockets.refusals import close_reason, refusal
from raffia.types import DocumentId, Grant, document_id
from raffia.wire import hocuspocus
from raffia.wire.messages import Step1, Step2, Update

log = get_logger("raffia.sockets.hocuspocus")

SIGN_IN_CODES = (4401, 4403)  # another token may help

Ask = Callable[[str | None, DocumentId], Awaitable[Grant]]
"""Decides about a token and a document; raises a `RaffiaError` to deny."""


class _Left:
    """What is kept of a session that ended because something was too large (X9).

    Attributes:
        grant, owner: the session's.
        known: the state vector of what its client has been sent.
        refused: how many updates its provider still counts, which were refused or will not be answered (S8).
    """

    __slots__ = ("grant", "known", "owner", "refused")

    def __init__(self, session: Session, known: bytes) -> None:
        self.grant = session.grant
        self.owner = session.owner
        self.known = known
        self.refused = session.leaves_counted()


class HocuspocusDialect:
    """Sessions by address.

    Args:
        ask: decides about a token and a document.
        settings: limits of the conversation.
        share: the connection's share of the process's budget; by default of a budget of its own.
    """

    __slots__ = (
        "_ask",
        "_connection",
        "_conversation",
        "_deadline",
        "_deciding",
        "_left",
        "_open",
        "_settings",
        "_share",
    )

    def __init__(self, ask: Ask, settings: Settings, share: ByteShare | None = None) -> None:
        self._connection: Connection
        self._ask = ask
        self._open: dict[str, tuple[Session, Room]] = {}
        self._left: dict[str, _Left] = {}  # by address
        self._deciding: dict[str, asyncio.Task[None]] = {}
        self._conversation = HocuspocusConversation(
            max_documents=settings.max_documents_per_connection,
            preauth_documents=settings.preauth_documents,
            preauth_bytes=settings.preauth_bytes,
            returning=self._left,
        )
        self._settings = settings
        self._share = ByteShare(ByteBudget()) if share is None else share
        self._deadline: asyncio.TimerHandle | None = None  # for the first sign-in

    # -- what a connection calls --------------------------------------------------------------------------------------

    @property
    def may_read(self) -> bool:
        """Whether fewer documents than allowed wait for a decision (S1)."""
        return not self._conversation.is_full

    def opened(self, connection: Connection) -> None:
        """Wait for the client to sign in, for a limited time."""
        self._connection = connection
        connection.transport.limit_messages(self._settings.max_preauth_frame_bytes, self._share.unfinished)  # X8
        self._deadline = asyncio.get_running_loop().call_later(self._settings.preauth_s, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        if not self._open:
            preauth_s = self._settings.preauth_s
            self._connection.fail(LaterError(f"no sign-in within {preauth_s:g} s; connect again to sign in"))

    def receive(self, payload: bytes) -> None:
        """Decode one frame and do what it asks for."""
        for effect in self._conversation.receive(payload):
            self._apply(effect)
        if not self._share.keep(self._conversation.kept_bytes):
            self._connection.abort(LaterError("too many bytes wait for sign-ins"))
            return
        if self._conversation.is_full:
            # An editor with many documents asks for all of them at once: decide about some, then read on.
            self._connection.transport.pause_reading()

    def oversized(self, start: bytes, error: RaffiaError) -> None:
        """Refuse a message over the limit in band (X11)."""
        try:
            address, answers = hocuspocus.decode_start(start)
        except WireError:
            raise error from None
        opened = self._open.get(address)
        if opened is None:
            left = self._left.get(address)
            if left is not None and answers is not None:
                left.refused += 1
            self._connection.count_refusal(error)
            log.info("message dropped", reason=error.reason, detail=str(error))
            self._connection.transport.send(hocuspocus.close(address, close_reason(error)))
            return
        session, room = opened
        if answers is not None:
            room.refuse(session, answers)
        self._connection.end(session, error)

    def sessions(self) -> Sequence[tuple[Session, Room]]:
        """The sessions that have joined."""
        return list(self._open.values())

    def dropped(self, session: Session) -> None:
        """Note that an update will not be answered (S8)."""
        for left in self._left.values():
            if left.owner == session.owner:
                left.refused += 1

    def ask_token(self, session: Session) -> None:
        """Ask the provider for a fresh token; providers of v3 and v4 answer on their own."""
        self._connection.transport.send(hocuspocus.ask_token(session.prefix))

    def end(self, session: Session, error: RaffiaError) -> None:
        """End one session in band, or close the socket for errors that cannot be reported in band."""
        address = next((address for address, (other, _) in self._open.items() if other is session), None)
        if address is None:
            return
        _, room = self._open[address]
        payload, close_code = refusal(error, address)
        if close_code is not None:
            self._connection.fail(error)
            return
        self._connection.count_refusal(error)
        log.info("session ended", document=session.document, reason=error.reason, detail=str(error))
        known = room.known_to(session) if isinstance(error, TooLargeError) else b""
        self._detach(address)
        if error.close_code in SIGN_IN_CODES:
            # v2 providers throw on a CLOSE. All of them know a denial, and it tells newer ones to sign in again. What
            # they still send is dropped until they do, as after any denial.
            self._connection.transport.send(hocuspocus.denied(address, close_reason(error)))
            self._conversation.denied(address, wait_for_auth=False)
        else:
            self._conversation.ended(address)
            if isinstance(error, TooLargeError):
                self._left[address] = _Left(session, known)
                if len(self._left) > self._settings.max_documents_per_connection:
                    del self._left[next(iter(self._left))]
        if payload is not None:
            self._connection.transport.send(payload)

    def closed(self) -> None:
        """Forget all sessions."""
        self._open.clear()
        self._left.clear()
        self._deciding.clear()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._share.release()

    # -- what the conversation asks for -------------------------------------------------------------------------------

    def _apply(self, effect: Effect) -> None:
        if isinstance(effect, Deliver):
            opened = self._open.get(effect.address)
            if opened is not None:
                self._connection.deliver(*opened, effect.message)
        elif isinstance(effect, Authorise):
            self._connection.charge_sign_in()
            self._decide(effect.address, self._sign_in(effect.address, effect.token))
        elif isinstance(effect, Renew):
            self._connection.charge_sign_in()
            self._decide(effect.address, self._renew(effect.address, effect.token))
        elif isinstance(effect, Detach):
            self._left.pop(effect.address, None)
            self._detach(effect.address)
        else:
            self._connection.transport.send(effect.payload)

    def _decide(self, address: str, work: Coroutine[None, None, None]) -> None:
        """Start deciding about an address; an earlier decision that is still pending is dropped (S4)."""
        self._undecide(address)
        task = self._deciding[address] = self._connection.start(work)
        task.add_done_callback(lambda done: self._decided(address, done))

    def _decided(self, address: str, task: asyncio.Task[None]) -> None:
        if self._deciding.get(address) is task:
            del self._deciding[address]
            self._connection.read_on()

    def _undecide(self, address: str) -> None:
        task = self._deciding.pop(address, None)
        if task is not None:
            task.cancel()

    async def _sign_in(self, address: str, token: str | None) -> None:
        try:
            document = document_id(hocuspocus.split_address(address)[0])
            await self._connection.my_turn()
            left = None
            if token is None and address in self._left:
                await self._connection.all_read()  # what is read for the session that ended is counted too (S8)
                left = self._left.pop(address, None)
            grant = await self._ask(token, document) if left is None else left.grant
            session, room = await self._connection.join(document, grant, address)
        except RaffiaError as error:
            self._deny(address, error, had_token=token is not None)
            return
        self._say_authenticated(session)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
            self._share.unfinished(0)
            self._connection.accept_large(grant)  # X8, X12
        self._open[address] = (session, room)
        messages = self._conversation.opened(address)
        self._share.keep(self._conversation.kept_bytes)
        if left is not None and not any(isinstance(message, Step1) for message in messages):
            session.refused = session.counted = left.refused + self._conversation.dropped(address)
            room.resume(session, left.known)
        for message in messages:
            opened = self._open.get(address)
            if opened is not None:  # one of the messages may have ended the session
                self._connection.deliver(*opened, message)
            elif isinstance(message, (Step2, Update)):
                self.dropped(session)

    def _deny(self, address: str, error: RaffiaError, *, had_token: bool) -> None:
        if error.close_code == 1012:
            self._connection.fail(error)
            return
        self._connection.count_refusal(error)
        if isinstance(error, TooFastError):
            self._connection.charge_refused_opening()  # HU7
        # A client that has not sent an Auth is not denied yet: its Auth may be under way (S5).
        waits = not had_token and error.close_code in SIGN_IN_CODES
        log.info("session denied", reason=error.reason, detail=str(error), waits_for_token=waits)
        if not waits:
            self._connection.transport.send(hocuspocus.denied(address, close_reason(error)))
        self._conversation.denied(address, wait_for_auth=waits)
        self._share.keep(self._conversation.kept_bytes)

    async def _renew(self, address: str, token: str) -> None:
        """Decide about a fresh token (X6)."""
        opened = self._open.get(address)
        if opened is None:
            return
        session, _ = opened
        try:
            await self._connection.my_turn()
            grant = await self._ask(token, session.document)
        except (AuthUnavailableError, TooFastError) as error:
            log.info("could not check a fresh token", document=session.document, detail=str(error))
            self._connection.count_refusal(error)
            self._connection.expiry.undecided(session)
        except RaffiaError as error:
            if self._open.get(address) is opened:
                self.end(session, error)
        else:
            if self._open.get(address) is opened:
                could_write = session.grant.may_write
                self._connection.replace_grant(session, grant)
                if could_write != grant.may_write:
                    self._say_authenticated(session)

    def _say_authenticated(self, session: Session) -> None:
        read_only = not session.grant.may_write
        self._connection.transport.send(hocuspocus.authenticated(session.prefix, read_only=read_only))

    def _detach(self, address: str) -> None:
        self._undecide(address)
        opened = self._open.pop(address, None)
        if opened is not None:
            self._connection.leave(*opened)
