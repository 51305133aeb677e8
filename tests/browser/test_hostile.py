"""What a program, or a person who means harm, puts into a document: it must not take the page from others."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pycrdt
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from raffia.crdt.merge import merge
from raffia.crdt.view import edit
from tests.browser.people import until
from tests.browser.scene import Place, Scene
from tests.support.client import YClient

NAN, INFINITY = float("nan"), float("inf")


@pytest_asyncio.fixture(loop_scope="session")
async def here(browser: Browser, alone: Place) -> AsyncIterator[Scene]:
    """People on the one server."""
    async with Scene(browser, alone) as running:
        yield running


async def put(scene: Scene, document: str, change: Callable[[pycrdt.Doc[Any]], object]) -> None:
    """Change a document as a program does."""
    async with await YClient().join(scene.place.servers[0].ws, document) as client:
        await client.until_synced()
        client.update(edit(merge(client.updates), change))
        await client.until_stored()


async def content(scene: Scene, document: str, root: str) -> Any:
    """What the server holds of a document."""
    async with await YClient().join(scene.place.servers[0].ws, document) as client:
        await client.until_synced()
        doc: pycrdt.Doc[Any] = pycrdt.Doc()
        kind: Any = pycrdt.XmlFragment if root == "document-store" else pycrdt.Map
        shared = doc.get(root, type=kind)
        doc.apply_update(merge(client.updates))
        return str(shared) if root == "document-store" else shared.to_py()


async def announce(client: YClient, number: int, clock: int, **state: Any) -> None:
    """Say something of somebody as presence."""
    client.announce(number, clock, state)
    await client.settle()


STATES: list[dict[str, Any]] = [
    {"user": "a word", "cursor": {"anchor": None, "head": None}},
    {"user": {"name": {"a": 1}, "color": 7}, "cursor": {}},
    {"user": {"name": "x" * 3000, "color": "red;position:fixed;inset:0"}, "cursor": 5},
    {"user": [], "cursor": {"anchor": {"type": 1, "item": "x"}, "head": []}},
    {"user": {"name": None, "color": None}, "cursor": {"anchor": {"tname": "meta"}, "head": {"tname": "elements"}}},
    {
        "user": {"name": "é", "color": "#1d4ed8"},
        "cursor": {"anchor": {"item": {"client": 9, "clock": 1e15}}, "head": {"item": {}}},
    },
    {"user": None, "view": 5, "pointer": "x", "live": {"i": 4}, "selected": {}},
    {
        "user": {},
        "view": {"x": 1e300, "y": 0, "zoom": 1},
        "pointer": {"x": 1e308, "y": -1e308},
        "live": [None, 5, {"i": "__proto__", "f": []}],
    },
]


@pytest.mark.scenario(alone=True)
@pytest.mark.parametrize("kind", ["document", "board"])
async def test_what_strangers_say_of_themselves_breaks_nobody(here: Scene, kind: str) -> None:
    document = await here.create(kind, "Hostile é😀")
    ana = await here.invite("Ana")
    await ana.open(document, kind)
    async with await YClient().join(here.place.servers[0].ws, document) as client:
        for number, state in enumerate(STATES):
            await announce(client, 1000 + number, 1, **state)
        await expect(ana.page.locator(".people .avatar-button").nth(1)).to_be_visible()
        if kind == "document":
            # Somebody who selects a word of what Ana has written, with a colour that is more than a colour.
            await ana.write("Grüße an alle")
            await ana.chip("saved")
            end = {"tname": "document-store", "assoc": 0}
            await announce(
                client,
                2000,
                1,
                user={"name": "Eve", "color": "#fff;position:fixed;inset:0;z-index:99"},
                cursor={"anchor": {**end, "assoc": -1}, "head": end},
            )
            await expect(ana.page.locator(".ProseMirror-yjs-selection").first).to_be_attached()
            await ana.write("und jeden")
            await ana.sees("und jeden")
            assert await ana.page.locator("[style*='fixed']").count() == 0
        else:
            await ana.press("r")
            await ana.drag((500, 400), (700, 500))
        await ana.chip("saved")
    if kind == "board":
        assert len(await content(here, document, "elements")) == 1
    await expect(ana.page.locator(".message")).to_have_count(0)


async def test_documents_of_other_programs_are_listed_and_opened_without_harm(here: Scene) -> None:
    """`meta` that is missing, or of another type, as other editors leave it."""
    ids = []
    for number, meta in enumerate(
        [
            {},
            {"kind": "évil"},
            {"kind": 5.0},
            {"title": 7.0, "kind": "document"},
            {"title": "x" * 5000, "kind": "board"},
        ]
    ):
        document = await here.create("document", f"Other {number}")
        ids.append(document)

        def change(doc: Any, meta: dict[str, Any] = meta) -> None:
            root = doc.get("meta", type=pycrdt.Map)
            for key in ("kind", "title"):
                if key in meta:
                    root[key] = meta[key]
                else:
                    del root[key]

        await put(here, document, change)
    listed = httpx.get(f"{here.place.http}/api/documents").json()["documents"]
    assert {item["id"] for item in listed} >= set(ids)
    ana = await here.invite("Ana")
    await ana.page.goto(ana.home)
    await expect(ana.page.locator(".row")).not_to_have_count(0)
    for document in ids[:3]:
        await ana.page.goto(ana.address("document", document))
        await expect(ana.page.locator(".message")).to_be_visible()
    await ana.open(ids[3])
    await ana.page.goto(ana.address("document", ids[4]))
    await expect(ana.canvas).to_be_visible()
    title = await ana.page.locator(".title input").input_value()
    assert len(title) <= 300


def element(kind: str, number: int, **fields: Any) -> dict[str, dict[str, Any]]:
    """A sound element, except for what is given."""
    groups: dict[str, dict[str, Any]] = {
        "g": {"x": 40.0 * number, "y": 0.0, "width": 30.0, "height": 30.0, "angle": 0.0},
        "s": {
            "strokeColor": "#1e1e1e",
            "backgroundColor": "transparent",
            "fillStyle": "solid",
            "strokeWidth": 2.0,
            "strokeStyle": "solid",
            "roughness": 1.0,
            "opacity": 100.0,
            "roundness": None,
            "seed": 7.0,
        },
        "m": {
            "type": kind,
            "index": f"b{number:02d}",
            "groupIds": [],
            "frameId": None,
            "boundElements": [],
            "isDeleted": False,
            "locked": False,
            "link": None,
        },
    }
    if kind == "text":
        groups["t"] = {
            "text": "é😀",
            "originalText": "é😀",
            "fontSize": 20.0,
            "fontFamily": 5.0,
            "textAlign": "left",
            "verticalAlign": "top",
            "lineHeight": 1.25,
            "autoResize": True,
        }
        groups["m"]["containerId"] = None
    if kind in ("arrow", "line", "freedraw"):
        groups["g"]["points"] = [[0.0, 0.0], [30.0, 30.0]]
        groups["m"] |= {"startBinding": None, "endBinding": None}
    if kind == "freedraw":
        groups["g"] |= {"pressures": [], "simulatePressure": True}
    if kind == "image":
        groups["g"]["scale"] = [1.0, 1.0]
        groups["m"]["fileId"] = None
    for name, value in fields.items():
        group = next((group for group, kept in groups.items() if name in kept), "m")
        groups[group][name] = value
    return groups


BAD: list[Any] = [None, "x", NAN, INFINITY, -INFINITY, 1e300, -7.5, [], {}, [None], [[None]], [{}], True, "__proto__"]


def spoilt() -> list[Any]:
    """Each field of each type with a value that it cannot have, and elements that hold on to each other."""
    result: list[Any] = [5.0, "é", [1.0], {"m": 5.0}, {}]
    for kind in ("rectangle", "text", "arrow", "freedraw", "line", "image", "frame"):
        sound = element(kind, 0)
        for group, fields in sound.items():
            for name in fields:
                if name != "isDeleted":
                    result.append(element(kind, 1, **{name: BAD[len(result) % len(BAD)]}))
            result += [{**sound, group: None}, {**sound, group: {}}, {**sound, group: []}]
    tie = {"focus": 0.0, "gap": 1.0}
    result += [
        element("text", 1, containerId="e0"),
        element("frame", 1, frameId="x1"),
        element("frame", 2, frameId="x0"),
        element("arrow", 1, startBinding={"elementId": "x2", **tie}, endBinding={"elementId": "x2", **tie}),
        element("arrow", 2, elbowed=True, points=[[0.0, 0.0]]),
        element("arrow", 3, elbowed=True, fixedSegments=[{"start": [0.0, 0.0], "end": [5.0, 5.0], "index": 99.0}]),
        element("rectangle", 1, width=1e9, height=1e9, fillStyle="hachure", backgroundColor="#f00", strokeWidth=0.01),
        element("embeddable", 1, link="https://example.org/"),
        element("iframe", 1, customData={"generationData": {"status": "done", "html": "<h1>Hi</h1>"}}),
        element("rectangle", 2, link="javascript:alert(1)"),
        element("image", 1, fileId="__proto__"),
        element("image", 2, fileId="constructor"),
        element("image", 3, fileId="elsewhere"),
    ]
    return result


async def test_a_board_full_of_nonsense_can_be_drawn_on(here: Scene) -> None:
    """What cannot be shown is left out or made fit, and stays in the document as it is."""
    board = await here.create("board", "Nonsense é😀")

    def fill(doc: Any) -> None:
        root = doc.get("elements", type=pycrdt.Map)
        for number, item in enumerate(spoilt()):
            root[f"e{number}"] = pycrdt.Map(item) if isinstance(item, dict) else item
        for number in range(3):
            root[f"x{number}"] = pycrdt.Map(element("frame", 3, frameId=f"x{(number + 1) % 3}"))
        file = {"url": "/\t/127.0.0.2/evil.png", "mimeType": "image/png", "width": 1.0, "height": 1.0}
        doc.get("files", type=pycrdt.Map)["elsewhere"] = file

    await put(here, board, fill)
    before = await content(here, board, "elements")
    ana = await here.invite("Ana")
    await ana.open(board, "board")
    await expect(ana.page.locator("iframe")).to_have_count(0)
    assert json.dumps(await content(here, board, "elements"), sort_keys=True) == json.dumps(before, sort_keys=True)
    await ana.press("r")
    await ana.drag((500, 300), (600, 400))

    async def is_there() -> bool:
        return len(await content(here, board, "elements")) == len(before) + 1

    await until(is_there, "the new rectangle reaches the server")
    await ana.chip("saved")
    await expect(ana.page.locator(".message")).to_have_count(0)
