"""One client's half of the conversation, without any I/O: bytes in, effects out.

A `Session` is one client on one document, in either dialect. A `Conversation` is what comes in on one connection: one
session on y-websocket, several on Hocuspocus.

Rules (tests quote these ids):
    S1  What arrives before a session is open is kept in order, within bounds, and handed over when it opens: a lost
        step 1 would mean never synced.
    S2  Every Step2 and every Update is answered exactly once, by a `Ticket`, when all of it is durable or when it is
        refused. Statuses are counted and never collapsed, for slow readers neither.
    S3  A session's exact address stands in front of everything that is sent to it.
    S4  Hocuspocus: an Auth after establishment renews the grant; after a denial it is a new try; the socket stays. Of
        several that are being decided the latest counts.
    S5  Hocuspocus: a client that sends no Auth (v2 without a token) is asked about as one without a token, once; if
        that is denied its messages wait for an Auth, within the bounds of S1.
    S6  Rates are token buckets with time as an argument.
    S7  Hocuspocus providers count their updates and the step 2 of each sync that they begin. The step 2 with which they
        answer a step 1 of ours besides is not counted: a status for it would say "saved" for something else.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from weft.errors import LaterError, RoomFullError, WeftError
from weft.types import DocumentId, Grant
from weft.wire import hocuspocus, ywebsocket
from weft.wire.lib0 import write_buf, write_varuint
from weft.wire.messages import Auth, CloseDocument, Message, Ping, Pong, Stateless

STORED = b"\x08\x01"
REFUSED = b"\x08\x00"
MAX_EXPECTED = 64
KEEP_ALIVE = b"\x01\x01\x00"  # an awareness message without entries: real traffic that changes nothing


class Rate:
    """A token bucket (S6)."""

    __slots__ = ("_last_s", "_per_s", "_tokens")

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._tokens = per_s
        self._last_s = 0.0

    def has(self, now_s: float) -> bool:
        """Whether there is a token. A full bucket holds one second's worth."""
        self._tokens = min(self._per_s, self._tokens + (now_s - self._last_s) * self._per_s)
        self._last_s = now_s
        return self._tokens >= 1

    def take(self, now_s: float) -> bool:
        """Take one token; says whether there was one."""
        if not self.has(now_s):
            return False
        self._tokens -= 1
        return True


class Ticket:
    """The answer that one Step2 or Update still has to get (S2).

    Attributes:
        session: whom to answer.
        echo: for y-websocket, the update that is sent back once durable; None where there is nothing to say.
        parts: how many parts of it are not durable yet.
        taken_s: when it was taken, on the monotonic clock, in seconds.
        is_silent: whether the client does not count this one (S7).
        followers: tickets of which one part is durable when this one is.
    """

    __slots__ = ("echo", "followers", "is_silent", "parts", "session", "taken_s")

    def __init__(self, session: Session, echo: bytes | None, taken_s: float) -> None:
        self.session = session
        self.echo = echo
        self.parts = 1
        self.taken_s = taken_s
        self.is_silent = False
        self.followers: list[Ticket] | None = None

    def stored(self) -> bytes | None:
        """The payload that says "durable"; None when this dialect says nothing."""
        if self.is_silent:
            return None
        if self.session.hocuspocus:
            return self.session.prefix + STORED
        return None if self.echo is None else update_body(self.echo)

    def refused(self) -> bytes | None:
        """The payload that says "refused"; None when this dialect says nothing."""
        return self.session.prefix + REFUSED if self.session.hocuspocus and not self.is_silent else None


class Barrier(Ticket):
    """A client's question whether all that it sent is durable (y-sweet); answered with its own payload."""

    __slots__ = ()

    def stored(self) -> bytes | None:
        """The client's payload."""
        return None if self.echo is None else ywebsocket.echo_status(self.echo)


