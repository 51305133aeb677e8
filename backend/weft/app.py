"""The whole server as one FastAPI app: sockets, health, metrics, the browser app.

Rules (tests quote these ids):
    P1  The app's lifespan is Weft's (`app.state.weft`). A server that opens it itself turns its own lifespan off.
    P2  The page asks no other host for anything; its headers forbid it.
    P3  A WebSocket does not stand in FastAPI's middleware for as long as it lives: that is 4 KB for each connection.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from weft import __version__
from weft.api.headers import RestHeaders
from weft.api.health import health_router
from weft.api.metrics import metrics_router
from weft.api.pages import add_pages
from weft.api.paths import keep_slashes
from weft.api.rest import add_rest
from weft.auth import browser_origin
from weft.embed import Weft
from weft.hooks import Authorize, load_hook
from weft.journal import Journal
from weft.settings import Settings, load_settings


class WeftApp(FastAPI):
    """FastAPI for requests; WebSockets go past its middleware to Weft's own router (P3)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection or request."""
        if scope["type"] == "websocket":
            await self.state.weft(scope, receive, send)
        else:
            await super().__call__(keep_slashes(scope), receive, send)


def create_app(
    settings: Settings | None = None, *, journal: Journal | None = None, authorize: Authorize | None = None
) -> FastAPI:
    """Build the server.

    Args:
        settings: read from `WEFT_*` variables when not given.
        journal: see `Weft`.
        authorize: the hook that grants access; by default what `settings.authorize` names, and without that open mode.

    Raises:
        SettingsError: settings that cannot work.
    """
    settings = settings or load_settings()
    if authorize is None and settings.authorize is not None:
        authorize = load_hook(settings.authorize)
    weft = Weft(authorize=authorize, settings=settings, journal=journal)
    # FastAPI's own documentation pages load their scripts from another host (P2).
    # And it would send requests with a slash too many to where it thinks that this server is: behind a proxy that ends
    # TLS perhaps to one without, token and all.
    app = WeftApp(
        title="Weft",
        version=__version__,
        lifespan=weft.lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.weft = weft
    app.add_api_route("/sync/{document:path}", _upgrade_required, include_in_schema=False)
    app.add_api_route("/sync", _upgrade_required, include_in_schema=False)
    app.include_router(health_router(weft))
    add_rest(app, weft)
    if settings.metrics:
        app.include_router(metrics_router(weft))
    if settings.page:
        add_pages(app)
    app.add_middleware(RestHeaders)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[browser_origin(origin) for origin in settings.allowed_origins],
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type"],
        )
    return app


async def _upgrade_required(_request: Request) -> Response:
    return PlainTextResponse(
        "This is a WebSocket endpoint: open it with y-websocket or the Hocuspocus provider.\n",
        426,
        headers={"upgrade": "websocket", "connection": "upgrade"},
    )
