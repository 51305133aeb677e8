"""Boards, as people meet them: two browsers draw on one, each undoes only what is its own."""

from __future__ import annotations

import pytest

from tests.browser.boards import Board, meet, same, stored, to
from tests.browser.people import until
from tests.browser.scene import Scene

RED = "#e03131"


@pytest.mark.scenario
async def test_two_people_draw_on_one_board(scene: Scene) -> None:
    document, ana, ben = await meet(scene)
    box = await ana.draw("r", (250, 200), (400, 300))
    round_ = await ben.draw("o", (700, 200), (850, 300))
    await ana.sees(round_, type="ellipse", width=150, height=100)
    await ben.sees(box, type="rectangle", width=150, height=100)

    # An arrow from the one to the other holds on to both, and follows.
    arrow = await ana.draw("a", (405, 250), (693, 250))
    await ben.sees(arrow, type="arrow", startBinding=to(box), endBinding=to(round_))
    before = (await ben.element(arrow) or {})["height"]
    await ben.move(round_, (0, 120), across=0.5, down=0)
    await ana.sees(arrow, height=lambda height: height > before + 50)

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


async def recolour(board: Board, name: str) -> None:
    """Select an element and make its stroke red, in the panel at the side."""
    await board.select(name, 0.5, 0.0)
    await board.page.get_by_test_id(f"color-top-pick-{RED}").click()


@pytest.mark.scenario
async def test_one_moves_what_the_other_recolours_and_deletes(scene: Scene) -> None:
    document, ana, ben = await meet(scene)
    box = await ana.draw("r", (400, 300), (550, 400))
    start = await ben.sees(box, width=150)

    # Both changes survive on both sides, and undo takes back one's own only.
    await ana.tool("v")
    x, y = await ana.spot(box, 0, 0.5)
    mouse = ana.page.mouse
    await mouse.move(x, y)
    await mouse.down()
    await mouse.move(x + 60, y + 40, steps=8)
    await ben.sees(box, x=start["x"] + 60)
    await recolour(ben, box)
    await mouse.move(x + 120, y + 40, steps=8)
    await mouse.up()
    for board in (ana, ben):
        await board.sees(box, x=start["x"] + 120, y=start["y"] + 40, strokeColor=RED)
    await ana.person.press("Control+z")
    for board in (ana, ben):
        await board.sees(box, x=start["x"], y=start["y"], strokeColor=RED)
    await ana.person.press("Control+Shift+z")
    for board in (ana, ben):
        await board.sees(box, x=start["x"] + 120, y=start["y"] + 40, strokeColor=RED)

    # By its corner.
    await ana.select(box)
    corner = await ana.spot(box, 1, 1)
    await ana.person.drag((corner[0] + 4, corner[1] + 4), (corner[0] + 64, corner[1] + 54))
    await ben.sees(box, width=210, height=150, x=start["x"] + 120, strokeColor=RED)

    # Deleted while it is moved: it is gone, and comes back to where it was moved.
    x, y = await ana.spot(box, 0, 0.5)
    await ben.select(box)
    await mouse.move(x, y)
    await mouse.down()
    await mouse.move(x - 80, y, steps=8)
    await ben.sees(box, x=start["x"] + 40)
    await ben.person.press("Delete")
    await ben.sees(box, isDeleted=True)
    await mouse.up()
    await ana.sees(box, isDeleted=True)
    assert await same(scene, document, ana, ben) == []
    assert (await stored(scene, document))[box]["m"]["isDeleted"] is True
    await ben.person.press("Control+z")
    for board in (ana, ben):
        await board.sees(box, isDeleted=False, x=start["x"] + 40, width=210, strokeColor=RED)
    await same(scene, document, ana, ben)


@pytest.mark.scenario
async def test_groups_and_order_are_shared_and_undo_is_ones_own(scene: Scene) -> None:
    document, ana, ben = await meet(scene)
    first = await ana.draw("r", (300, 200), (420, 320))
    second = await ben.draw("d", (360, 260), (480, 380))
    third = await ana.draw("o", (420, 320), (540, 440))
    await ben.count(3)

    # Undo and redo of one's own, not of what came last.
    await ben.person.press("Control+z")
    await ana.sees(second, isDeleted=True)
    await ana.person.press("Control+z")
    await ben.sees(third, isDeleted=True)
    await ben.person.press("Control+Shift+z")
    await ana.sees(second, isDeleted=False)
    await ana.person.press("Control+Shift+z")
    await ben.sees(third, isDeleted=False)
    assert [element["id"] for element in await same(scene, document, ana, ben)] == [first, second, third]

    await ana.select(third, 0.5, 1.0)
    await ana.person.press("Control+Shift+BracketLeft")
    await ben.select(first, 0.0, 0.5)
    await ben.person.press("Control+BracketRight")

    async def arranged() -> bool:
        orders = [[element["id"] for element in await board.elements()] for board in (ana, ben)]
        return orders[0] == orders[1] == [third, second, first]

    await until(arranged, "the order is the same for both")

    await ben.person.press("Control+a", "Control+g")
    groups = await ana.sees(first, groupIds=lambda ids: len(ids) == 1)
    seen = await same(scene, document, ana, ben)
    assert [element["groupIds"] for element in seen] == [groups["groupIds"]] * 3
    # A group moves as one.
    await ana.move(third, (50, 30), across=0.5, down=1.0)
    for element in seen:
        await ben.sees(element["id"], x=element["x"] + 50, y=element["y"] + 30)
    await same(scene, document, ana, ben)


async def test_a_text_written_by_one_is_kept_whatever_the_other_does_to_it(scene: Scene) -> None:
    document, ana, ben = await meet(scene)
    text = await ana.write((400, 300), "Grüße")
    await ben.sees(text, text="Grüße")
    area = ana.page.locator("textarea.excalidraw-wysiwyg")
    await ana.page.mouse.dblclick(*await ana.spot(text))
    await ana.page.keyboard.type("Liebe ")
    await ben.sees(text, text=lambda value: "Liebe" in value)
    await ben.select(text, 0.5, 0.5)
    await ben.page.get_by_test_id(f"color-top-pick-{RED}").click()
    await ben.sees(text, strokeColor=RED)
    await ben.person.press("Delete")
    await ben.sees(text, isDeleted=True)
    await area.press_sequentially("und ")
    await ana.person.press("Escape")
    await ben.sees(text, isDeleted=False, strokeColor=RED, text=lambda value: "und " in value)
    written = (await same(scene, document, ana, ben))[0]["text"]

    # Emptied, it is gone for both.
    await ana.page.mouse.dblclick(*await ana.spot(text))
    await area.fill("")
    await ana.person.press("Escape")
    await ben.sees(text, isDeleted=True)
    await ana.person.press("Control+z")
    await ben.sees(text, isDeleted=False, text=written)

    # What was typed last is not lost when the page is left at once.
    await ana.page.mouse.dblclick(*await ana.spot(text))
    await area.press("End")
    await ana.page.keyboard.type("!")
    await ana.page.evaluate("() => document.querySelector('.bar-left a').click()")
    await ben.sees(text, text=lambda value: "!" in value)
