"""Value types that every layer shares. No I/O, no clock.

Rules:
    T1  A document id is what `DOCUMENT_ID` matches, 256 characters at most. The string that is authorised is
        exactly the string that is stored; it is never normalised, and never becomes part of a path or of an
        unescaped key.
    T2  A position orders the entries of one document's journal; 0 is "before the first". It means nothing
        across documents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NewType

from weft.errors import MalformedError

DocumentId = NewType("DocumentId", str)
Position = NewType("Position", int)

START = Position(0)
EMPTY_UPDATE = b"\x00\x00"  # no structs, no deletes
EMPTY_STATE_VECTOR = b"\x00"
MAX_DOCUMENT_ID = 256
MAX_USER = 256  # characters of `Grant.user`

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
    """

    access: Access
    user: str | None = None
    expires_s: float | None = None
    claims: dict[str, object] = field(default_factory=dict)

    @property
    def may_write(self) -> bool:
        """Whether updates of this session are taken."""
        return self.access >= Access.EDIT


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
