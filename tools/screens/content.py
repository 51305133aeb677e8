"""The content of the documents and boards in the pictures: invented, and always the same."""

from __future__ import annotations

import io
import json
import math
import random
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

PLAN = """\
<h1>Garden café: opening plan</h1>
<p>We open on <strong>12 April</strong>. This page holds what is decided and who does what; ideas go on the
<a href="https://example.org/board">board</a>.</p>
<h2>Goals</h2>
<ul><li>200 guests on the first weekend</li><li>A menu in English, français and português</li>
<li>No single-use cups ☕️</li></ul>
<h2>To do</h2>
<ul><li><input type="checkbox" checked><p>Sign the lease with Mme Lefèvre</p></li>
<li><input type="checkbox" checked><p>Order the espresso machine</p></li>
<li><input type="checkbox"><p>Paint the terrace before the rain comes</p></li></ul>
<blockquote>“Make the door so wide that nobody has to wait for the sun.”</blockquote>
<p>Budget and dates are in the table below. Tell Zoë before you change a number.</p>
"""

TABLE = """\
<h2>Who does what</h2>
<table><tr><th>What</th><th>Who</th><th>Until</th></tr>
<tr><td>Kitchen and permits</td><td>Zoë Lindqvist</td><td>14 March</td></tr>
<tr><td>Terrace, plants 🌿</td><td>Benício Araújo</td><td>28 March</td></tr>
<tr><td>Menu, prices, allergens</td><td>Renée Moreau</td><td>2 April</td></tr>
<tr><td>Music for the first evening</td><td>Tomás 🦊</td><td>10 April</td></tr></table>
<h3>How we count cups</h3>
<pre><code class="language-python">def cups(guests: int, weekend: bool) -> int:
    return round(guests * (1.7 if weekend else 1.2))</code></pre>
<ol><li>Count what comes back on Sunday evening</li><li>Write it down here</li></ol>
"""


def picture(width: int = 720, height: int = 360) -> bytes:
    """Hills in the evening, as a PNG."""
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for y in range(height):
        part = y / height
        draw.line([(0, y), (width, y)], fill=(int(250 - 30 * part), int(214 - 60 * part), int(170 + 10 * part)))
    draw.ellipse([width * 0.68, height * 0.18, width * 0.68 + 74, height * 0.18 + 74], fill=(255, 244, 214))
    for layer, colour in enumerate([(196, 138, 120), (142, 108, 110), (86, 96, 92), (40, 70, 62)]):
        base = height * (0.5 + 0.13 * layer)
        points = [
            (x, base + 26 * math.sin(x / (90 - 12 * layer) + layer * 1.9) + 12 * math.sin(x / 37 + layer))
            for x in range(0, width + 8, 8)
        ]
        draw.polygon([(0, height), *points, (width, height)], fill=colour)
    out = io.BytesIO()
    image.filter(ImageFilter.SMOOTH).quantize(96).save(out, "PNG", optimize=True)
    return out.getvalue()


INK = "#1e1e1e"
YELLOW, GREEN, BLUE, RED, VIOLET = "#ffec99", "#b2f2bb", "#a5d8ff", "#ffc9c9", "#d0bfff"


