"""What leaves the app as a file holds what people wrote, and nothing of it is a script, a pattern or markup."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pycrdt
import pytest
import pytest_asyncio
from markdown_it import MarkdownIt
from playwright.async_api import Browser, Page, Request

from tests.browser import programs
from tests.browser.boards import Board
from tests.browser.people import Person
from tests.browser.scene import Place, Scene
from tests.browser.test_board_files import export
from tests.browser.test_hostile import element
from tests.browser.writing import File, bring, download, outline, said

ATTACK = '" onerror=document.title="PWN" x='
TAG = "<img src=x onerror=\"document.title='PWN'\"><script>document.title='PWN'</script>"
TITLE = f"</title><script>document.title='PWN'</script> $` $& $$1 {ATTACK}"
NAMES = ("$`", "$&", "$$1", "$'", "$<a>", f"a](javascript:alert(1)) {TAG}", "'\"><b>")
URLS = (
    "http://x.invalid/$`", "http://x.invalid/?a=$$1&b=$&", f"http://x.invalid/{ATTACK}", f"http://x.invalid/a) {TAG}",
    "javascript:document.title='PWN'", "java\nscript:document.title='PWN'", "&#106;avascript:alert(1)",
)  # fmt: skip
TEXTS = (
    ATTACK, TAG, "[x](javascript:alert(1))", "![x](http://y.invalid/spy.png)", "# no heading", "- no list",
    "1. no list", "> no quote", "*no* _no_ ~~no~~ `no` \\ &lt; &amp;amp; $& $` snake_case", "```", "| a | b |",
)  # fmt: skip


@pytest_asyncio.fixture(loop_scope="session")
async def here(browser: Browser, alone: Place) -> AsyncIterator[Scene]:
    """People on the one server."""
    async with Scene(browser, alone) as running:
        yield running


def fill(doc: pycrdt.Doc[Any]) -> None:
    """Texts, images and files of a writer who means harm."""
    group = programs.group_of(doc)

    def block(kind: str, text: str | None = None, **fields: Any) -> None:
        number = len(list(group.children))
        container = group.children.append(pycrdt.XmlElement("blockContainer"))
        container.attributes["id"] = f"hostile{number}"
        made = container.children.append(pycrdt.XmlElement(kind))
        common = {"backgroundColor": "default", "textAlignment": "left"}
        for name, value in {**(common if kind != "file" else {"backgroundColor": "default"}), **fields}.items():
            made.attributes[name] = value
        if text is not None:
            made.children.append(pycrdt.XmlText()).insert(0, text)

    for text in TEXTS:
        block("paragraph", text, textColor="default")
    for url in URLS:
        for name in NAMES[:2]:
            block("image", url=url, name=name, caption="", showPreview=True)
        block("image", url=url, name="", caption=TAG, showPreview=False)
        block("file", url=url, name=NAMES[-2], caption="")
        block("audio", url=url, name="", caption=TAG, showPreview=True)
    for name in NAMES:
        block("image", url="http://x.invalid/p.png", name=name, caption="", showPreview=True)
        block("image", url="http://x.invalid/p.png", name=name, caption=name, showPreview=True)


async def opened(browser: Browser, path: Path) -> tuple[Page, list[str]]:
    """A file in a browser of its own, and what it asked others for."""
    page = await browser.new_page()
    asked: list[str] = []

    def on_request(request: Request) -> None:
        asked.append(f"{request.resource_type} {request.url}")

    page.on("request", on_request)
    await page.goto(path.as_uri())
    await page.wait_for_load_state("networkidle")
    return page, asked


TRAPS = """() => {
    const traps = [];
    for (const element of document.querySelectorAll("script, iframe, object, base, form, link")) {
        traps.push(element.outerHTML);
    }
    for (const element of document.querySelectorAll("*")) {
        for (const { name, value } of element.attributes) {
            if (name.startsWith("on")) traps.push(`${name}=${value}`);
            const isAddress = name === "href" || name === "src";
            if (isAddress && new URL(value, "http://a/").protocol === "javascript:") traps.push(value);
        }
    }
    return traps;
}"""


def forgive(person: Person) -> None:
    """Chromium says of each placeholder for audio that the app's policy has kept it from being loaded."""
    person.problems[:] = [problem for problem in person.problems if "Loading media from  'data:,raffia" not in problem]


