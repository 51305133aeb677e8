"""Whatever a document holds, a page that only opens it writes nothing, and shows every word.

Rules:
    OP1  Opening writes nothing: the server's bytes are the same afterwards, to the last one. Neither does another
         user's cursor, nor the focus.
    OP2  Every text of the document is on the page, wherever it is in the document.
    OP3  What does not fit the editor makes the document read-only, and the page says so; it becomes editable again as
         soon as everything fits, without a reload. What was typed until then is kept.
    OP4  A user can repair a document whose parts are in the wrong place. Their words are all kept, once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pycrdt
import pytest
from playwright.async_api import expect

from tests.browser.people import Person, until
from tests.browser.programs import TEXT, change, markup, stored
from tests.browser.scene import Scene
from tests.browser.trees import (
    Node,
    Words,
    block,
    container,
    group,
    missing,
    mutate,
    paragraph,
    plain,
    table,
    texts,
    words,
    write,
)
from tests.browser.writing import shows

MISPLACED = "Parts of this document are in the wrong place."
UNKNOWN = "Parts of this document cannot be shown."
Trees = Sequence[Node | Words]

PAGE = """() => {
    const editor = document.querySelector(".bn-editor");
    return editor ? editor.textContent : "";
}"""
# Within the app, so that the page with its scripts is loaded once only.
GO = """(path) => { history.pushState(null, "", path); dispatchEvent(new PopStateEvent("popstate")); }"""
# Two frames: what the editor's plugins do after they have seen the document.
SETTLED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
FOCUS = "() => { document.querySelector('.bn-editor').focus(); }"


async def hold(scene: Scene, trees: Trees, title: str = "Odd") -> str:
    """A new document with this rich text; its id."""
    document = await scene.create("document", title)
    await change(scene.place, document, lambda doc: write(doc, trees))
    return document


async def look(person: Person, document: str, title: str, trees: Trees) -> None:
    """Open a document within the page, wait until all of it is shown (OP2), and click into it."""
    await person.page.evaluate(GO, f"/d/{document}")
    await expect(person.page.get_by_label("Title")).to_have_value(title)
    await expect(person.editor).to_be_visible()
    await person.chip("saved", "live")
    lacking: list[str] = []

    async def whole() -> bool:
        lacking[:] = missing(trees, str(await person.page.evaluate(PAGE)))
        return not lacking

    try:
        await until(whole, "every text on the page", 5)
    except AssertionError as error:
        raise AssertionError(f"{title}: not on the page: {lacking}; {person.problems}; {trees}") from error
    await person.page.evaluate(FOCUS)
    await person.page.evaluate(SETTLED)
    await person.chip("saved", "live")


def rows(inner: Node) -> list[Node]:
    """The only row of a table, with this in its cell."""
    return [Node("tableRow", {}, [Node("tableCell", {}, [inner])])]


FIRST, LAST = paragraph("first"), paragraph("last")
AAA, BBB = (Node("paragraph", {}, [words(text)]) for text in ("AAA", "BBB"))

CASES: dict[str, tuple[Trees, str | None]] = {
    "two paragraphs in one block": ([group(FIRST, container(AAA, BBB), LAST)], MISPLACED),
    "a text in the group": ([group(FIRST, words("between"), LAST)], MISPLACED),
    "a block without content": ([group(FIRST, container(), LAST)], MISPLACED),
    "an empty group in a block": ([group(FIRST, container(BBB, group()))], MISPLACED),
    "two groups in one block": ([group(container(AAA, group(FIRST), group(LAST)))], MISPLACED),
    "a second group": ([group(FIRST), group(paragraph("second group"))], MISPLACED),
    "a table in a cell": ([group(block("table", *rows(table(["inner"], ["more"]))))], MISPLACED),
    "a heading of level 9": ([group(block("heading", words("ninth"), level=9))], UNKNOWN),
    "an attribute that would be a tag": ([group(block("heading", words("tag"), level=" x"))], UNKNOWN),
    "an unknown mark": ([group(block("paragraph", words("marked", future={})))], UNKNOWN),
    "an unknown attribute": ([group(block("paragraph", words("set"), future="on"))], UNKNOWN),
    "an unknown block": ([group(FIRST, block("futureBlock", words("later")))], UNKNOWN),
    "an element named text": ([group(block("paragraph", Node("text", {}, [words("inside")])))], UNKNOWN),
    "a table of unequal rows": ([group(block("table", *table(["a1"], ["b1", "b2"]).children))], None),
    "two blocks with one id": ([group(paragraph("first", "same"), paragraph("last", "same"))], None),
    "a block without an id": ([group(container(AAA), LAST)], None),
}


@pytest.mark.scenario(alone=True)
async def test_what_does_not_fit_is_shown_and_kept(scene: Scene) -> None:
    """Cases that were deleted, hidden or changed by opening them."""
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    for person in (ana, ben):
        await person.page.goto(person.home)
    wrong: list[str] = []
    for name, (trees, said) in CASES.items():
        document = await hold(scene, trees, name)
        before = await stored(scene.place, document)
        try:
            for person in (ana, ben):  # Ben's cursor reaches Ana's editor (OP1)
                await look(person, document, name, trees)
            await expect(ana.editor).to_have_attribute("contenteditable", "true" if said is None else "false")
            if said:
                await expect(ana.page.get_by_text(said)).to_be_visible()
            await ana.page.evaluate(SETTLED)
        except AssertionError as error:
            wrong.append(f"{name}: {error}; {ana.problems}")
            for person in (ana, ben):
                await person.page.goto(person.home)
        if await stored(scene.place, document) != before:
            wrong.append(f"{name}: the document was changed: {await markup(scene.place, document)}")
    assert not wrong, "\n".join(wrong)


def add_second_group(doc: pycrdt.Doc[Any]) -> None:
    """What two programs do that each begin the same empty document."""
    root: pycrdt.XmlFragment = doc.get(TEXT, type=pycrdt.XmlFragment)
    copy = root.children.append(pycrdt.XmlElement("blockGroup"))
    inner = copy.children.append(pycrdt.XmlElement("blockContainer", {"id": "second"}))
    inner.children.append(pycrdt.XmlElement("paragraph", {}, [pycrdt.XmlText("from elsewhere")]))


def remove_second_group(doc: pycrdt.Doc[Any]) -> None:
    """Undoes it."""
    root: pycrdt.XmlFragment = doc.get(TEXT, type=pycrdt.XmlFragment)
    del root.children[1]


@pytest.mark.scenario(alone=True)
async def test_what_does_not_fit_arrives_while_people_write(scene: Scene) -> None:
    document = await scene.create("document", "Mitten im Wort")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    for person in (ana, ben):
        await person.open(document)
    await ana.write("Grüße 😀 und ")
    # An input method is composing a word when the change arrives.
    keyboard = await ana.context.new_cdp_session(ana.page)
    await keyboard.send("Input.imeSetComposition", {"text": "にほ", "selectionStart": 2, "selectionEnd": 2})
    await ben.sees("にほ")
    await change(scene.place, document, add_second_group)
    for person in (ana, ben):
        await expect(person.page.get_by_text(MISPLACED)).to_be_visible()
        await person.sees("Grüße 😀 und にほ")
        await person.sees("from elsewhere")
        await expect(person.editor).to_have_attribute("contenteditable", "false")
    await keyboard.send("Input.insertText", {"text": "日本"})
    await ana.chip("saved")
    assert "Grüße 😀 und にほ</paragraph>" in await markup(scene.place, document)

    await change(scene.place, document, remove_second_group)
    for person in (ana, ben):
        await expect(person.page.get_by_text(MISPLACED)).to_have_count(0)
        await expect(person.editor).to_have_attribute("contenteditable", "true")
    await ben.write("weiter")
    await ana.sees("weiter")
    assert "にほ" in await ana.text()


@pytest.mark.scenario(alone=True)
async def test_a_user_repairs_what_is_in_the_wrong_place(scene: Scene) -> None:
    trees = [group(FIRST, container(AAA, BBB), words("between"), LAST), group(paragraph("second group"))]
    document = await hold(scene, trees)
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    for person in (ana, ben):
        await person.open(document)
        await expect(person.page.get_by_text(MISPLACED)).to_be_visible()
    await ana.page.get_by_role("button", name="Repair").click()
    for person in (ana, ben):
        await expect(person.page.get_by_text(MISPLACED)).to_have_count(0)
        await expect(person.editor).to_have_attribute("contenteditable", "true")
        await shows(person, *(f"paragraph: {text}" for text in texts(trees)))
    # At the end of the document there may be an empty block already: the caret goes to the end of the text itself.
    await ben.editor.get_by_text("second group").click()
    await ben.press("End")
    await ben.page.keyboard.type(" and more")
    await ana.sees("second group and more")


@pytest.mark.scenario(alone=True)
async def test_two_users_who_change_one_block_lose_nothing(scene: Scene) -> None:
    """Each makes the block a heading while the other is offline: it has two contents afterwards."""
    document = await scene.create("document", "Same wish")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    for person in (ana, ben):
        await person.open(document)
    await ana.write("alpha")
    await ben.sees("alpha")
    await ben.editor.get_by_text("alpha").click()
    ben.wire.cut()
    await ben.chip("unsaved", "reconnecting")
    for person in (ana, ben):
        await person.press("Control+Alt+1")
        await shows(person, "heading1: alpha")
    await ana.chip("saved")
    ben.wire.heal()
    for person in (ana, ben):
        await expect(person.page.get_by_text(MISPLACED)).to_be_visible()
        await shows(person, "heading1: alpha", "heading1: alpha")
    await ana.page.get_by_role("button", name="Repair").click()
    for person in (ana, ben):
        await expect(person.page.get_by_text(MISPLACED)).to_have_count(0)
        await shows(person, "heading1: alpha", "heading1: alpha")


async def test_undo_that_puts_something_in_the_wrong_place_is_repaired(scene: Scene) -> None:
    """Ana's heading was changed by Ben: her undo brings the paragraph back, beside his list item, in one block."""
    document = await scene.create("document", "Undone")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    for person in (ana, ben):
        await person.open(document)
    await ben.write("alpha")
    await ana.sees("alpha")
    await ana.editor.get_by_text("alpha").click()
    await ana.press("Control+Alt+1")
    await shows(ben, "heading1: alpha")
    await ben.press("Control+Shift+8")
    await shows(ana, "bulletListItem: alpha")
    await ana.press("Control+z")
    for person in (ana, ben):
        await shows(person, "bulletListItem: alpha", "paragraph: alpha")
        await expect(person.page.get_by_text(MISPLACED)).to_have_count(0)
        await expect(person.editor).to_have_attribute("contenteditable", "true")


