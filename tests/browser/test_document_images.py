"""Pictures in documents: pasted, dropped, refused, and those of other hosts."""

from __future__ import annotations

from typing import Any

import httpx
import pycrdt
import pytest
from playwright.async_api import Request, expect

from tests.browser.people import Person
from tests.browser.programs import change, group_of, markup
from tests.browser.scene import Scene
from tests.browser.writing import File, decoded, drop, paste, said
from tests.support.images import png

PICTURE = File("Größe 😀.png", "image/png", png(40, 30))


async def two(scene: Scene) -> tuple[str, Person, Person]:
    """A document with one line that both have open."""
    document = await scene.create("document", "Bilder")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await ben.open(document)
    await ana.write("Ein Bild:")
    await ben.sees("Ein Bild:")
    return document, ana, ben


@pytest.mark.scenario
async def test_a_picture_is_pasted_and_dropped(scene: Scene) -> None:
    document, ana, ben = await two(scene)
    asked: list[str] = []
    ana.page.on("request", lambda request: asked.append(f"{request.method} {request.url.rsplit(':', 1)[1]}"))
    await ana.press("Enter")
    await paste(ana, PICTURE)
    await decoded(ana, 1)
    await decoded(ben, 1)
    assert sum("POST" in line and f"/api/documents/{document}/files" in line for line in asked) == 1
    width = await ben.page.locator(".bn-visual-media").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert width == [40, 30]
    await expect(ben.page.locator(".bn-visual-media")).to_have_attribute("alt", PICTURE.name)

    # Two at once, onto the lower half of the first line: behind it, in their order.
    box = await ben.page.get_by_text("Ein Bild:").bounding_box()
    assert box is not None
    files = [File(f"{at}.png", "image/png", png(at, at)) for at in (11, 12)]
    assert await drop(ben, box["x"] + 5, box["y"] + box["height"] - 3, *files)
    await decoded(ben, 3)
    await decoded(ana, 3)
    images = await ana.page.locator(".bn-visual-media").evaluate_all("all => all.map((image) => image.naturalWidth)")
    assert images == [11, 12, 40]
    # Beside the text: the page stays, and the picture comes in at the end.
    assert await drop(ben, 20, 700, File("last.png", "image/png", png(13, 13)))
    assert await drop(ben, 600, 20, File("bar.png", "image/png", png(14, 14)))
    await decoded(ana, 5)
    for person in (ana, ben):
        await person.chip("saved")
        await person.page.reload()
        await decoded(person, 5)
    # What an office program copies is text, and the picture of itself is left alone.
    await ana.page.get_by_text("Ein Bild:").click()
    await ana.press("End", "Enter")
    await paste(ana, PICTURE, html="<p>Tabelle</p>", plain="Tabelle")
    await ben.sees("Tabelle")
    # A picture that is copied from another page is a picture.
    await paste(ana, PICTURE, html='<img src="https://elsewhere.example/a.png">')
    await decoded(ben, 6)


async def test_what_cannot_be_stored_is_refused(scene: Scene) -> None:
    _, ana, ben = await two(scene)
    most = httpx.get(f"{scene.place.http}/api/config").json()["limits"]["max_file_bytes"]
    await ana.press("Enter")
    await paste(ana, File("a.svg", "image/svg+xml", b"<svg/>"), File("b.pdf", "application/pdf", b"%PDF"))
    await said(ana, "Only PNG, JPEG, GIF, WebP and AVIF images can be uploaded")
    await ana.page.evaluate(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "large.png", { type: "image/png" }));
            document.activeElement.dispatchEvent(
                new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
        }""",
        most + 1,
    )
    await said(ana, "That image is too large; the limit is")
    # Its bytes say what it is, not its name.
    await paste(ana, File("liar.png", "image/png", b"no picture at all"))
    await expect(ana.page.locator(".toast")).to_have_count(2)
    await said(ana, "Only PNG")
    # One good file among bad ones is taken.
    await paste(ana, File("c.txt", "text/plain", b"c"), PICTURE)
    await decoded(ben, 1)
    # While the server is away it waits, and comes when the server is back.
    ana.wire.cut()
    await ana.chip("reconnecting", "unsaved")
    await paste(ana, File("later.png", "image/png", png(9, 9)))
    await ana.chip("unsaved")
    ana.wire.heal()
    await decoded(ben, 2)
    await ana.chip("saved")
    for person in (ana, ben):
        await expect(person.page.locator('[data-content-type="image"]')).to_have_count(2)


async def test_pictures_on_other_hosts_are_not_asked_for(scene: Scene) -> None:
    document, ana, ben = await two(scene)
    asked: list[str] = []

    def note(request: Request) -> None:
        if "elsewhere" in request.url:
            asked.append(request.url)

    for person in (ana, ben):
        person.page.on("request", note)

    def add(doc: pycrdt.Doc[Any]) -> None:
        for at, (kind, url) in enumerate(
            [
                ("image", "https://elsewhere.example/spy.png"),
                ("video", "http://elsewhere.example/spy.mp4"),
                ("image", "javascript:alert(1)"),
            ]
        ):
            block = pycrdt.XmlElement(kind, {"url": url, "name": "", "caption": ""})
            group_of(doc).children.append(pycrdt.XmlElement("blockContainer", {"id": f"f{at}"}, [block]))

    await change(scene.place, document, add)
    for person in (ana, ben):
        await expect(person.page.locator(".external-media")).to_have_count(3)
        await expect(person.page.locator(".external-media a")).to_have_count(2)
        card = person.page.locator(".external-media").first
        await expect(card).to_contain_text("elsewhere.example")
        await expect(card.get_by_role("link")).to_have_attribute("rel", "noopener noreferrer")
        await expect(person.page.locator(".bn-visual-media")).to_have_count(0)
    await ana.page.get_by_text("Ein Bild:").click()
    await ana.press("End", "Enter")
    await ana.page.keyboard.type("Danach")
    await ben.sees("Danach")
    # Pasted from a page, too.
    await paste(ana, html='<p>Vorher <b>fett</b></p><img src="https://elsewhere.example/two.png"><p>Nachher</p>')
    await expect(ben.page.locator(".external-media")).to_have_count(4)
    await ben.sees("Nachher")
    assert "https://elsewhere.example/two.png" in await markup(scene.place, document)
    assert asked == []