@pytest.mark.scenario(alone=True)
async def test_an_exported_page_runs_nothing(here: Scene, browser: Browser, tmp_path: Path) -> None:
    document = await here.create("document", TITLE)
    await programs.change(here.place, document, fill)
    ana = await here.invite("Ana")
    await ana.open(document)
    _, text = await download(ana, "Download as HTML")
    path = tmp_path / "export.html"
    path.write_text(text)
    page, asked = await opened(browser, path)
    # Chromium puts what the title says into the window's title; a script would have replaced it.
    assert await page.title() == " ".join(TITLE.split())
    assert await page.evaluate(TRAPS) == []
    images = await page.evaluate(
        "() => [...document.querySelectorAll('body img')].map((i) => [i.getAttribute('src'), i.alt])"
    )
    for url in URLS:
        shown = "about:blank" if "script:" in url and not url.startswith("&") else url
        for name in NAMES[:2]:
            assert [shown, name] in images, (url, name)
    for name in NAMES:
        assert ["http://x.invalid/p.png", name] in images
    shown_texts = await page.locator("body > p").all_inner_texts()
    for written in TEXTS:
        assert " ".join(written.split()) in [" ".join(one.split()) for one in shown_texts]
    assert "raffia-file-" not in text
    # Its own policy holds even for a script that is put in by hand.
    policy = await page.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "script-src" not in policy
    evil = tmp_path / "evil.html"
    evil.write_text(
        text.replace(
            "</body>", f"{TAG}<p id=end></p><object data='x.html'></object><iframe src='x.html'></iframe></body>"
        )
    )
    other, asked_too = await opened(browser, evil)
    await other.locator("#end").wait_for(state="attached")
    assert await other.title() != "PWN"
    assert {one.split(" ")[0] for one in asked + asked_too} <= {"document", "image", "media"}
    await page.close()
    await other.close()
    forgive(ana)


@pytest.mark.scenario(alone=True)
async def test_exported_markdown_is_text(here: Scene, browser: Browser, tmp_path: Path) -> None:
    document = await here.create("document", TITLE)
    await programs.change(here.place, document, fill)
    ana = await here.invite("Ana")
    await ana.open(document)
    before = await outline(ana)
    name, markdown = await download(ana, "Download as Markdown")
    assert not set(name) & set('<>:"/\\|?*')
    assert "raffia-file-" not in markdown
    for url in ("http://x.invalid/?a=$$1&b=$&", "http://x.invalid/$%60"):
        assert f"]({url})" in markdown
    # Rendered by a renderer that lets raw HTML and every link through, and shown without a policy.
    renderer = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    renderer.validateLink = lambda url: True  # type: ignore[method-assign]
    path = tmp_path / "rendered.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><title>safe</title>{renderer.render(markdown)}")
    page, _ = await opened(browser, path)
    assert await page.title() == "safe"
    assert await page.evaluate(TRAPS) == []
    lines = [" ".join(line.split()) for line in await page.locator("body > p").all_inner_texts()]
    assert lines[: len(TEXTS)] == [" ".join(text.split()) for text in TEXTS]
    shown = "(image) => [image.getAttribute('src'), image.alt]"
    images = await page.evaluate(f"() => [...document.images].map({shown})")
    for image_name in NAMES:
        assert ["http://x.invalid/p.png", image_name] in images
    assert {urlsplit(src).netloc for src, _ in images} <= {"x.invalid", ""}
    await page.close()
    # It comes back as it was: what was text is text.
    again = await here.create("document", "zurück")
    await ana.open(again)
    await bring(ana, File("zurück.md", "text/markdown", markdown.encode()))
    await said(ana, "zurück.md was inserted")
    after = await outline(ana)
    written = [f"paragraph: {text}" for text in TEXTS]
    for lines in (before, after):
        assert [line for line in lines if line != "paragraph: "][: len(TEXTS)] == written
    assert await ana.page.locator(".bn-editor [href^='javascript']").count() == 0
    forgive(ana)


async def test_an_exported_drawing_is_valid_and_runs_nothing(here: Scene, browser: Browser, tmp_path: Path) -> None:
    board = await here.create("board", TITLE)
    texts = [TAG, "a\u00a0b\x01\x0c&nbsp;]]>", "</text><script>document.title='PWN'</script>"]

    def draw(doc: pycrdt.Doc[Any]) -> None:
        root = doc.get("elements", type=pycrdt.Map)
        for number, text in enumerate(texts):
            root[f"t{number}"] = pycrdt.Map(element("text", number, text=text, originalText=text))
        frame = element("frame", 3, name=TAG)
        root['f"><script>document.title="PWN"</script>'] = pycrdt.Map(frame)
        root["r1"] = pycrdt.Map(element("rectangle", 4, link="javascript:document.title='PWN'", strokeColor=ATTACK))
        root["r2"] = pycrdt.Map(element("rectangle", 5, link=f"http://x.invalid/{ATTACK}"))

    await programs.change(here.place, board, draw)
    ana = Board(await here.invite("Ana"))
    await ana.open(board)
    await ana.count(6)
    drawing = await export(ana, "Download as SVG")
    path = tmp_path / "export.svg"
    path.write_bytes(drawing)
    root = ElementTree.fromstring(drawing)
    shown = "".join(root.itertext())
    assert "a\u00a0b&nbsp;]]>" in shown
    assert TAG in shown
    page, asked = await opened(browser, path)
    assert await page.title() != "PWN"
    assert await page.evaluate(TRAPS) == []
    assert {one.split(" ")[0] for one in asked} <= {"document"}
    await page.close()
    ana.forgive("subsetting")
