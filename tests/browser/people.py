"""People with browsers: each has a context of their own, with its own storage, a name and a colour.

    ana = await people.invite("Ana")
    await ana.open(document)
    await ana.type("Grüße")

Rules:
    PPL1  What a page asks of another host, and every exception in it, fails the test at its end (`problems`). That a
        server or a network which the test took away cannot be reached is no problem.
    PPL2  Waiting is Playwright's `expect` or `until`, with a deadline; nothing sleeps.
    PPL3  Everybody has a wire of their own to the server, which a test can cut.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Error, Locator, Page, Request, expect

from tests.support.wire import Wire

DEADLINE_S = 20.0
COLOURS = ("#c2410c", "#1d4ed8", "#15803d", "#6d28d9")
# What the browser itself says of a server that is away, or of an answer that the app handles.
EXPECTED = ("ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_NETWORK", "WebSocket connection to", "Failed to load resource")

# The worker for offline use copies the whole app for each new person; who needs it says `service_workers="allow"`.
BROWSER = {"viewport": {"width": 1280, "height": 800}, "service_workers": "block"}

TEXT = """() => {
    const editor = document.querySelector(".bn-editor");
    if (!editor) return "";
    return [...editor.querySelectorAll(".bn-inline-content")].map((block) => {
        const copy = block.cloneNode(true);
        for (const cursor of copy.querySelectorAll(".peer-cursor")) cursor.remove();
        return copy.textContent;
    }).join("\\n");
}"""


class Person:
    """One person's browser.

    Attributes:
        name: what others see.
        page: the current tab.
        wire: between this browser and its server (PPL3).
        problems: what fails the test (PPL1).
    """

    def __init__(self, name: str, context: BrowserContext, page: Page, wire: Wire) -> None:
        self.name = name
        self.context = context
        self.page = page
        self.wire = wire
        self.problems: list[str] = []
        self._watch(page)

    # -- going somewhere

    @property
    def home(self) -> str:
        """The address of the home page, over this person's wire."""
        return f"{self.wire.http}/"

    def address(self, kind: str, document: str) -> str:
        """Where a document or a board is for this person."""
        return f"{self.home}{'b' if kind == 'board' else 'd'}/{quote(document, safe='')}"

    async def open(self, document: str, kind: str = "document", *, fragment: str = "") -> None:
        """Open a document and wait until its editor is there and up to date."""
        await self.page.goto(self.address(kind, document) + fragment)
        await expect(self.canvas if kind == "board" else self.editor).to_be_visible(timeout=DEADLINE_S * 1000)
        await self.chip("saved", "live")

    async def close_tab(self) -> None:
        """Close the tab at once, without the browser's question."""
        await self.page.close(run_before_unload=False)

    async def new_tab(self) -> None:
        """Another tab of the same browser, which takes the place of `page`."""
        self.page = await self.context.new_page()
        self._watch(self.page)

    # -- looking

    @property
    def editor(self) -> Locator:
        """The text of a document."""
        return self.page.locator(".bn-editor")

    @property
    def canvas(self) -> Locator:
        """The drawing surface of a board."""
        return self.page.locator(".excalidraw canvas.interactive")

    async def sees(self, text: str) -> None:
        """Wait until the document shows this."""
        await self.until(f"text => ({TEXT})().includes(text)", text)

    async def text(self) -> str:
        """The document's text, a line for each block, without others' cursors and their names."""
        return str(await self.page.evaluate(TEXT))

    async def chip(self, *states: str) -> None:
        """Wait until the status chip shows one of: loading, saving, saved, live, reconnecting, unsaved, closed."""
        pattern = ", ".join(f'[data-status="{state}"]' for state in states)
        await expect(self.page.locator(pattern).first).to_be_attached(timeout=DEADLINE_S * 1000)

    async def until(self, expression: str, argument: Any = None, deadline_s: float = DEADLINE_S) -> Any:
        """Wait until a JavaScript expression or function is true in the page; its value."""
        handle = await self.page.wait_for_function(expression, arg=argument, timeout=deadline_s * 1000)
        return await handle.json_value()

    # -- doing

    async def write(self, text: str, *, at_end: bool = True, delay_ms: float = 0) -> None:
        """Type into the document: into the empty block that always stands at its end, or where a click puts it."""
        await self.editor.click()
        if at_end:
            await self.page.keyboard.press("Control+End")
        await self.page.keyboard.type(text, delay=delay_ms)

    async def press(self, *keys: str) -> None:
        """Keys one after another, such as `Control+z`."""
        for key in keys:
            await self.page.keyboard.press(key)

    async def drag(self, start: tuple[float, float], end: tuple[float, float], *, steps: int = 12) -> None:
        """Press at one point of the page, move, release at another."""
        mouse = self.page.mouse
        await mouse.move(*start)
        await mouse.down()
        await mouse.move(*end, steps=steps)
        await mouse.up()

    # -- watching (PPL1)

    def _watch(self, page: Page) -> None:
        page.on("pageerror", self._on_error)
        page.on("console", self._on_console)
        page.on("request", self._on_request)

    def _on_error(self, error: Error) -> None:
        self.problems.append(f"exception: {error.stack or error.message}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(known in message.text for known in EXPECTED):
            self.problems.append(f"console: {message.text} {message.location}")

    def _on_request(self, request: Request) -> None:
        host = urlsplit(request.url)
        if host.scheme.startswith(("http", "ws")) and host.netloc != f"127.0.0.1:{self.wire.port}":
            self.problems.append(f"asked another host: {request.url}")


class People:
    """Those who take part in one test; `Scene` makes it."""

    def __init__(self, browser: Browser, ports: list[int]) -> None:
        self._browser = browser
        self._ports = ports
        self._wires: list[Wire] = []
        self.all: list[Person] = []

    async def invite(self, name: str, *, port: int | None = None, **options: Any) -> Person:
        """Another person with a new browser profile.

        Args:
            name: shown to others; empty for a first visit, on which the app gives one.
            port: of the server; else each new person gets the next replica.
            options: of Playwright's `new_context`: viewport, color_scheme, has_touch …
        """
        number = len(self.all)
        wire = await Wire(port or self._ports[number % len(self._ports)]).__aenter__()
        self._wires.append(wire)
        context = await self._browser.new_context(**{**BROWSER, **options})
        kept = json.dumps({"name": name, "color": COLOURS[number % len(COLOURS)]})
        if name:
            await context.add_init_script(
                f"if (!localStorage.getItem('raffia.person')) localStorage.setItem('raffia.person', {json.dumps(kept)})"
            )
        person = Person(name, context, await context.new_page(), wire)
        self.all.append(person)
        return person

    async def leave(self) -> None:
        """Close all browsers; fails for what went wrong in one (PPL1)."""
        for person in self.all:
            await person.context.close()
        for wire in self._wires:
            await wire.__aexit__(None, None, None)
        problems = [f"{person.name}: {problem}" for person in self.all for problem in person.problems]
        assert not problems, "\n".join(problems)


async def until(condition: Callable[[], Awaitable[object]], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll an asynchronous condition outside the page (PPL2)."""
    end = time.monotonic() + deadline_s
    while not await condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:.0f} s: {what}")
        await asyncio.sleep(0.03)


async def create(url: str, kind: str, title: str, *, token: str | None = None, **fields: Any) -> str:
    """Make a document over REST; its id."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        answer = await client.post("/api/documents", json={"kind": kind, "title": title, **fields})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])
