"""The error tree: what can go wrong, whose fault it is, and how each dialect says it.

Rules:
    ER1  Every error that reaches a client is a `RaffiaError`; anything else is our fault and is said as
         `InternalError`.
    ER2  Codes 4400-4499 are permanent: y-websocket 3.1 never reconnects after them. Everything else means "try again".
    ER3  "Forbidden" and "not there" are the same answer, so that names cannot be enumerated.
    ER4  A message says what, how much, where, and what to do.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import ClassVar, Literal

Fault = Literal["client", "server", "operator"]


class RaffiaError(Exception):
    """Base of all errors of Raffia.

    Attributes:
        close_code: WebSocket close code that says it.
        http_status: status that says it before the upgrade, and over REST.
        fault: who has to do something about it.
        reason: stable identifier, for metrics labels and for programs that read refusals.
    """

    close_code: ClassVar[int] = 1011
    http_status: ClassVar[int] = 500
    fault: ClassVar[Fault] = "server"
    reason: ClassVar[str] = "internal"

    @property
    def permanent(self) -> bool:
        """Whether trying again cannot help (ER2)."""
        return 4400 <= self.close_code <= 4499


class MalformedError(RaffiaError):
    """Bytes or names that no correct client sends."""

    close_code: ClassVar[int] = 4400
    http_status: ClassVar[int] = 400
    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "malformed"


class WireError(MalformedError):
    """A frame or message that is not of its protocol."""

    reason: ClassVar[str] = "malformed-frame"


class UpdateError(MalformedError):
    """An update or a state vector that the strict reader refuses."""

    reason: ClassVar[str] = "malformed-update"


class PresenceError(MalformedError):
    """An awareness message that cannot be read."""

    reason: ClassVar[str] = "malformed-presence"


class UnsupportedTypeError(MalformedError):
    """A file of a kind that is not taken."""

    http_status: ClassVar[int] = 415
    reason: ClassVar[str] = "unsupported-type"


class UnauthenticatedError(RaffiaError):
    """Not signed in, expired or revoked."""

    close_code: ClassVar[int] = 4401
    http_status: ClassVar[int] = 401
    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "unauthenticated"


class RevokedError(UnauthenticatedError):
    """Access was taken back before it expired."""

    reason: ClassVar[str] = "revoked"


class ForbiddenError(RaffiaError):
    """Not allowed, or not there: the same answer (ER3)."""

    close_code: ClassVar[int] = 4403
    http_status: ClassVar[int] = 403
    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "forbidden"


class DocumentDeletedError(RaffiaError):
    """The document was deleted; a durable tombstone stands in its place."""

    close_code: ClassVar[int] = 4404
    http_status: ClassVar[int] = 403
    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "deleted"


class SchemaError(RaffiaError):
    """The editor's schema is outdated: reload to edit."""

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
    """An edit for which the document has no room; deletes are always taken."""


class LaterError(RaffiaError):
    """Not now: trying again later can help."""

    close_code: ClassVar[int] = 1013
    http_status: ClassVar[int] = 503
    fault: ClassVar[Fault] = "server"
    reason: ClassVar[str] = "overloaded"


class TooFastError(LaterError):
    """A session or an address sends more than its rate."""

    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "too-fast"


class RoomFullError(LaterError):
    """As many sessions as one document, address or process may have."""

    reason: ClassVar[str] = "full"


class WaitingFullError(LaterError):
    """More updates wait for their missing parts than the waiting list may hold."""

    fault: ClassVar[Fault] = "client"
    reason: ClassVar[str] = "waiting-full"


class JournalUnavailableError(LaterError):
    """The journal cannot make anything durable at the moment."""

    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "journal-unavailable"


class LogLostError(JournalUnavailableError):
    """The log lacks, or contradicts, what this process has seen of it: what it lacks has to be appended first."""

    reason: ClassVar[str] = "log-lost"


class AuthUnavailableError(LaterError):
    """The one who decides about grants cannot be asked at the moment."""

    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "auth-unavailable"


class NotConfiguredError(LaterError):
    """What was asked for needs a setting that nobody has set."""

    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "not-configured"


class DrainingError(LaterError):
    """The process is going away; another one, or the same one soon, takes over."""

    close_code: ClassVar[int] = 1012
    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "draining"


class SignInAgainError(LaterError):
    """Who may do what is decided about anew: connect again, and it is."""

    close_code: ClassVar[int] = 1012
    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "sign-in-again"


class InternalError(RaffiaError):
    """Our fault."""


class QuarantinedError(InternalError):
    """The stored bytes of a document can no longer be read; they are kept, see `raffia check`."""

    reason: ClassVar[str] = "quarantined"


class CrdtError(InternalError):
    """pycrdt refused or panicked on bytes that the strict reader had accepted."""

    reason: ClassVar[str] = "crdt"


class SettingsError(RaffiaError):
    """A setting, or a combination of settings, that Raffia does not start with."""

    fault: ClassVar[Fault] = "operator"
    reason: ClassVar[str] = "settings"


class DataFolderInUseError(SettingsError):
    """Another process has the data folder open."""

    reason: ClassVar[str] = "data-folder-in-use"


class FormatTooNewError(SettingsError):
    """The stored data was written by a newer Raffia than this one."""

    reason: ClassVar[str] = "format-too-new"
