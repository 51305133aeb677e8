"""Boards in browsers: what stands on them, where it is on the screen, and what the server has of it.

    ana, ben = Board(await scene.invite("Ana")), Board(await scene.invite("Ben"))
    await ana.open(document)
    box = await ana.draw("r", (300, 250), (500, 380))
    await same(scene, document, ana, ben)

Rules:
    BRD1  Elements are read from Excalidraw itself, which React's tree leads to; nothing is set there, people use the
          mouse and the keyboard.
    BRD2  Two boards are the same when all that is not a browser's own is: every field of every element, and their
          order.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pycrdt
from playwright.async_api import expect

from tests.browser import programs
from tests.browser.people import DEADLINE_S, Person, until
from tests.browser.scene import Scene

Point = tuple[float, float]
Element = dict[str, Any]

# What only one browser knows, and the place in the order, which is compared as an order (BRD2).
GROUPS = ("g", "s", "t", "m")
OWN = {"version", "versionNonce", "updated", "status", "lastCommittedPoint", "index", "id"}

# Where tests draw nothing.
NOWHERE = (1150, 690)

EXCALIDRAW = """() => {
    const node = document.querySelector(".excalidraw");
    let fiber = node && node[Object.keys(node).find((key) => key.startsWith("__reactFiber$"))];
    while (fiber && !fiber.stateNode?.getSceneElementsIncludingDeleted) fiber = fiber.return;
    return fiber?.stateNode;
}"""

CANVAS_DROP = """async ([files, x, y]) => {
    const data = new DataTransfer();
    for (const { name, type, base64 } of files) {
        const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
        data.items.add(new File([bytes], name, { type }));
    }
    const target = document.querySelector(".excalidraw canvas.interactive");
    const options = { dataTransfer: data, clientX: x, clientY: y, bubbles: true, cancelable: true };
    for (const kind of ["dragenter", "dragover", "drop"]) target.dispatchEvent(new DragEvent(kind, options));
}"""

PASTE = """async ([files, text]) => {
    const data = new DataTransfer();
    if (text !== null) data.setData("text/plain", text);
    for (const { name, type, base64 } of files) {
        const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
        data.items.add(new File([bytes], name, { type }));
    }
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


class Board:
    """A person at a board."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.page = person.page

    async def open(self, document: str, **options: Any) -> None:
        """Open it and wait until its elements are there."""
        await self.person.open(document, "board", **options)
        await self.person.until(f"() => ({EXCALIDRAW})()?.state.isLoading === false")

    # -- looking (BRD1)

    async def elements(self, *, deleted: bool = False) -> list[Element]:
        """All elements in their order."""
        found = await self.page.evaluate(f"() => ({EXCALIDRAW})()?.getSceneElementsIncludingDeleted() ?? []")
        return [element for element in found if deleted or not element["isDeleted"]]

    async def element(self, name: str) -> Element | None:
        """One of them, deleted or not; None when it is not here."""
        return next((element for element in await self.elements(deleted=True) if element["id"] == name), None)

    async def state(self, *fields: str) -> dict[str, Any]:
        """Some fields of Excalidraw's own state."""
        return dict(
            await self.page.evaluate(
                f"fields => {{ const {{ state }} = ({EXCALIDRAW})();"
                " return Object.fromEntries(fields.map((field) => [field, state[field]])); }",
                list(fields),
            )
        )

    async def sees(self, name: str, deadline_s: float = DEADLINE_S, **fields: Any) -> Element:
        """Wait until an element is here and has these fields.

        Args:
            name: its id.
            deadline_s: how long to wait.
            fields: what they are to be, or a function that says whether a value will do; numbers may differ by a pixel.
        """

        async def matches() -> bool:
            element = await self.element(name)
            return element is not None and all(_close(element.get(field), value) for field, value in fields.items())

        await until(matches, f"{self.person.name} sees {fields or 'it'} at {name}", deadline_s)
        return await self.element(name) or {}

    async def count(self, expected: int, deadline_s: float = DEADLINE_S) -> None:
        """Wait until so many elements are here."""

        async def matches() -> bool:
            return len(await self.elements()) == expected

        await until(matches, f"{self.person.name} sees {expected} elements", deadline_s)

    async def at(self, x: float, y: float) -> Point:
        """Where a point of the board is on the page."""
        state = await self.state("scrollX", "scrollY", "zoom", "offsetLeft", "offsetTop")
        zoom = state["zoom"]["value"]
        return (x + state["scrollX"]) * zoom + state["offsetLeft"], (y + state["scrollY"]) * zoom + state["offsetTop"]

    async def spot(self, name: str, across: float = 0.5, down: float = 0.5) -> Point:
        """Where a part of an element is on the page: (0, 0) is its upper left corner."""
        element = await self.element(name)
        assert element is not None
        return await self.at(element["x"] + across * element["width"], element["y"] + down * element["height"])

    def forgive(self, *words: str) -> None:
        """Errors with these words, which Excalidraw writes to the console for what it then tells or mends, are none."""
        problems = self.person.problems
        problems[:] = [problem for problem in problems if not any(word in problem for word in words)]

    # -- doing

    async def tool(self, key: str) -> None:
        """Choose a tool by its key, once the board listens to keys."""
        await self.person.press(key)

    async def draw(self, key: str, start: Point, end: Point) -> str:
        """Draw a shape from one point of the page to another; its id."""
        before = {element["id"] for element in await self.elements()}
        await self.tool(key)
        await self.person.drag(start, end)
        return await self.new(before)

    async def new(self, before: set[str]) -> str:
        """Wait for the one element that was not there before; its id."""
        found: list[str] = []

        async def one() -> bool:
            found[:] = [element["id"] for element in await self.elements() if element["id"] not in before]
            return len(found) > 0

        await until(one, "a new element")
        return found[-1]

    async def write(self, at: Point, text: str) -> str:
        """Write a text; its id."""
        before = {element["id"] for element in await self.elements()}
        await self.tool("t")
        await self.page.mouse.click(*at)
        await expect(self.page.locator("textarea.excalidraw-wysiwyg")).to_be_focused()
        await self.page.keyboard.type(text)
        await self.person.press("Escape")
        await expect(self.page.locator("textarea.excalidraw-wysiwyg")).to_have_count(0)
        return await self.new(before)

    async def select(self, name: str, across: float = 0.0, down: float = 0.5) -> None:
        """Click an element, on its edge unless told otherwise."""
        await self.tool("v")
        await self.page.mouse.click(*await self.spot(name, across, down))
        await self.person.until(
            f"name => ({EXCALIDRAW})().state.selectedElementIds[name] === true && !({EXCALIDRAW})().state.newElement",
            name,
        )

    async def move(self, name: str, by: Point, *, across: float = 0.0, down: float = 0.5) -> None:
        """Drag an element by its edge; it must not be selected, or the edge would resize it."""
        await self.tool("v")
        await self.page.mouse.click(*NOWHERE)
        x, y = await self.spot(name, across, down)
        await self.person.drag((x, y), (x + by[0], y + by[1]))

    async def drop(self, *files: tuple[str, str, bytes], at: Point = (640, 400)) -> None:
        """Drop files (name, type, content) on the board."""
        await self.page.evaluate(CANVAS_DROP, [_files(files), *at])

    async def paste(self, *files: tuple[str, str, bytes], text: str | None = None, at: Point = (640, 400)) -> None:
        """Paste files or a text where the mouse is."""
        await self.page.mouse.move(*at)
        await self.page.evaluate(PASTE, [_files(files), text])


def _files(files: tuple[tuple[str, str, bytes], ...]) -> list[dict[str, str]]:
    return [{"name": name, "type": kind, "base64": base64.b64encode(content).decode()} for name, kind, content in files]


def _close(found: Any, wanted: Any) -> bool:
    if callable(wanted):
        return bool(wanted(found))
    if isinstance(wanted, (int, float)) and not isinstance(wanted, bool) and isinstance(found, (int, float)):
        return abs(found - wanted) <= 1
    return bool(found == wanted)


async def meet(scene: Scene, **fields: str) -> tuple[str, Board, Board]:
    """A new board with Ana and Ben at it."""
    document = await scene.create("board", "Küche 😀", **fields)
    ana, ben = Board(await scene.invite("Ana")), Board(await scene.invite("Ben"))
    await ana.open(document)
    await ben.open(document)
    return document, ana, ben


def to(name: str) -> Callable[[Any], bool]:
    """Whether an arrow's end is tied to this shape."""
    return lambda binding: binding is not None and binding["elementId"] == name


async def stored(scene: Scene, document: str) -> dict[str, Element]:
    """The board's elements as the server keeps them, in groups, deleted ones too."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(await programs.stored(scene.place, document))
    return dict(doc.get("elements", type=pycrdt.Map).to_py() or {})


async def same(scene: Scene, document: str, *boards: Board) -> list[Element]:
    """Wait until everybody sees the same, and that is what the server has (BRD2); what they see."""
    seen: list[list[Element]] = []
    kept: list[Element] = []

    async def settled() -> bool:
        seen[:] = [[_shared(element) for element in await board.elements()] for board in boards]
        kept[:] = _alive(await stored(scene, document))
        return all(_equal(each, kept) for each in seen)

    try:
        await until(settled, "all boards are the same")
    except AssertionError as error:
        raise AssertionError(_difference(boards, seen, kept)) from error
    return seen[0]


def _shared(element: Element) -> Element:
    return {"id": element["id"]} | {field: _tidy(value) for field, value in element.items() if field not in OWN}


def _alive(elements: dict[str, Element]) -> list[Element]:
    flat: list[Element] = []
    for name, groups in sorted(elements.items(), key=lambda item: (item[1]["m"].get("index") or "", item[0])):
        whole = {field: value for group in GROUPS for field, value in groups.get(group, {}).items()}
        if not whole["isDeleted"]:
            flat.append(_shared({"id": name, **whole}))
    return flat


def _tidy(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return round(value * 64) / 64
    if isinstance(value, dict):
        return {key: _tidy(item) for key, item in value.items() if item is not None}
    return [_tidy(item) for item in value] if isinstance(value, list) else value


def _equal(left: list[Element], right: list[Element]) -> bool:
    return [element["id"] for element in left] == [element["id"] for element in right] and not any(
        _fields(one, other) for one, other in zip(left, right, strict=True)
    )


def _fields(one: Element, other: Element) -> list[str]:
    """Which fields differ; nothing, an empty list and a field that is not there are one and the same."""
    return [field for field in one.keys() | other.keys() if (one.get(field) or None) != (other.get(field) or None)]


def _difference(boards: tuple[Board, ...], seen: list[list[Element]], kept: list[Element]) -> str:
    lines = ["boards differ from what is stored"]
    by_id = {element["id"]: element for element in kept}
    for board, elements in zip(boards, seen, strict=True):
        order = [element["id"] for element in elements]
        if order != list(by_id):
            lines.append(f"{board.person.name} shows {order}, stored are {list(by_id)}")
        for element in elements:
            other = by_id.get(element["id"], {})
            lines += [
                f"{board.person.name}: {element['type']}.{field} is {element.get(field)!r}, stored {other.get(field)!r}"
                for field in _fields(element, other)
            ]
    return "\n".join(lines)


def content(path: str | Path) -> bytes:
    """The bytes of a downloaded file."""
    return Path(path).read_bytes()
