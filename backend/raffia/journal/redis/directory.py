"""The directory on Redis: the listing, and deletion, which involves the writer and the feeds."""

from __future__ import annotations

from raffia.journal.protocol import Clear, Directory, DocumentInfo, Listing
from raffia.journal.redis.base import Base
from raffia.journal.redis.feeds import Feeds
from raffia.journal.redis.listing import RedisListing
from raffia.journal.redis.listing_pages import ListingPages
from raffia.journal.redis.writer import Writer
from raffia.journal.search import Order, Where
from raffia.types import DocumentId


class RedisDirectory(Directory):
    """The directory of one journal."""

    def __init__(self, base: Base, writer: Writer, feeds: Feeds, *, trash_ms: int) -> None:
        self._base = base
        self._writer = writer
        self._feeds = feeds
        self._listing = RedisListing(base, trash_ms=trash_ms)

    async def info(self, document: DocumentId) -> DocumentInfo | None:
        """Look up a document."""
        self._base.check_open()
        return (await self._listing.infos([document]))[0]

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
        self._base.check_open()
        pages = ListingPages(self._base, self._listing, prefix, deleted=deleted, order=order, where=where)
        return await pages.page(after, limit)

    async def set_info(
        self, document: DocumentId, *, title: str | None, kind: str | None, schema: int | None = None
    ) -> None:
        """Record title, kind and schema."""
        self._base.check_open()
        await self._listing.set_info(document, title=title, kind=kind, schema=schema)

    async def delete(self, document: DocumentId) -> None:
        """Set the tombstone once every earlier append has finished."""
        self._base.check_open()
        await self._writer.settled(document)
        await self._listing.delete(document)
        self._feeds.check(document)

    async def restore(self, document: DocumentId) -> None:
        """Remove the tombstone."""
        self._base.check_open()
        await self._listing.restore(document)

    def on_purged(self, clear: Clear) -> None:
        """Set the callback that removes data kept elsewhere."""
        self._listing.clear = clear

    async def purge_due(self) -> None:
        """Drop the content of documents that were deleted long enough ago (J14)."""
        await self._listing.purge_due()
