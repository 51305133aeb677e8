"""A document made of what the journal holds. Pure, for a worker when it is large."""

from __future__ import annotations

from raffia.crdt.document import Document
from raffia.crdt.merge import merge
from raffia.crdt.update import read_update
from raffia.errors import UpdateError
from raffia.journal import Loaded


def rebuild(loaded: Loaded, *, keep_deleted: bool) -> tuple[Document, bytes | None]:
    """Rebuild a document, as far as what stands in the log refers to what is there.

    Returns:
        The document, and what waits for something that the log lacks; None when nothing does. Only a log with several
        writers that has been cut can hold such a thing, until one of them has appended again what it lacks.

    Raises:
        UpdateError, CrdtError: stored bytes are not what was stored.
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
    """Rebuild a document for a room.

    Args:
        loaded: what the journal holds.
        is_shared: whether the log has several writers; only then may something of it wait.
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
    """Rebuild a document of which nothing may wait.

    Raises:
        UpdateError: stored bytes are not what was stored, or an entry refers to what is not there.
        CrdtError: stored bytes are not what was stored.
    """
    document, waiting = rebuild(loaded, keep_deleted=keep_deleted)
    if waiting is not None:
        raise UpdateError(
            f"the log up to position {loaded.position} refers to what it does not hold ({len(waiting)} bytes wait)"
        )
    return document
