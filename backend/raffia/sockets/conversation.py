"""What comes in on one Hocuspocus connection: bytes in, effects out. No I/O.

Rules S1, S3, S4 and S5 of `raffia.rooms.session` are kept here: what came before a session was open, the address,
tokens.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import NamedTuple

from raffia.errors import LaterError, RoomFullError
from raffia.wire import hocuspocus
from raffia.wire.messages import Auth, CloseDocument, Message, Ping, Pong, Stateless


class Authorise(NamedTuple):
    """Somebody wants a document: decide, then call `opened` or `denied`. Replaces an earlier one (S4)."""

    address: str
    token: str | None


class Renew(NamedTuple):
    """An open session sent a new token. Replaces an earlier one (S4)."""

    address: str
    token: str


class Deliver(NamedTuple):
    """A message for an open session."""

    address: str
    message: Message


class Detach(NamedTuple):
    """The client is done with this document; the socket stays."""

    address: str


class Reply(NamedTuple):
    """A payload to be sent as it is."""

    payload: bytes


Effect = Authorise | Renew | Deliver | Detach | Reply


class Inbox:
    """Messages that came before their session was open (S1)."""

    __slots__ = ("messages", "size_bytes")

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.size_bytes = 0

    def keep(self, message: Message, size_bytes: int, limit_bytes: int) -> None:
        """Keep one message.

        Raises:
            LaterError: more than the limit would wait (closes 1013).
        """
        self.size_bytes += size_bytes
        if self.size_bytes > limit_bytes:
            raise LaterError(
                f"{self.size_bytes} bytes came for a document before it was open; the limit is {limit_bytes}; "
                "wait for the server's first message"
            )
        self.messages.append(message)

    def take(self) -> list[Message]:
        """All that was kept, in order; the inbox is empty afterwards."""
        messages, self.messages, self.size_bytes = self.messages, [], 0
        return messages


UNDECIDED = ("asking", "waiting")


class _Line:
    """What is known of one address.

    Attributes:
        state: "asking" (Auth is being decided), "open", "waiting" (for an Auth, S5), "denied".
        token: the one that is being decided; None for none.
        inbox: messages kept while it is not open.
    """

    __slots__ = ("inbox", "state", "token")

    def __init__(self, token: str | None) -> None:
        self.state = "asking"
        self.token = token
        self.inbox: Inbox | None = Inbox()


class HocuspocusConversation:
    """The Hocuspocus dialect: sessions by address."""

    __slots__ = ("_asking", "_lines", "_max_documents", "_preauth_bytes", "_preauth_documents", "_undecided")

    def __init__(self, *, max_documents: int, preauth_documents: int, preauth_bytes: int) -> None:
        self._lines: dict[str, _Line] = {}
        self._max_documents = max_documents
        self._preauth_documents = preauth_documents
        self._preauth_bytes = preauth_bytes
        self._asking = 0
        self._undecided = 0  # those that are asked about, and those that wait for an Auth

    @property
    def undecided(self) -> int:
        """How many addresses are not open."""
        return self._undecided

    def receive(self, frame: bytes) -> list[Effect]:
        """Read a frame; returns what is to be done, in order.

        Raises:
            WireError: not a frame of this dialect (closes 4400).
            LaterError: over a bound before the session was open, or too many documents (closes 1013).
        """
        address, message = hocuspocus.decode(frame)
        line = self._lines.get(address)
        if line is not None and line.state == "open":
            return self._on_open(address, message)
        if isinstance(message, Ping):
            return [Reply(hocuspocus.pong())]
        if isinstance(message, Pong):
            return []
        if isinstance(message, CloseDocument):
            return self._forget(address)
        if isinstance(message, Auth):
            return self._ask(address, line, message.token)
        if line is None:
            line = self._new_line(address, None)
            self._keep(line, message, len(frame))
            return [Authorise(address, None)]
        if line.state != "denied":  # the rest of what a denied client sent at once is not an attack
            self._keep(line, message, len(frame))
        return []

    def _on_open(self, address: str, message: Message) -> list[Effect]:
        if isinstance(message, Auth):
            return [Renew(address, message.token)]
        if isinstance(message, CloseDocument):
            return self._forget(address)
        if isinstance(message, Stateless):
            return []
        return [Deliver(address, message)]

    def _ask(self, address: str, line: _Line | None, token: str) -> list[Effect]:
        if line is None:
            self._new_line(address, token)
        elif line.state == "asking" and line.token == token:
            return []  # the question is being decided already; a second Auth adds nothing to it
        else:
            self._turn(line, "asking")
            line.token = token
            line.inbox = line.inbox or Inbox()
        return [Authorise(address, token)]

    def _keep(self, line: _Line, message: Message, size_bytes: int) -> None:
        assert line.inbox is not None  # only an open or a denied line has none
        line.inbox.keep(message, size_bytes, self._preauth_bytes)

    def _new_line(self, address: str, token: str | None) -> _Line:
        if len(self._lines) >= self._max_documents:
            raise RoomFullError(
                f"this connection has {len(self._lines)} documents open; the limit is {self._max_documents}; "
                "open another connection"
            )
        if self._undecided >= self._preauth_documents:
            raise RoomFullError(
                f"{self._undecided} documents of this connection wait to be let in; "
                f"the limit is {self._preauth_documents}"
            )
        self._asking += 1
        self._undecided += 1
        line = self._lines[address] = _Line(token)
        return line

    def _turn(self, line: _Line, state: str) -> None:
        """Change a line's state and keep count."""
        self._asking += (state == "asking") - (line.state == "asking")
        self._undecided += (state in UNDECIDED) - (line.state in UNDECIDED)
        line.state = state

    @property
    def is_full(self) -> bool:
        """Whether the socket should not be read until some of what was asked has been decided (S1)."""
        return self._asking > 0 and self._undecided >= self._preauth_documents

    def opened(self, address: str) -> list[Message]:
        """The session of this address is open; returns what came before. Empty when the client has left meanwhile."""
        line = self._lines.get(address)
        if line is None or line.state == "open":
            return []
        kept = line.inbox.take() if line.inbox is not None else []
        self._turn(line, "open")
        line.inbox = None
        return kept

    def denied(self, address: str, *, wait_for_auth: bool) -> None:
        """The session of this address is not let in, for now: its messages are dropped, or wait for an Auth (S5)."""
        line = self._lines.get(address)
        if line is None:
            return
        self._turn(line, "waiting" if wait_for_auth else "denied")
        if not wait_for_auth:
            line.inbox = None

    def ended(self, address: str) -> None:
        """We ended the session of this address."""
        self._forget(address)

    def _forget(self, address: str) -> list[Effect]:
        line = self._lines.pop(address, None)
        if line is None:
            return []
        self._turn(line, "gone")
        return [Detach(address)]
