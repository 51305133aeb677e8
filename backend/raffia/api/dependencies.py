"""Dependencies of route functions: parts of the app, the caller, and the document."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Depends, Path, Request

from raffia.api.access import Caller, id_of
from raffia.embed import Raffia
from raffia.files.store import FileStore
from raffia.types import DOCUMENT_ID, MAX_DOCUMENT_ID, DocumentId

ID_SCHEMA: Final[dict[str, Any]] = {"pattern": f"^{DOCUMENT_ID.pattern}$", "maxLength": MAX_DOCUMENT_ID}
"""What OpenAPI says about a document id in a path; `document_of` checks it, and its message says what is wrong."""

# These are coroutines so that FastAPI calls them in the event loop and not in a thread.


async def raffia_of(request: Request) -> Raffia:
    """The server that this app belongs to."""
    raffia: Raffia = request.app.state.raffia
    return raffia


async def files_of(request: Request) -> FileStore:
    """The store for this app's uploaded files."""
    files: FileStore = request.app.state.files
    return files


async def caller_of(request: Request) -> Caller:
    """The caller; refuses requests whose Host or Origin is not allowed (AC1)."""
    return Caller(request.app.state.raffia, request)


async def document_of(document: Annotated[str, Path(json_schema_extra=ID_SCHEMA)]) -> DocumentId:
    """The document named in the path.

    Raises:
        MalformedError: not a document id.
    """
    return id_of(document)


RaffiaDep = Annotated[Raffia, Depends(raffia_of)]
FilesDep = Annotated[FileStore, Depends(files_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
DocumentDep = Annotated[DocumentId, Depends(document_of)]
