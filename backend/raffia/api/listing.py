"""Pages of the listing: the documents that one caller may see.

Rules (tests quote these ids):
    DO1  A listing, including its counts, reveals only documents that the caller may read. A page costs a bounded amount
         of work (JS3 of journal/search.py), and with a hook at most `MAX_ASKED` calls. Only if that bound is reached
         before a visible document is found does `following` name the last one examined (JS2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from raffia.api.access import Visibility
from raffia.api.document_info import shown
from raffia.api.models import Document, DocumentPage
from raffia.journal import DocumentInfo, Journal, Listing, Where
from raffia.journal.search import cursor_of, read_cursor
from raffia.types import Access, DocumentId

MAX_ASKED = 200
MAX_NAMED = 500  # documents named one by one in a token that are looked up for a listing


def _when(info: DocumentInfo) -> tuple[int, str]:
    """The sort key of a document in a listing by time."""
    return info.deleted_ms or info.updated_ms, info.document


class ListingQuery:
    """One listing with its filters, for one caller (DO1)."""

    def __init__(
        self,
        journal: Journal,
        visibility: Visibility,
        search: str,
        kind: str | None,
        *,
        deleted: bool,
        order: Literal["edited", "name"],
    ) -> None:
        self._journal = journal
        self._sight = visibility
        self._search = search
        self._kind = kind
        self._deleted = deleted
        self._order: Literal["edited", "name"] = order

    async def page(self, after: str, limit: int) -> DocumentPage:
        """One page of at most `limit` documents, after the cursor `after`."""
        if self._sight.access is None:
            return await self._asked(after, limit)
        claims = self._sight.claims
        prefix, is_all = "", claims is None
        if claims is not None:
            wide = [name for name, level in claims.patterns.items() if name.endswith("*") and level is not None]
            if not wide:
                return await self._named([name for name in claims.patterns if not name.endswith("*")], after, limit)
            if len(claims.patterns) == 1 and "lnk" not in claims.kept:
                prefix, is_all = wide[0][:-1], True
        access = self._sight.access
        # If everything is visible and nothing is searched for, the journal need not filter.
        where = None
        if not is_all or self._search or self._kind is not None:
            where = self._where(lambda name: access(name) is not None)
        listing = await self._list(prefix, after, limit, where)
        found = [(info, access(info.document)) for info in listing.documents]
        documents = [shown(info, level) for info, level in found if level is not None]
        return DocumentPage(documents=documents, total=listing.total, following=listing.following)

    def _where(self, allowed: Callable[[str], bool] | None = None) -> Where:
        return Where(search=self._search, kind=self._kind, allowed=allowed)

    async def _list(self, prefix: str, after: str, limit: int, where: Where | None) -> Listing:
        return await self._journal.directory.documents(
            prefix=prefix, after=after, limit=limit, deleted=self._deleted, order=self._order, where=where
        )

    async def _named(self, names: list[str], after: str, limit: int) -> DocumentPage:
        """Documents that a token names one by one, in pages like the journal's (JS1, JS2)."""
        access = self._sight.access
        assert access is not None
        matches = self._where().filter()
        found: list[tuple[DocumentInfo, Access]] = []
        for name in names[:MAX_NAMED]:
            level = access(name)
            info = await self._journal.directory.info(DocumentId(name)) if level is not None else None
            if info is None or level is None or info.purged or (info.deleted_ms is not None) != self._deleted:
                continue
            if matches((info.document, info.title, info.kind)):
                found.append((info, level))
        if self._order == "name":
            found.sort(key=lambda one: one[0].document)
            rest = [one for one in found if one[0].document > after]
        else:
            found.sort(key=lambda one: _when(one[0]), reverse=True)
            last = read_cursor(after) if after else None
            rest = [one for one in found if last is None or _when(one[0]) < last]
        page = rest[:limit]
        following = None
        if page and len(rest) > limit:
            end = page[-1][0]
            following = end.document if self._order == "name" else cursor_of(*_when(end))
        return DocumentPage(documents=[shown(*one) for one in page], total=len(found), following=following)

    async def _asked(self, after: str, limit: int) -> DocumentPage:
        """Documents that a hook allows: it is called for each, and `total` counts only those on the page."""
        documents: list[Document] = []
        asked, cursor, end = 0, after, ""
        where = self._where() if self._search or self._kind is not None else None
        while True:
            # Ask about no more documents than fit on the page, so that the page ends with the last one asked about.
            wanted = min(limit - len(documents), MAX_ASKED - asked)
            listing = await self._list("", cursor, wanted, where)
            levels = await self._sight.of([info.document for info in listing.documents])
            asked += len(levels)
            pairs = zip(listing.documents, levels, strict=True)
            allowed = [(number, info, level) for number, (info, level) in enumerate(pairs, 1) if level is not None]
            documents += [shown(info, level) for _, info, level in allowed]
            following = listing.following
            if following is not None and allowed:
                # A cursor names a document, so it has to be the last one that is shown (DO1).
                number = allowed[-1][0]
                end = (
                    following
                    if number == len(levels)
                    else (await self._list("", cursor, number, where)).following or ""
                )
            is_cut = len(listing.documents) < wanted  # the journal has examined as many as it may (JS3)
            if following is None or is_cut or len(documents) >= limit or asked >= MAX_ASKED:
                return DocumentPage(
                    documents=documents, total=len(documents), following=None if following is None else end or following
                )
            cursor = following
