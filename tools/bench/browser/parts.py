"""What is measured: loading pages, typing among many people, typing in a long document, drawing on a full board."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser
from pycrdt import Doc
from tests.browser.people import TEXT, create
from tests.support.client import HocuspocusClient
from tests.support.server import ROOT, RaffiaServer

from tools.bench.browser.content import paragraphs, plain
from tools.bench.browser.person import Person, chromium
from tools.bench.work import Figures

SETTLE_S = 30.0


@dataclass(frozen=True)
class Part:
    """One measurement.

    Attributes:
        kind: `document` or `board`.
        size: its initial content.
        members: how many others work in it.
        seconds: how long.
        p95_ms, task_ms: the targets.
    """

    kind: str
    title: str
    size: dict[str, int]
    members: int
    seconds: float
    p95_ms: float
    task_ms: float | None = None


PARTS = {
    "typing": Part("document", "20 people typing in one document", {"paragraphs": 30, "characters": 3000}, 20, 20, 50),
    "document": Part(
        "document",
        "10 people typing in a document of 28,000 characters",
        {"paragraphs": 120, "characters": 28_000},
        10,
        20,
        100,
        500,
    ),
    "board": Part("board", "3 people drawing on a board of 5,000 elements", {"elements": 5000}, 3, 24, 100, 500),
}
QUICK = {"paragraphs": 5, "characters": 400, "elements": 60}
LOAD = "load"


def quick(part: Part) -> Part:
    """The same part, much smaller."""
    size = {key: QUICK[key] for key in part.size}
    return Part(part.kind, part.title, size, 2, 3, part.p95_ms, part.task_ms)


class Crowd:
    """The other people, in their own process; see crowd.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @asynccontextmanager
    async def gather(cls, server: RaffiaServer, document: str, part: Part) -> AsyncIterator[Crowd]:
        """Start it; when the block begins, it has written the document."""
        given = {"ws": server.ws, "document": document, "kind": part.kind, "size": part.size, "members": part.members}
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-m", "tools.bench.browser.crowd", json.dumps(given)],
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            crowd = cls(process)
            await crowd._hear("seeded")
            yield crowd
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def enter(self) -> None:
        """Open the document."""
        self._tell()
        await self._hear("ready")

    def begin(self) -> None:
        """Start working."""
        self._tell()

    async def rest(self) -> Figures:
        """Stop working; when this returns, everything is stored."""
        self._tell()
        figures: Figures = json.loads(await self._hear())
        return figures

    def _tell(self) -> None:
        if self._process.stdin is None:
            raise RuntimeError("the crowd has no input")
        self._process.stdin.write(b"\n")

    async def _hear(self, wanted: str = "") -> str:
        if self._process.stdout is None:
            raise RuntimeError("the crowd has no output")
        said = (await self._process.stdout.readline()).decode().strip()
        if not said or (wanted and said != wanted):
            raise RuntimeError(f"the crowd said {said!r} instead of {wanted!r}")
        return said


async def measure(part: Part) -> Figures:
    """One round of a part."""
    with tempfile.TemporaryDirectory() as folder, RaffiaServer(Path(folder) / "data") as server:
        document = await create(server.http, part.kind, part.title)
        crowd_of = Crowd.gather(server, document, part)
        async with crowd_of as crowd, chromium() as browser, Person.arrive(browser) as person:
            loaded = await person.open(f"{server.http}/{part.kind[0]}/{document}", part.kind)
            await crowd.enter()
            await person.page.locator(".people .avatar-button:not(.me)").first.wait_for()
            cpu = _cpu_s(server.pid)
            crowd.begin()
            figures = await person.measure(person.draw if part.kind == "board" else person.write, part.seconds)
            figures |= await crowd.rest()
            figures["server_cpu_s"] = _cpu_s(server.pid) - cpu
            figures |= {"load_task_ms": loaded["load_task_ms"], "load_usable_ms": loaded["usable_ms"]}
            if part.kind == "document":
                figures["missing"] = await _missing(person, server, document)
            if person.problems:
                raise RuntimeError(f"the page failed: {person.problems[0]}")
            return figures


async def load() -> Figures:
    """How soon pages are usable: on a first visit, and on a later one."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder, RaffiaServer(Path(folder) / "data") as server:
        document = await create(server.http, "document", "Plans é", template="meeting")
        board = await create(server.http, "board", "Sketches 😀")
        async with chromium() as browser:
            for name, path in (("home", ""), ("document", f"d/{document}"), ("board", f"b/{board}")):
                async with Person.arrive(browser) as person:
                    for visit, tab in (("first", person), ("again", await person.another_tab())):
                        found = await tab.open(f"{server.http}/{path}", name)
                        figures |= {f"{name}_{visit}_{key}": value for key, value in found.items()}
            figures |= await _from_home(browser, server)
    return figures


async def _from_home(browser: Browser, server: RaffiaServer) -> Figures:
    """The time from a click on a document in the list until it is usable."""
    async with Person.arrive(browser) as person:
        await person.open(server.http, "home")
        row = person.page.locator(".row-link", has_text="Plans é")
        await row.hover()
        started = await person.now()
        await row.click()
        await person.page.evaluate("() => { raffiaShown('clicked', '.bn-editor'); }")
        await person.page.wait_for_function("() => raffiaProbe.shown.clicked")
        return {"click_visible_ms": await person.page.evaluate("raffiaProbe.shown.clicked") - started}


async def _missing(person: Person, server: RaffiaServer, document: str) -> float:
    """How many characters of the document the browser does not show at the end; negative if it shows more."""
    missing = 0.0
    for _ in range(int(SETTLE_S / 0.2)):
        doc: Doc[Any] = Doc()
        client = await HocuspocusClient(document).join(server.ws)
        for update in client.updates:
            doc.apply_update(update)
        await client.close()
        stored = "\n".join(words for text in paragraphs(doc) if (words := plain(text)))
        shown = "\n".join(line for line in (await person.page.evaluate(TEXT)).split("\n") if line)
        if stored == shown:
            return 0.0
        missing = float(len(stored) - len(shown) or 1)
        await asyncio.sleep(0.2)
    return missing


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
