"""`/api/documents`: list, make, rename, duplicate, delete and restore.

Rules (tests quote these ids):
    DO1  A listing shows what may be read and nothing else, not even in its numbers; a page costs a bounded amount of
         work (JS3 of journal/search.py), and with a hook at most `MAX_ASKED` questions. Only where all that this
         allows was looked at and nothing of it may be shown, `following` names the last that was (JS2).
    DO2  The server makes ids: 16 random characters, behind a folder where that is said or all that one may write in.
    DO3  What is answered is durable: made, renamed, copied, deleted.
    DO4  Deleting ends live sessions with 4404. It can be undone for as long as the journal keeps what was deleted.
    DO5  A copy is squashed, and has a title of its own; files come with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response

from raffia.api.access import LEVELS, NO_ACCESS, Caller, Visibility, id_of
from raffia.api.body import json_body, json_of
from raffia.api.errors import refusals
from raffia.api.models import Document, DocumentPage, Kind, NewDocument, Rename
from raffia.crdt.build import set_meta
from raffia.embed import Raffia
from raffia.errors import DocumentDeletedError, ForbiddenError, JournalUnavailableError, MalformedError
from raffia.files.store import FileStore
from raffia.journal import DocumentInfo, Journal, Listing, Where
from raffia.journal.search import cursor_of, read_cursor
from raffia.rooms import editing
from raffia.seeds import first_update, seed_of
from raffia.types import MAX_TITLE, Access, DocumentId, document_id

MAX_ASKED = 200
MAX_NAMED = 500  # documents that a token names one by one and that are looked up for a listing
SETTLE_S = 2.0
COPY = " (copy)"


def shown(info: DocumentInfo, access: Access) -> Document:
    """A document as REST says it."""
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
    """What is known of a document that is there.

    Raises:
        ForbiddenError: there is none (AC2).
        DocumentDeletedError: it is deleted and that was not asked for, or there is nothing left of it.
    """
    info = await journal.directory.info(document)
    if info is None:
        raise ForbiddenError(NO_ACCESS)
    if info.purged or (info.deleted_ms is not None and not deleted):
        raise DocumentDeletedError(f"document {document} was deleted")
    return info


def new_id(folder: str) -> DocumentId:
    """An id that nobody has (DO2).

    Raises:
        MalformedError: no folder.
    """
    name = ""
    while not name[:1].isalnum():
        name = secrets.token_urlsafe(12)
    return document_id(f"{folder}{name}")


def documents_router(raffia: Raffia, files: FileStore) -> APIRouter:
    """The router of one Raffia."""
    router = APIRouter(prefix="/api", tags=["documents"])

    @router.get("/documents", responses=refusals())
    async def list_documents(
        request: Request,
        *,
        search: Annotated[str, Query(max_length=MAX_TITLE, description="Part of the title.")] = "",
        kind: Annotated[Kind | None, Query()] = None,
        after: Annotated[str, Query(max_length=300, description="Where the last page ended.")] = "",
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        deleted: Annotated[bool, Query(description="Those that can be restored.")] = False,
        order: Annotated[Literal["edited", "name"], Query()] = "edited",
    ) -> DocumentPage:
        """What you may read, newest first or by name."""
        caller = Caller(raffia, request)
        visibility = await caller.visibility()
        query = _Query(raffia.hub.journal, visibility, search, kind, deleted=deleted, order=order)
        return await query.page(after, limit)

    @router.post("/documents", status_code=201, responses=refusals(413), openapi_extra=json_body(NewDocument))
    async def make_document(request: Request, asked: Annotated[NewDocument, Depends(json_of(NewDocument))]) -> Document:
        """Make a document, blank or from a template."""
        caller = Caller(raffia, request)
        seed = seed_of(asked.template, asked.kind)
        folder = f"{asked.folder.rstrip('/')}/" if asked.folder else await caller.folder()
        document = new_id(folder)
        grant = await caller.grant(document, Access.EDIT)
        title = asked.title or (seed.title if seed is not None else "")
        update = first_update(asked.kind, title, seed)
        await editing.change(raffia.hub, document, lambda _parts: update, author=grant.user)
        return shown(await info_of(raffia.hub.journal, document), grant.access)

    @router.get("/documents/{document}", responses=refusals())
    async def get_document(request: Request, document: str) -> Document:
        """One document, deleted or not."""
        name = id_of(document)
        grant = await Caller(raffia, request).grant(name)
        return shown(await info_of(raffia.hub.journal, name, deleted=True), grant.access)

    @router.patch("/documents/{document}", responses=refusals(413), openapi_extra=json_body(Rename))
    async def rename_document(
        request: Request, document: str, asked: Annotated[Rename, Depends(json_of(Rename))]
    ) -> Document:
        """Give a document another title; everybody in it sees it at once."""
        name = id_of(document)
        grant = await Caller(raffia, request).grant(name, Access.EDIT)
        await info_of(raffia.hub.journal, name)
        await editing.change(raffia.hub, name, partial(set_meta, fields={"title": asked.title}), author=grant.user)
        return shown(await info_of(raffia.hub.journal, name), grant.access)

    @router.delete("/documents/{document}", status_code=204, response_class=Response, responses=refusals())
    async def delete_document(request: Request, document: str) -> None:
        """Delete a document; it can be restored for some weeks."""
        name = id_of(document)
        await Caller(raffia, request).grant(name, Access.ADMIN)
        hub = raffia.hub
        await info_of(hub.journal, name, deleted=True)
        room = hub.rooms.get(name)
        if room is not None and not room.is_lost:
            # What people in it see comes back with it when it is restored.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await room.settled()
        await hub.journal.directory.delete(name)
        hub.deleted(name)

    @router.post("/documents/{document}/restore", responses=refusals())
    async def restore_document(request: Request, document: str) -> Document:
        """Take a deletion back."""
        name = id_of(document)
        grant = await Caller(raffia, request).grant(name, Access.ADMIN)
        await info_of(raffia.hub.journal, name, deleted=True)
        await raffia.hub.journal.directory.restore(name)
        return shown(await info_of(raffia.hub.journal, name), grant.access)

    @router.post("/documents/{document}/duplicate", status_code=201, responses=refusals(413))
    async def duplicate_document(request: Request, document: str) -> Document:
        """Make a copy of what the document holds now."""
        name = id_of(document)
        caller = Caller(raffia, request)
        await caller.grant(name)
        info = await info_of(raffia.hub.journal, name)
        folder, mark, _ = name.rpartition("/")
        try:
            to = new_id(folder + mark)
            grant = await caller.grant(to, Access.EDIT)
        except (ForbiddenError, MalformedError):  # beside it there is nothing for the visitor, or no room for an id
            to = new_id(await caller.folder())
            grant = await caller.grant(to, Access.EDIT)
        title = (name if info.title is None else info.title)[: MAX_TITLE - len(COPY)]
        moved = (f"/api/files/{quote(name, safe='')}/", f"/api/files/{quote(to, safe='')}/")
        made = await editing.copy_of(raffia.hub, name, {"title": f"{title}{COPY}".strip()}, moved=moved)
        try:
            await files.copy(name, to)
            await editing.change(raffia.hub, to, made, author=grant.user)
        except JournalUnavailableError:
            raise  # it may be there all the same, later; then it has its files
        except Exception:
            await files.remove(to)
            raise
        return shown(await info_of(raffia.hub.journal, to), grant.access)

    return router


def _when(info: DocumentInfo) -> tuple[int, str]:
    """Where a document stands in the order by time."""
    return info.deleted_ms or info.updated_ms, info.document


class _Query:
    """One way to list, for one visitor (DO1)."""

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
        """One page."""
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
        # All that may be seen, and nothing sought: the journal need not look at any of it.
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
        """Those that a token names one by one, in pages as the journal's (JS1, JS2)."""
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
            found_behind = [one for one in found if one[0].document > after]
        else:
            found.sort(key=lambda one: _when(one[0]), reverse=True)
            last = read_cursor(after) if after else None
            found_behind = [one for one in found if last is None or _when(one[0]) < last]
        page = found_behind[:limit]
        following = None
        if page and len(found_behind) > limit:
            end = page[-1][0]
            following = end.document if self._order == "name" else cursor_of(*_when(end))
        return DocumentPage(documents=[shown(*one) for one in page], total=len(found), following=following)

    async def _asked(self, after: str, limit: int) -> DocumentPage:
        """A hook is asked about each; numbers say only what was found."""
        documents: list[Document] = []
        asked, cursor, end = 0, after, ""
        where = self._where() if self._search or self._kind is not None else None
        while True:
            # No more at once than the page has room for: so the page ends where what was asked about does.
            listing = await self._list("", cursor, min(limit - len(documents), MAX_ASKED - asked), where)
            levels = await self._sight.of([info.document for info in listing.documents])
            asked += len(levels)
            pairs = zip(listing.documents, levels, strict=True)
            allowed = [(number, info, level) for number, (info, level) in enumerate(pairs, 1) if level is not None]
            documents += [shown(info, level) for _, info, level in allowed]
            following = listing.following
            if following is not None and allowed:
                # The page is to end with what it shows: a cursor names a document (DO1).
                number = allowed[-1][0]
                end = (
                    following
                    if number == len(levels)
                    else (await self._list("", cursor, number, where)).following or ""
                )
            if following is None or len(documents) >= limit or asked >= MAX_ASKED:
                return DocumentPage(
                    documents=documents, total=len(documents), following=None if following is None else end or following
                )
            cursor = following
