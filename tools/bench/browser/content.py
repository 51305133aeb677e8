"""Documents and boards to measure with, in the shapes of the app: paragraphs of BlockNote, elements of Excalidraw."""

from __future__ import annotations

import random
from typing import Any

from pycrdt import Doc, Map, XmlElement, XmlFragment, XmlText

TEXT = "the loom holds warp and raffia: threads cross, over and under, until a cloth is made – schön 😀"
WORDS = TEXT.split()
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FILLS = ("#ffec99", "#b2f2bb", "#a5d8ff", "#ffc9c9")
COLUMNS, APART = 100, 120


def prose(chance: random.Random, characters: int) -> str:
    """Words with `characters` characters in total."""
    text = ""
    while len(text) < characters:
        text += chance.choice(WORDS) + " "
    return text[:characters]


def paragraphs(doc: Doc[Any]) -> list[XmlText]:
    """The texts of a document's blocks, in their order."""
    group = doc.get("document-store", type=XmlFragment).children[0]
    return [container.children[0].children[0] for container in group.children if container.children[0].children]


def plain(text: XmlText) -> str:
    """Without bold, links and so on."""
    return "".join(str(part) for part, _ in text.diff())


def write_paragraphs(doc: Doc[Any], count: int, characters: int) -> None:
    """Insert `count` paragraphs with `characters` characters in total before the existing content."""
    chance = random.Random(7)
    fragment = doc.get("document-store", type=XmlFragment)
    with doc.transaction():
        if not fragment.children:
            fragment.children.append(XmlElement("blockGroup"))
        group = fragment.children[0]
        for number in range(count):
            text = XmlText(prose(chance, max(2, characters // count)))
            paragraph = XmlElement("paragraph", {}, [text])
            group.children.insert(number, XmlElement("blockContainer", {"id": f"block-{number}"}, [paragraph]))


def order_key(number: int) -> str:
    """The fractional index of the n-th element in drawing order."""
    for length, letter in ((1, "a"), (2, "b"), (3, "c")):
        if number < 62**length:
            places = [number // 62**at % 62 for at in reversed(range(length))]
            return letter + "".join(DIGITS[place] for place in places)
        number -= 62**length
    raise ValueError("too many elements")


def element(number: int, chance: random.Random) -> dict[str, dict[str, Any]]:
    """One element on a grid, in its groups: shapes, texts, arrows and strokes."""
    kind = chance.choice(("rectangle", "rectangle", "ellipse", "diamond", "text", "arrow", "freedraw"))
    x, y = number % COLUMNS * APART, number // COLUMNS * APART
    g: dict[str, Any] = {"x": x, "y": y, "width": 80, "height": 60, "angle": 0}
    s: dict[str, Any] = {
        "strokeColor": "#1e1e1e",
        "backgroundColor": chance.choice(FILLS) if kind not in ("text", "arrow", "freedraw") else "transparent",
        "fillStyle": "solid",
        "strokeWidth": 2,
        "strokeStyle": "solid",
        "roughness": 1,
        "opacity": 100,
        "roundness": {"type": 3} if kind == "rectangle" else None,
        "seed": number + 1,
    }
    m: dict[str, Any] = {
        "type": kind,
        "index": order_key(number),
        "groupIds": [],
        "frameId": None,
        "boundElements": [],
        "isDeleted": False,
        "locked": False,
        "link": None,
    }
    groups = {"g": g, "s": s, "m": m}
    if kind == "text":
        groups["t"] = {
            "text": "Grüße 😀",
            "originalText": "Grüße 😀",
            "fontSize": 20,
            "fontFamily": 5,
            "textAlign": "left",
            "verticalAlign": "top",
            "lineHeight": 1.25,
            "autoResize": True,
            "containerId": None,
        }
        g["height"] = 25
    elif kind == "arrow":
        g["points"] = [[0, 0], [80, 60]]
        s |= {"startArrowhead": None, "endArrowhead": "arrow"}
        m |= {"startBinding": None, "endBinding": None}
    elif kind == "freedraw":
        g["points"] = [[at * 2, round(30 + chance.uniform(-30, 30), 1)] for at in range(40)]
        g |= {"simulatePressure": True, "pressures": []}
    return groups


def write_elements(doc: Doc[Any], count: int) -> None:
    """Put `count` elements on a board."""
    chance = random.Random(7)
    elements = doc.get("elements", type=Map)
    with doc.transaction():
        for number in range(count):
            elements[f"element-{number}"] = Map(element(number, chance))
