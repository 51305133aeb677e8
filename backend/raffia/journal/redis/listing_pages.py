"""Pages of the listing from Redis (JS1-JS4 of search.py).

Rules (tests quote these ids):
    LP1  Names come from the sorted sets, everything else from the documents' metas, which are authoritative (RD1).
    LP2  Documents that an older Raffia created are missing from the index by time: listing by time adds them.
"""

from __future__ import annotations

from collections.abc import Sequence

from raffia.journal.protocol import DocumentInfo, Listing
from raffia.journal.redis.base import Base
from raffia.journal.redis.engine import Argument
from raffia.journal.redis.listing import RedisListing
from raffia.journal.redis.replies import number, texts
from raffia.journal.search import CHUNK, Order, Where, cursor_of, read_cursor
from raffia.types import DocumentId

Listed = tuple[DocumentId, str]  # a name, and the cursor of a page that ends with it


class ListingPages:
    """Pages of one listing; see `Directory.documents`."""

    def __init__(
        self, base: Base, listing: RedisListing, prefix: str, *, deleted: bool, order: Order, where: Where | None
    ) -> None:
        self._base = base
        self._listing = listing
        self._prefix = prefix
        self._deleted = deleted
        self._by_name = order == "name"
        self._where = where
        self._matches = where.filter() if where is not None else None
        keys = base.keys
        self._names_key = keys.deleted if deleted else keys.documents
        self._times_key = keys.trash if deleted else keys.edited

    async def page(self, after: str, limit: int) -> Listing:
        """Read one page."""
        where = self._where
        if not self._by_name and not self._deleted:
            await self._fill()
        total = await self._count()
        found: list[DocumentInfo] = []
        looked, cursor, end = 0, after, after
        while True:
            most = limit + 1 if where is None else min(CHUNK, where.most - looked)
            names, more = await self._names(cursor, most)
            infos = await self._infos([name for name, _ in names])
            for (_, cursor), info in zip(names, infos, strict=True):
                if info is not None:
                    if len(found) == limit:
                        return Listing(found, total, end if found else None)
                    found.append(info)
                    end = cursor
            looked += len(names)
            if not more:
                return Listing(found, total, None)
            if where is not None and looked >= where.most:
                return Listing(found, total, end if found else cursor)

    async def _count(self) -> int:
        where = self._where
        low, high = self._range()
        if where is None:
            (total,) = await self._base.run(("ZLEXCOUNT", self._names_key, low, high))
            return number(total)
        total, looked, cursor, more = 0, 0, "", True
        while more and looked < where.most:
            names, more = await self._names(cursor, min(CHUNK, where.most - looked))
            total += sum(info is not None for info in await self._infos([name for name, _ in names]))
            looked += len(names)
            cursor = names[-1][1] if names else cursor
        return total

    async def _infos(self, names: Sequence[DocumentId]) -> list[DocumentInfo | None]:
        """Look up some documents; None for those that are not shown (LP1)."""
        allowed = self._where.allowed if self._where is not None else None
        wanted = [name for name in names if name.startswith(self._prefix) and (allowed is None or allowed(name))]
        found = dict(zip(wanted, await self._listing.infos(wanted), strict=True))
        return [self._shown(found.get(name)) for name in names]

    def _shown(self, info: DocumentInfo | None) -> DocumentInfo | None:
        if info is None or (info.deleted_ms is not None) != self._deleted or info.purged:
            return None
        if self._matches is not None and not self._matches((info.document, info.title, info.kind)):
            return None
        return info

    def _range(self) -> tuple[bytes, bytes]:
        prefix = self._prefix.encode(errors="replace")
        return (b"[" + prefix, b"(" + prefix + b"\xff") if prefix else (b"-", b"+")

    async def _names(self, after: str, count: int) -> tuple[list[Listed], bool]:
        """Read the names after a cursor, and whether there may be more after them."""
        if self._by_name:
            low, high = self._range()
            behind = b"(" + after.encode(errors="replace") if after and after >= self._prefix else low
            (reply,) = await self._base.run(("ZRANGEBYLEX", self._names_key, behind, high, "LIMIT", 0, count))
            names = [DocumentId(name.decode()) for name in texts(reply)]
            return [(name, name) for name in names], len(names) == count
        last = read_cursor(after) if after else None
        highest: Argument = "+inf" if last is None else last[0]
        skipped = 0
        while True:
            (reply,) = await self._base.run(
                ("ZREVRANGEBYSCORE", self._times_key, highest, "-inf", "WITHSCORES", "LIMIT", skipped, count)
            )
            flat = texts(reply)
            pairs = [(int(float(score)), name.decode()) for name, score in zip(flat[::2], flat[1::2], strict=True)]
            names_ = [
                (DocumentId(name), cursor_of(when, name)) for when, name in pairs if last is None or (when, name) < last
            ]
            if names_ or len(pairs) < count:
                return names_, len(pairs) == count
            skipped += count  # all of these, of the same millisecond, were on earlier pages

    async def _fill(self) -> None:
        """Add the documents that are missing from the index by time (LP2)."""
        keys = self._base.keys
        listed, ordered = await self._base.run(("ZCARD", keys.documents), ("ZCARD", keys.edited))
        if number(ordered) >= number(listed):
            return
        missing = texts(await self._base.script("unlisted", [keys.documents, keys.edited], []))
        for start in range(0, len(missing), CHUNK):
            await self._listing.list_by_time([DocumentId(name.decode()) for name in missing[start : start + CHUNK]])
