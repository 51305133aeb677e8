"""Assembles the REST API: its routers, its errors, and the objects that its routes need."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from raffia.api import config, documents, files, links, revocations
from raffia.api.errors import PREFIX, say_errors
from raffia.api.link_signer import LinkSigner
from raffia.api.quota import MakingQuota
from raffia.api.turns import Turns
from raffia.embed import Raffia
from raffia.files.store import open_files


def add_rest(app: FastAPI, raffia: Raffia) -> None:
    """Add the REST API to an app whose `state.raffia` is this Raffia; `state` gets the other objects that routes need.

    Raises:
        SettingsError: the file store or the keys cannot be used.
    """
    app.state.files = open_files(raffia.settings)
    app.state.link_signer = LinkSigner(raffia.settings)
    app.state.upload_turns = Turns(files.AT_ONCE, files.EACH)
    app.state.copy_turns = Turns(documents.COPIES_AT_ONCE, 1)
    app.state.quota = MakingQuota()
    raffia.clear = app.state.files.remove  # removes the files of purged documents (FL6)
    say_errors(app)
    for resource in (config, documents, links, files, revocations):
        app.include_router(resource.router)
    _complete_schema(app)


def _complete_schema(app: FastAPI) -> None:
    """Complete the schema that FastAPI makes.

    It lists 422 for every route with parameters: invalid ones get 400 here (AE1 of errors.py). It does not know that
    requests may have a token.
    """
    whole = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = whole()
        for path, methods in schema["paths"].items():
            for route in methods.values():
                route["responses"].pop("422", None)
                if path.startswith(PREFIX):
                    route["security"] = [{"token": []}, {}]  # whether one is needed depends on the server
        token = {"type": "http", "scheme": "bearer", "description": "A token for documents; see docs/security.md."}
        schema["components"]["securitySchemes"] = {"token": token}
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
