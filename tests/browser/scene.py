"""Where a browser test plays, and who takes part.

async def test_two_people_type(scene: Scene) -> None:
    document = await scene.create("document", "Plans")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from playwright.async_api import Browser

from tests.browser.people import People, Person, create
from tests.support.cluster import Cluster
from tests.support.server import RaffiaServer


@dataclass
class Place:
    """Servers of the same documents.

    Attributes:
        name: `alone` or `replicas`.
        servers: the processes; the first person is on the first, the second on the second …
        cluster: what stands around replicas.
    """

    name: str
    servers: list[RaffiaServer]
    cluster: Cluster | None = None

    @property
    def http(self) -> str:
        """Where a test's own requests go."""
        return self.servers[0].http

    async def kill(self) -> None:
        """`kill -9` of every process of Raffia."""
        for server in self.servers:
            await asyncio.to_thread(server.kill)

    async def start(self) -> None:
        """Start again what is down, and wait until it is ready."""
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in self.servers if not server.running))


class Scene:
    """One test's people on a place, as an async context manager; see `people.py` for its rules."""

    def __init__(self, browser: Browser, place: Place) -> None:
        self.place = place
        self.people = People(browser, [server.port for server in place.servers])

    async def invite(self, name: str, **options: Any) -> Person:
        """Another person, see `People.invite`."""
        return await self.people.invite(name, **options)

    async def create(self, kind: str, title: str, **fields: Any) -> str:
        """A new document or board; its id."""
        return await create(self.place.http, kind, title, **fields)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.people.leave()
            return
        for person in self.people.all:
            await person.context.close()
