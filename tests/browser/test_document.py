"""Documents, as people meet them: two browsers, one text."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.people import Person
from tests.browser.scene import Scene
from tests.browser.writing import outline, shows


async def two(scene: Scene, title: str, **fields: str) -> tuple[Person, Person]:
    """Ana and Ben, with a new document."""
    document = await scene.create("document", title, **fields)
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await ben.open(document)
    return ana, ben


@pytest.mark.scenario
async def test_two_people_type_into_one_document(scene: Scene) -> None:
    ana, ben = await two(scene, "Frühling 😀")
    await ana.write("Grüße 😀 aus dem Garten")
    await ben.sees("Grüße 😀 aus dem Garten")
    await ben.write("und vom Balkon")
    await ana.sees("Grüße 😀 aus dem Garten\nund vom Balkon")
    await ana.chip("saved")
    await ben.chip("saved")
    assert await ana.text() == await ben.text()
    # Each sees the other: a face above, a cursor with a name, what is selected.
    await expect(ana.page.get_by_role("button", name="Follow Ben")).to_be_visible()
    cursor = ana.page.locator(".bn-editor .peer-cursor")
    await expect(cursor).to_have_count(1)
    await expect(cursor.locator(".bn-collaboration-cursor__label")).to_have_text("Ben")
    await expect(cursor.locator(".bn-collaboration-cursor__caret")).to_have_css("background-color", "rgb(29, 78, 216)")
    await ben.press("Shift+Home")
    await expect(ana.page.locator(".ProseMirror-yjs-selection")).to_have_text("und vom Balkon")


@pytest.mark.scenario
async def test_undo_takes_back_ones_own_words_only(scene: Scene) -> None:
    ana, ben = await two(scene, "Zurück")
    await ana.write("Anas Satz")
    await ben.sees("Anas Satz")
    await ben.page.get_by_text("Anas Satz").click()
    await ben.press("End")
    await ben.page.keyboard.type(" und Bens")
    await ben.press("Enter")
    await ben.page.keyboard.type("Bens Zeile")
    await ana.sees("Anas Satz und Bens\nBens Zeile")
    # What was typed within half a second is one step, so how many steps a sentence has depends on the machine.
    # More key presses than there are steps must not undo what the other one wrote.
    everything = len("Anas Satz und Bens Bens Zeile")
    await ana.press(*["Control+z"] * everything)
    await shows(ana, "paragraph: und Bens", "paragraph: Bens Zeile")
    await shows(ben, "paragraph: und Bens", "paragraph: Bens Zeile")
    await ana.press(*["Control+Shift+z"] * everything)
    await ben.sees("Anas Satz und Bens\nBens Zeile")
    await ben.press(*["Control+z"] * everything)
    await shows(ana, "paragraph: Anas Satz")
    await shows(ben, "paragraph: Anas Satz")
    await ben.press(*["Control+y"] * everything)
    await ana.sees("Anas Satz und Bens\nBens Zeile")
    await shows(ben, *await outline(ana))
    await ana.chip("saved")


@pytest.mark.scenario(alone=True)
async def test_following_somebody_through_a_long_document(scene: Scene) -> None:
    document = await scene.create("document", "Lang")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben", viewport={"width": 900, "height": 600})
    await ana.open(document)
    await ben.open(document)
    await ana.editor.click()
    await ana.page.evaluate(
        """() => document.activeElement.dispatchEvent(new ClipboardEvent("paste", {
            bubbles: true, cancelable: true, clipboardData: (() => {
                const data = new DataTransfer();
                data.setData("text/html", Array.from({ length: 150 }, (_, at) => `<p>Absatz ${at} é</p>`).join(""));
                return data;
            })() }))"""
    )
    await ben.sees("Absatz 149 é")
    await ben.page.evaluate("scrollTo(0, 0)")
    await ben.page.get_by_role("button", name="Follow Ana").click()
    label = ben.page.locator(".follow-label")
    await expect(label).to_contain_text("Following Ana")
    await expect(ben.page.locator(".follow-frame")).to_have_css("border-top-color", "rgb(194, 65, 12)")
    for line in (140, 20, 90):
        await ana.page.evaluate(
            """text => [...document.querySelectorAll("p")]
                .find((p) => p.textContent === text).scrollIntoView({ block: "center" })""",
            f"Absatz {line} é",
        )
        await expect(ben.page.get_by_text(f"Absatz {line} é", exact=True)).to_be_in_viewport()
    await ben.press("Escape")
    await expect(label).to_have_count(0)
    await ben.page.get_by_role("button", name="Follow Ana").click()
    await expect(label).to_be_visible()
    await ben.page.mouse.move(400, 300)
    await ben.page.mouse.wheel(0, -2000)
    await expect(label).to_have_count(0)
    await ben.page.get_by_role("button", name="Follow Ana").click()
    await ben.page.get_by_role("button", name="Stop", exact=True).click()
    await expect(label).to_have_count(0)
    await ben.page.get_by_role("button", name="Follow Ana").click()
    await expect(label).to_be_visible()
    await ana.close_tab()
    await expect(label).to_have_count(0)


async def test_the_title_is_shared(scene: Scene) -> None:
    ana, ben = await two(scene, "Alt")
    cleo = await scene.invite("Cleo")
    await cleo.page.goto(cleo.home)
    title = ana.page.get_by_label("Title", exact=True)
    await title.fill("Neuer Titel é 😀")
    await expect(ben.page.get_by_label("Title", exact=True)).to_have_value("Neuer Titel é 😀")
    await expect(ben.page).to_have_title(re.compile("Neuer Titel é 😀"))
    await ana.press("Enter")
    await ana.chip("saved")
    await cleo.until(
        "() => fetch('/api/documents?search=Neuer%20Titel').then((r) => r.json()).then((page) => page.total === 1)"
    )
    await cleo.page.reload()
    await expect(cleo.page.get_by_text("Neuer Titel é 😀").first).to_be_visible()
    # Renamed at home: whoever has it open sees that.
    await cleo.page.get_by_role("button", name="Actions for Neuer Titel é 😀").first.click()
    await cleo.page.get_by_role("menuitem", name="Rename").click()
    await cleo.page.get_by_role("textbox", name="Title", exact=True).fill("Von zu Hause")
    await cleo.press("Enter")
    for person in (ana, ben):
        await expect(person.page.get_by_label("Title", exact=True)).to_have_value("Von zu Hause")
    # Nothing is no title; Escape takes back what was typed.
    await title.fill("")
    await ana.press("Enter")
    await expect(title).to_have_value("Von zu Hause")
    await title.press_sequentially("x")
    await ana.press("Escape")
    await expect(title).to_have_value("Von zu Hause")


async def test_everything_is_reached_by_keyboard(scene: Scene) -> None:
    ana, _ = await two(scene, "Tasten")
    await expect(ana.page.get_by_role("button", name="Follow Ben")).to_be_visible()
    await ana.page.get_by_role("link", name="Back to all documents").focus()

    async def focused() -> str:
        return str(
            await ana.page.evaluate(
                """() => {
                    const element = document.activeElement;
                    const style = getComputedStyle(element);
                    const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
                    const ring = element.matches(".bn-editor") || outlined;
                    const name = element.getAttribute("aria-label") ?? element.textContent.trim();
                    return `${name}${ring ? "" : " (no ring)"}`;
                }"""
            )
        )

    seen = [(await focused()).removesuffix(" (no ring)")]
    for _ in range(7):
        await ana.press("Tab")
        seen.append(await focused())
    assert seen[:2] == ["Back to all documents", "Title"]
    assert seen[2].startswith(("Saved", "Up to date"))
    assert seen[3:] == ["Follow Ben", "You are Ana. Change your name and colour", "Share", "More", "Document"]
    await ana.page.keyboard.type("Ohne Maus")
    await ana.sees("Ohne Maus")
    # Tab belongs to the text; Escape leaves it.
    await ana.press("Escape", "Shift+Tab")
    assert await focused() == "More"
    await ana.press("Enter", "ArrowDown")
    assert await focused() == "Download as HTML"
    await ana.press("Escape")
    await expect(ana.page.get_by_role("menu")).to_have_count(0)
    assert await focused() == "More"
    await ana.press("Control+/")
    await expect(ana.page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    await ana.press("Escape")
    await expect(ana.page.get_by_role("dialog")).to_have_count(0)
    # Escape closes the slash menu, and stays in the text.
    await ana.press("Tab")
    await ana.page.keyboard.type(" /")
    await expect(ana.page.get_by_role("listbox")).to_be_visible()
    await ana.press("Escape")
    await expect(ana.page.get_by_role("listbox")).to_have_count(0)
    assert await focused() == "Document"
