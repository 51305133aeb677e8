"""The directory of a memory journal."""

from __future__ import annotations

from collections.abc import Callable

from raffia.errors import DocumentDeletedError, ForbiddenError
from raffia.journal.protocol import Clear, Directory, DocumentInfo, Listing, cleared
from raffia.journal.search import Order, Where, cursor_of, read_cursor
from raffia.journal.testing.memory.store import StoreConnection, StoredDocument
from raffia.types import DocumentId


class MemoryDirectory(Directory):
    """The directory of a store.

    Args:
        connection: the connection to the store.
        write: writes what the journal has queued, even what the store holds back.
    """

    def __init__(self, connection: StoreConnection, write: Callable[[], None]) -> None:
        self._connection = connection
        self._store = connection.store
        self._write = write
        self._clear: Clear | None = None

    async def info(self, document: DocumentId) -> DocumentInfo | None:
        """Look up a document."""
        self._connection.check_open()
        kept = self._store.documents.get(document)
        return None if kept is None else info_of(kept)

    async def documents(
        self,
        *,
        prefix: str = "",
        after: str = "",
        limit: int = 100,
        deleted: bool = False,
        order: Order = "name",
        where: Where | None = None,
    ) -> Listing:
        """List documents."""
        self._connection.check_open()
        matches = where.filter() if where is not None else None
        found = [
            kept
            for name, kept in self._store.documents.items()
            if name.startswith(prefix) and (kept.deleted_ms is not None) == deleted and not kept.purged
        ]
        if order == "name":
            found.sort(key=lambda kept: kept.name)
            behind = [kept for kept in found if kept.name > after]
        else:
            found.sort(key=_when, reverse=True)
            last = read_cursor(after) if after else None
            behind = [kept for kept in found if last is None or _when(kept) < last]
        seen = len(behind) if where is None else where.most
        matching = [kept for kept in behind[:seen] if matches is None or matches((kept.name, kept.title, kept.kind))]
        page = matching[:limit]
        end = None
        if len(matching) > limit or len(behind) > seen:
            end = page[-1] if page else behind[seen - 1] if limit else None
        total = len(found)
        if matches is not None and where is not None:
            total = sum(matches((kept.name, kept.title, kept.kind)) for kept in found[: where.most])
        following = None if end is None else end.name if order == "name" else cursor_of(*_when(end))
        return Listing([info_of(kept) for kept in page], total, following)

    async def set_info(
        self, document: DocumentId, *, title: str | None, kind: str | None, schema: int | None = None
    ) -> None:
        """Record title, kind and schema."""
        self._connection.check()
        kept = self._connection.living(document) or self._connection.create(
            document, self._connection.passed_time.stamp_ms()
        )
        kept.title, kept.kind, kept.schema = title, kind, schema

    async def delete(self, document: DocumentId) -> None:
        """Set the tombstone once every earlier append has finished."""
        self._connection.check()
        self._write()
        kept = self._store.documents.get(document) or self._connection.create(
            document, self._connection.passed_time.stamp_ms()
        )
        if kept.deleted_ms is None:
            kept.deleted_ms = self._connection.passed_time.stamp_ms()
        for connection in self._store.connections:
            connection.readers.end(DocumentDeletedError(f"document {document} was deleted"), document)

    async def restore(self, document: DocumentId) -> None:
        """Remove the tombstone."""
        self._connection.check()
        kept = self._store.documents.get(document)
        if kept is None:
            raise ForbiddenError(f"there is no document {document}")
        if kept.purged:
            raise DocumentDeletedError(f"document {document} was deleted, and its content has been purged")
        kept.deleted_ms = None

    def on_purged(self, clear: Clear) -> None:
        """Set the callback that removes data kept elsewhere."""
        self._clear = clear

    async def clear_purged(self) -> None:
        """Remove purged documents' data kept elsewhere (J22)."""
        if self._clear is None:
            return
        for kept in [kept for kept in self._store.documents.values() if kept.purged and not kept.cleared]:
            if await cleared(self._clear, kept.name):
                kept.cleared = True


def _when(kept: StoredDocument) -> tuple[int, str]:
    return (kept.updated_ms if kept.deleted_ms is None else kept.deleted_ms), kept.name


def info_of(kept: StoredDocument) -> DocumentInfo:
    """Describe a document as the listing shows it."""
    present = kept.snapshot
    sizes = {upto: len(one.state) + len(one.index) for upto, (_, one) in kept.snapshots.items()}
    return DocumentInfo(
        document=kept.name,
        created_ms=kept.created_ms,
        updated_ms=kept.updated_ms,
        deleted_ms=kept.deleted_ms,
        purged=kept.purged,
        title=kept.title,
        kind=kept.kind,
        position=kept.last,
        snapshot_bytes=sizes[kept.folded.upto] if present is not None else 0,
        tail_bytes=sum(len(edit.update) for entry in kept.entries for edit in entry.batch),
        history_bytes=sum(segment.size_bytes for segment in kept.segments.values())
        + sum(size for upto, size in sizes.items() if upto != kept.folded.upto),
        updated_by=kept.updated_by,
        schema=kept.schema,
        links=kept.links,
    )
