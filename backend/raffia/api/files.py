"""`/api/documents/{id}/files` and `/api/files/...`: images of documents and boards.

Rules (tests quote these ids):
    FI1  The body is the file, as it is. What it is, its bytes say (images.py); what is no image is refused with 415.
    FI2  `max_file_bytes` are taken at most; more are not even read. At most `AT_ONCE` are taken at a time, `EACH` of
         one person, and none for longer than `WITHIN_S` or slower than `PACE`: a slow upload keeps nobody else from
         uploading. A person is a user; without a name it is a token, such as a link, and without a token id it is an
         address as address_limits.py counts it.
    FI3  Whoever may read the document may read its files; uploading needs `edit`.
    FI4  A file never changes, so it may be kept for ever by the browser of whoever got it. It is sent so that nothing
         in it runs: its own type and no other (`nosniff`), in a sandbox, to pages of this origin alone; and part by
         part, as it is taken (FL7 of store.py).
"""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from raffia.api.access import NO_ACCESS, id_of
from raffia.api.body import Pace, read_body
from raffia.api.dependencies import CallerDep, DocumentDep, FilesDep, RaffiaDep
from raffia.api.document_info import info_of
from raffia.api.errors import refusals
from raffia.api.models import Uploaded
from raffia.api.turns import Turns
from raffia.auth.address_limits import counted
from raffia.errors import ForbiddenError, UnsupportedTypeError
from raffia.files.images import MIME_TYPES, read_image
from raffia.files.store import is_name, name_of
from raffia.types import Access, Grant

AT_ONCE = 8
EACH = 3
WITHIN_S = 300.0
PACE = Pace(64 * 1024, 15.0)  # 4 KiB/s, over a time that spans the gaps of mobile networks
HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "private, max-age=31536000, immutable",
}
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {mime: {"schema": {"type": "string", "format": "binary"}} for mime in MIME_TYPES.values()},
    }
}
_DOWNLOAD = {mime: {"schema": {"type": "string", "format": "binary"}} for mime in MIME_TYPES.values()}

router = APIRouter(prefix="/api", tags=["files"])


@router.post("/documents/{document}/files", status_code=201, responses=refusals(413, 415), openapi_extra=_UPLOAD)
async def upload(
    request: Request, raffia: RaffiaDep, files: FilesDep, caller: CallerDep, document: DocumentDep
) -> Uploaded:
    """Keep an image with a document."""
    grant = await caller.grant(document, Access.EDIT)
    await info_of(raffia.hub.journal, document)
    turns: Turns = request.app.state.upload_turns
    async with turns.of(person_of(grant, caller.handshake.address)):
        data = await read_body(request, raffia.settings.max_file_bytes, WITHIN_S, PACE)
        image = read_image(data)
        if image is None:
            kinds = ", ".join(MIME_TYPES)
            raise UnsupportedTypeError(f"these {len(data)} bytes are no image that is taken; send {kinds}")
        file = name_of(data, image.extension)
        await files.put(document, file, data)
    root = request.scope.get("root_path", "").rstrip("/")
    return Uploaded(
        url=f"{root}/api/files/{quote(document, safe='')}/{file}",
        mime_type=image.mime_type,
        size_bytes=len(data),
        width=image.width,
        height=image.height,
    )


def person_of(grant: Grant, address: str) -> str:
    """Whom an upload counts for (FI2)."""
    if grant.user is not None:
        return f"user {grant.user}"
    token = grant.claims.get("jti")
    if token is not None:
        return f"token {token}"
    return f"address {counted(address) or 'local'}"


@router.get(
    "/files/{document}/{file}",
    response_class=Response,
    responses={**refusals(), 200: {"description": "The file.", "content": _DOWNLOAD}},
)
async def download(raffia: RaffiaDep, files: FilesDep, caller: CallerDep, document: str, file: str) -> Response:
    """The file."""
    name = id_of(document)
    await caller.grant(name)
    await info_of(raffia.hub.journal, name)
    size_bytes = await files.size(name, file) if is_name(file) else None
    if size_bytes is None:
        raise ForbiddenError(NO_ACCESS)
    return StreamingResponse(
        files.parts(name, file, size_bytes),
        media_type=MIME_TYPES[file.rpartition(".")[2]],
        headers={**HEADERS, "content-length": str(size_bytes)},
    )
