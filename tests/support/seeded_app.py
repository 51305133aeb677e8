"""An app for tests whose documents come from a slow database; run it with uvicorn and `RAFFIA_REDIS`.

Each call builds the content with a client id of its own, so a document that is seeded twice has it twice. `/close` ends
a user's sessions, and `/present` lists who is there.
"""

from __future__ import annotations

import asyncio
import json
import random

from pycrdt import Doc, Text
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from raffia import Access, DocumentId, Grant, Handshake, Raffia


class Users:
    """A host's middleware: it puts the user of the cookie into the scope."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cookies = dict(scope.get("headers") or []).get(b"cookie", b"").decode()
        await self.app({**scope, "user": cookies.removeprefix("user=") or None}, receive, send)


async def authorize(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
    """The user that the host's middleware found, who must show a token as well, as every client without an Origin."""
    return Grant(Access.EDIT, user=handshake.scope["user"]) if handshake.scope.get("user") else None


async def on_load(document: DocumentId) -> bytes:
    """A slow database."""
    await asyncio.sleep(random.uniform(0.0, 0.2))
    doc: Doc[Text] = Doc()
    doc["t"] = Text(f"<content of {document}>")
    return doc.get_update()


raffia = Raffia(authorize=authorize, on_load=on_load)


async def ready(_request: Request) -> JSONResponse:
    """Readiness."""
    return JSONResponse({}, 200 if raffia.unready_reason() is None else 503)


async def close(request: Request) -> JSONResponse:
    """End a user's sessions in a document."""
    await raffia.document(request.query_params["document"]).close(request.query_params["user"], "bye")
    return JSONResponse({})


async def present(request: Request) -> JSONResponse:
    """The users who are present in a document."""
    people = await raffia.document(request.query_params["document"]).present()
    return JSONResponse(json.loads(json.dumps([[person.user, person.state] for person in people])))


app = Users(
    Starlette(
        routes=[
            Route("/ready", ready),
            Route("/close", close),
            Route("/present", present),
            Mount("/collab", raffia),
        ],
        lifespan=raffia.lifespan,
    )
)
