"""Servers, people and the camera.

Rules:
    SCR1  Pictures show the real app on a real server. Only the times it shows are fixed, so that reruns give the same
         pictures.
    SCR2  A picture is written only if it differs from the existing one.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngInfo
from playwright.async_api import Browser, expect
from tests.browser.people import People, Person, create
from tests.support.server import ROOT, RaffiaServer
from tests.support.tokens import SECRET, token

OUT = ROOT / "docs/screenshots"
COLOURS = 200
NAME_S = 1.6  # a name at a cursor is shown for at least this long
FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True,
}  # fmt: skip
ZOE, BEN, RENEE, TOMAS = "Zoë Lindqvist", "Benício Araújo", "Renée Moreau", "Tomás 🦊"


@dataclass
class Album:
    """The pictures in a folder; each has its description in its metadata, so that any run can write the whole index."""

    out: Path = OUT
    taken: set[str] = field(default_factory=set)

    def add(self, name: str, about: str, png: bytes) -> None:
        """Write a picture if it has changed (SCR2)."""
        path = self.out / f"{name}.png"
        self.taken.add(path.name)
        new = (
            Image.open(io.BytesIO(png))
            .convert("RGB")
            .quantize(COLOURS, method=Image.Quantize.MEDIANCUT, kmeans=2, dither=Image.Dither.NONE)
        )
        if path.exists() and about_of(path) == about and _same(Image.open(path), new):
            return
        said = PngInfo()
        said.add_itxt("Description", about)
        new.save(path, optimize=True, pnginfo=said)


def about_of(path: Path) -> str:
    """The description of a picture; empty if it has none."""
    with Image.open(path) as picture:
        return str(picture.info.get("Description", ""))


def _same(old: Image.Image, new: Image.Image) -> bool:
    if old.size != new.size:
        return False
    _, most = ImageChops.difference(old.convert("L"), new.convert("L")).getextrema()
    return bool(most < 24)


class Stage:
    """Three servers (an empty one, an open one, one with tokens) and their users, on one kind of device."""

    def __init__(self, browser: Browser, album: Album, *, phone: bool) -> None:
        self.browser = browser
        self.album = album
        self.phone = phone
        self._stack = contextlib.AsyncExitStack()
        self._guests: dict[tuple[str, int], Person] = {}

    async def __aenter__(self) -> Self:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="raffia-screens-")))
        key = folder / "key"
        key.write_text(SECRET)
        key.chmod(0o600)
        self.home = self._stack.enter_context(RaffiaServer(folder / "home"))
        self.open = self._stack.enter_context(RaffiaServer(folder / "open"))
        self.closed = self._stack.enter_context(RaffiaServer(folder / "closed", env={"RAFFIA_AUTH_KEY_FILE": str(key)}))
        self.people = People(self.browser, [self.open.port])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.people.leave()
        else:
            for person in self.people.all:
                await person.context.close()
        await self._stack.__aexit__(kind, error, trace)

    # -- people

    async def visitor(self, name: str = ZOE, server: RaffiaServer | None = None) -> Person:
        """The person whose screen is photographed, with a new browser profile."""
        return await self._invite(name, server or self.open, PHONE if self.phone else DESKTOP)

    async def colleague(self, name: str, server: RaffiaServer | None = None) -> Person:
        """Another person, on a desktop; the same browser each time."""
        port = (server or self.open).port
        if (name, port) not in self._guests:
            self._guests[name, port] = await self._invite(name, server or self.open, DESKTOP)
        return self._guests[name, port]

    async def _invite(self, name: str, server: RaffiaServer, device: dict[str, Any]) -> Person:
        person = await self.people.invite(name, port=server.port, reduced_motion="reduce", locale="en-GB", **device)
        colour = {ZOE: "#0f766e", BEN: "#c2410c", RENEE: "#6d28d9", TOMAS: "#1d4ed8"}[name]
        await person.context.add_init_script(
            f"localStorage.setItem('raffia.person', JSON.stringify({{name: {name!r}, color: {colour!r}}}))"
        )
        # Playwright handles only the older way of choosing a file.
        await person.context.add_init_script("delete window.showOpenFilePicker")
        await person.context.grant_permissions(["clipboard-read", "clipboard-write"])
        return person

    # -- documents

    async def create(self, kind: str, title: str, server: RaffiaServer | None = None, **fields: Any) -> str:
        """A new document; its id."""
        chosen = server or self.open
        admin = token(raffia={"*": "admin"}) if chosen is self.closed else None
        return await create(chosen.http, kind, title, token=admin, **fields)

    async def link(self, document: str, can: str) -> str:
        """The fragment of a link to a document of the server with tokens."""
        headers = {"authorization": f"Bearer {token(raffia={'*': 'admin'})}"}
        async with httpx.AsyncClient(base_url=self.closed.http, headers=headers) as client:
            answer = await client.post(f"/api/documents/{document}/links", json={"can": can})
            assert answer.is_success, answer.text
            return "#" + str(answer.json()["url"]).split("#", 1)[1]

    async def bring(self, person: Person, item: str, name: str, content: bytes) -> None:
        """Import a file through the page's menu."""
        await person.page.get_by_role("button", name="More", exact=True).click()
        async with person.page.expect_file_chooser() as asked:
            await person.page.get_by_role("menuitem", name=item).click()
        chooser = await asked.value
        await chooser.set_files({"name": name, "mimeType": "text/plain", "buffer": content})
        await expect(person.page.locator(".toast")).to_be_visible()
        await person.page.locator(".toast-close").click()
        await person.chip("saved", "live")

    # -- the camera

    async def shoot(
        self,
        person: Person,
        name: str,
        about: str,
        *,
        before: Callable[[], Awaitable[object]] | None = None,
        themes: tuple[str, ...] = ("light", "dark"),
    ) -> None:
        """Photograph a person's screen, light and dark.

        Args:
            person: whose screen.
            name: of the file, without theme and device.
            about: the description, for the index.
            before: repeated before each picture, to move a pointer whose name would otherwise fade.
            themes: the system themes.
        """
        if (only := os.environ.get("ONLY")) and not any(part in name for part in only.split(",")):
            return
        page = person.page
        for theme in themes:
            await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
            await person.until("() => document.fonts.ready.then(() => document.fonts.status === 'loaded')")
            for _ in range(6):
                if before:
                    await before()
                began = time.monotonic()
                # Two frames, so that the changes of the last message are drawn.
                await page.evaluate(FRAMES)
                png = await page.screenshot(animations="disabled", caret="hide")
                # On a busy machine a name may have faded in the meantime: try again.
                if before is None or time.monotonic() - began < NAME_S:
                    break
            device = "-phone" if self.phone else ""
            self.album.add(f"{name}{device}{'-dark' if theme == 'dark' else ''}", about, png)
        await page.emulate_media(color_scheme="light")
