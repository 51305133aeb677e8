"""`/api/documents/{id}/files` and `/api/files/...`: images in documents and boards.

Rules (tests quote these ids):
    FI1  The body is the file itself. Its type is recognised from its bytes (images.py); anything that is not a
         supported image is refused with 415.
    FI2  A file has at most `max_file_bytes`; bytes beyond that are not read. At most `AT_ONCE` uploads run at a time,
         `EACH` of them for one person (people.py), none longer than `WITHIN_S` or slower than `PACE`, which limits how
         long slow uploads can block those of others.
    FI3  Reading a file needs `read` on its document, uploading needs `edit`.
    FI4  A file never changes, so browsers may cache it for ever. Nothing in it can run: it is served with `nosniff`, in
         a sandbox, and only to pages of this origin. It is streamed as the client reads it (FL7 of store.py).
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse

from raffia.api.access import NO_ACCESS, id_of
from raffia.api.body import Pace, read_body
from raffia.api.dependencies import ID_SCHEMA, CallerDep, DocumentDep, FilesDep, RaffiaDep
from raffia.api.document_info import info_of
from raffia.api.errors import refusals
from raffia.api.models import Uploaded
from raffia.api.turns import Turns
from raffia.errors import ForbiddenError, UnsupportedTypeError
from raffia.files.images import MIME_TYPES, read_image
from raffia.files.store import is_name, name_of
from raffia.types import Access

AT_ONCE = 16
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
    """Upload an image to a document."""
    grant = await caller.grant(document, Access.EDIT)
    await info_of(raffia.hub.journal, document)
    turns: Turns = request.app.state.upload_turns
    async with turns.of(caller.person(grant)):
        data = await read_body(request, raffia.settings.max_file_bytes, WITHIN_S, PACE)
        image = read_image(data)
        if image is None:
            kinds = ", ".join(MIME_TYPES)
            raise UnsupportedTypeError(f"these {len(data)} bytes are not a supported image; send {kinds}")
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


@router.get(
    "/files/{document}/{file}",
    response_class=Response,
    responses={**refusals(), 200: {"description": "The file.", "content": _DOWNLOAD}},
)
async def download(
    raffia: RaffiaDep,
    files: FilesDep,
    caller: CallerDep,
    document: Annotated[str, Path(json_schema_extra=ID_SCHEMA)],
    file: str,
) -> Response:
    """Download a file of a document."""
    name = id_of(document)
    await caller.grant(name)
    await info_of(raffia.hub.journal, name)
    size_bytes = await files.size(name, file) if is_name(file) else None
    if size_bytes is None:
        raise ForbiddenError(NO_ACCESS)
    await files.check(name, file)
    return StreamingResponse(
        files.parts(name, file, size_bytes),
        media_type=MIME_TYPES[file.rpartition(".")[2]],
        headers={**HEADERS, "content-length": str(size_bytes)},
    )
