"""The directory in the database: looking up, deleting and restoring documents (J13, J14)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from raffia.errors import DocumentDeletedError
from raffia.journal.follow import LogReaders
from raffia.journal.protocol import Clear, Directory, DocumentInfo, Listing, cleared
from raffia.journal.search import Order, Where
from raffia.journal.sqlite.database import Database, Steps, not_there
from raffia.journal.sqlite.listing import Pages, info_of
from raffia.journal.sqlite.rows import key_of
from raffia.journal.sqlite.thread import DatabaseThread
from raffia.types import DocumentId

_ROWS = 256  # purged documents that are read at once


class SqliteDirectory(Directory):
    """The directory of one journal."""

    def __init__(self, thread: DatabaseThread, readers: LogReaders, now_ms: Callable[[], int]) -> None:
        self._thread = thread
        self._readers = readers
        self._now_ms = now_ms
        self._clear: Clear | None = None

    async def info(self, document: DocumentId) -> DocumentInfo | None:
        """Look up a document."""
        return await self._thread.job(lambda database: info(database, document), writes=False)

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
        listing = Pages(prefix, deleted=deleted, order=order, where=where)
        return await self._thread.job(lambda database: listing.page(database, after, limit), writes=False)

    async def set_info(
        self, document: DocumentId, *, title: str | None, kind: str | None, schema: int | None = None
    ) -> None:
        """Record title, kind and schema."""
        await self._thread.call(set_info(document, title, kind, schema, self._now_ms()))

    async def delete(self, document: DocumentId) -> None:
        """Set the tombstone once every earlier append has finished."""
        await self._thread.call(delete(document, self._now_ms()))
        self._readers.end(DocumentDeletedError(f"document {document} was deleted"), document)

    async def restore(self, document: DocumentId) -> None:
        """Remove the tombstone."""
        await self._thread.call(restore(document))

    def on_purged(self, clear: Clear) -> None:
        """Set the callback that removes data kept elsewhere."""
        self._clear = clear

    async def clear_purged(self) -> None:
        """Remove purged documents' data kept elsewhere (J22)."""
        if self._clear is None:
            return
        key = 0
        while found := await self._thread.job(partial(purged, key=key), writes=False):
            for key, document in found:
                if await cleared(self._clear, document):
                    await self._thread.call(partial(mark_cleared, key=key))


def info(database: Database, document: DocumentId) -> Steps[DocumentInfo | None]:
    """Look up a document."""
    row = database.document(document)
    yield
    return None if row is None else info_of(row)


def set_info(
    document: DocumentId, title: str | None, kind: str | None, schema: int | None, now_ms: int
) -> Callable[[Database], None]:
    """Record title, kind and schema (J13)."""

    def run(database: Database) -> None:
        known = database.living(document) or database.create(document, now_ms)
        database.execute(
            "UPDATE documents SET title = ?, kind = ?, schema = ? WHERE key = ?", (title, kind, schema, known.key)
        )
        database.seal(known.key)

    return run


def delete(document: DocumentId, now_ms: int) -> Callable[[Database], None]:
    """Set the tombstone (J14)."""

    def run(database: Database) -> None:
        known = database.known(document) or database.create(document, now_ms)
        database.execute(
            "UPDATE documents SET deleted_ms = ? WHERE key = ? AND deleted_ms IS NULL", (now_ms, known.key)
        )
        database.seal(known.key)
        known.deleted = True

    return run


def restore(document: DocumentId) -> Callable[[Database], None]:
    """Remove the tombstone (J14)."""

    def run(database: Database) -> None:
        known = database.known(document)
        if known is None:
            raise not_there(document)
        if database.rows("SELECT purged FROM documents WHERE key = ?", (known.key,)) == [(1,)]:
            raise DocumentDeletedError(f"document {document} was deleted, and its content has been purged")
        database.execute("UPDATE documents SET deleted_ms = NULL WHERE key = ?", (known.key,))
        database.seal(known.key)
        known.deleted = False

    return run


def purged(database: Database, *, key: int) -> Steps[list[tuple[int, DocumentId]]]:
    """Read the next purged documents, after a key, that may still have data kept elsewhere (J22)."""
    rows = database.rows(
        "SELECT key, name FROM documents WHERE deleted_ms IS NOT NULL AND purged AND NOT cleared AND key > ?"
        " ORDER BY key LIMIT ?",
        (key, _ROWS),
    )
    yield
    return [(key, DocumentId(name)) for key, name in rows if key == key_of(name)]


def mark_cleared(database: Database, *, key: int) -> None:
    """Record that a purged document no longer has data kept elsewhere (J22)."""
    database.execute("UPDATE documents SET cleared = 1 WHERE key = ?", (key,))
    database.seal(key)
