"""The messages that both dialects decode to: what a client may say, and nothing of how it says it.

A payload is copied out of its frame and opaque here: updates and state vectors go to `raffia.crdt.update`, awareness
to `raffia.rooms.presence.table`.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step1:
    """What the client has: answer with what it lacks.

    Attributes:
        sv: its state vector.
    """

    sv: bytes


@dataclass(frozen=True, slots=True)
class Step2:
    """What we lacked, in answer to our own step 1.

    Attributes:
        update: Yjs update bytes (v1).
    """

    update: bytes


@dataclass(frozen=True, slots=True)
class Update:
    """An edit.

    Attributes:
        update: Yjs update bytes (v1).
    """

    update: bytes


@dataclass(frozen=True, slots=True)
class Awareness:
    """Presence states.

    Attributes:
        payload: count and entries, see `raffia.rooms.presence.table`.
    """

    payload: bytes


@dataclass(frozen=True, slots=True)
class QueryAwareness:
    """Send all presence states."""


@dataclass(frozen=True, slots=True)
class Auth:
    """A token for one document (Hocuspocus).

    Attributes:
        token: what the application gave the provider; may be empty.
        version: the provider's version, which v4 says; None before.
    """

    token: str
    version: str | None


@dataclass(frozen=True, slots=True)
class SyncStatusRequest:
    """Echo this when all earlier updates of the session are durable (y-sweet's type 102).

    Attributes:
        payload: opaque, echoed as it came.
    """

    payload: bytes


@dataclass(frozen=True, slots=True)
class Stateless:
    """A message of the application, not part of any document (Hocuspocus).

    Attributes:
        text: opaque here.
    """

    text: str


@dataclass(frozen=True, slots=True)
class CloseDocument:
    """The provider has detached from this document; the socket stays (Hocuspocus).

    Attributes:
        reason: empty from the published providers, which say none.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer with a pong (Hocuspocus)."""


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping (Hocuspocus)."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """The head of a reply without the reply: @y/websocket 4.0 release candidates send it; there is nothing to do."""


Message = (
    Step1
    | Step2
    | Update
    | Awareness
    | QueryAwareness
    | Auth
    | SyncStatusRequest
    | Stateless
    | CloseDocument
    | Ping
    | Pong
    | Nothing
)
