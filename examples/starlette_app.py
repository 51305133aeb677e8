"""Raffia under /collab of a Starlette app, with a hook that is a plain function and may block.

Run it: uvicorn --app-dir examples starlette_app:app --ws raffia.sockets.server.protocol:RaffiaWebSocketProtocol
"""

from http.cookies import SimpleCookie

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from raffia.auth.hooks import Handshake
from raffia.embed import Raffia
from raffia.types import Access, DocumentId, Grant

SESSIONS = {"s3cr3t": "zoë"}


def authorize(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
    """Sign in by the app's own cookie, or by its value as a token: this runs on a thread and may ask a database."""
    cookie = SimpleCookie(handshake.headers.get("cookie", "")).get("session")
    user = SESSIONS.get(token or (cookie.value if cookie else ""))
    return Grant(Access.EDIT, user=user) if user else None


async def ready(_request: Request) -> JSONResponse:
    """What a load balancer asks."""
    reason = raffia.unready_reason()
    return JSONResponse({"ready": reason is None, "reason": reason}, 200 if reason is None else 503)


raffia = Raffia(authorize=authorize)
app = Starlette(routes=[Route("/ready", ready), Mount("/collab", raffia)], lifespan=raffia.lifespan)