class Session:
    """One client on one document: who it is and where it stands.

    Attributes:
        document: which one.
        grant: who it is and what it may do.
        prefix: what stands in front of every payload: the Hocuspocus address, or nothing (S3).
        hocuspocus: which dialect answers are said in.
        owner: names this session among all replicas' (presence).
        reading: whether it has been given the state, and so gets what comes after.
        behind: the clocks it had when it fell behind, and what it sent itself since; None while it keeps up.
        behind_version, behind_s: the document's version and the monotonic time then.
        open_tickets: how many answers it waits for.
        expected: for each of our step 1s that is not answered yet, whether its answer is counted; None for none.
        held: answers that it gets once it has caught up.
        last_sent_s: when it was last sent something of its own, monotonic seconds.
    """

    __slots__ = (
        "ask_rate",
        "behind",
        "behind_s",
        "behind_version",
        "document",
        "expected",
        "grant",
        "held",
        "hocuspocus",
        "last_sent_s",
        "open_tickets",
        "owner",
        "prefix",
        "presence_rate",
        "reading",
        "step1_rate",
    )

    def __init__(
        self,
        document: DocumentId,
        grant: Grant,
        owner: Hashable,
        *,
        address: str | None = None,
        presence_per_s: float = 60,
        step1_per_s: float = 10,
    ) -> None:
        self.document = document
        self.grant = grant
        self.owner = owner
        self.hocuspocus = address is not None
        self.prefix = b"" if address is None else hocuspocus.prefix(address)
        self.reading = False
        self.behind: dict[int, int] | None = None
        self.behind_version = 0
        self.behind_s = 0.0
        self.open_tickets = 0
        self.expected: list[bool] | None = None
        self.held: list[bytes] | None = None
        self.last_sent_s = 0.0
        self.presence_rate = Rate(presence_per_s)
        self.step1_rate = Rate(step1_per_s)
        self.ask_rate = Rate(1)

    @property
    def is_behind(self) -> bool:
        """Whether it is sent nothing until it has drained."""
        return self.behind is not None

    def expect_step2(self, *, counted: bool) -> None:
        """We have sent a step 1; says whether the provider counts the step 2 that will answer it (S7)."""
        if not self.hocuspocus:
            return
        self.expected = [*(self.expected or ())[-MAX_EXPECTED:], counted]

    def counts_step2(self) -> bool:
        """A step 2 has come; says whether it is to be answered (S7)."""
        if not self.expected:
            return True
        counted, *rest = self.expected
        self.expected = rest or None
        return counted

    def hold(self, payload: bytes) -> None:
        """Keep an answer until the session has caught up. Its connection is not read meanwhile, so these are few."""
        self.held = [*(self.held or ()), payload]


def step1_body(state_vector: bytes) -> bytes:
    """SyncStep1 without an address: the same bytes in both dialects."""
    return b"\x00\x00" + write_buf(state_vector)


def step2_body(update: bytes) -> bytes:
    """SyncStep2 without an address."""
    return b"\x00\x01" + write_varuint(len(update)) + update


def update_body(update: bytes) -> bytes:
    """An Update without an address."""
    return b"\x00\x02" + write_varuint(len(update)) + update


def presence_body(payload: bytes) -> bytes:
    """An Awareness message without an address."""
    return b"\x01" + write_buf(payload)


# -- what comes in on one connection ------------------------------------------------------------------------------


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


class Say(NamedTuple):
    """A payload to be sent as it is."""

    payload: bytes


Effect = Authorise | Renew | Deliver | Detach | Say


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
            return [Say(hocuspocus.pong())]
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


class Refusal(NamedTuple):
    """How an error is said to one session.

    Attributes:
        payload: what is sent first; None for nothing.
        close_code: the socket is closed with this code afterwards; None when it stays.
    """

    payload: bytes | None
    close_code: int | None


def refusal(error: WeftError, address: str | None) -> Refusal:
    """Say an error to an open session: a close code on y-websocket, a CLOSE in band on Hocuspocus.

    Malformed bytes and a restart concern the whole socket; so does what means "later", since a provider whose document
    is closed in band never comes back to it.
    """
    if address is None or error.close_code in (4400, 1012) or (not error.permanent and error.close_code != 1011):
        return Refusal(None, error.close_code)
    return Refusal(hocuspocus.close(address, close_reason(error)), None)


def close_reason(error: WeftError) -> str:
    """The reason that a client is given: the stable identifier, and for its own mistakes what was wrong."""
    return f"{error.reason}: {error}" if error.fault == "client" else error.reason