class Drawing:
    """Elements of a board as Excalidraw writes them into its files."""

    def __init__(self) -> None:
        self.elements: list[dict[str, Any]] = []
        self._chance = random.Random(7)

    def box(self, area: tuple[float, float, float, float], fill: str, label: str, **more: Any) -> str:
        x, y, width, height = area
        size = more.pop("size", 20)
        name = self._add("rectangle", x, y, width, height, backgroundColor=fill, roundness={"type": 3}, **more)
        top = y + (height - (label.count("\n") + 1) * size * 1.25) / 2
        text = self.text(x + 10, top, label, size, align="center", width=width - 20)
        self.elements[-1] |= {"containerId": name, "verticalAlign": "middle"}
        self.elements[-2]["boundElements"] = [{"type": "text", "id": text}]
        return name

    def text(self, x: float, y: float, text: str, size: int = 20, *, align: str = "left", width: float = 0) -> str:
        lines = text.split("\n")
        return self._add(
            "text", x, y, width or max(map(len, lines)) * size * 0.52, len(lines) * size * 1.25,
            text=text, originalText=text, fontSize=size, fontFamily=5, textAlign=align, verticalAlign="top",
            containerId=None, lineHeight=1.25, autoResize=True,
        )  # fmt: skip

    def arrow(self, x: float, y: float, *to: tuple[float, float], colour: str = "#868e96") -> str:
        points = [[0.0, 0.0], *([a - x, b - y] for a, b in to)]
        return self._add(
            "arrow", x, y, abs(points[-1][0]), abs(points[-1][1]), strokeColor=colour, points=points,
            roundness={"type": 2}, startArrowhead=None, endArrowhead="arrow", startBinding=None, endBinding=None,
        )  # fmt: skip

    def stroke(self, x: float, y: float, points: list[tuple[float, float]], colour: str) -> str:
        return self._add(
            "freedraw", x, y, 0, 0, strokeColor=colour, points=[list(point) for point in points], pressures=[],
            simulatePressure=True, lastCommittedPoint=None,
        )  # fmt: skip

    def ellipse(self, x: float, y: float, width: float, height: float, fill: str) -> str:
        return self._add("ellipse", x, y, width, height, backgroundColor=fill, roundness={"type": 2})

    def file(self) -> bytes:
        """The `.excalidraw` file."""
        return json.dumps({"type": "excalidraw", "version": 2, "elements": self.elements, "files": {}}).encode()

    def _add(self, kind: str, x: float, y: float, width: float, height: float, **more: Any) -> str:
        name = f"element-{len(self.elements)}"
        self.elements.append(
            {
                "id": name, "type": kind, "x": x, "y": y, "width": width, "height": height, "angle": 0,
                "strokeColor": INK, "backgroundColor": "transparent", "fillStyle": "solid", "strokeWidth": 2,
                "strokeStyle": "solid", "roughness": 1, "opacity": 100, "roundness": None, "groupIds": [],
                "frameId": None, "boundElements": [], "isDeleted": False, "locked": False, "link": None,
                "seed": self._chance.randrange(1, 1 << 31), "version": 1, "versionNonce": 1, "updated": 1,
            }
            | more
        )  # fmt: skip
        return name


def journey() -> bytes:
    """A guest's way through the café, with notes around it."""
    drawing = Drawing()
    drawing.text(0, -110, "A guest's first visit", 36)
    drawing.text(0, -58, "What happens, and what we still have to find out", 20)
    for step, (label, fill) in enumerate(
        [
            ("Sees the\nterrace", GREEN),
            ("Reads the\nmenu", BLUE),
            ("Orders at\nthe window", BLUE),
            ("Sits down ☀️", GREEN),
        ]
    ):
        drawing.box((step * 250, 0, 180, 96), fill, label)
        if step < 3:
            drawing.arrow(step * 250 + 190, 48, (step * 250 + 240, 48))
    drawing.arrow(590, 106, (590, 190))
    drawing.box((500, 200, 180, 96), RED, "Too long\na queue")
    drawing.arrow(490, 248, (360, 230), (340, 108))
    notes = [
        ("Menu in three\nlanguages?", YELLOW),
        ("Cups come\nback → 1 €", YELLOW),
        ("Ask Renée about\noat milk", VIOLET),
    ]
    for at, (label, fill) in enumerate(notes):
        drawing.box((at * 158 - 12, 330, 146, 128), fill, label, size=16, angle=(-0.03, 0.02, -0.015)[at])
    drawing.text(470, 336, "Two windows on weekends,\none on weekdays", 20)
    ring = [
        (132 * math.cos(a / 9) - 132 + 3 * math.sin(a / 3), 74 * math.sin(a / 9) + 3 * math.cos(a / 5))
        for a in range(60)
    ]
    drawing.stroke(722, 248, ring, "#c2255c")
    return drawing.file()
