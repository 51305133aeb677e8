"""A board draws only what has changed; it has to look as if all of it had been drawn."""

from __future__ import annotations

import pytest

from tests.browser.people import Person
from tests.browser.scene import Place, Scene

# After some frames, in which what waits is drawn.
LOOK = """async () => {
    for (let frame = 0; frame < 20; frame += 1) await new Promise((done) => requestAnimationFrame(done));
    return document.querySelector(".excalidraw canvas.static").toDataURL();
}"""
DARK = "scheme => (document.querySelector('.excalidraw.theme--dark') !== null) === (scheme === 'dark')"


async def still(person: Person) -> str:
    """What the board looks like, as a picture."""
    return str(await person.page.evaluate(LOOK))


async def all_drawn(person: Person) -> str:
    """What the board looks like once everything has been drawn anew, as a change of the theme has it."""
    for scheme in ("dark", "light"):
        await person.page.emulate_media(color_scheme=scheme)
        await person.until(DARK, scheme)
        look = await still(person)
    return look


@pytest.mark.parametrize("place", ["alone"], indirect=True)
async def test_d1_what_is_drawn_in_parts_looks_like_the_whole(scene: Scene, place: Place) -> None:
    board = await scene.create("board", "Parts 😀", template="flow")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    for person in (ana, ben):
        await person.open(board, "board")
    # A box among the notes, moved over them and away; a line across; a note that is moved; what was drawn, undone.
    await ana.press("r")
    await ana.drag((400, 300), (560, 420))
    await ana.drag((480, 360), (700, 500))
    await ben.press("p")
    await ben.drag((300, 250), (900, 600))
    await ana.press("Escape")
    await ana.press("a")
    await ana.drag((350, 550), (820, 260))
    await ana.press("Control+z")
    await ana.press("Control+Shift+z")
    await ana.chip("saved")
    await ben.chip("saved")
    for person in (ana, ben):
        look, before = await still(person), ""
        while look != before:  # others' movements are still being shown
            look, before = await still(person), look
        assert look == await all_drawn(person), person.name
