"""Raffia mounted at /collab in a FastAPI app with its own lifespan and its own users.

Run with: uvicorn --app-dir examples fastapi_app:app --ws raffia.sockets.server.protocol:RaffiaWebSocketProtocol
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from raffia import Access, DocumentId, Grant, Handshake, Raffia, UnauthenticatedError

USERS = {"token-of-ana": "ana", "token-of-josé": "josé"}


async def authorize(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
    """Users read documents below public/ and edit documents below their own name; all others do not exist for them."""
    user = USERS.get(token or "")
    if user is None:
        raise UnauthenticatedError("sign in first")
    if document.startswith(f"notes-of-{user}/"):
        return Grant(Access.EDIT, user=user)
    return Grant(Access.READ, user=user) if document.startswith("public/") else None


raffia = Raffia(authorize=authorize)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """The app's own startup and shutdown, including Raffia's."""
    async with raffia:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/collab", raffia)


@app.get("/")
async def documents() -> dict[str, int]:
    """A route of the host app that reads Raffia's metrics."""
    return {"open documents": raffia.metrics.rooms}
