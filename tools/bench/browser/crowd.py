"""All other people in the document, as one process: `python -m tools.bench.browser.crowd '{...}'`.

It writes the document, prints `ready`, and works from one line on standard input until the next. Then it waits until
everything is stored and prints what it did, as JSON.

Rules:
    BBC1  Each of them has their own connection and their own CRDT, so that the browser gets what other browsers would
          send it.
    BBC2  Typists write words into a paragraph, 5 to 10 letters a second, and move to another one after some words. Like
          editors they send their position only when they move: typing moves it by itself.
    BBC3  Painters move elements with presence 30 times a second and commit every second, and draw strokes likewise.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
import time
from typing import Any

import uvloop
from pycrdt import Doc, Map
from tests.support.client import HocuspocusClient

from tools.bench.browser.content import WORDS, element, order_key, paragraphs, plain, write_elements, write_paragraphs

COLOURS = ("#c2410c", "#1d4ed8", "#15803d", "#6d28d9", "#be185d")
NAMES = ("Ana", "Ben", "Chloé", "Dmitri", "Eszter", "Farid", "Grażyna", "Hana", "Ívar", "José")
LETTERS_PER_S = (5.0, 10.0)
WORDS_IN_PLACE = 12
LIVE_S, COMMIT_S, GESTURE_S = 1 / 30, 1.0, 4.0
FIRST_CLIENT = 50_000


class Member:
    """One of the crowd: a connection, a document, a cursor (BBC1)."""

    def __init__(self, document: str, number: int) -> None:
        self.id = FIRST_CLIENT + number
        self.chance = random.Random(number)
        self.doc: Doc[Any] = Doc(client_id=self.id)
        self.client = HocuspocusClient(document)
        self.edits = self.messages = 0
        self._clock = 0
        self.state: dict[str, Any] = {
            "user": {
                "name": f"{NAMES[number % len(NAMES)]} {number + 1}",
                "color": COLOURS[number % len(COLOURS)],
                "id": str(self.id),
            }
        }

    async def join(self, ws: str) -> None:
        """Connect, and load the document."""
        await self.client.join(ws)
        for update in self.client.updates:
            self.doc.apply_update(update)
        # From here on, what the others send is received and ignored.
        self.client.updates = Forgetful()
        self.doc.observe(self._changed)
        self.say()

    def say(self, **fields: object) -> None:
        """Send presence."""
        self.state |= fields
        self._clock += 1
        self.messages += 1
        self.client.announce(self.id, self._clock, self.state)

    async def work(self) -> None:
        """Work until cancelled."""
        raise NotImplementedError

    def _changed(self, event: Any) -> None:
        self.edits += 1
        self.client.update(event.update)


class Forgetful(list[bytes]):
    """A list that keeps nothing."""

    def append(self, _: bytes) -> None:
        """Discard it."""


class Typist(Member):
    """Writes words (BBC2)."""

    async def work(self) -> None:
        """Type."""
        texts = paragraphs(self.doc)
        clock = 0  # of this client in the CRDT: letters written
        while True:
            text = self.chance.choice(texts)
            # In bytes of UTF-8, as pycrdt counts, and not in the middle of a letter.
            words = plain(text)
            at = len(words[: self.chance.randrange(len(words) + 1)].encode())
            text.insert(at, " ")
            place = {"type": None, "tname": None, "item": {"client": self.id, "clock": clock}, "assoc": 0}
            clock += 1
            self.say(cursor={"anchor": place, "head": place})
            for letter in " ".join(self.chance.choice(WORDS[:14]) for _ in range(WORDS_IN_PLACE)):
                await asyncio.sleep(1 / self.chance.uniform(*LETTERS_PER_S))
                text.insert(at, letter)
                at += len(letter.encode())
                clock += len(letter.encode("utf-16-le")) // 2


class Painter(Member):
    """Moves elements, and draws (BBC3)."""

    async def work(self) -> None:
        """One gesture after another."""
        count = 0
        elements = self.doc.get("elements", type=Map)
        there = sorted(elements.keys())
        while True:
            count += 1
            if count % 2:
                await self._drag(elements, self.chance.choice(there))
            else:
                await self._stroke(elements, f"stroke-{self.id}-{count}")

    async def _drag(self, elements: Map, name: str) -> None:
        g = dict(elements[name]["g"])
        start, committed = time.monotonic(), time.monotonic()
        while (now := time.monotonic()) < start + GESTURE_S:
            x, y = g["x"] + 200 * math.sin(now), g["y"] + 200 * math.cos(now)
            self.say(live=[{"i": name, "f": {"x": round(x, 1), "y": round(y, 1)}}], **self._pointer(x, y, "down"))
            if now > committed + COMMIT_S:
                committed = now
                elements[name]["g"] = {**g, "x": round(x), "y": round(y)}
            await asyncio.sleep(LIVE_S)
        self.state.pop("live", None)
        self.say(**self._pointer(x, y, "up"))
        await asyncio.sleep(LIVE_S)

    async def _stroke(self, elements: Map, name: str) -> None:
        new = element(len(elements), self.chance)
        new.pop("t", None)
        x, y = self.chance.uniform(0, 5000), self.chance.uniform(0, 4000)
        new["m"] |= {"type": "freedraw", "index": order_key(len(elements)) + "V"}
        g = {
            "x": round(x),
            "y": round(y),
            "width": 1,
            "height": 1,
            "angle": 0,
            "simulatePressure": True,
            "pressures": [],
        }
        points = [[0, 0], [1, 1]]
        elements[name] = Map({**new, "g": {**g, "points": points}})
        kept = 2
        start, committed = time.monotonic(), time.monotonic()
        while (now := time.monotonic()) < start + GESTURE_S:
            step = len(points)
            points = [*points, [step * 6, round(80 * math.sin(step / 6))]]
            flat, before = [], [0, 0]
            for point in points[kept:]:
                flat += [(point[0] - before[0]) * 10, (point[1] - before[1]) * 10]
                before = point
            live = {"i": name, "f": {"width": step * 6, "height": 160}, "n": kept, "p": flat}
            self.say(live=[live], **self._pointer(x + step * 6, y + points[-1][1], "down"))
            if now > committed + COMMIT_S:
                committed, kept = now, len(points)
                elements[name]["g"] = {**g, "width": step * 6, "height": 160, "points": points}
            await asyncio.sleep(LIVE_S)
        elements[name]["g"] = {**g, "width": points[-1][0], "height": 160, "points": points}
        self.state.pop("live", None)
        self.say(**self._pointer(x, y, "up"))
        await asyncio.sleep(LIVE_S)

    @staticmethod
    def _pointer(x: float, y: float, button: str) -> dict[str, Any]:
        return {"pointer": {"x": round(x), "y": round(y), "tool": "pointer"}, "button": button}


async def seed(ws: str, document: str, kind: str, size: dict[str, int]) -> None:
    """Write the initial content of the document."""
    writer: Doc[Any] = Doc()
    client = await HocuspocusClient(document).join(ws)
    for update in client.updates:
        writer.apply_update(update)
    writer.observe(lambda event: client.update(event.update))
    if kind == "board":
        write_elements(writer, size["elements"])
    else:
        write_paragraphs(writer, size["paragraphs"], size["characters"])
    await client.settle()
    await client.close()


async def line() -> str:
    """A line from the parent process; empty when that has ended."""
    return await asyncio.to_thread(sys.stdin.readline)


async def run(given: dict[str, Any]) -> None:
    """Do what the module describes."""
    ws, document, kind = given["ws"], given["document"], given["kind"]
    await seed(ws, document, kind, given["size"])
    members: list[Member] = [(Painter if kind == "board" else Typist)(document, n) for n in range(given["members"])]
    print("seeded", flush=True)
    if not await line():
        return
    for member in members:
        await member.join(ws)
    print("ready", flush=True)
    if not await line():
        return
    started, cpu = time.monotonic(), time.process_time()
    tasks = [asyncio.create_task(member.work()) for member in members]
    stopped = asyncio.create_task(line())
    await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
    took = time.monotonic() - started
    for task in tasks:
        if task.done():
            task.result()  # raises what ended it
        task.cancel()
    cpu = time.process_time() - cpu
    for member in members:
        await member.client.until_stored(60)
    figures = {
        "edits_per_s": sum(member.edits for member in members) / took,
        "presence_per_s": sum(member.messages for member in members) / took,
        "crowd_cpu_pct": 100 * cpu / took,
    }
    print(json.dumps(figures), flush=True)
    await line()  # presence stays until the browser has been checked
    for member in members:
        await member.client.close()


if __name__ == "__main__":
    uvloop.run(run(json.loads(sys.argv[1])))
