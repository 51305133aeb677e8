"""REST without a server: the app of `create_app` on a memory journal, asked in the same process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI

from raffia.app import create_app
from raffia.auth.hooks import Authorize
from raffia.journal import Journal
from raffia.journal.testing.memory import MemoryJournal, MemoryStore
from raffia.settings import Settings

URL = "http://localhost:8000"


class Rest:
    """The app and a client of it."""

    def __init__(self, app: FastAPI, store: MemoryStore, client: httpx.AsyncClient) -> None:
        self.app = app
        self.raffia = app.state.raffia
        self.store = store
        self.client = client

    async def __call__(self, method: str, path: str, status: int | None = 200, **options: Any) -> Any:
        answer = await self.client.request(method, f"/api{path}", **options)
        assert status in (None, answer.status_code), answer.text
        return answer.json() if answer.content and "json" in answer.headers.get("content-type", "") else None


@asynccontextmanager
async def rest(
    authorize: Authorize | None = None,
    *,
    address: str = "127.0.0.1",
    journal: Journal | None = None,
    **settings: Any,
) -> AsyncIterator[Rest]:
    store = MemoryStore()
    chosen = Settings(**({"journal_pause_s": 0.0, "coalesce_factor": 0.0} | settings))
    app = create_app(chosen, journal=journal or MemoryJournal(store=store), authorize=authorize)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(address, 5))
    async with app.state.raffia, httpx.AsyncClient(transport=transport, base_url=URL) as client:
        try:
            yield Rest(app, store, client)
        finally:
            store.release()
