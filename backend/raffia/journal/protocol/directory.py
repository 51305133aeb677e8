"""The directory: which documents exist, what they are called, and which are deleted.

Rules (tests quote these ids):
    J13  A document is listed from its first `append` or `set_info` on; the listing is paged by name or by the last edit
         (JS1-JS4 of search.py).
    J14  `delete` sets a durable tombstone: from then on `load`, `append`, `compact`, `follow` and the rest raise
         `DocumentDeletedError`. `restore` undoes it until the document is purged; the tombstone outlives the purge,
         so that no returning client revives the document.
    J22  Data kept elsewhere for a document (files) is removed after its content: `Journal.prune` calls the `on_purged`
         callback for each purged document until the callback succeeds, even across restarts. It may be called twice,
         and on several replicas. A purged document never comes back.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from raffia.errors import RaffiaError
from raffia.journal.protocol.history import DAY_MS
from raffia.journal.protocol.links import NO_LINKS, Links
from raffia.journal.search import Order, Where
from raffia.runtime.logs import get_logger
from raffia.types import DocumentId, Position

log = get_logger("raffia.journal")

TRASH_MS = 30 * DAY_MS


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document as the listing shows it.

    Attributes:
        created_ms, updated_ms: time of the first and the last edit (or of the first `set_info`).
        deleted_ms: when the tombstone was set; None if the document is not deleted.
        purged: only the tombstone is left (J14).
        title, kind, schema: what `set_info` recorded.
        position: position of the last entry.
        snapshot_bytes, tail_bytes, history_bytes: sizes of the snapshot, of the entries after it, and of what else is
            kept for the history.
        updated_by: author of the last edit; None if anonymous.
        links: its share links.
    """

    document: DocumentId
    created_ms: int
    updated_ms: int
    deleted_ms: int | None
    purged: bool
    title: str | None
    kind: str | None
    position: Position
    snapshot_bytes: int
    tail_bytes: int
    history_bytes: int
    updated_by: str | None = None
    schema: int | None = None
    links: Links = NO_LINKS


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of documents.

    Attributes:
        documents: at most `limit` of them.
        total: how many match in all; with a `where`, how many of those that were examined (JS3).
        following: pass it as `after` for the next page; None if this is the last one.
    """

    documents: list[DocumentInfo]
    total: int
    following: str | None


Clear = Callable[[DocumentId], Awaitable[None]]
"""Removes a purged document's data kept elsewhere; raises a `RaffiaError` if it has to be called again."""


async def cleared(clear: Clear, document: DocumentId) -> bool:
    """Call `clear` for a purged document; return whether it succeeded (J22)."""
    try:
        await clear(document)
    except RaffiaError as error:
        log.warning("what was kept for a purged document is not removed yet", document=document, detail=str(error))
        return False
    return True


class Directory(Protocol):
    """The listing of all documents, and their deletion (`Journal.directory`)."""

    @abstractmethod
    async def info(self, document: DocumentId) -> DocumentInfo | None:
        """Look up one document, deleted or not; None if it never existed."""
        ...

    @abstractmethod
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
        """List documents (J13).

        Args:
            prefix: only names that begin with it; no character in it is special.
            after: list what comes after this name or, if sorted by time, after this `following` of the previous page.
            limit: maximum number of documents.
            deleted: list the deleted documents that can be restored, instead of the others.
            order: by name, or newest first (JS1).
            where: only those that match; None for all.

        Raises:
            MalformedError: `after` is not the `following` of a page by time.
        """
        ...

    @abstractmethod
    async def set_info(
        self, document: DocumentId, *, title: str | None, kind: str | None, schema: int | None = None
    ) -> None:
        """Copy a document's metadata into the listing; creates the document if it does not exist (J13)."""
        ...

    @abstractmethod
    async def delete(self, document: DocumentId) -> None:
        """Set the tombstone (J14), even for a document that never existed. Doing it again changes nothing."""
        ...

    @abstractmethod
    async def restore(self, document: DocumentId) -> None:
        """Remove the tombstone; a document without one stays as it is.

        Raises:
            DocumentDeletedError: it is purged.
            ForbiddenError: it never existed.
        """
        ...

    @abstractmethod
    def on_purged(self, clear: Clear) -> None:
        """Set the callback that removes a purged document's data kept elsewhere; there is only one (J22)."""
        ...
