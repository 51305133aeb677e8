"""Boards, as people meet them: two browsers draw on one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.browser.boards import Board, same
from tests.browser.people import until
from tests.browser.scene import Scene


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


async def test_two_people_draw_on_one_board(scene: Scene) -> None:
    document, ana, ben = await meet(scene)
    box = await ana.draw("r", (250, 200), (400, 300))
    round_ = await ben.draw("o", (700, 200), (850, 300))
    await ana.sees(round_, type="ellipse", width=150, height=100)
    await ben.sees(box, type="rectangle", width=150, height=100)

    # An arrow from the one to the other holds on to both.
    arrow = await ana.draw("a", (405, 250), (693, 250))
    await ben.sees(arrow, type="arrow", startBinding=to(box), endBinding=to(round_))

    text = await ben.write((300, 500), "Grüße 😀")
    await ana.sees(text, type="text", text="Grüße 😀")

    # A stroke grows on the other side while the pen is still down.
    await ana.tool("p")
    mouse = ana.page.mouse
    await mouse.move(600, 500)
    await mouse.down()
    await mouse.move(640, 520, steps=10)
    await ben.count(5)
    stroke = (await ben.elements())[-1]["id"]
    short = len((await ben.sees(stroke, type="freedraw"))["points"])
    await mouse.move(800, 600, steps=30)

    async def grown() -> bool:
        return len((await ben.element(stroke) or {})["points"]) >= short + 25

    await until(grown, "the stroke grows before the pen goes up")
    await mouse.up()
    seen = await same(scene, document, ana, ben)
    assert [element["type"] for element in seen] == ["rectangle", "ellipse", "arrow", "text", "freedraw"]
    assert len(seen[-1]["points"]) >= 40
