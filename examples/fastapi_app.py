"""Raffia under /collab of a FastAPI app that has its own lifespan and its own people.

Run it: uvicorn --app-dir examples fastapi_app:app --ws raffia.sockets.server.protocol:RaffiaWebSocketProtocol
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from raffia.auth.hooks import Handshake
from raffia.embed import Raffia
from raffia.errors import UnauthenticatedError
from raffia.types import Access, DocumentId, Grant

PEOPLE = {"token-of-ana": "ana", "token-of-josé": "josé"}


async def authorize(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
    """Everybody reads what is under public/; people edit what is under their own name; the rest is not there."""
    user = PEOPLE.get(token or "")
    if user is None:
        raise UnauthenticatedError("sign in first")
    if document.startswith(f"notes-of-{user}/"):
        return Grant(Access.EDIT, user=user)
    return Grant(Access.READ, user=user) if document.startswith("public/") else None


raffia = Raffia(authorize=authorize)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """The app's own start and stop, with Raffia's inside."""
    async with raffia:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/collab", raffia)


@app.get("/")
async def documents() -> dict[str, int]:
    """A route of the host app that looks at Raffia."""
    return {"open documents": raffia.metrics.rooms}
