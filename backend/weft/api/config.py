"""`GET /api/templates` and `GET /api/config`: what a page has to know before it knows anything."""

from __future__ import annotations

from fastapi import APIRouter, Request

from weft import __version__
from weft.api.access import Visitor
from weft.api.errors import refusals
from weft.api.models import Config, Limits, Template
from weft.embed import Weft
from weft.files import FileStore, NoFiles
from weft.seeds import SCHEMA, SEEDS


def config_router(weft: Weft, files: FileStore) -> APIRouter:
    """The router of one Weft."""
    router = APIRouter(prefix="/api", tags=["config"])

    @router.get("/config", responses=refusals())
    async def config(request: Request) -> Config:
        """Whether tokens are needed, what is taken, which schema documents have."""
        Visitor(weft, request)
        return Config(
            auth="open" if weft.is_open else "token",
            limits=Limits(max_file_bytes=weft.settings.max_file_bytes),
            version=__version__,
            uploads=not isinstance(files, NoFiles),
            schema=SCHEMA,
        )

    @router.get("/templates", responses=refusals())
    async def templates(request: Request) -> list[Template]:
        """What a new document can begin with."""
        Visitor(weft, request)
        return [
            Template(id=seed.id, kind=seed.kind, title=seed.title, description=seed.description)  # type: ignore[arg-type]
            for seed in SEEDS
        ]

    return router