async def test_what_the_editor_completes_is_written_with_the_first_edit(scene: Scene) -> None:
    trees = [group(block("table", *table(["a1"], ["b1", "b2"]).children), container(AAA), paragraph("end"))]
    document = await hold(scene, trees)
    ana = await scene.invite("Ana")
    await ana.open(document)
    before = await stored(scene.place, document)
    await ana.press("Control+Home", "ArrowDown")
    assert await stored(scene.place, document) == before
    await ana.editor.get_by_text("end").click()
    await ana.press("End")
    await ana.page.keyboard.type("ing")
    await ana.chip("saved")
    after = await markup(scene.place, document)
    assert after.count("<tableParagraph>") == 4
    assert after.count("<blockContainer id=") == after.count("<blockContainer") == 3
    assert not missing([*trees, words("ending")], after)


async def open_mutated(scene: Scene, seeds: Sequence[int]) -> None:
    """Open mutated documents one after the other in one page; all of them are compared at the end."""
    ana = await scene.invite("Ana")
    await ana.page.goto(ana.home)
    before: dict[str, tuple[int, bytes]] = {}
    wrong: list[str] = []
    for seed in seeds:
        chance = random.Random(seed)
        trees = plain(chance)
        for _ in range(chance.randint(0, 4)):
            mutate(trees, chance)
        document = await hold(scene, trees, f"Seed {seed}")
        before[document] = seed, await stored(scene.place, document)
        try:
            await look(ana, document, f"Seed {seed}", trees)
        except AssertionError as error:
            wrong.append(str(error))
            await ana.page.goto(ana.home)
    for document, (seed, content) in before.items():
        if await stored(scene.place, document) != content:
            wrong.append(f"seed {seed}: the document was changed: {json.dumps(await markup(scene.place, document))}")
    assert not wrong, f"{len(wrong)} of {len(seeds)}:\n" + "\n".join(wrong)


@pytest.mark.scenario(alone=True)
async def test_opening_a_few_mutated_documents_writes_nothing(scene: Scene) -> None:
    await open_mutated(scene, range(15))


@pytest.mark.parametrize("tenth", range(10))
async def test_opening_mutated_documents_writes_nothing(scene: Scene, tenth: int) -> None:
    """300 on each place, in ten parts."""
    await open_mutated(scene, range(1000 + 30 * tenth, 1000 + 30 * (tenth + 1)))
