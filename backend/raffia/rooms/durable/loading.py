"""Builds a document from the journal's data; pure, so that a worker can do it."""

from __future__ import annotations

from raffia.crdt.document import Document
from raffia.crdt.merge import merge
from raffia.crdt.update import read_update
from raffia.errors import UpdateError
from raffia.journal import Loaded


def rebuild(loaded: Loaded, *, keep_deleted: bool) -> tuple[Document, bytes | None]:
    """Build a document from those log entries whose dependencies are present.

    Returns:
        The document, and an update of the entries whose dependencies are missing; None if there are none. Only a
        shared log that was cut has such entries, until a replica appends the missing ones again.

    Raises:
        UpdateError, CrdtError: the stored bytes are damaged.
    """
    if loaded.snapshot is None:
        document = Document(keep_deleted=keep_deleted)
    else:
        snapshot = loaded.snapshot
        document = Document.from_snapshot(snapshot.state, snapshot.index, keep_deleted=keep_deleted)
    updates = [edit.update for entry in loaded.entries for edit in entry.batch]
    if not updates:
        return document, None
    tail = merge(updates)
    admission = document.admit(tail, read_update(tail))
    document.absorb(admission)
    return document, admission.waiting


def build(loaded: Loaded, *, is_shared: bool, keep_deleted: bool) -> tuple[Document, bytes | None]:
    """Build a document for a room.

    Args:
        loaded: the journal's data.
        is_shared: whether the log has several writers; only then may dependencies be missing.
        keep_deleted: as in the settings.

    Returns:
        As `rebuild`.

    Raises:
        As `rebuild` and `build_document`.
    """
    if is_shared:
        return rebuild(loaded, keep_deleted=keep_deleted)
    return build_document(loaded, keep_deleted=keep_deleted), None


def build_document(loaded: Loaded, *, keep_deleted: bool) -> Document:
    """Build a document from a log in which no dependencies may be missing.

    Raises:
        UpdateError: the stored bytes are damaged, or dependencies are missing.
        CrdtError: the stored bytes are damaged.
    """
    document, waiting = rebuild(loaded, keep_deleted=keep_deleted)
    if waiting is not None:
        raise UpdateError(
            f"the log up to position {loaded.position} lacks dependencies of its entries ({len(waiting)} bytes wait)"
        )
    return document
