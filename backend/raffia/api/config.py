"""`GET /api/config` and `GET /api/templates`: what a page needs before anyone signs in."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from raffia import __version__
from raffia.api.dependencies import FilesDep, RaffiaDep, caller_of
from raffia.api.errors import refusals
from raffia.api.models import Config, Limits, Template
from raffia.files.store import NoFiles
from raffia.seeds import SCHEMA, SEEDS

# Anyone may read this, but not from a page of a foreign origin (AC1).
router = APIRouter(prefix="/api", tags=["config"], dependencies=[Depends(caller_of)])


@router.get("/config", responses=refusals())
async def config(raffia: RaffiaDep, files: FilesDep) -> Config:
    """Whether tokens are needed, the limits, and the schema of new documents."""
    return Config(
        auth="open" if raffia.is_open else "token",
        limits=Limits(max_file_bytes=raffia.settings.max_file_bytes),
        version=__version__,
        uploads=not isinstance(files, NoFiles),
        schema=SCHEMA,
    )


@router.get("/templates", responses=refusals())
async def templates() -> list[Template]:
    """The templates for new documents."""
    return [
        Template(id=seed.id, kind=seed.kind, title=seed.title, description=seed.description)  # type: ignore[arg-type]
        for seed in SEEDS
    ]
