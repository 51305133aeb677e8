"""`GET /api/templates` and `GET /api/config`: what a page has to know before it knows anything."""

from __future__ import annotations

from fastapi import APIRouter, Request

from raffia import __version__
from raffia.api.access import Caller
from raffia.api.errors import refusals
from raffia.api.models import Config, Limits, Template
from raffia.embed import Raffia
from raffia.files.store import FileStore, NoFiles
from raffia.seeds import SCHEMA, SEEDS


def config_router(raffia: Raffia, files: FileStore) -> APIRouter:
    """The router of one Raffia."""
    router = APIRouter(prefix="/api", tags=["config"])

    @router.get("/config", responses=refusals())
    async def config(request: Request) -> Config:
        """Whether tokens are needed, what is taken, which schema documents have."""
        Caller(raffia, request)
        return Config(
            auth="open" if raffia.is_open else "token",
            limits=Limits(max_file_bytes=raffia.settings.max_file_bytes),
            version=__version__,
            uploads=not isinstance(files, NoFiles),
            schema=SCHEMA,
        )

    @router.get("/templates", responses=refusals())
    async def templates(request: Request) -> list[Template]:
        """What a new document can begin with."""
        Caller(raffia, request)
        return [
            Template(id=seed.id, kind=seed.kind, title=seed.title, description=seed.description)  # type: ignore[arg-type]
            for seed in SEEDS
        ]

    return router
