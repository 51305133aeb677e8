"""Templates of boards. Elements are in the groups that boards store: g geometry, s style, t text, m the rest."""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import random
import zlib
from itertools import pairwise
from typing import Any, Final

Element = dict[str, dict[str, Any]]
Elements = dict[str, Element]

_LINE_HEIGHT: Final = 1.25
_INK, _GREY = "#1e1e1e", "#868e96"
_YELLOW, _GREEN, _BLUE, _RED, _VIOLET = "#ffec99", "#b2f2bb", "#a5d8ff", "#ffc9c9", "#d0bfff"


class _Drawing:
    """Collects the elements of one board, in order."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._chance = random.Random(zlib.crc32(name.encode()))  # noqa: S311 - the same strokes in every copy
        self.elements: Elements = {}

    def box(self, x: float, y: float, width: float, height: float, *, fill: str, label: str = "") -> str:
        """A rectangle with rounded corners and a centred text."""
        name = self._add("rectangle", x, y, width, height, fill=fill, roundness={"type": 3})
        if label:
            self._label(name, label)
        return name

    def note(self, x: float, y: float, fill: str, label: str = "") -> str:
        """A note to write on."""
        return self.box(x, y, 160, 120, fill=fill, label=label)

    def text(self, x: float, y: float, text: str, size: int = 20, colour: str = _INK) -> str:
        """A text that is not in a box."""
        lines = text.split("\n")
        width, height = max(map(len, lines)) * size * 0.55, len(lines) * size * _LINE_HEIGHT
        name = self._add("text", x, y, width, height, stroke=colour)
        self._write(name, text, size, "left", "top")
        return name

    def tie(self, start: str, end: str, head: str | None = "arrow") -> str:
        """An arrow from one box towards the centre of another, bound to both so that it follows when they move."""
        gap = 8.0 if head else 1.0
        (x1, y1), (x2, y2) = self._edge(start, end, gap), self._edge(end, start, gap)
        name = self._add("arrow", x1, y1, abs(x2 - x1), abs(y2 - y1), stroke=_GREY, roundness={"type": 2})
        self.elements[name]["g"]["points"] = [[0, 0], [x2 - x1, y2 - y1]]
        self.elements[name]["s"] |= {"startArrowhead": None, "endArrowhead": head}
        for side, box in (("startBinding", start), ("endBinding", end)):
            self.elements[name]["m"][side] = {"elementId": box, "focus": 0, "gap": gap}
            self.elements[box]["m"]["boundElements"].append({"type": "arrow", "id": name})
        return name

    def _edge(self, box: str, other: str, gap: float) -> tuple[float, float]:
        """Where an arrow to another box leaves this one: on the line between their centres."""
        size = self.elements[box]["g"]
        (x, y), (other_x, other_y) = self._middle(box), self._middle(other)
        dx, dy = other_x - x, other_y - y
        ways = [(size["width"] / 2 + gap) / abs(dx)] if dx else []
        ways += [(size["height"] / 2 + gap) / abs(dy)] if dy else []
        return round(x + dx * min(ways), 2), round(y + dy * min(ways), 2)

    def _middle(self, box: str) -> tuple[float, float]:
        size = self.elements[box]["g"]
        return size["x"] + size["width"] / 2, size["y"] + size["height"] / 2

    def _label(self, container: str, text: str) -> None:
        box = self.elements[container]["g"]
        lines = text.split("\n")
        width, height = max(map(len, lines)) * 11.0, len(lines) * 20 * _LINE_HEIGHT
        x, y = box["x"] + (box["width"] - width) / 2, box["y"] + (box["height"] - height) / 2
        name = self._add("text", x, y, width, height)
        self._write(name, text, 20, "center", "middle")
        self.elements[name]["m"]["containerId"] = container
        self.elements[container]["m"]["boundElements"].append({"type": "text", "id": name})

    def _write(self, name: str, text: str, size: int, align: str, vertical: str) -> None:
        self.elements[name]["t"] = {
            "text": text,
            "originalText": text,
            "fontSize": size,
            "fontFamily": 5,
            "textAlign": align,
            "verticalAlign": vertical,
            "lineHeight": _LINE_HEIGHT,
            "autoResize": True,
        }
        self.elements[name]["m"].setdefault("containerId", None)

    def _add(
        self,
        kind: str,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str = "transparent",
        stroke: str = _INK,
        roundness: dict[str, int] | None = None,
    ) -> str:
        number = len(self.elements)
        name = f"{self._name}-{number:02}"
        self.elements[name] = {
            "g": {"x": x, "y": y, "width": width, "height": height, "angle": 0},
            "s": {
                "strokeColor": stroke,
                "backgroundColor": fill,
                "fillStyle": "solid",
                "strokeWidth": 2,
                "strokeStyle": "solid",
                "roughness": 1,
                "opacity": 100,
                "roundness": roundness,
                "seed": self._chance.randrange(1, 1 << 31),
            },
            "m": {
                "type": kind,
                "index": _index(number),
                "groupIds": [],
                "frameId": None,
                "boundElements": [],
                "isDeleted": False,
                "locked": False,
                "link": None,
            },
        }
        return name


def _index(number: int) -> str:
    """A fractional index as Excalidraw makes them: `a0` ... `az`, `b00` ...; enough for templates."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    if number < 62:
        return f"a{digits[number]}"
    return f"b{digits[(number - 62) // 62]}{digits[(number - 62) % 62]}"


