"""One client's half of the conversation, without any I/O: bytes in, effects out.

A `Session` is one client on one document, in either dialect; `raffia.sockets.conversation` reads what comes in on a
connection that carries several.

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

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Hashable

from raffia.rooms.rate_limits import Budget
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
        schema: version of the schema that its editor knows; None when it does not say.
        presence_told: how often presence had been broadcast when it was last told all of it; -1 for never.
        last_sent_s: when it was last sent something of its own, monotonic seconds.
        budget: what it may still send.
    """

    __slots__ = (
        "ask_rate",
        "behind",
        "behind_s",
        "behind_version",
        "budget",
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
        "reading",
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
        self.presence_rate = Rate(presence_per_s)
        self.step1_rate = Rate(step1_per_s)
        self.ask_rate = Rate(1)
        self.budget = Budget(now_s)

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
