"""The names of all keys in Redis, and how a position identifies an entry. Pure; docs/formats.md describes them.

Rules (tests quote these ids):
    RKY1  All keys of a document contain `{<document>}`, its hash tag: on a cluster they are on one node, so that one
          script may access them. A document id contains no brace, so it cannot name another document's keys.
          A key that is added here is removed by the purge, too (`_purge` of listing.py).
    RKY2  Keys that concern all documents contain `{-}`, which cannot be a document id.
    RKY3  A position is `sequence << 48 | nonce`; the entry's id in the stream is `<sequence>-<nonce>`. Sequences
          increase by one, so gaps are detected; nonces are random, so an entry that replaced a lost one is not mistaken
          for it.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import re
import secrets

from raffia.errors import SettingsError
from raffia.types import DocumentId, Position

FORMAT = 2  # of everything that this package stores; in the meta of each document and in the global key `format`
NONCE_BITS = 48
PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}")  # no brace: the first one begins the hash tag (RKY1)
_NONCE = (1 << NONCE_BITS) - 1


def id_of(position: Position) -> str:
    """Return the stream id of the entry at a position (RKY3)."""
    return f"{position >> NONCE_BITS}-{position & _NONCE}"


def position_of(entry: bytes | str) -> Position:
    """Return the position of an entry from its stream id (RKY3)."""
    sequence, _, nonce = entry.partition("-") if isinstance(entry, str) else entry.partition(b"-")
    position = int(sequence) << NONCE_BITS | int(nonce)
    if position < 0 or not nonce.isdigit():
        raise ValueError(f"{entry!r} is not the id of an entry")
    return Position(position)


def position_at(sequence: int, nonce: int) -> Position:
    """Build a position from a sequence and a nonce (RKY3)."""
    return Position(sequence << NONCE_BITS | nonce)


def sequence_of(position: Position) -> int:
    """Return how many entries the log had up to and including this one (RKY3)."""
    return position >> NONCE_BITS


def nonce_of(position: Position) -> int:
    """Return what distinguishes the entry from others with the same sequence (RKY3)."""
    return position & _NONCE


def new_nonce() -> int:
    """Return 48 random bits."""
    return secrets.randbits(NONCE_BITS)


class Keys:
    """The keys under one prefix; an invalid prefix is a `SettingsError`.

    Attributes:
        format, documents, edited, deleted, trash, due, replicas, probe, revocations, passed_time: keys of what
            concerns all documents (RKY2).
        replica_channel: where replicas announce that they leave, and that something was revoked.
    """

    __slots__ = (
        "_prefix",
        "deleted",
        "documents",
        "due",
        "edited",
        "format",
        "passed_time",
        "probe",
        "replica_channel",
        "replicas",
        "revocations",
        "trash",
    )

    def __init__(self, prefix: str) -> None:
        if PREFIX.fullmatch(prefix) is None:
            raise SettingsError(f"{prefix!r} cannot be the prefix of keys in Redis; use 1 to 64 of A-Z a-z 0-9 . _ : -")
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
        self.passed_time = f"{prefix}:{{-}}:passed_time"

    def meta(self, document: DocumentId) -> str:
        """Hash: the state of a document."""
        return f"{self._prefix}:{{{document}}}:meta"

    def log(self, document: DocumentId) -> str:
        """Stream: its entries."""
        return f"{self._prefix}:{{{document}}}:log"

    def channel(self, document: DocumentId) -> str:
        """Channel: its entries as they are appended, and presence."""
        return f"{self._prefix}:{{{document}}}:channel"

    def lease(self, document: DocumentId) -> str:
        """String: which replica compacts it."""
        return f"{self._prefix}:{{{document}}}:lease"

    def base_snapshots(self, document: DocumentId) -> str:
        """Hash: its snapshots by position, the current one and the base snapshots; the stored name is "stones"."""
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
