"""The names of everything that lies in Redis, and how a position names an entry. Pure; docs/formats.md describes it.

Rules (tests quote these ids):
    RKY1  All keys of a document carry `{<document>}`, its hash tag: on a cluster they live together, so that one script
          may touch them. A document id holds no brace, so it cannot name another document's keys.
    RKY2  What concerns all documents carries `{-}`, which no document id can be.
    RKY3  A position is `sequence << 48 | nonce`; the entry's id in the stream is `<sequence>-<nonce>`. Sequences grow
          by one, so a gap is seen; nonces are random, so an entry that took the place of a lost one is not taken for
          it.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import re
import secrets

from raffia.errors import SettingsError
from raffia.types import DocumentId, Position

FORMAT = 1  # of everything that this package stores; in the meta of each document and in the global key `format`
NONCE_BITS = 48
PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")  # no brace: the first one begins the hash tag (RKY1)
_NONCE = (1 << NONCE_BITS) - 1


def id_of(position: Position) -> str:
    """The stream's id of the entry at a position (RKY3)."""
    return f"{position >> NONCE_BITS}-{position & _NONCE}"


def position_of(entry: bytes | str) -> Position:
    """The position of an entry by its id (RKY3)."""
    sequence, _, nonce = entry.partition("-") if isinstance(entry, str) else entry.partition(b"-")
    position = int(sequence) << NONCE_BITS | int(nonce)
    if position < 0 or not nonce.isdigit():
        raise ValueError(f"{entry!r} is not the id of an entry")
    return Position(position)


def position_at(sequence: int, nonce: int) -> Position:
    """The position that a sequence and a nonce make (RKY3)."""
    return Position(sequence << NONCE_BITS | nonce)


def sequence_of(position: Position) -> int:
    """How many entries the log had with this one (RKY3)."""
    return position >> NONCE_BITS


def nonce_of(position: Position) -> int:
    """What tells the entry from others that stood at its place (RKY3)."""
    return position & _NONCE


def new_nonce() -> int:
    """48 random bits."""
    return secrets.randbits(NONCE_BITS)


class Keys:
    """The keys of one prefix; one that cannot be is a `SettingsError`.

    Attributes:
        format, documents, edited, deleted, trash, due, replicas, probe, revocations: keys of what concerns all
            documents (RKY2).
        replica_channel: where replicas say that they leave, and that something was revoked.
    """

    __slots__ = (
        "_prefix",
        "deleted",
        "documents",
        "due",
        "edited",
        "format",
        "probe",
        "replica_channel",
        "replicas",
        "revocations",
        "trash",
    )

    def __init__(self, prefix: str) -> None:
        if PREFIX.fullmatch(prefix) is None:
            raise SettingsError(
                f"{prefix!r} cannot begin the names of keys in Redis; use 1 to 64 of A-Z a-z 0-9 . _ : -"
            )
        self._prefix = prefix
        self.format = f"{prefix}:{{-}}:format"
        self.documents = f"{prefix}:{{-}}:documents"
        self.edited = f"{prefix}:{{-}}:edited"
        self.deleted = f"{prefix}:{{-}}:deleted"
        self.trash = f"{prefix}:{{-}}:trash"
        self.due = f"{prefix}:{{-}}:due"
        self.replicas = f"{prefix}:{{-}}:replicas"
        self.probe = f"{prefix}:{{-}}:probe"
        self.replica_channel = f"{prefix}:{{-}}:channel"
        self.revocations = f"{prefix}:{{-}}:revocations"

    def meta(self, document: DocumentId) -> str:
        """Hash: what is known of a document."""
        return f"{self._prefix}:{{{document}}}:meta"

    def log(self, document: DocumentId) -> str:
        """Stream: its entries."""
        return f"{self._prefix}:{{{document}}}:log"

    def channel(self, document: DocumentId) -> str:
        """Channel: its entries as they come, and presence."""
        return f"{self._prefix}:{{{document}}}:channel"

    def lease(self, document: DocumentId) -> str:
        """String: which replica compacts it."""
        return f"{self._prefix}:{{{document}}}:lease"

    def stones(self, document: DocumentId) -> str:
        """Hash: its snapshots by position."""
        return f"{self._prefix}:{{{document}}}:stones"

    def segments(self, document: DocumentId) -> str:
        """Sorted set: its history segments by window."""
        return f"{self._prefix}:{{{document}}}:segments"

    def versions(self, document: DocumentId) -> str:
        """Hash: its versions by number."""
        return f"{self._prefix}:{{{document}}}:versions"

    def blob(self, document: DocumentId, blob: str) -> str:
        """Hash: pieces of a large value."""
        return f"{self._prefix}:{{{document}}}:blob:{blob}"
