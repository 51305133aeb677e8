"""One client on one document, in either dialect, without any I/O.

`raffia.sockets.conversation` sorts the messages of a connection that carries several sessions.

Rules (tests quote these ids):
    S1  Messages that arrive before a session is open are kept in order, within bounds, and delivered when it opens:
        without its step 1, a client would never sync.
    S2  The `Ticket` of a Step2 or an Update reports when all of it is durable, or that it was refused; after a refusal,
        "stored" may still follow (S8). Nothing is sent if the dialect does not report it or the session has left.
        Clients count statuses, so they are never merged or dropped, even for slow readers.
    S3  Everything sent to a session begins with its exact address.
    S4  Hocuspocus: an Auth on an open session renews the grant; after a denial it is a new attempt, and the socket
        stays open. If several Auths are being decided, the latest counts.
    S5  Hocuspocus: for a client that sends no Auth (v2 without a token) the authorizer is asked once, without a token.
        If it denies, the client's messages wait for an Auth, within the bounds of S1.
    S6  Rates are token buckets with time as an argument.
    S7  A Hocuspocus provider counts its updates and the step 2 of each sync that it begins. It does not count a step 2
        that answers an extra step 1 of ours: a status for that one would mean "saved" for something else.
    S8  A Hocuspocus provider keeps counting an update that is refused, or that was not answered when its session ended.
        An answer to an extra step 1 of ours contains what the client wrote before; when it is durable, "stored" is sent
        once for each of those updates.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Hashable

from raffia.rooms.rate_limits import Budget
from raffia.rooms.turns import Principal
from raffia.types import DocumentId, Grant
from raffia.wire import hocuspocus, ywebsocket
from raffia.wire.lib0 import write_buf, write_varuint

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
        """Whether a token is left. A full bucket holds one second's worth."""
        self._tokens = min(self._per_s, self._tokens + (now_s - self._last_s) * self._per_s)
        self._last_s = now_s
        return self._tokens >= 1

    def wait_s(self, now_s: float) -> float:
        """Seconds until a token is available; 0.0 if one is."""
        return 0.0 if self.has(now_s) else (1 - self._tokens) / self._per_s

    def take(self, now_s: float) -> bool:
        """Take one token; returns False if none is left."""
        if not self.has(now_s):
            return False
        self._tokens -= 1
        return True


class Ticket:
    """The pending answer to one Step2 or Update (S2).

    Attributes:
        session: the session to answer.
        echo: for y-websocket, the update to send back once it is durable; None to send nothing.
        parts: how many parts of the update are not durable yet.
        taken_s: when the update was accepted, monotonic seconds.
        is_silent: whether the client does not count this answer (S7).
        settles: how many refused updates its content includes, which the client still counts (S8).
        followers: tickets that wait for this one as for one of their parts.
    """

    __slots__ = ("echo", "followers", "is_silent", "parts", "session", "settles", "taken_s")

    def __init__(self, session: Session, echo: bytes | None, taken_s: float) -> None:
        self.session = session
        self.echo = echo
        self.parts = 1
        self.taken_s = taken_s
        self.is_silent = False
        self.settles = 0
        self.followers: list[Ticket] | None = None

    def stored(self) -> bytes | None:
        """The payload that reports "durable"; None to send nothing."""
        if self.is_silent:
            return None
        if self.session.hocuspocus:
            return self.session.prefix + STORED
        return None if self.echo is None else update_body(self.echo)

    def refused(self) -> bytes | None:
        """The payload that reports "refused"; None to send nothing."""
        return self.session.prefix + REFUSED if self.session.hocuspocus and not self.is_silent else None


class Barrier(Ticket):
    """A y-sweet sync status request: the client's payload is sent back once everything it sent is durable."""

    __slots__ = ()

    def stored(self) -> bytes | None:
        """The client's payload."""
        return None if self.echo is None else ywebsocket.echo_status(self.echo)