def _columns(name: str, titles: list[tuple[str, str]], notes: list[list[str]]) -> Elements:
    drawing = _Drawing(name)
    for column, (title, fill) in enumerate(titles):
        x = column * 240.0
        drawing.text(x, -60, title, 28)
        drawing.box(x - 20, 0, 220, 460, fill="transparent")
        for row, label in enumerate(notes[column]):
            drawing.note(x + 10, 30 + row * 140, fill, label)
    return drawing.elements


def _flow() -> Elements:
    drawing = _Drawing("flow")
    drawing.text(0, -90, "What happens, step by step", 28)
    steps = [("Start", _GREEN), ("Step", _BLUE), ("Check", _YELLOW), ("Done", _GREEN)]
    boxes = [drawing.box(at * 260.0, 0, 180, 90, fill=fill, label=label) for at, (label, fill) in enumerate(steps)]
    for start, end in pairwise(boxes):
        drawing.tie(start, end)
    again = drawing.box(520, 180, 180, 90, fill=_RED, label="Not good:\nagain")
    drawing.tie(boxes[2], again)
    drawing.tie(again, boxes[1])
    return drawing.elements


def _map() -> Elements:
    drawing = _Drawing("mindmap")
    topic = drawing.box(-110, -50, 220, 100, fill=_YELLOW, label="Topic")
    branches = [(-420, -190, _BLUE), (240, -190, _GREEN), (-420, 90, _VIOLET), (240, 90, _RED)]
    for x, y, fill in branches:
        drawing.tie(topic, drawing.box(x, y, 180, 100, fill=fill, label="Idea"), head=None)
    return drawing.elements


_KANBAN: Final = _columns(
    "kanban",
    [("To do", _YELLOW), ("Doing", _BLUE), ("Done", _GREEN)],
    [["First task", "Second task"], ["What we\nwork on"], ["What is\nfinished"]],
)
_RETRO: Final = _columns(
    "retro",
    [("Went well", _GREEN), ("Did not", _RED), ("Try next", _BLUE)],
    [["", ""], ["", ""], ["", ""]],
)

BOARDS: Final[list[tuple[str, str, str, str, dict[str, Any]]]] = [
    ("kanban", "board", "Task board", "Three columns: to do, doing, done.", {"elements": _KANBAN}),
    ("flow", "board", "Flow chart", "Steps, a check, and what happens when it fails.", {"elements": _flow()}),
    ("mindmap", "board", "Mind map", "A topic in the middle and four ideas around it.", {"elements": _map()}),
    ("retro", "board", "Retrospective", "Notes in three columns: well, not well, next.", {"elements": _RETRO}),
]
