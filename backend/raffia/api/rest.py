"""REST for the browser app and for programs: its routers, the form of its errors, and ids in paths."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from raffia.api.config import config_router
from raffia.api.documents import documents_router
from raffia.api.errors import say_errors
from raffia.api.files import files_router
from raffia.api.links import links_router
from raffia.api.revocations import revocations_router
from raffia.embed import Raffia
from raffia.files.store import open_files


def add_rest(app: FastAPI, raffia: Raffia) -> None:
    """Put REST into an app.

    Raises:
        SettingsError: a place for files, or keys, that cannot be.
    """
    files = open_files(raffia.settings)
    raffia.clear = files.remove  # of what has been purged (FL6)
    say_errors(app, raffia)
    app.include_router(config_router(raffia, files))
    app.include_router(documents_router(raffia, files))
    app.include_router(links_router(raffia))
    app.include_router(files_router(raffia, files))
    app.include_router(revocations_router(raffia))
    _say_no_422(app)


def _say_no_422(app: FastAPI) -> None:
    """FastAPI names 422 for whatever has parameters; what does not fit is answered with 400 here (AE1 of errors.py)."""
    whole = app.openapi

    def openapi() -> dict[str, Any]:
        schema = whole()
        for methods in schema["paths"].values():
            for route in methods.values():
                route["responses"].pop("422", None)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
