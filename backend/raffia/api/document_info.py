"""What the journal knows about a document, and how REST shows it."""

from __future__ import annotations

from raffia.api.access import LEVELS, NO_ACCESS
from raffia.api.models import Document
from raffia.errors import DocumentDeletedError, ForbiddenError
from raffia.journal import DocumentInfo, Journal
from raffia.types import Access, DocumentId


def shown(info: DocumentInfo, access: Access) -> Document:
    """A document in the form that REST returns."""
    return Document(
        id=info.document,
        title=info.document if info.title is None else info.title,
        kind=info.kind,
        created_ms=info.created_ms,
        updated_ms=info.updated_ms,
        updated_by=info.updated_by,
        size_bytes=info.snapshot_bytes + info.tail_bytes,
        deleted_ms=info.deleted_ms,
        can=LEVELS[access],  # type: ignore[arg-type]
    )


async def info_of(journal: Journal, document: DocumentId, *, deleted: bool = False) -> DocumentInfo:
    """The journal's information about a document that exists.

    Args:
        journal: the journal to ask.
        document: the document to look up.
        deleted: return a deleted document too, as long as it can be restored.

    Raises:
        ForbiddenError: there is no such document (AC2).
        DocumentDeletedError: it was deleted, and `deleted` is false or it was purged.
    """
    info = await journal.directory.info(document)
    if info is None:
        raise ForbiddenError(NO_ACCESS)
    if info.purged or (info.deleted_ms is not None and not deleted):
        raise DocumentDeletedError(f"document {document} was deleted")
    return info
