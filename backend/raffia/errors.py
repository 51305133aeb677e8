"""The error tree: what can go wrong, who has to fix it, and how each protocol reports it.

Rules:
    ER1  Every error that reaches a client is a `RaffiaError`; any other exception is a bug in the server and is
         reported as `InternalError`.
    ER2  Close codes 4400-4499 are permanent: y-websocket 3.1 never reconnects after them. All others mean "try again".
    ER3  A forbidden document and a missing one get the same answer, so that names cannot be enumerated.
    ER4  A message says what happened, how much, where, and what to do about it.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import ClassVar, Literal

Fault = Literal["client", "server", "operator"]


class RaffiaError(Exception):
    """Base class of Raffia's errors.

    Attributes:
        close_code: WebSocket close code.
        http_status: HTTP status, before the upgrade and over REST.
        fault: who has to act on it.
        reason: stable identifier, for metrics labels and for programs.
    """

    close_code: ClassVar[int] = 1011
    http_status: ClassVar[int] = 500
    fault: ClassVar[Fault] = "server"
    reason: ClassVar[str] = "internal"

    @property
    def permanent(self) -> bool:
        """Whether retrying is pointless (ER2)."""
        return 4400 <= self.close_code <= 4499


class MalformedError(RaffiaError):
    """Bytes or a name that no correct client sends."""

    close_code: ClassVar[int] = 4400
    http_status: ClassVar[int] = 400
    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "malformed"


class WireError(MalformedError):
    """A frame or message that does not follow its protocol."""

    reason: ClassVar[str] = "malformed-frame"


class UpdateError(MalformedError):
    """An update or a state vector that the strict reader rejects."""

    reason: ClassVar[str] = "malformed-update"


class PresenceError(MalformedError):
    """An awareness message that cannot be parsed."""

    reason: ClassVar[str] = "malformed-presence"


class UnsupportedTypeError(MalformedError):
    """A file of an unsupported type."""

    http_status: ClassVar[int] = 415
    reason: ClassVar[str] = "unsupported-type"


class UnauthenticatedError(RaffiaError):
    """Not signed in, expired or revoked."""

    close_code: ClassVar[int] = 4401
    http_status: ClassVar[int] = 401
    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "unauthenticated"


class RevokedError(UnauthenticatedError):
    """Access was revoked before it expired."""

    reason: ClassVar[str] = "revoked"


class ForbiddenError(RaffiaError):
    """Not allowed, or no such document: the same answer (ER3)."""

    close_code: ClassVar[int] = 4403
    http_status: ClassVar[int] = 403
    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "forbidden"


class DocumentDeletedError(RaffiaError):
    """The document was deleted; a durable tombstone remains."""

    close_code: ClassVar[int] = 4404
    http_status: ClassVar[int] = 403
    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "deleted"


class SchemaError(RaffiaError):
    """The editor's schema is older than the document's: reload to edit."""

    close_code: ClassVar[int] = 4409
    http_status: ClassVar[int] = 409
    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "schema"


class TooLargeError(RaffiaError):
    """A frame, an update, a presence state or a document over its limit."""

    close_code: ClassVar[int] = 4413
    http_status: ClassVar[int] = 413
    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "too-large"


class DocumentFullError(TooLargeError):
    """An edit for which the document has no room; its deletes of known content are still taken."""


class TooContendedError(TooLargeError):
    """So many insertions at the same place that editors would take seconds to order them."""

    reason: ClassVar[str] = "too-contended"


class LaterError(RaffiaError):
    """Not now: retrying later can help."""

    close_code: ClassVar[int] = 1013
    http_status: ClassVar[int] = 503
    fault: ClassVar[Fault] = "server"
    reason: ClassVar[str] = "overloaded"


class TooFastError(LaterError):
    """A session, connection, address or person exceeds a rate limit."""

    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "too-fast"


class RoomFullError(LaterError):
    """The document, address or process already has its maximum number of sessions or connections."""

    reason: ClassVar[str] = "full"


class WaitingFullError(LaterError):
    """Too many updates or bytes wait for missing updates, or one update depends on too many clients."""

    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "waiting-full"


class TooCostlyError(LaterError):
    """Work on a document or an update takes the server too long, and is refused for a while."""

    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "too-costly"


class JournalUnavailableError(LaterError):
    """The journal cannot be read or written at the moment."""

    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "journal-unavailable"


class LogLostError(JournalUnavailableError):
    """The log lacks or contradicts entries that this process has seen; they have to be appended again first."""

    reason: ClassVar[str] = "log-lost"


class AuthUnavailableError(LaterError):
    """The hook or identity provider cannot decide about access at the moment."""

    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "auth-unavailable"


class NotConfiguredError(LaterError):
    """The request needs a setting that is not set."""

    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "not-configured"


class DrainingError(LaterError):
    """The process is shutting down; another one, or this one after a restart, takes over."""

    close_code: ClassVar[int] = 1012
    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "draining"


class SignInAgainError(LaterError):
    """Access has to be decided again: reconnect and sign in."""

    close_code: ClassVar[int] = 1012
    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "sign-in-again"


class InternalError(RaffiaError):
    """A fault in the server."""


class QuarantinedError(InternalError):
    """A document's stored bytes cannot be read; they are kept, see `raffia check`."""

    reason: ClassVar[str] = "quarantined"


class CrdtError(InternalError):
    """pycrdt refused or panicked on bytes that the strict reader had accepted."""

    reason: ClassVar[str] = "crdt"


class SettingsError(RaffiaError):
    """Settings that Raffia cannot start with."""

    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "settings"


class DataFolderInUseError(SettingsError):
    """Another process has the data folder open."""

    reason: ClassVar[str] = "data-folder-in-use"


class FormatTooNewError(SettingsError):
    """The data was written by a newer version of Raffia."""

    reason: ClassVar[str] = "format-too-new"


class FormatTooOldError(SettingsError):
    """The data was written by an older version of Raffia, whose format this one does not read."""

    reason: ClassVar[str] = "format-too-old"


class DamagedStoreError(SettingsError):
    """The journal's file is too damaged to be opened safely; see `raffia check --repair`."""

    reason: ClassVar[str] = "damaged-store"
