"""The state of one Hocuspocus connection and its sign-ins: bytes in, effects out. No I/O.

Rules S1, S3, S4 and S5 of `raffia.rooms.session` are implemented here: messages that arrive before a session is open,
addresses, tokens.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from raffia.errors import LaterError, RoomFullError
from raffia.sockets.byte_budget import MESSAGE_BYTES
from raffia.wire import hocuspocus
from raffia.wire.messages import Auth, CloseDocument, Message, Ping, Pong, Stateless, Step2, Update


class Authorise(NamedTuple):
    """A client asks for a document: decide, then call `opened` or `denied`. Replaces an earlier one (S4)."""

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
    """The client has finished with this document; the socket stays open."""

    address: str


class Reply(NamedTuple):
    """A payload to send as it is."""

    payload: bytes


Effect = Authorise | Renew | Deliver | Detach | Reply


class Inbox:
    """Messages that arrived before their session was open (S1)."""

    __slots__ = ("messages", "size_bytes")

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.size_bytes = 0

    def keep(self, message: Message, size_bytes: int, limit_bytes: int) -> None:
        """Keep one message.

        Raises:
            LaterError: more than `limit_bytes` would be waiting (closes 1013).
        """
        self.size_bytes += size_bytes
        if self.size_bytes > limit_bytes:
            raise LaterError(
                f"received {self.size_bytes} bytes for a document before it was open; the limit is {limit_bytes}; "
                "wait for the server's first message"
            )
        self.messages.append(message)

    def take(self) -> list[Message]:
        """Return all messages in order, and empty the inbox."""
        messages, self.messages, self.size_bytes = self.messages, [], 0
        return messages


UNDECIDED = ("asking", "waiting")


class _Line:
    """The state of one address.

    Attributes:
        state: "asking" (a decision is pending), "open", "waiting" (for an Auth, S5) or "denied".
        token: the token that is being decided about; None if the client has sent none.
        inbox: messages that wait until it is open; None if it is open or denied.
        is_returning: see `HocuspocusConversation`.
        dropped: how many updates were dropped for that reason.
    """

    __slots__ = ("dropped", "inbox", "is_returning", "state", "token")

    def __init__(self, token: str | None, *, is_returning: bool = False) -> None:
        self.is_returning = is_returning
        self.dropped = 0
        self.state = "asking"
        self.token = token
        self.inbox: Inbox | None = Inbox()


class HocuspocusConversation:
    """The addresses of one connection, and the state of each.

    Args:
        max_documents: how many addresses it may have.
        preauth_documents: how many of them may wait for a decision.
        preauth_bytes: how many bytes of messages each of them may keep meanwhile.
        returning: addresses whose sessions will be opened again by what their clients send; these are then asked for
            everything, so what exceeds `preauth_bytes` is dropped instead of closing the connection.

    Attributes:
        kept_bytes: size of all waiting messages, as counted by PB1 of byte_budget.py.
    """

    __slots__ = (
        "_asking",
        "_lines",
        "_max_documents",
        "_preauth_bytes",
        "_preauth_documents",
        "_returning",
        "_undecided",
        "kept_bytes",
    )

    def __init__(
        self, *, max_documents: int, preauth_documents: int, preauth_bytes: int, returning: Container[str] = ()
    ) -> None:
        self._returning = returning
        self._lines: dict[str, _Line] = {}
        self._max_documents = max_documents
        self._preauth_documents = preauth_documents
        self._preauth_bytes = preauth_bytes
        self._asking = 0
        self.kept_bytes = 0
        self._undecided = 0  # addresses that are "asking" or "waiting"

    @property
    def undecided(self) -> int:
        """How many addresses are neither open nor denied."""
        return self._undecided

    def receive(self, frame: bytes) -> list[Effect]:
        """Read a frame.

        Returns:
            What to do, in order.

        Raises:
            WireError: it is not a frame of this dialect (closes 4400).
            LaterError: too many bytes before the session is open, or too many documents (closes 1013).
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
        if line.state != "denied":  # clients send several messages at once, so a denied one is not an attacker
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
            return []  # this token is already being decided about
        else:
            self._turn(line, "asking")
            line.token = token
            line.inbox = line.inbox or Inbox()
        return [Authorise(address, token)]

    def _keep(self, line: _Line, message: Message, size_bytes: int) -> None:
        assert line.inbox is not None  # only open and denied lines have none
        if line.is_returning and line.inbox.size_bytes + size_bytes > self._preauth_bytes:
            line.dropped += isinstance(message, (Step2, Update))
            return
        line.inbox.keep(message, size_bytes, self._preauth_bytes)
        self.kept_bytes += size_bytes + MESSAGE_BYTES

    def _drop_inbox(self, line: _Line) -> list[Message]:
        """Return the messages that waited for this address, which now keeps none."""
        inbox, line.inbox = line.inbox, None
        if inbox is None:
            return []
        self.kept_bytes -= inbox.size_bytes + MESSAGE_BYTES * len(inbox.messages)
        return inbox.take()

    def _new_line(self, address: str, token: str | None) -> _Line:
        if len(self._lines) >= self._max_documents:
            raise RoomFullError(
                f"this connection has {len(self._lines)} documents open; the limit is {self._max_documents}; "
                "open another connection"
            )
        if self._undecided >= self._preauth_documents:
            raise RoomFullError(
                f"{self._undecided} documents of this connection are waiting for a decision; "
                f"the limit is {self._preauth_documents}"
            )
        self._asking += 1
        self._undecided += 1
        line = self._lines[address] = _Line(token, is_returning=token is None and address in self._returning)
        return line

    def _turn(self, line: _Line, state: str) -> None:
        """Change a line's state and update the counts."""
        self._asking += (state == "asking") - (line.state == "asking")
        self._undecided += (state in UNDECIDED) - (line.state in UNDECIDED)
        line.state = state

    @property
    def is_full(self) -> bool:
        """Whether to stop reading the socket until some decisions have been made (S1)."""
        return self._asking > 0 and self._undecided >= self._preauth_documents

    def opened(self, address: str) -> list[Message]:
        """Note that the session of this address is open.

        Returns:
            The messages that arrived before; empty if the client has left meanwhile.
        """
        line = self._lines.get(address)
        if line is None or line.state == "open":
            return []
        self._turn(line, "open")
        return self._drop_inbox(line)

    def dropped(self, address: str) -> int:
        """How many updates of an address that is open were dropped while it was opened again."""
        line = self._lines.get(address)
        return 0 if line is None else line.dropped

    def denied(self, address: str, *, wait_for_auth: bool) -> None:
        """Note that the session of this address is denied; its messages are dropped, or wait for an Auth (S5)."""
        line = self._lines.get(address)
        if line is None:
            return
        self._turn(line, "waiting" if wait_for_auth else "denied")
        if not wait_for_auth:
            self._drop_inbox(line)

    def ended(self, address: str) -> None:
        """Note that the server has ended the session of this address."""
        self._forget(address)

    def _forget(self, address: str) -> list[Effect]:
        line = self._lines.pop(address, None)
        if line is None:
            return []
        self._turn(line, "gone")
        self._drop_inbox(line)
        return [Detach(address)]
