"""The messages that both dialects decode to: what a client can send, independent of the encoding.

Payloads are copied out of their frames and are opaque here: updates and state vectors are read by `raffia.crdt.update`,
awareness by `raffia.rooms.presence.table`.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step1:
    """The client's state: answer with what it lacks.

    Attributes:
        sv: its state vector.
    """

    sv: bytes


@dataclass(frozen=True, slots=True)
class Step2:
    """The answer to our own step 1: what we lacked.

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
        token: the token that the application gave the provider; may be empty.
        version: the provider's version; None before v4.
    """

    token: str
    version: str | None


@dataclass(frozen=True, slots=True)
class SyncStatusRequest:
    """Echo this when all earlier updates of the session are durable (y-sweet's type 102).

    Attributes:
        payload: opaque, echoed unchanged.
    """

    payload: bytes


@dataclass(frozen=True, slots=True)
class Stateless:
    """An application message that is not part of any document (Hocuspocus).

    Attributes:
        text: opaque here.
    """

    text: str


@dataclass(frozen=True, slots=True)
class CloseDocument:
    """The provider has detached from this document; the socket stays open (Hocuspocus).

    Attributes:
        reason: empty from the published providers, which send none.
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
    """The header of a reply without the reply, as @y/websocket 4.0 release candidates send it; nothing to do."""


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
