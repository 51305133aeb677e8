"""`POST /api/revocations`: take back a user's tokens, one token, or the links to a document.

Rules (tests quote these ids):
    RA1  A user and a token can be revoked with `admin` on `*`; the links to a document with `admin` on that document or
         on `*`. A hook is asked for the document `*`, which no document is called.
    RA2  The answer 200 means that it is durable. 503 means that it counts on this replica and is not stored yet: it is
         when the journal is back; ask again to be sure.
    RA3  A page of another origin is refused as at the sockets, whatever cookies it brings.
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
from raffia.errors import DocumentDeletedError, ForbiddenError, MalformedError
from raffia.types import Access, DocumentId, Revoked, document_id

EVERYTHING = DocumentId("*")


router = APIRouter(prefix="/api", tags=["revocations"])


@router.post("/revocations", responses=refusals(413), openapi_extra=json_body(NewRevocation))
async def revoke(
    raffia: RaffiaDep, caller: CallerDep, asked: Annotated[NewRevocation, Depends(json_of(NewRevocation))]
) -> Revocation:
    """Take back a user's tokens, one token, or the links to a document."""
    kind, subject = _read(asked)
    await _check_admin(raffia, caller, kind, subject)
    ended = await raffia.revocations.revoke(kind, subject)
    if kind is Revoked.LINKS:
        # The links themselves go too (LI3 of links.py), since the revocation will be forgotten one day.
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
        raise MalformedError(f"{len(given)} things to revoke; send exactly one of user, token and links")
    if given[0][0] is Revoked.LINKS:
        document_id(given[0][1])
    return given[0]


async def _check_admin(raffia: Raffia, caller: Caller, kind: Revoked, subject: str) -> None:
    """Let administrators pass (RA1, RA3).

    Raises:
        ForbiddenError, UnauthenticatedError, AuthUnavailableError: everybody else.
    """
    documents = [EVERYTHING] if kind is not Revoked.LINKS else [DocumentId(subject), EVERYTHING]
    for document in documents:
        try:
            grant = await raffia.authorizer.grant(caller.handshake, caller.token, document)
        except ForbiddenError:
            continue
        if grant.access >= Access.ADMIN:
            return
    raise ForbiddenError("revoking needs admin: on *, or for its links on the document")
