"""The whole server as one FastAPI app: sockets, REST, health, metrics, the web app.

Rules (tests quote these ids):
    AP1  The app's lifespan is Raffia's (`app.state.raffia`). A server that enters Raffia itself turns the lifespan off.
    AP2  The web app requests nothing from other hosts, and its headers forbid it.
    AP3  WebSockets bypass FastAPI's middleware, which would cost 4 KB per open connection.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from raffia import __version__
from raffia.api import health, metrics
from raffia.api.headers import RestHeaders
from raffia.api.pages import add_pages
from raffia.api.paths import keep_slashes
from raffia.api.rest import add_rest
from raffia.auth.authorizer import browser_origin
from raffia.auth.hooks import Authorize, load_hook
from raffia.embed import Raffia
from raffia.journal import Journal
from raffia.settings import Settings, load_settings


class RaffiaApp(FastAPI):
    """FastAPI for requests; WebSockets bypass its middleware and go to Raffia's own router (AP3)."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection or request."""
        if scope["type"] == "websocket":
            await self.state.raffia(scope, receive, send)
        else:
            await super().__call__(keep_slashes(scope), receive, send)


def create_app(
    settings: Settings | None = None, *, journal: Journal | None = None, authorize: Authorize | None = None
) -> FastAPI:
    """Build the server.

    Args:
        settings: by default read from `RAFFIA_*` variables.
        journal: see `Raffia`.
        authorize: the hook that grants access; by default the one that `settings.authorize` names. B3 of embed.py says
            what happens without a hook.

    Raises:
        SettingsError: the settings are invalid.
    """
    settings = settings or load_settings()
    if authorize is None and settings.authorize is not None:
        authorize = load_hook(settings.authorize)
    raffia = Raffia(authorize=authorize, settings=settings, journal=journal)
    # FastAPI's documentation pages load their scripts from another host (AP2).
    # Its trailing-slash redirects go to the URL it believes this server has. Behind a proxy that terminates TLS, that
    # can be an `http` URL, and the client would send its token there unencrypted.
    app = RaffiaApp(
        title="Raffia",
        version=__version__,
        lifespan=raffia.lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.raffia = raffia
    app.add_api_route("/sync/{document:path}", _upgrade_required, include_in_schema=False)
    app.add_api_route("/sync", _upgrade_required, include_in_schema=False)
    app.include_router(health.router)
    add_rest(app, raffia)
    if settings.metrics:
        app.state.metrics_registry = metrics.metrics_registry(raffia)
        app.include_router(metrics.router)
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
