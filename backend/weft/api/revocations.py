"""`POST /api/revocations`: take back a user's tokens, one token, or the links to a document.

Rules (tests quote these ids):
    RA1  A user and a token can be revoked with `admin` on `*`; the links to a document with `admin` on that document or
         on `*`. A hook is asked for the document `*`, which no document is called.
    RA2  The answer 200 means that it is durable. 503 means that it counts on this replica and is not stored yet: it is
         when the journal is back; ask again to be sure.
    RA3  A page of another origin is refused as at the sockets, whatever cookies it brings.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weft.embed import Weft
from weft.errors import ForbiddenError, MalformedError, WeftError
from weft.hooks import Handshake
from weft.types import MAX_DOCUMENT_ID, MAX_USER, Access, DocumentId, Revoked, document_id

EVERYTHING = DocumentId("*")
MAX_BODY_BYTES = 4096


class RevocationRequest(BaseModel):
    """What to revoke; exactly one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user: str | None = Field(None, min_length=1, max_length=MAX_USER)
    token: str | None = Field(None, min_length=1, max_length=MAX_USER)
    links: str | None = Field(None, min_length=1, max_length=MAX_DOCUMENT_ID)


def revocations_router(weft: Weft) -> APIRouter:
    """The router of one Weft."""
    router = APIRouter(prefix="/api", tags=["revocations"])

    @router.post("/revocations")
    async def revoke(request: Request) -> JSONResponse:
        try:
            kind, subject = _read(await _body(request))
            await _check_admin(weft, request, kind, subject)
            ended = await weft.revocations.revoke(kind, subject)
        except WeftError as error:
            weft.metrics.refusals[error.reason] += 1
            return _refusal(error)
        return JSONResponse({"kind": kind.value, "subject": subject, "ended": ended})

    return router


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise MalformedError(f"a revocation has at most {MAX_BODY_BYTES} bytes")
    return body


def _read(body: bytes) -> tuple[Revoked, str]:
    try:
        asked = RevocationRequest.model_validate_json(body)
    except ValidationError as error:
        where = ", ".join(".".join(map(str, item["loc"])) or "body" for item in error.errors())
        raise MalformedError(f"not a revocation ({where}); send one of user, token and links, a text") from None
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


async def _check_admin(weft: Weft, request: Request, kind: Revoked, subject: str) -> None:
    """Let administrators pass (RA1, RA3).

    Raises:
        ForbiddenError, UnauthenticatedError, AuthUnavailableError: everybody else.
    """
    handshake = Handshake.of(request.scope)
    weft.gate.check_origin(handshake, request.scope["scheme"])
    documents = [EVERYTHING] if kind is not Revoked.LINKS else [DocumentId(subject), EVERYTHING]
    for document in documents:
        try:
            grant = await weft.gate.grant(handshake, handshake.bearer, document)
        except ForbiddenError:
            continue
        if grant.access >= Access.ADMIN:
            return
    raise ForbiddenError("revoking needs admin: on *, or for its links on the document")


def _refusal(error: WeftError) -> JSONResponse:
    headers: dict[str, Any] = {}
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    elif error.http_status == 503:
        headers["retry-after"] = "1"
    return JSONResponse({"reason": error.reason, "message": str(error)}, error.http_status, headers=headers)
