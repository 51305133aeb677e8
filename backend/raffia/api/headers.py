"""Headers of every answer of REST, whoever makes it.

Rules (tests quote these ids):
    HE1  What REST answers is for whoever asked: nothing on the way and no browser keeps it, but for files, which say so
         themselves (FI4 of store.py).
    HE2  It is what its type says, and is no part of a page of another origin.
"""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from raffia.api.errors import PREFIX

HEADERS: Final = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}


class RestHeaders:
    """Middleware that sets them."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or PREFIX not in scope["path"]:
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, with_headers)
