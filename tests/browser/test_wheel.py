"""The wheel, installed where there is neither Node nor the source tree: it serves the whole app."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import quote, urljoin

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.browser.home import WAIT_MS, Home
from tests.browser.people import create
from tests.browser.scene import Place, Scene
from tests.support.server import ROOT
from tests.support.wheel import Environment, build

LINKED = re.compile(r'<(?:script|link)\b[^>]* (?:src|href)="([^"]+)"')


@pytest.mark.scenario
@pytest.mark.slow
async def test_the_wheel_serves_the_app(browser: Browser, tmp_path: Path) -> None:
    """Pages, what they link to, REST; then somebody writes a document and opens a board."""
    (wheel,) = (await asyncio.to_thread(build, tmp_path / "dist", "--wheel")).glob("*.whl")
    installed = await asyncio.to_thread(Environment, tmp_path / "venv", wheel)
    assert "include-system-site-packages = false" in (installed.folder / "pyvenv.cfg").read_text()
    for program in ("node", "npm", "npx"):
        assert installed.which(program) is None
    package = Path(installed.run("-c", "import raffia; print(raffia.__file__)").strip())
    assert package.is_relative_to(installed.folder)
    assert not package.is_relative_to(ROOT)
    for module in ("pytest", "playwright", "hatchling"):
        assert installed.run("-c", f"import importlib.util as u; print(u.find_spec('{module}'))") == "None\n"
    assert installed.pip("check") == "No broken requirements found.\n"

    with installed.server(tmp_path / "data") as server:
        async with httpx.AsyncClient(base_url=server.http) as client:
            home = await client.get("/")
            assert home.status_code == 200
            assert '<div id="app"></div>' in home.text
            links = LINKED.findall(home.text)
            assert [link for link in links if link.endswith(".js")]
            assert [link for link in links if link.endswith(".css")]
            for link in [*links, "sw.js", "static/app/licenses.txt"]:
                answer = await client.get(urljoin("/", link))
                assert answer.status_code == 200, link
                assert answer.content, link
                kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
                if kind := kinds.get(Path(link).suffix):
                    assert answer.headers["content-type"].startswith(kind), link
            document = await create(server.http, "document", "Plan é 😀")
            page = await client.get(f"/d/{quote(document, safe='')}")
            assert page.status_code == 200
            assert '<div id="app"></div>' in page.text

        async with Scene(browser, Place("alone", [server])) as scene:
            ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
            start = await Home.of(ana)
            await expect(start.row("Plan é 😀")).to_be_visible(timeout=WAIT_MS)
            await expect(ana.page.get_by_role("button", name="Meeting notes")).to_be_visible(timeout=WAIT_MS)
            await start.make("New document")
            await ana.write("Grüße 😀")
            await ana.chip("saved")
            await expect(ana.page.locator(".chip-label")).to_have_text("Saved")
            await ben.page.goto(ana.page.url.replace(ana.wire.http, ben.wire.http))
            await ben.sees("Grüße 😀")
            await ana.page.get_by_role("link", name="Back to all documents").click()
            await start.settled()
            await start.make("New board")
            await expect(ana.canvas).to_be_visible(timeout=WAIT_MS)
