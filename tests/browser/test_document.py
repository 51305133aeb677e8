"""Documents, as people meet them: two browsers, one text."""

from __future__ import annotations

from tests.browser.scene import Scene


async def test_two_people_type_into_one_document(scene: Scene) -> None:
    document = await scene.create("document", "Frühling 😀")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await ben.open(document)
    await ana.write("Grüße 😀 aus dem Garten")
    await ben.sees("Grüße 😀 aus dem Garten")
    await ben.write("und vom Balkon")
    await ana.sees("Grüße 😀 aus dem Garten\nund vom Balkon")
    await ana.chip("saved")
    await ben.chip("saved")
    assert await ana.text() == await ben.text()