class Session:
    """One client on one document: its identity and its state.

    Attributes:
        document: the document's name.
        grant: the user and their rights.
        prefix: the beginning of every payload: the Hocuspocus address, or nothing (S3).
        hocuspocus: whether the client speaks Hocuspocus; otherwise it speaks y-websocket.
        owner: identifies this session among the sessions of all replicas (presence).
        reading: whether it has been sent the state and so receives broadcasts.
        behind: the clocks it had when it fell behind, advanced by what it has sent since; None while it keeps up.
        behind_version, behind_s: the document's version and the monotonic time when it fell behind.
        open_tickets: how many answers are pending.
        expected: for each unanswered step 1 of ours, whether the client counts its answer; None if there are none.
        held: answers to send once it has caught up.
        schema: the schema version that its editor knows; None if it states none.
        presence_was_too_large: whether one of its states was dropped for its size.
        presence_told: how many presence broadcasts there had been when it was last sent all states; -1 for never.
        last_sent_s: when it was last sent a payload of its own, monotonic seconds.
        budget: what it may still send.
        counted: how many updates a Hocuspocus provider counts, because they were not answered or were refused.
        refused: how many of them were refused (S8).
        read_only_was_logged: whether an update of it was refused because it may only read.
        ask_after_s: before this monotonic time it is not asked for what we lack; see `raffia.rooms.backoff`.
        principal: who pays for what it causes; None for the server.
    """

    __slots__ = (
        "ask_after_s",
        "ask_rate",
        "behind",
        "behind_s",
        "behind_version",
        "budget",
        "counted",
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
        "presence_told",
        "presence_was_too_large",
        "principal",
        "read_only_was_logged",
        "reading",
        "refused",
        "schema",
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
        now_s: float = 0.0,
    ) -> None:
        self.document = document
        self.grant = grant
        self.owner = owner
        self.hocuspocus = address is not None
        self.prefix = b"" if address is None else hocuspocus.prefix(address)
        self.reading = False
        self.schema: int | None = None
        self.behind: dict[int, int] | None = None
        self.behind_version = 0
        self.behind_s = 0.0
        self.open_tickets = 0
        self.expected: list[bool] | None = None
        self.held: list[bytes] | None = None
        self.last_sent_s = 0.0
        self.presence_told = -1
        self.presence_was_too_large = False
        self.read_only_was_logged = False
        self.counted = 0
        self.refused = 0
        self.presence_rate = Rate(presence_per_s)
        self.step1_rate = Rate(step1_per_s)
        self.ask_rate = Rate(1)
        self.ask_after_s = 0.0
        self.budget = Budget(now_s)
        self.principal: Principal | None = None

    @property
    def is_behind(self) -> bool:
        """Whether sending to it is suspended until its transport has drained."""
        return self.behind is not None

    def may_be_asked(self, now_s: float) -> bool:
        """Take a token for an extra step 1 of ours; False when there is none, or it is too early."""
        return now_s >= self.ask_after_s and self.ask_rate.take(now_s)

    def expect_step2(self, *, counted: bool) -> None:
        """Note that a step 1 was sent; `counted` says whether the provider counts its answer (S7)."""
        if not self.hocuspocus:
            return
        self.expected = [*(self.expected or ())[-MAX_EXPECTED:], counted]

    def counts_step2(self) -> bool:
        """Note that a step 2 has arrived; returns whether the provider counts it (S7)."""
        if not self.expected:
            return True
        counted, *rest = self.expected
        self.expected = rest or None
        return counted

    def leaves_counted(self) -> int:
        """How many updates the provider will still count once this session has ended: it is sent nothing more."""
        return self.counted + (self.held or []).count(self.prefix + STORED)

    def hold(self, payload: bytes) -> None:
        """Keep an answer until the session has caught up. Its connection is not read until then, so there are few."""
        self.held = [*(self.held or ()), payload]


def step1_body(state_vector: bytes) -> bytes:
    """A SyncStep1 without an address: the same bytes in both dialects."""
    return b"\x00\x00" + write_buf(state_vector)


def step2_body(update: bytes) -> bytes:
    """A SyncStep2 without an address."""
    return b"\x00\x01" + write_varuint(len(update)) + update


def update_body(update: bytes) -> bytes:
    """An Update without an address."""
    return b"\x00\x02" + write_varuint(len(update)) + update


def presence_body(payload: bytes) -> bytes:
    """An Awareness message without an address."""
    return b"\x01" + write_buf(payload)
