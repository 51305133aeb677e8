"""Documents to and from files, and what they begin with."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from playwright.async_api import expect

from tests.browser.people import create
from tests.browser.scene import Scene
from tests.browser.writing import File, bring, decoded, download, outline, paste, said, shows
from tests.support.images import png

MARKDOWN = """# Überschrift 😀

Ein **fetter** Satz mit [Verweis](https://example.org/é).

- Punkt
  - Unterpunkt

1. Erstens
2. Zweitens

- [ ] Offen
- [x] Erledigt

```python
print("é")
```

| Was | Wer |
| --- | --- |
| Brot | Ana |
"""

HOSTILE = """<!doctype html><html><head><title>Titel</title><script>window.hacked = 1</script>
<style>body { display: none }</style></head><body onload="window.hacked = 2">
<h2>Bericht</h2><p>Ein <b>fetter</b> Satz <a href="javascript:window.hacked=3">Falle</a>
<a href="https://example.org/">Verweis</a></p>
<img src="x" onerror="window.hacked = 4"><iframe src="javascript:parent.hacked=5"></iframe>
<svg onload="window.hacked = 6"></svg><ul><li>Punkt<ul><li>darunter</li></ul></li></ul>
<img src="https://elsewhere.example/spy.png" alt="Spion"><form action="https://elsewhere.example/"><input></form>
<p style="background: url(https://elsewhere.example/b.png)">Schluss</p></body></html>"""

EXPECTED = [
    "heading1: Überschrift 😀", "paragraph: Ein fetter Satz mit Verweis.", "bulletListItem: Punkt",
    "  bulletListItem: Unterpunkt", "numberedListItem: Erstens", "numberedListItem: Zweitens",
    "checkListItem[ ]: Offen", "checkListItem[x]: Erledigt", 'codeBlock: print("é")',
    "table: Was | Wer / Brot | Ana",
]  # fmt: skip


async def test_markdown_and_html_come_and_go(scene: Scene) -> None:
    document = await scene.create("document", "Ein/Aus: é 😀")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await ben.open(document)
    await bring(ana, File("notizen.md", "text/markdown", MARKDOWN.encode()))
    await said(ana, "notizen.md was inserted")
    await shows(ana, *EXPECTED)
    await shows(ben, *EXPECTED)
    await expect(ben.page.locator(".bn-editor strong")).to_have_text("fetter")
    await expect(ben.page.locator(".bn-editor a")).to_have_attribute("href", "https://example.org/é")
    await ana.press("Control+End")
    await ana.page.get_by_text("Erledigt").click()
    await ana.press("End", "Enter", "Enter")
    await paste(ana, File("bild.png", "image/png", png(21, 12)))
    await decoded(ben, 1)
    await ana.chip("saved")
    full = await outline(ana)

    name, markdown = await download(ben, "Download as Markdown")
    assert name == "Ein Aus é 😀.md"
    for line in (
        "# Überschrift 😀",
        "**fetter**",
        "[Verweis](https://example.org/é)",
        "```python",
        f"{ben.home}api/files/",
    ):
        assert line in markdown, markdown
    name, page = await download(ben, "Download as HTML")
    assert name == "Ein Aus é 😀.html"
    for part in ("<title>Ein/Aus: é 😀</title>", "<strong>fetter</strong>", "data:image/png;base64,"):
        assert part in page, page
    assert "raffia-file-" not in page + markdown

    # Both come back as they were, pictures included.
    for made in (
        File("zurück.md", "text/markdown", markdown.encode()),
        File("zurück.html", "text/html", page.encode()),
    ):
        again = await scene.create("document", made.name)
        # From the same server: what Ben has saved names his.
        await ben.open(again)
        await bring(ben, made)
        await said(ben, f"{made.name} was inserted")
        await decoded(ben, 1)
        assert [line for line in await outline(ben) if line != "paragraph: "] == [
            line for line in full if line != "paragraph: "
        ]
        await ben.chip("saved")
        await ana.open(again)
        await decoded(ana, 1)


async def test_a_hostile_page_is_harmless(scene: Scene) -> None:
    document = await scene.create("document", "Vorsicht")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await ben.open(document)
    await bring(ana, File("seite.html", "text/html", HOSTILE.encode()))
    await said(ana, "seite.html was inserted")
    await ben.sees("Schluss")
    lines = [line.split(":")[0] + ": " + line.split(": ", 1)[1].split("It is")[0] for line in await outline(ben)]
    assert lines[0] == "heading2: Bericht"
    assert "bulletListItem: Punkt" in lines
    assert "  bulletListItem: darunter" in lines
    assert "image: Spion" in lines
    assert lines[-1] == "paragraph: Schluss"
    for person in (ana, ben):
        await expect(person.page.locator(".bn-editor a", has_text="Verweis")).to_have_attribute(
            "href", "https://example.org/"
        )
        traps = person.page.locator(
            '.bn-editor [href^="javascript"], .bn-editor script, .bn-editor iframe, .bn-editor form'
        )
        await expect(traps).to_have_count(0)
        assert await person.page.evaluate("() => window.hacked") is None
    # The browser says of each handler that the page's policy has kept it from running.
    ana.problems[:] = [problem for problem in ana.problems if "Executing inline event handler violates" not in problem]
    # Nothing, and text in an old encoding.
    await bring(ana, File("leer.md", "text/markdown", b"\n\n"))
    await said(ana, "leer.md is empty")
    await bring(ana, File("alt.txt", "text/plain", "# Größe\n* bleibt".encode("cp1252")))
    await ben.sees("# Größe\n* bleibt")


async def test_templates_look_as_they_should(scene: Scene) -> None:
    templates: list[dict[str, Any]] = httpx.get(f"{scene.place.http}/api/templates").json()
    ana = await scene.invite("Ana")
    looks = {
        "meeting": (
            "heading2: Agenda",
            "numberedListItem: What needs a decision",
            "checkListItem[ ]: Who does what by when",
        ),
        "plan": ("heading2: What and why", "checkListItem[ ]: What makes it complete"),
        "decision": ("paragraph: Status: proposed", "heading3: First option", "bulletListItem: What speaks for it"),
        "retrospective": ("heading2: What went well", "checkListItem[ ]: "),
    }
    documents = [template for template in templates if template["kind"] == "document"]
    assert {template["id"] for template in documents} == set(looks)
    for template in documents:
        document = await create(scene.place.http, "document", template["title"], template=template["id"])
        await ana.open(document)
        await ana.chip("saved")
        lines = await outline(ana)
        for line in looks[template["id"]]:
            assert line in lines, lines
        await expect(ana.page.get_by_label("Title", exact=True)).to_have_value(template["title"])
        # Looking at it has changed nothing.
        found = httpx.get(f"{scene.place.http}/api/documents/{document}").json()
        assert found["updated_ms"] == pytest.approx(found["created_ms"], abs=1000)
    # A box is ticked, the copy has the tick and says that it is one.
    await ana.page.locator(".bn-editor input[type=checkbox]").first.check()
    await ana.chip("saved")
    await ana.page.get_by_role("button", name="More").click()
    await ana.page.get_by_role("menuitem", name="Duplicate").click()
    await expect(ana.page.get_by_label("Title", exact=True)).to_have_value("Retrospective (copy)")
    await expect(ana.page.locator(".bn-editor input[type=checkbox]").first).to_be_checked()
