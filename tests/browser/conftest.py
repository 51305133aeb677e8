"""Browsers and the servers that they use: one process on SQLite, and three replicas behind HAProxy.

Every test of this folder shares one event loop, since a browser belongs to the loop that started it.

A test marked `scenario` belongs to the short form, on both places, or on one process with `alone=True`; every other
gets the mark `thorough`. `make test` runs the short form, `make browsers` all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.scene import Place, Scene
from tests.support.cluster import Cluster
from tests.support.server import RaffiaServer

FLAGS = (
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if not is_short(item):
                item.add_marker(pytest.mark.thorough)


def is_short(item: pytest.Item) -> bool:
    """Whether a test belongs to the short form."""
    scenario = item.get_closest_marker("scenario")
    if scenario is None:
        return False
    return not (scenario.kwargs.get("alone") and "replicas" in item.name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise RuntimeError("chromium is not installed; `make test` installs it on Debian, or names it")
    async with async_playwright() as playwright:
        # Tests run as root in containers, where Chromium has no sandbox; the pages are our own.
        running = await playwright.chromium.launch(executable_path=program, chromium_sandbox=False, args=list(FLAGS))
        yield running
        await running.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def alone(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """One process that all tests share."""
    with RaffiaServer(tmp_path_factory.mktemp("browser") / "data") as server:
        yield Place("alone", [server])


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def replicas(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """Three replicas that all tests share; each new person is on the next one."""
    folder = tmp_path_factory.mktemp("browser-replicas")
    async with Cluster(folder, env={"RAFFIA_FILES": (folder / "files").as_uri()}) as cluster:
        yield Place("replicas", [replica.server for replica in cluster.replicas], cluster)


@pytest.fixture(params=["alone", "replicas"])
def place(request: pytest.FixtureRequest) -> Place:
    """Both, one after the other; tests kill nothing here."""
    chosen: Place = request.getfixturevalue(request.param)
    return chosen


@pytest_asyncio.fixture(params=["alone", "replicas"], loop_scope="session")
async def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Both, each of the test's own, to be killed and started again."""
    if request.param == "alone":
        with RaffiaServer(tmp_path / "data") as server:
            yield Place("alone", [server])
        return
    async with Cluster(tmp_path, env={"RAFFIA_FILES": (tmp_path / "files").as_uri()}) as cluster:
        yield Place("replicas", [replica.server for replica in cluster.replicas], cluster)


@pytest_asyncio.fixture(loop_scope="session")
async def scene(browser: Browser, place: Place) -> AsyncIterator[Scene]:
    """A test's people on a shared place."""
    async with Scene(browser, place) as running:
        yield running
