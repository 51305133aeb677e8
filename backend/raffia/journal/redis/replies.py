"""Converts replies from Redis into values or Raffia's errors. Pure.

Rules:
    RPL1  A temporary refusal (read-only, out of memory, loading, too few replicas, no disk, a moving slot) means that
        the journal is unavailable; only a script that fails or a key of another type is an internal error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from raffia.errors import (
    DocumentDeletedError,
    FormatTooNewError,
    FormatTooOldError,
    InternalError,
    JournalUnavailableError,
    QuarantinedError,
    RaffiaError,
)
from raffia.journal.redis.engine import Reply
from raffia.journal.redis.keys import FORMAT
from raffia.types import DocumentId

_AWAY = (
    "OOM",
    "MISCONF",
    "READONLY",
    "NOREPLICAS",
    "LOADING",
    "BUSY",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "MOVED",
    "ASK",
    "NOSCRIPT",
    "NOAUTH",
    "NOPERM",
    "UNBLOCKED",
)


def error_of(error: BaseException) -> RaffiaError:
    """The error to raise for an error that came in place of a reply (RPL1)."""
    if isinstance(error, RaffiaError):
        return error
    text = str(error)
    code = text.partition(" ")[0]
    if code not in _AWAY and type(error) is ResponseError and ("user_script" in text or code == "WRONGTYPE"):
        return InternalError(f"Redis could not do it: {text}")
    if isinstance(error, RedisError):
        return JournalUnavailableError(f"Redis refuses: {text or type(error).__name__}")
    return InternalError(f"Redis could not be asked: {error!r}")


def checked(reply: Reply) -> Reply:
    """Return the reply; raise if it is an error."""
    if isinstance(reply, BaseException):
        raise error_of(reply)
    return reply


def all_checked(replies: Sequence[Reply]) -> Sequence[Reply]:
    """Return the replies; raise if one is an error."""
    for reply in replies:
        checked(reply)
    return replies


def parts(reply: Reply) -> list[bytes | None]:
    """A reply that is a list of values, any of which may be None."""
    value = checked(reply)
    if not isinstance(value, list):
        raise InternalError(f"Redis answered {value!r} where a list was expected")
    return value


def texts(reply: Reply) -> list[bytes]:
    """A reply that is a list of values."""
    return [part for part in parts(reply) if part is not None]


def number(reply: Reply) -> int:
    """A reply that is a number."""
    value = checked(reply)
    if not isinstance(value, int):
        raise InternalError(f"Redis answered {value!r} where a number was expected")
    return value


def pairs(reply: Reply) -> dict[bytes, bytes]:
    """A hash."""
    value = checked(reply)
    if isinstance(value, dict):
        return value
    flat = texts(value)
    return dict(zip(flat[::2], flat[1::2], strict=True))


def read_info(reply: Reply) -> dict[str, str]:
    """An `INFO` reply as a dictionary; empty if Redis did not give one."""
    if not isinstance(reply, bytes):
        return {}
    lines = reply.decode(errors="replace").splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def status(reply: Reply, document: DocumentId) -> tuple[bytes, list[Any]]:
    """Split a script's reply into its status word and the rest.

    Raises:
        DocumentDeletedError: the document has a tombstone.
        FormatTooNewError: a newer Raffia has written it.
    """
    word, *rest = parts(reply)
    if word == b"deleted":
        raise deleted(document)
    if word == b"format":
        raise too_new(document, rest[0])
    return word or b"", rest


def deleted(document: DocumentId) -> DocumentDeletedError:
    """The error for a document with a tombstone."""
    return DocumentDeletedError(f"document {document} was deleted")


def check_format(what: str, found: bytes | None) -> None:
    """Check the format that is recorded with something.

    Raises:
        FormatTooNewError, FormatTooOldError: a newer or an older Raffia has written it.
        QuarantinedError: it is damaged.
    """
    if found is None or found == str(FORMAT).encode():
        return
    if not found.isdigit():
        raise QuarantinedError(f"the format of {what} is damaged: {found[:20]!r}")
    raise too_new(what, found) if int(found) > FORMAT else too_old(what, found)


def too_old(what: str, found: bytes) -> FormatTooOldError:
    """The error for data that an early build of Raffia has written."""
    return FormatTooOldError(
        f"{what} is of format {found.decode()} in Redis, of an early build; this Raffia reads format {FORMAT} and "
        "converts nothing: export the documents with the older Raffia, or choose another prefix"
    )


def too_new(what: str, found: bytes | None) -> FormatTooNewError:
    """The error for data that a newer Raffia has written."""
    return FormatTooNewError(
        f"{what} is of format {(found or b'?').decode()} in Redis; this Raffia reads format {FORMAT}: update Raffia"
    )
