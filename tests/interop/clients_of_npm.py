"""Published clients, each version in its own Node process, driven from Python."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import Any

from tests.interop.install import HERE, install
from tests.support.node import NodeProcess

CLIENTS = HERE / "clients"
DRIVER = CLIENTS / "driver.mjs"
VERSIONS = sorted(adapter.parent.name for adapter in CLIENTS.glob("*/adapter.mjs"))
HOCUSPOCUS = [version for version in VERSIONS if version.startswith("hocuspocus")]
Y_WEBSOCKET = [version for version in VERSIONS if version.startswith("y-websocket")]


class Client:
    """One client in a driver: a document, its provider and its presence."""

    def __init__(self, driver: Driver, name: str) -> None:
        self.driver = driver
        self.name = name
        self.id = 0

    async def call(self, op: str, **arguments: Any) -> Any:
        return await self.driver.node.call(op, client=self.name, **arguments)

    async def until(self, what: str, value: Any = True, ms: int = 10_000) -> None:
        """Wait in Node until a condition of the driver holds; its failure shows the client's state and log."""
        try:
            await self.call("until", what=what, value=value, ms=ms, deadline_s=ms / 1000 + 30)
        except AssertionError as error:
            raise AssertionError(f"{self.driver.version} {self.name}: {error}") from None

    async def insert(self, text: str, index: int | None = None) -> None:
        await self.call("insert", text=text, index=index)

    async def delete(self, index: int, length: int) -> None:
        await self.call("delete", index=index, length=length)

    async def text(self) -> str:
        return str(await self.call("text"))

    async def status(self) -> dict[str, Any]:
        return dict(await self.call("status"))

    async def presence(self) -> dict[int, dict[str, Any]]:
        return {int(key): value for key, value in (await self.call("presence")).items()}


class Driver:
    """One Node process with one version of one client."""

    def __init__(self, version: str, node: NodeProcess) -> None:
        self.version = version
        self.node = node

    @property
    def hocuspocus(self) -> bool:
        return self.version in HOCUSPOCUS

    async def open(self, name: str, url: str, document: str, *, synced: bool = True, **options: Any) -> Client:
        """Open a client on a document and wait until it says that it is synced."""
        client = Client(self, name)
        client.id = await client.call("open", url=url, document=document, **options)
        if synced:
            await client.until("synced")
        return client


@contextlib.asynccontextmanager
async def driver(version: str) -> AsyncIterator[Driver]:
    """Install this version if needed and start its driver."""
    folder = CLIENTS / version
    install(folder)
    # From Node 22 on the global WebSocket needs no flag; Node 20 has it behind one.
    async with NodeProcess([DRIVER, folder], flags=["--experimental-websocket"]) as node:
        yield Driver(version, node)


@contextlib.asynccontextmanager
async def drivers(versions: list[str]) -> AsyncIterator[dict[str, Driver]]:
    """Drivers of several versions at once."""
    async with contextlib.AsyncExitStack() as stack:
        yield {version: await stack.enter_async_context(driver(version)) for version in versions}


def new_document(about: str) -> str:
    """A document id that no other test uses."""
    return f"{about}-{uuid.uuid4().hex[:12]}"
