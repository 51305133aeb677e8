"""Value types that every layer shares.

Rules:
    T1  A document id matches `DOCUMENT_ID` and has at most 256 characters. The string that is authorised is exactly
        the string that is stored; it is never normalised, and never becomes part of a path or of an unescaped key.
    T2  A position orders the entries of one document's log; 0 is "before the first". Positions of different documents
        cannot be compared.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import NewType

from raffia.errors import MalformedError

DocumentId = NewType("DocumentId", str)
Position = NewType("Position", int)

START = Position(0)
EMPTY_UPDATE = b"\x00\x00"  # no structs, no deletes
EMPTY_STATE_VECTOR = b"\x00"
MAX_DOCUMENT_ID = 256
MAX_USER = 256  # characters of `Grant.user`
MAX_TITLE = 300  # characters of a title in the listing

_PART = r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}"
DOCUMENT_ID = re.compile(rf"{_PART}(?:/{_PART})*")


def document_id(name: str) -> DocumentId:
    """Check a document's name (T1).

    Raises:
        MalformedError: not a document id; the message says what is allowed (closes 4400).
    """
    if len(name) > MAX_DOCUMENT_ID:
        raise MalformedError(f"document id has {len(name)} characters; the limit is {MAX_DOCUMENT_ID}")
    if DOCUMENT_ID.fullmatch(name) is None:
        raise MalformedError(
            f"document id {name!r} is not valid; use letters, digits and . _ : @ - in parts that start with a letter "
            "or digit, separated by /"
        )
    return DocumentId(name)


class Access(IntEnum):
    """What a grant allows; each level includes those below it."""

    READ = 1
    COMMENT = 2  # the same as READ until comments exist
    EDIT = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True)
class Grant:
    """A session's user and its access to one document.

    Attributes:
        access: the highest level allowed.
        user: stable id of the person, agent or device, valid UTF-8, at most `MAX_USER` characters; None if anonymous.
            It is stored as the author of edits.
        expires_s: Unix time in seconds at which the grant ends; None for never.
        claims: anything else to keep with the grant (name, colour, token id).
        issued_s: Unix time in seconds at which it was issued: the token's `iat`, or when the hook was called; None for
            a token without `iat`. Revoking a user or links applies to grants issued before that.
    """

    access: Access
    user: str | None = None
    expires_s: float | None = None
    claims: dict[str, object] = field(default_factory=dict)
    issued_s: float | None = field(default=None, compare=False)

    @property
    def may_write(self) -> bool:
        """Whether this session may send updates."""
        return self.access >= Access.EDIT


class Revoked(StrEnum):
    """What a revocation applies to."""

    USER = "user"  # every token and session of a user
    TOKEN = "token"  # noqa: S105 - one token, by its `jti`
    LINKS = "links"  # every link to a document: tokens with the claim `lnk`
    RECHECK_USER = "recheck-user"  # revokes nothing: a user's live sessions have to sign in again
    RECHECK_DOCUMENT = "recheck-document"  # revokes nothing: live sessions on a document have to sign in again


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation, or a recheck, of everything issued to a subject up to a point in time.

    Attributes:
        kind: what it applies to.
        subject: the user, the token id, or the document.
        before_ms: Unix time in milliseconds; it applies to what was issued then or earlier.
        until_ms: Unix time in milliseconds after which it can be dropped; None to keep it for ever.
    """

    kind: Revoked
    subject: str
    before_ms: int
    until_ms: int | None = None

    def merged(self, other: Revocation) -> Revocation:
        """Both revocations of the same kind and subject as one."""
        ends = (self.until_ms, other.until_ms)
        until_ms = None if ends[0] is None or ends[1] is None else max(ends[0], ends[1])
        return Revocation(self.kind, self.subject, max(self.before_ms, other.before_ms), until_ms)

    def is_over(self, passed_ms: int, now_ms: int) -> bool:
        """Whether it can be dropped.

        Args:
            passed_ms: the time that has certainly passed (raffia.journal.passed_time).
            now_ms: the system clock, which decides alone for rechecks.
        """
        return self.until_ms is not None and self.until_ms <= (now_ms if self.kind in RECHECKS else passed_ms)


RECHECKS = frozenset({Revoked.RECHECK_USER, Revoked.RECHECK_DOCUMENT})  # they revoke nothing
# Kept at a time. Each kind has its own limit, so that no kind takes the places of another (J21).
MAX_REVOCATIONS: dict[Revoked, int] = {
    Revoked.USER: 100_000,
    Revoked.TOKEN: 100_000,
    Revoked.LINKS: 100_000,
    Revoked.RECHECK_USER: 20_000,
    Revoked.RECHECK_DOCUMENT: 20_000,
}


@dataclass(frozen=True, slots=True)
class Edit:
    """One update as the journal stores it, with its author and time.

    Attributes:
        author: `Grant.user` of the session that sent it; None if anonymous.
        time_ms: Unix time in milliseconds at which the server accepted it.
        update: Yjs update bytes (v1) that depend on nothing but earlier entries.
    """

    author: str | None
    time_ms: int
    update: bytes


Batch = tuple[Edit, ...]
