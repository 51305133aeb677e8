"""Raffia mounted at /collab in a Starlette app, with a hook that is a plain function and may block.

Run with: uvicorn --app-dir examples starlette_app:app --ws raffia.sockets.server.protocol:RaffiaWebSocketProtocol
"""

from http.cookies import SimpleCookie

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from raffia import Access, DocumentId, Grant, Handshake, Raffia

SESSIONS = {"s3cr3t": "zoë"}


def authorize(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
    """Sign in with the app's cookie, or with its value as a token. Runs in a thread, so it may query a database."""
    cookie = SimpleCookie(handshake.headers.get("cookie", "")).get("session")
    user = SESSIONS.get(token or (cookie.value if cookie else ""))
    return Grant(Access.EDIT, user=user) if user else None


async def ready(_request: Request) -> JSONResponse:
    """Readiness check for a load balancer."""
    reason = raffia.unready_reason()
    return JSONResponse({"ready": reason is None, "reason": reason}, 200 if reason is None else 503)


raffia = Raffia(authorize=authorize)
app = Starlette(routes=[Route("/ready", ready), Mount("/collab", raffia)], lifespan=raffia.lifespan)
