"""Weft under /collab of a FastAPI app that has its own lifespan and its own people.

Run it: uvicorn --app-dir examples fastapi_app:app --ws weft.server.protocol:WeftWebSocketProtocol
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from weft.embed import Weft
from weft.errors import UnauthenticatedError
from weft.hooks import Handshake
from weft.types import Access, DocumentId, Grant

PEOPLE = {"token-of-ana": "ana", "token-of-josé": "josé"}


async def authorize(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
    """Everybody reads what is under public/; people edit what is under their own name; the rest is not there."""
    user = PEOPLE.get(token or "")
    if user is None:
        raise UnauthenticatedError("sign in first")
    if document.startswith(f"notes-of-{user}/"):
        return Grant(Access.EDIT, user=user)
    return Grant(Access.READ, user=user) if document.startswith("public/") else None


weft = Weft(authorize=authorize)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """The app's own start and stop, with Weft's inside."""
    async with weft:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/collab", weft)


@app.get("/")
async def documents() -> dict[str, int]:
    """A route of the host app that looks at Weft."""
    return {"open documents": weft.metrics.rooms}
