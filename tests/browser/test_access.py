"""What a browser loads, from where, and under which rules; also below a path of a proxy."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser.home import WAIT_MS, Home
from tests.browser.people import People
from tests.browser.scene import Scene
from tests.support.images import png
from tests.support.server import RaffiaServer
from tests.support.stripping import Stripping

KB = 1000
PNG = base64.b64encode(png()).decode()
FONT = "() => [...document.fonts].some((font) => font.status === 'loaded' && /Excalifont|Nunito/.test(font.family))"
PASTE = """async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "é.png", { type: "image/png" }));
    const target = document.querySelector(".bn-editor");
    target.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""
BUDGETS = {"home": 150 * KB, "document": 600 * KB, "board": 800 * KB}


class Load:
    """What one page has loaded, by the browser's own count of bytes on the network."""

    def __init__(self) -> None:
        self.urls: dict[str, str] = {}
        self.types: dict[str, str] = {}
        self.sizes: dict[str, int] = {}

    @classmethod
    async def of(cls, page: Page) -> Load:
        """Count from now on, without a cache."""
        load = cls()
        session = await page.context.new_cdp_session(page)
        await session.send("Network.enable")
        await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        session.on("Network.responseReceived", load._on_response)
        session.on("Network.loadingFinished", load._on_finished)
        return load

    def _on_response(self, event: dict[str, Any]) -> None:
        self.urls[event["requestId"]] = event["response"]["url"]
        self.types[event["requestId"]] = event["type"]

    def _on_finished(self, event: dict[str, Any]) -> None:
        self.sizes[event["requestId"]] = event["encodedDataLength"]

    @property
    def scripts(self) -> list[str]:
        """Names of the scripts."""
        return [self.urls[key].rsplit("/", 1)[1] for key, kind in self.types.items() if kind == "Script"]

    @property
    def script_bytes(self) -> int:
        """Of all scripts, as they were transferred, with their headers."""
        return sum(size for key, size in self.sizes.items() if self.types.get(key) == "Script")


@pytest.mark.scenario(alone=True)
async def test_the_first_load(scene: Scene) -> None:
    """Compressed scripts of each page stay within their budgets; home loads no editor; no policy is broken."""
    ids = {kind: await scene.create(kind, f"Plan {kind} é") for kind in ("document", "board")}
    sizes = {}
    for kind, budget in BUDGETS.items():
        person = await scene.invite(f"First at {kind}")
        load = await Load.of(person.page)
        if kind == "home":
            await Home.of(person)
            await expect(person.page.get_by_role("button", name="Meeting notes")).to_be_visible(timeout=WAIT_MS)
        else:
            await person.open(ids[kind], kind)
        await person.page.wait_for_load_state("networkidle")
        sizes[kind] = load.script_bytes
        assert load.scripts
        assert 10 * KB < load.script_bytes <= budget, (kind, load.script_bytes)
        if kind == "home":
            assert not [
                name for name in load.scripts if name.startswith(("view", "document", "board", "session", "editor"))
            ]
    assert sizes["home"] < sizes["document"] / 2


@pytest.mark.scenario(alone=True)
async def test_the_policy(scene: Scene) -> None:
    """Scripts come from here only, none is made from text, and the browser holds to it."""
    document = await scene.create("document", "Plan é")
    async with httpx.AsyncClient(base_url=scene.place.http) as client:
        for path in ("/", f"/d/{document}", f"/b/{document}"):
            policy = (await client.get(path)).headers["content-security-policy"]
            rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
            assert rules["default-src"] == "'none'"
            assert rules["script-src"] == "'self'"
            assert rules["connect-src"] == "'self'"
            assert rules["frame-ancestors"] == "'none'"
            assert "unsafe-eval" not in policy
            assert "http" not in policy
    ana = await scene.invite("Ana")
    await ana.open(document)
    # From within the page, as an injected script would: it is refused.
    refused = await ana.page.evaluate(
        """() => new Promise((resolve) => {
            addEventListener("securitypolicyviolation", (event) => resolve(event.violatedDirective), { once: true });
            const script = document.createElement("script");
            script.textContent = "window.broken = true";
            document.head.append(script);
        })"""
    )
    assert refused.startswith("script-src")
    assert not await ana.page.evaluate("window.broken")
    assert [problem for problem in ana.problems if "Content Security Policy" in problem]
    ana.problems.clear()


@pytest_asyncio.fixture(loop_scope="session")
async def below(browser: Browser, tmp_path: Path) -> AsyncIterator[People]:
    """A server below `/raffia` of a proxy that takes the path away."""
    with RaffiaServer(tmp_path / "data", env={"RAFFIA_ROOT_PATH": "/raffia"}) as server:
        async with Stripping(server.port, "/raffia") as proxy:
            people = People(browser, [proxy.port])
            yield people
            await people.leave()


@pytest.mark.scenario(alone=True)
async def test_below_a_path(below: People) -> None:
    """Home, documents, boards with their fonts, images and links work below a path."""
    root = "/raffia"
    ana = await below.invite("Ana", permissions=["clipboard-read", "clipboard-write"])
    page = ana.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(f"{ana.wire.http}{root}/")
    home = Home(ana)
    await home.settled()
    await home.make("New document")
    assert page.url.startswith(f"{ana.wire.http}{root}/d/")
    await ana.write("Grüße 😀")
    await ana.sees("Grüße 😀")
    await ana.chip("saved")
    await page.get_by_role("button", name="Share", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Copy link").click()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied == page.url
    await expect(page.get_by_role("dialog")).to_contain_text("Anyone who can reach this server can edit")
    await page.keyboard.press("Escape")

    ben = await below.invite("Ben")
    await ben.page.goto(copied.replace(ana.wire.http, ben.wire.http))
    await ben.sees("Grüße 😀")

    # An image: dropped into the text, shown from below the path.
    await ana.editor.click()
    await page.evaluate(PASTE, PNG)
    await ben.until("() => [...document.querySelectorAll('.bn-editor img')].some((image) => image.naturalWidth > 0)")
    await ana.chip("saved")

    await page.get_by_role("link", name="Back to all documents").click()
    await home.settled()
    assert page.url == f"{ana.wire.http}{root}/"
    await home.make("Task board")
    await expect(ana.canvas).to_be_visible(timeout=WAIT_MS)
    await ana.until(FONT)
    outside = [url for url in asked if not url.startswith((f"{ana.wire.http}{root}/", "data:", "blob:"))]
    assert outside == []
