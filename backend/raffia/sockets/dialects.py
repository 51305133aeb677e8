"""The two dialects' connections: y-websocket with one session, Hocuspocus with many, each signed in to in band.

Rules (tests quote these ids; X1 to X5 and X7 stand in connection.py):
    X6  A fresh token that is good replaces the grant in silence, unless the right to write changes: that is said. One
        that is not good ends the session: that is said as a denial and as a CLOSE. When nobody can decide, the grant
        that stands goes on (EX3 of expiry.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING

from raffia.errors import AuthUnavailableError, LaterError, RaffiaError, TooFastError
from raffia.rooms.session import Session
from raffia.runtime.logs import get_logger
from raffia.sockets.connection import Connection
from raffia.sockets.conversation import (
    Authorise,
    Deliver,
    Detach,
    Effect,
    HocuspocusConversation,
    Renew,
    close_reason,
    refusal,
)
from raffia.sockets.expiry import Expiry
from raffia.types import DocumentId, Grant, document_id
from raffia.wire import hocuspocus, ywebsocket

if TYPE_CHECKING:
    from raffia.rooms.hub import Hub
    from raffia.rooms.room import Room

log = get_logger("raffia.sockets.connection")

SIGN_IN_CODES = (4401, 4403)  # another token may help

Ask = Callable[[str | None, DocumentId], Awaitable[Grant]]


class YWebsocketConnection(Connection):
    """The y-websocket dialect: one session, its grant decided before the upgrade."""

    __slots__ = ("_document", "_grant", "_room", "_session")

    def __init__(self, hub: Hub, document: DocumentId, grant: Grant, expiry: Expiry | None = None) -> None:
        super().__init__(hub, Expiry() if expiry is None else expiry)
        self._document = document
        self._grant = grant
        self._session: Session | None = None
        self._room: Room | None = None

    def _begin(self) -> None:
        # What the client sends meanwhile stays in the socket: a lost step 1 would mean never synced (S1).
        self.transport.pause_reading()
        self._start(self._open())

    async def _open(self) -> None:
        self._session, self._room = await self._join(self._document, self._grant, None)
        self._read_on()

    def _receive(self, payload: bytes) -> None:
        message = ywebsocket.decode(payload)
        if self._session is not None and self._room is not None:
            self._deliver(self._session, self._room, message)

    def _sessions(self) -> list[tuple[Session, Room]]:
        return [(self._session, self._room)] if self._session is not None and self._room is not None else []

    def _forget_all(self) -> None:
        self._session = self._room = None

    def end(self, session: Session, error: RaffiaError) -> None:
        """End the session: on y-websocket that is the socket."""
        self.fail(error)


class HocuspocusConnection(Connection):
    """The Hocuspocus dialect: sessions by address, each signed in to in band.

    Args:
        hub: where documents are.
        authorize: decides about a token and a document.
        expiry: what ends the sessions whose grants end; one of its own, that nobody ticks, when not given.
    """

    __slots__ = ("_ask", "_conversation", "_deadline", "_deciding", "_open")

    def __init__(self, hub: Hub, authorize: Ask, expiry: Expiry | None = None) -> None:
        super().__init__(hub, Expiry() if expiry is None else expiry)
        settings = hub.settings
        self._ask = authorize
        self._open: dict[str, tuple[Session, Room]] = {}
        self._deciding: dict[str, asyncio.Task[None]] = {}
        self._conversation = HocuspocusConversation(
            max_documents=settings.max_documents_per_connection,
            preauth_documents=settings.preauth_documents,
            preauth_bytes=settings.preauth_bytes,
        )
        self._deadline: asyncio.TimerHandle | None = None

    def _begin(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(self._hub.settings.preauth_s, self._too_late)

    def _too_late(self) -> None:
        self._deadline = None
        if not self._open and not self._is_closed:
            self.fail(LaterError(f"nobody signed in within {self._hub.settings.preauth_s:g} s; connect again to do so"))

    def _receive(self, payload: bytes) -> None:
        for effect in self._conversation.receive(payload):
            self._apply(effect)
        if self._conversation.is_full:
            self.transport.pause_reading()  # an editor with many documents asks for all at once: one after the other

    def _may_read(self) -> bool:
        return not self._conversation.is_full

    def _apply(self, effect: Effect) -> None:
        if isinstance(effect, Deliver):
            opened = self._open.get(effect.address)
            if opened is not None:
                self._deliver(*opened, effect.message)
        elif isinstance(effect, Authorise):
            self._pay_for_sign_in()
            self._decide(effect.address, self._sign_in(effect.address, effect.token))
        elif isinstance(effect, Renew):
            self._pay_for_sign_in()
            self._decide(effect.address, self._renew(effect.address, effect.token))
        elif isinstance(effect, Detach):
            self._detach(effect.address)
        else:
            self.transport.send(effect.payload)

    def _pay_for_sign_in(self) -> None:
        """A signature is checked or a hook is asked (PC5 of rate_limits.py)."""
        self._budget.left_s -= self._rate_limits.sign_in_s
        if self._budget.left_s < 0:
            self._slow_down(self._budget)

    def _decide(self, address: str, work: Coroutine[None, None, None]) -> None:
        """Start to decide about an address; what was being decided about it counts no more (S4)."""
        self._undecide(address)
        task = self._deciding[address] = self._start(work)
        task.add_done_callback(lambda done: self._decided(address, done))

    def _decided(self, address: str, task: asyncio.Task[None]) -> None:
        if self._deciding.get(address) is task:
            del self._deciding[address]
            if not self._is_closed:
                self._read_on()

    def _undecide(self, address: str) -> None:
        task = self._deciding.pop(address, None)
        if task is not None:
            task.cancel()

    async def _sign_in(self, address: str, token: str | None) -> None:
        try:
            document = document_id(hocuspocus.split_address(address)[0])
            grant = await self._ask(token, document)
            session, room = await self._join(document, grant, address)
        except RaffiaError as error:
            self._deny(address, error, had_token=token is not None)
            return
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self._open[address] = (session, room)
        for message in self._conversation.opened(address):
            opened = self._open.get(address)
            if opened is not None:  # one of the messages may have ended it
                self._deliver(*opened, message)

    def _deny(self, address: str, error: RaffiaError, *, had_token: bool) -> None:
        if error.close_code == 1012:
            self.fail(error)
            return
        self._hub.metrics.refusals[error.reason] += 1
        # A client that has not sent its Auth yet is not told no: its Auth may be on the way (S5).
        waits = not had_token and error.close_code in SIGN_IN_CODES
        log.info("session denied", reason=error.reason, detail=str(error), waits_for_token=waits)
        if not waits:
            self.transport.send(hocuspocus.denied(address, close_reason(error)))
        self._conversation.denied(address, wait_for_auth=waits)

    async def _renew(self, address: str, token: str) -> None:
        opened = self._open.get(address)
        if opened is None:
            return
        session, _ = opened
        try:
            grant = await self._ask(token, session.document)
        except (AuthUnavailableError, TooFastError) as error:
            log.info("a fresh token could not be decided about", document=session.document, detail=str(error))
            self._hub.metrics.refusals[error.reason] += 1
            self._expiry.undecided(session)
        except RaffiaError as error:
            if self._open.get(address) is opened:
                self.end(session, error)
        else:
            if self._open.get(address) is opened:
                self._replace(session, grant)

    def _replace(self, session: Session, grant: Grant) -> None:
        """A fresh token was good (X6)."""
        said, session.grant = session.grant, grant
        self._expiry.watch(session, self)
        if said.may_write != grant.may_write:
            self.transport.send(hocuspocus.authenticated(session.prefix, read_only=not grant.may_write))

    def ask_token(self, session: Session) -> None:
        """Ask the provider for a fresh token; v3 and v4 answer by themselves."""
        self.transport.send(hocuspocus.ask_token(session.prefix))

    def _detach(self, address: str) -> None:
        self._undecide(address)
        opened = self._open.pop(address, None)
        if opened is not None:
            self._leave(*opened)

    def _sessions(self) -> list[tuple[Session, Room]]:
        return list(self._open.values())

    def _forget_all(self) -> None:
        self._open.clear()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def end(self, session: Session, error: RaffiaError) -> None:
        """End one session: in band where that says it, else with the socket."""
        address = next((address for address, (other, _) in self._open.items() if other is session), None)
        if address is None:
            return
        payload, close_code = refusal(error, address)
        if close_code is not None:
            self.fail(error)
            return
        self._hub.metrics.refusals[error.reason] += 1
        log.info("session ended", document=session.document, reason=error.reason, detail=str(error))
        self._detach(address)
        if error.close_code in SIGN_IN_CODES:
            # v2 providers throw on a CLOSE; this all of them know, and to newer ones it says what to do about it. What
            # they go on sending is dropped until they sign in again, as after any denial.
            self.transport.send(hocuspocus.denied(address, close_reason(error)))
            self._conversation.denied(address, wait_for_auth=False)
        else:
            self._conversation.ended(address)
        if payload is not None:
            self.transport.send(payload)
