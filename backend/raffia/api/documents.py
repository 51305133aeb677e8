"""`/api/documents`: list, create, rename, duplicate, delete and restore.

Rules (tests quote these ids):
    DO2  The server chooses ids: 16 random characters, prefixed with the folder in the request (for a copy, that of the
         original), or else with a folder in which the caller may write.
    DO3  When a request succeeds, its change is durable.
    DO4  Deleting ends live sessions with 4404. It can be undone as long as the journal keeps the content.
    DO5  A copy is squashed, has a title of its own, and gets copies of the files.
    DO6  New documents and copies are charged to the person who makes them (quota.py). At most `COPIES_AT_ONCE` copies
         are made at a time, one for each person.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from functools import partial
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response

from raffia.api.access import Caller
from raffia.api.body import json_body, json_of
from raffia.api.dependencies import CallerDep, DocumentDep, FilesDep, RaffiaDep
from raffia.api.document_info import info_of, shown
from raffia.api.errors import refusals
from raffia.api.listing import ListingQuery
from raffia.api.models import Document, DocumentPage, Kind, NewDocument, Rename
from raffia.api.quota import MakingQuota
from raffia.api.turns import Turns
from raffia.crdt.meta import set_meta
from raffia.errors import ForbiddenError, JournalUnavailableError, MalformedError
from raffia.rooms import editing
from raffia.seeds import first_update, seed_of
from raffia.types import MAX_TITLE, Access, DocumentId, Grant, document_id

SETTLE_S = 2.0
COPIES_AT_ONCE = 4
COPY = " (copy)"

router = APIRouter(prefix="/api", tags=["documents"])


@router.get("/documents", responses=refusals())
async def list_documents(
    raffia: RaffiaDep,
    caller: CallerDep,
    *,
    search: Annotated[str, Query(max_length=MAX_TITLE, description="Text that the title contains.")] = "",
    kind: Annotated[Kind | None, Query()] = None,
    after: Annotated[str, Query(max_length=300, description="`following` of the previous page.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    deleted: Annotated[bool, Query(description="List deleted documents that can be restored instead.")] = False,
    order: Annotated[Literal["edited", "name"], Query()] = "edited",
) -> DocumentPage:
    """The documents you may read, newest first or by id."""
    visibility = await caller.visibility()
    query = ListingQuery(raffia.hub.journal, visibility, search, kind, deleted=deleted, order=order)
    return await query.page(after, limit)


@router.post("/documents", status_code=201, responses=refusals(413), openapi_extra=json_body(NewDocument))
async def make_document(
    request: Request,
    raffia: RaffiaDep,
    caller: CallerDep,
    asked: Annotated[NewDocument, Depends(json_of(NewDocument))],
) -> Document:
    """Create a document, blank or from a template."""
    seed = seed_of(asked.template, asked.kind)
    folder = f"{asked.folder.rstrip('/')}/" if asked.folder else await caller.folder()
    document = new_id(folder)
    grant = await caller.grant(document, Access.EDIT)
    quota: MakingQuota = request.app.state.quota
    quota.charge(caller.person(grant), 0)
    title = asked.title or (seed.title if seed is not None else "")
    update = first_update(asked.kind, title, seed)
    await editing.change(raffia.hub, document, lambda _parts: update, author=grant.user)
    return shown(await info_of(raffia.hub.journal, document), grant.access)


@router.get("/documents/{document}", responses=refusals())
async def get_document(raffia: RaffiaDep, caller: CallerDep, document: DocumentDep) -> Document:
    """One document, deleted or not."""
    grant = await caller.grant(document)
    return shown(await info_of(raffia.hub.journal, document, deleted=True), grant.access)


@router.patch("/documents/{document}", responses=refusals(413), openapi_extra=json_body(Rename))
async def rename_document(
    raffia: RaffiaDep, caller: CallerDep, document: DocumentDep, asked: Annotated[Rename, Depends(json_of(Rename))]
) -> Document:
    """Rename a document; everyone who has it open sees the new title at once."""
    grant = await caller.grant(document, Access.EDIT)
    await info_of(raffia.hub.journal, document)
    await editing.change(raffia.hub, document, partial(set_meta, fields={"title": asked.title}), author=grant.user)
    return shown(await info_of(raffia.hub.journal, document), grant.access)


@router.delete("/documents/{document}", status_code=204, response_class=Response, responses=refusals())
async def delete_document(raffia: RaffiaDep, caller: CallerDep, document: DocumentDep) -> None:
    """Delete a document; it can be restored for 30 days."""
    await caller.grant(document, Access.ADMIN)
    hub = raffia.hub
    await info_of(hub.journal, document, deleted=True)
    room = hub.rooms.get(document)
    if room is not None and not room.is_lost:
        # A restore should bring back what people in the document see now.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_S):
                await room.settled()
    await hub.journal.directory.delete(document)
    hub.deleted(document)


@router.post("/documents/{document}/restore", responses=refusals())
async def restore_document(raffia: RaffiaDep, caller: CallerDep, document: DocumentDep) -> Document:
    """Restore a deleted document."""
    grant = await caller.grant(document, Access.ADMIN)
    await info_of(raffia.hub.journal, document, deleted=True)
    await raffia.hub.journal.directory.restore(document)
    return shown(await info_of(raffia.hub.journal, document), grant.access)


@router.post("/documents/{document}/duplicate", status_code=201, responses=refusals(413))
async def duplicate_document(
    request: Request, raffia: RaffiaDep, files: FilesDep, caller: CallerDep, document: DocumentDep
) -> Document:
    """Create a copy of the current content, including files."""
    await caller.grant(document)
    info = await info_of(raffia.hub.journal, document)
    to, grant = await _place_of_copy(caller, document)
    title = (document if info.title is None else info.title)[: MAX_TITLE - len(COPY)]
    moved = (f"/api/files/{quote(document, safe='')}/", f"/api/files/{quote(to, safe='')}/")
    person = caller.person(grant)
    quota: MakingQuota = request.app.state.quota
    turns: Turns = request.app.state.copy_turns
    fields: dict[str, str | int] = {"title": f"{title}{COPY}".strip()}
    async with turns.of(person):
        quota.charge(person, info.snapshot_bytes + info.tail_bytes)
        made = await editing.copy_of(raffia.hub, document, fields, author=grant.user, moved=moved)
        try:
            await files.copy(document, to)
            await editing.change(raffia.hub, to, made, author=grant.user)
        except JournalUnavailableError:
            raise  # the copy may still be stored later, and then it needs its files
        except Exception:
            await files.remove(to)
            raise
    return shown(await info_of(raffia.hub.journal, to), grant.access)


async def _place_of_copy(caller: Caller, document: DocumentId) -> tuple[DocumentId, Grant]:
    """The id of a copy and the caller's grant for it: next to the original, or else where the caller may write."""
    folder, slash, _ = document.rpartition("/")
    try:
        to = new_id(folder + slash)
        return to, await caller.grant(to, Access.EDIT)
    except (ForbiddenError, MalformedError):  # the caller may not write there, or the id would be too long
        to = new_id(await caller.folder())
        return to, await caller.grant(to, Access.EDIT)


def new_id(folder: str) -> DocumentId:
    """A new random id in a folder (DO2).

    Raises:
        MalformedError: the folder cannot be part of an id.
    """
    name = ""
    while not name[:1].isalnum():
        name = secrets.token_urlsafe(12)
    return document_id(f"{folder}{name}")
