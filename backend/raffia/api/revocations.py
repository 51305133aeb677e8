"""`POST /api/revocations`: revoke a user's tokens, one token, or the links to a document.

Rules (tests quote these ids):
    RA1  Revoking a user or a token needs `admin` on `*`; revoking the links to a document needs `admin` on that
         document or on `*`. A hook is called with the document `*`, which is not a valid document id. Links to a
         document that does not exist are refused, or an admin of a pattern could fill the list with invented names.
    RA2  200 means that the revocation is durable. After 503 it may apply on this replica without being stored yet; send
         it again to be sure.
    RA3  A page of another origin is refused as it is for WebSockets, whatever cookies it sends.
"""

from __future__ import annotations

import contextlib
from typing import Annotated

from fastapi import APIRouter, Depends

from raffia.api.access import Caller
from raffia.api.body import json_body, json_of
from raffia.api.dependencies import CallerDep, RaffiaDep
from raffia.api.errors import refusals
from raffia.api.models import NewRevocation, Revocation
from raffia.embed import Raffia
from raffia.errors import DocumentDeletedError, ForbiddenError, JournalUnavailableError, MalformedError
from raffia.types import Access, DocumentId, Revoked, document_id

EVERYTHING = DocumentId("*")


router = APIRouter(prefix="/api", tags=["revocations"])


@router.post("/revocations", responses=refusals(413), openapi_extra=json_body(NewRevocation))
async def revoke(
    raffia: RaffiaDep, caller: CallerDep, asked: Annotated[NewRevocation, Depends(json_of(NewRevocation))]
) -> Revocation:
    """Revoke a user's tokens, one token, or the links to a document."""
    kind, subject = _read(asked)
    await _check_admin(raffia, caller, kind, subject)
    if kind is Revoked.LINKS:
        await _check_exists(raffia, DocumentId(subject))
    ended = await raffia.revocations.revoke(kind, subject)
    if kind is Revoked.LINKS:
        # Remove the links themselves as well (LI3 of links.py): revocations are not kept for ever.
        with contextlib.suppress(ForbiddenError, DocumentDeletedError):  # there is no such document
            await raffia.hub.journal.links.reset(DocumentId(subject))
    return Revocation(kind=kind.value, subject=subject, ended=ended)  # type: ignore[arg-type]


def _read(asked: NewRevocation) -> tuple[Revoked, str]:
    given = [
        (kind, subject)
        for kind, subject in (
            (Revoked.USER, asked.user),
            (Revoked.TOKEN, asked.token),
            (Revoked.LINKS, asked.links),
        )
        if subject is not None
    ]
    if len(given) != 1:
        raise MalformedError(f"send exactly one of user, token and links, not {len(given)} of them")
    if given[0][0] is Revoked.LINKS:
        document_id(given[0][1])
    return given[0]


async def _check_exists(raffia: Raffia, document: DocumentId) -> None:
    """Check that there is, or was, such a document; pass if that cannot be checked now, since a revocation is urgent.

    Raises:
        ForbiddenError: it never existed, and is not open here.
    """
    if document in raffia.hub.rooms:
        return
    try:
        info = await raffia.hub.journal.directory.info(document)
    except JournalUnavailableError:
        return
    if info is None:
        raise ForbiddenError(f"there is no document {document}, and no link to it")


async def _check_admin(raffia: Raffia, caller: Caller, kind: Revoked, subject: str) -> None:
    """Check that the caller may revoke this (RA1).

    Raises:
        ForbiddenError, UnauthenticatedError: the caller may not.
        AuthUnavailableError: that cannot be decided at the moment.
    """
    documents = [EVERYTHING] if kind is not Revoked.LINKS else [DocumentId(subject), EVERYTHING]
    for document in documents:
        try:
            grant = await raffia.authorizer.grant(caller.handshake, caller.token, document)
        except ForbiddenError:
            continue
        if grant.access >= Access.ADMIN:
            return
    raise ForbiddenError("revoking needs admin on *, or for the links to a document admin on that document")
