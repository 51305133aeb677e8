"""The browser app's pages and files.

Rules (tests quote these ids):
    PG2  The page loads nothing from other hosts; its headers forbid it. Scripts come from this server and are never
         inline; styles may be inline, because the editors write them into the page.
    PG4  The home page, documents and boards are one HTML page, whose URL determines what it shows.
    PG5  Files under `assets/` and `excalidraw/` have a hash of their content in their names and are cached for ever.
         If a file has a `.gz` copy and the browser accepts gzip, the copy is sent.
    PG6  Behind a proxy that serves Raffia under a path, `root_path`, the page's links begin with that path.
    PG7  `sw.js`, which stores the app for offline use, is served next to the pages, because its path determines its
         scope. Browsers revalidate it each time.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

APP = Path(__file__).parents[1] / "static" / "app"
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "font-src 'self'; img-src 'self' data: blob:; connect-src 'self'; worker-src 'self'; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
WORKER_HEADERS = {
    "content-security-policy": "default-src 'none'; connect-src 'self'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
_REFUSED = re.compile(r"q\s*=\s*0(\.0*)?")
FOR_EVER = "public, max-age=31536000, immutable"


class AppFiles(StaticFiles):
    """The built files, compressed if there is a compressed copy (PG5)."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer one request."""
        response = await super().get_response(path, scope)
        if response.status_code == 404:
            raise HTTPException(404)
        headers = Headers(scope=scope)
        if isinstance(response, FileResponse) and takes_gzip(headers.get("accept-encoding", "")):
            packed, found = await to_thread.run_sync(self.lookup_path, f"{path}.gz")
            if found is not None:
                response = FileResponse(
                    packed, stat_result=found, media_type=response.media_type, headers={"content-encoding": "gzip"}
                )
                if self.is_not_modified(response.headers, headers):
                    response = NotModifiedResponse(response.headers)
        response.headers["vary"] = "accept-encoding"
        response.headers["x-content-type-options"] = "nosniff"
        response.headers["cache-control"] = FOR_EVER if path.startswith(("assets/", "excalidraw/")) else "no-cache"
        return response


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding header accepts gzip."""
    for one in accepted.lower().split(","):
        coding, *parameters = (part.strip() for part in one.split(";"))
        if coding in {"gzip", "x-gzip"}:
            return not any(_REFUSED.fullmatch(part) for part in parameters)
    return False


def add_pages(app: FastAPI) -> None:
    """Serve the browser app: `/`, `/d/…`, `/b/…`, and its files under `/static/app`."""
    for path in ("/", "/d/{document:path}", "/b/{document:path}"):
        app.add_api_route(path, _page, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/sw.js", _worker, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/static/app", AppFiles(directory=APP, check_dir=False), name="app")


async def _page(request: Request) -> Response:
    try:
        page = await to_thread.run_sync((APP / "index.html").read_text)
    except FileNotFoundError:
        return PlainTextResponse("The app is not built; run `make setup` in the source tree.\n", 503)
    root = html.escape(request.scope.get("root_path", "").rstrip("/"))
    page = page.replace("<html ", f'<html data-root="{root}" ', 1).replace('="./', f'="{root}/static/app/')
    return HTMLResponse(page, headers=PAGE_HEADERS)


async def _worker() -> Response:
    if not await to_thread.run_sync((APP / "sw.js").is_file):
        raise HTTPException(404)
    return FileResponse(APP / "sw.js", media_type="text/javascript", headers=WORKER_HEADERS)
