"""Value types that every layer shares. No I/O, no clock.

Rules:
    T1  A document id is what `DOCUMENT_ID` matches, 256 characters at most. The string that is authorised is
        exactly the string that is stored; it is never normalised, and never becomes part of a path or of an
        unescaped key.
    T2  A position orders the entries of one document's journal; 0 is "before the first". It means nothing
        across documents.
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
MAX_TITLE = 300  # characters of a title, as it is listed

_PART = r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}"
DOCUMENT_ID = re.compile(rf"{_PART}(?:/{_PART})*")


def document_id(name: str) -> DocumentId:
    """Check a document's name (T1).

    Raises:
        MalformedError: not a document id; says what is allowed (closes 4400).
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
    """What a grant allows, each level with all below it."""

    READ = 1
    COMMENT = 2  # as READ until comments exist
    EDIT = 3
    ADMIN = 4


@dataclass(frozen=True, slots=True)
class Grant:
    """Who a session is and what it may do with one document.

    Attributes:
        access: the highest level allowed.
        user: the stable id of the person, agent or device, UTF-8, `MAX_USER` characters at most; None for an anonymous
            one. It is stored as the author of edits.
        expires_s: Unix time in seconds at which the grant ends; None for never.
        claims: what else the one who granted wants to keep with it (name, colour, token id).
        issued_s: Unix time in seconds at which it was given: the token's `iat`, or when the hook was asked; None for a
            token that does not say. What is older than a revocation is taken back by it.
    """

    access: Access
    user: str | None = None
    expires_s: float | None = None
    claims: dict[str, object] = field(default_factory=dict)
    issued_s: float | None = field(default=None, compare=False)

    @property
    def may_write(self) -> bool:
        """Whether updates of this session are taken."""
        return self.access >= Access.EDIT


class Revoked(StrEnum):
    """What a revocation takes back."""

    USER = "user"  # every token and session of a user
    TOKEN = "token"  # noqa: S105 - one token, by its `jti`
    LINKS = "links"  # every link to a document: tokens with the claim `lnk`
    RECHECK_USER = "recheck-user"  # nothing: the live sessions of a user sign in again
    RECHECK_DOCUMENT = "recheck-document"  # nothing: the live sessions on a document sign in again


@dataclass(frozen=True, slots=True)
class Revocation:
    """What no longer counts, of all that was issued at some time or before.

    Attributes:
        kind: what it takes back.
        subject: the user, the token id, or the document.
        before_ms: what was issued at this Unix time, in milliseconds, or before it.
        until_ms: when it can be forgotten, since all that it concerns has expired; None for never.
    """

    kind: Revoked
    subject: str
    before_ms: int
    until_ms: int | None = None

    def merged(self, other: Revocation) -> Revocation:
        """What two about the same subject say together."""
        ends = (self.until_ms, other.until_ms)
        until_ms = None if ends[0] is None or ends[1] is None else max(ends[0], ends[1])
        return Revocation(self.kind, self.subject, max(self.before_ms, other.before_ms), until_ms)


MAX_REVOCATIONS = 100_000  # that are kept at a time


@dataclass(frozen=True, slots=True)
class Edit:
    """One update as the journal keeps it: who made it and when.

    Attributes:
        author: `Grant.user` of the session it came from; None for an anonymous one.
        time_ms: Unix time in milliseconds at which the server took it.
        update: Yjs update bytes (v1), gap-free with regard to what stands before it in the journal.
    """

    author: str | None
    time_ms: int
    update: bytes


Batch = tuple[Edit, ...]
