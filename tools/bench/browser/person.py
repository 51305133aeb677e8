"""A real browser with one person, and what is measured in it.

Rules (docs/benchmarks.md explains them to readers):
    BBP1  Input goes through the browser's own input queue at predetermined times, whether or not the page has responded
          to earlier input: a page that hangs gets all of it afterwards, and each event counts.
    BBP2  Latency runs from the time the browser gives to an event until the frame is painted that follows its handlers:
          a message that is posted in that frame's callback comes after its style, layout and paint. On a board it is
          the frame after that one, since Excalidraw notes a movement in one frame and draws it in the next. It
          excludes drawing by other threads, and the screen. Movements that the browser merges count one by one.
    BBP3  A task counts as after the load when it begins after the page has become usable.
    BBP4  CPU is the CPU time of the page's main thread, so other load on the machine does not increase it.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, CDPSession, Page, async_playwright
from tests.browser.conftest import FLAGS

from tools.bench.work import Figures

PROBE = Path(__file__).with_name("probe.js").read_text()
PERSON = {"name": "Zoë", "color": "#0f766e"}
SHOWN_S = 120.0
KEYS_PER_S, MOVES_PER_S = 8.0, 60.0
# What a page needs to be usable; see `raffiaShown`.
USABLE = {
    "home": ".list[aria-busy='false']",
    "document": ".chip[data-status='saved'], .chip[data-status='live']",
    "board": ".chip[data-status='saved'], .chip[data-status='live']",
}
VISIBLE = {"home": ".new-card", "document": ".bn-editor", "board": ".excalidraw canvas.interactive"}


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's Chromium, started as in the tests of the app."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise RuntimeError("chromium is not installed; `make system-tools` installs it on Debian, or names it")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=program, chromium_sandbox=False, args=list(FLAGS))
        try:
            yield running
        finally:
            await running.close()


class Person:
    """A person with a browser.

    Attributes:
        problems: exceptions in the page, which make its figures worthless.
    """

    def __init__(self, page: Page, cdp: CDPSession) -> None:
        self.page = page
        self.cdp = cdp
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(error.stack or error.message))

    @classmethod
    @asynccontextmanager
    async def arrive(cls, browser: Browser) -> AsyncIterator[Person]:
        """Open a browser with a new profile."""
        context = await browser.new_context(viewport={"width": 1280, "height": 800})
        await context.add_init_script(f"localStorage.setItem('raffia.person', {json.dumps(json.dumps(PERSON))})")
        await context.add_init_script(PROBE)
        try:
            yield await cls._tab(context)
        finally:
            await context.close()

    @classmethod
    async def _tab(cls, context: BrowserContext) -> Person:
        page = await context.new_page()
        cdp = await context.new_cdp_session(page)
        await cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
        return cls(page, cdp)

    async def another_tab(self) -> Person:
        """A new tab of the same browser, with its cache of earlier visits."""
        return await self._tab(self.page.context)

    async def open(self, address: str, kind: str) -> Figures:
        """Go to a page and wait until it is usable; returns how long that took and what was loaded."""
        before = await self.cpu_s()
        await self.page.goto(address, wait_until="commit")
        await self.page.evaluate(
            "([visible, usable]) => { raffiaShown('visible', visible); raffiaShown('usable', usable); }",
            [VISIBLE[kind], USABLE[kind]],
        )
        await self.page.wait_for_function(
            "() => raffiaProbe.shown.visible && raffiaProbe.shown.usable", timeout=SHOWN_S * 1000
        )
        found = await self.page.evaluate("""() => {
            const files = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
            const usable = Math.max(raffiaProbe.shown.visible, raffiaProbe.shown.usable);
            return {
                visible_ms: raffiaProbe.shown.visible,
                usable_ms: usable,
                load_task_ms: Math.max(0, ...raffiaProbe.tasks.map(([, took]) => took)),
                files: files.length,
                kb: files.reduce((sum, file) => sum + file.transferSize, 0) / 1000,
            };
        }""")
        return {**found, "load_cpu_ms": 1000 * (await self.cpu_s() - before)}

    async def cpu_s(self) -> float:
        """CPU time of the main thread so far (BBP4)."""
        metrics = (await self.cdp.send("Performance.getMetrics"))["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "ThreadTime"))

    # -- doing

    async def write(self, seconds: float) -> None:
        """Type into the first paragraph."""
        await self.page.locator(".bn-inline-content").first.click()
        await self.page.keyboard.press("End")
        chance = random.Random(1)
        gap = 1 / KEYS_PER_S

        def steps(number: int) -> list[Coroutine[Any, Any, Any]]:
            letter = " " if number % 6 == 5 else chance.choice("aeioumnrst")
            code = "Space" if letter == " " else f"Key{letter.upper()}"
            key = {"key": letter, "code": code, "windowsVirtualKeyCode": ord(letter.upper())}
            return [
                self.cdp.send("Input.dispatchKeyEvent", {"type": "keyDown", "text": letter, **key}),
                self.cdp.send("Input.dispatchKeyEvent", {"type": "keyUp", **key}),
            ]

        await _at_times(gap, int(seconds / gap), steps)

    async def draw(self, seconds: float) -> None:
        """Draw strokes and rectangles, and drag rectangles, for two seconds each."""
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end:
            x, y = 240 + 60 * (number % 8), 220 + 50 * (number % 6)
            await self._hold("p", x, y, lambda at, x=x, y=y: (x + 60 * at, y + 60 * math.sin(at * 6)))
            await self._hold("r", x, y, lambda at, x=x, y=y: (x + 80 * at, y + 60 * at))
            await self._hold(
                None, x + 60, y + 40, lambda at, x=x, y=y: (x + 60 + 90 * at, y + 40 + 40 * math.sin(at * 4))
            )
            number += 1

    async def _hold(self, tool: str | None, x: float, y: float, path: Callable[[float], tuple[float, float]]) -> None:
        """Press, move along a path for two seconds, release."""
        if tool:
            await self.page.keyboard.press(tool)
        count = int(2 * MOVES_PER_S)

        def steps(number: int) -> list[Coroutine[Any, Any, Any]]:
            kind = "mousePressed" if number == 0 else "mouseReleased" if number == count - 1 else "mouseMoved"
            at_x, at_y = (x, y) if number == 0 else path(number / MOVES_PER_S)
            event = {"type": kind, "x": at_x, "y": at_y, "button": "left", "buttons": 1, "clickCount": 1}
            return [self.cdp.send("Input.dispatchMouseEvent", event)]

        await self.cdp.send("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})
        await _at_times(1 / MOVES_PER_S, count, steps)

    # -- looking

    async def now(self) -> float:
        """The page's clock."""
        return float(await self.page.evaluate("performance.now()"))

    async def measure(self, work: Callable[[float], Coroutine[Any, Any, None]], seconds: float) -> Figures:
        """Work, and measure how quickly the page responded."""
        cpu, started, clock = await self.cpu_s(), await self.now(), time.monotonic()
        await work(seconds)
        await self.page.evaluate("() => new Promise((done) => requestIdleCallback(() => done(true)))")
        took, cpu = time.monotonic() - clock, await self.cpu_s() - cpu
        probe = await self.page.evaluate("raffiaProbe")
        latencies = sorted(latency for at, latency in probe["latencies"] if at >= started)
        # Only events of at least 16 ms are reported; all other typed keys were faster.
        slow = [duration for at, duration in probe["events"] if at >= started]
        tasks = [duration for at, duration in probe["tasks"] if at >= started]
        figures: Figures = {
            "inputs": len(latencies),
            "p50_ms": _quantile(latencies, 0.5),
            "p95_ms": _quantile(latencies, 0.95),
            "p99_ms": _quantile(latencies, 0.99),
            "max_ms": latencies[-1] if latencies else math.nan,
            "long_tasks": len(tasks),
            "longest_task_ms": max(tasks, default=0),
            "main_thread_cpu_pct": 100 * cpu / took,
        }
        if slow:
            figures["event_timing_max_ms"] = max(slow)
        return figures


def _quantile(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else math.nan


async def _at_times(gap_s: float, count: int, steps: Callable[[int], list[Coroutine[Any, Any, Any]]]) -> None:
    """Send input at its time, in order, without waiting for what came before it (BBP1)."""
    start = time.monotonic()
    sent: list[asyncio.Task[Any]] = []
    for number in range(count):
        await asyncio.sleep(max(0.0, start + number * gap_s - time.monotonic()))
        sent += [asyncio.create_task(step) for step in steps(number)]
        await asyncio.sleep(0)
    await asyncio.gather(*sent)
