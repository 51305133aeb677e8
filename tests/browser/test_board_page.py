"""A board's page: following, cursors, readers, phones, templates, and no buttons that lead nowhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import jwt
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser.boards import EXCALIDRAW, Board, meet, same, to
from tests.browser.people import create, until
from tests.browser.scene import Place, Scene
from tests.support.server import RaffiaServer
from tests.support.tokens import SECRET, claims

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


@pytest.mark.scenario(alone=True)
async def test_one_follows_the_other(scene: Scene) -> None:
    _document, ana, ben = await meet(scene)
    await ana.draw("r", (300, 250), (500, 380))
    await ben.count(1)

    # Cursors bear names while they move, and rest.
    await ana.page.mouse.move(600, 500, steps=5)
    cursor = ben.page.locator(".cursor", has_text="Ana")
    await expect(cursor).to_be_visible()
    await expect(cursor).to_have_attribute("data-state", "moving")
    await expect(cursor).to_have_attribute("data-state", "idle")

    async def together() -> bool:
        views = [await board.state("scrollX", "scrollY", "zoom") for board in (ana, ben)]
        return all(abs(views[0][field] - views[1][field]) <= 1 for field in ("scrollX", "scrollY")) and (
            abs(views[0]["zoom"]["value"] - views[1]["zoom"]["value"]) < 0.01
        )

    follow = ben.page.get_by_role("button", name="Follow Ana", exact=True)
    frame = ben.page.locator(".follow-frame")
    await follow.click()
    await expect(frame).to_contain_text("Following Ana")
    colour = await frame.evaluate("node => node.style.getPropertyValue('--person')")
    assert colour == "#c2410c"
    await ana.page.mouse.wheel(300, 200)
    await ana.page.keyboard.press("Control+Minus")
    await until(together, "Ben sees what Ana sees")
    await ben.person.press("Escape")
    await expect(frame).to_have_count(0)

    # Any movement of one's own ends it: dragging with the middle button, and the wheel.
    await follow.click()
    await expect(frame).to_be_visible()
    await ben.page.mouse.move(640, 500)
    await ben.page.mouse.down(button="middle")
    await ben.page.mouse.move(700, 560, steps=5)
    await ben.page.mouse.up(button="middle")
    await expect(frame).to_have_count(0)
    await follow.click()
    await expect(frame).to_be_visible()
    await ben.page.mouse.move(640, 500)
    await ben.page.mouse.wheel(0, 100)
    await expect(frame).to_have_count(0)


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(browser: Browser, tmp_path: Path) -> AsyncIterator[Scene]:
    """A server that asks for tokens."""
    (tmp_path / "secret").write_text(SECRET)
    with RaffiaServer(tmp_path / "data", env={"RAFFIA_AUTH_KEY_FILE": str(tmp_path / "secret")}) as server:
        async with Scene(browser, Place("alone", [server])) as running:
            yield running


async def test_readers_watch(guarded: Scene) -> None:
    token = jwt.encode(claims(), SECRET, "HS256")
    document = await create(guarded.place.http, "board", "Küche 😀", token=token)
    fragments = {}
    async with httpx.AsyncClient(base_url=guarded.place.http, headers={"authorization": f"Bearer {token}"}) as client:
        for can in ("read", "edit"):
            path = f"/api/documents/{document.replace('/', '%2F')}/links"
            answer = await client.post(path, json={"can": can})
            assert answer.status_code == 201, answer.text
            fragments[can] = "#" + answer.json()["url"].partition("#")[2]
    ana, ben = Board(await guarded.invite("Ana")), Board(await guarded.invite("Ben"))
    await ana.open(document, fragment=fragments["edit"])
    await ben.open(document, fragment=fragments["read"])
    await expect(ben.page.get_by_text("View only")).to_be_visible()
    await expect(ana.page.get_by_text("View only")).to_have_count(0)
    await expect(ana.page.locator(".App-toolbar").first).to_be_visible()
    await expect(ben.page.locator(".App-toolbar")).to_have_count(0)

    # A stroke is seen while it is drawn.
    await ana.tool("p")
    await ana.page.mouse.move(500, 300)
    await ana.page.mouse.down()
    await ana.page.mouse.move(600, 360, steps=10)
    await ben.count(1)
    await ana.page.mouse.up()

    # Moving about works; drawing, dropping and pasting do not.
    before = await ben.state("scrollY")
    await ben.page.mouse.move(640, 500)
    await ben.page.mouse.wheel(0, 200)
    await ben.person.until(f"y => ({EXCALIDRAW})().state.scrollY !== y", before["scrollY"])
    await ben.tool("r")
    await ben.person.drag((300, 500), (400, 600))
    await ben.drop(("x.excalidraw", "", b'{"type": "excalidraw", "elements": [{"type": "ellipse", "id": "x"}]}'))
    await ben.paste(text="Grüße")
    box = await ana.draw("r", (300, 500), (400, 600))
    await ben.sees(box, width=100)
    assert len(await ben.elements()) == len(await ana.elements()) == 2


async def test_templates_are_ready_to_use(browser: Browser, alone: Place) -> None:
    async with Scene(browser, alone) as scene:
        ana = Board(await scene.invite("Ana"))
        async with httpx.AsyncClient(base_url=alone.http) as client:
            templates = (await client.get("/api/templates")).json()
        names = [each["id"] for each in templates if each["kind"] == "board"]
        assert len(names) == 4
        for name in names:
            document = await scene.create("board", name, template=name)
            await ana.open(document)
            elements = {element["id"]: element for element in await same(scene, document, ana)}
            assert len(elements) > 5
            for element in elements.values():
                if element["type"] == "text" and element["containerId"]:
                    box = elements[element["containerId"]]
                    assert element["x"] >= box["x"], element["text"]
                    assert element["x"] + element["width"] <= box["x"] + box["width"], element["text"]
                    assert element["y"] + element["height"] <= box["y"] + box["height"], element["text"]
                if element["type"] == "arrow":
                    assert elements[element["startBinding"]["elementId"]]
                    assert elements[element["endBinding"]["elementId"]]
        # An arrow follows its box.
        document = await scene.create("board", "flow", template="flow")
        await ana.open(document)
        arrow = next(element for element in await ana.elements() if element["type"] == "arrow")
        end = arrow["endBinding"]["elementId"]
        await ana.move(end, (0, -60), across=0.5, down=0.1)
        await ana.sees(arrow["id"], height=lambda height: height > 20, endBinding=to(end))


async def test_nothing_leads_nowhere(browser: Browser, alone: Place) -> None:
    async with Scene(browser, alone) as scene:
        document = await scene.create("board", "Küche 😀")
        ana = Board(await scene.invite("Ana"))
        await ana.open(document)
        page = ana.page
        box = await ana.draw("r", (400, 250), (600, 350))
        await page.locator(".main-menu-trigger").click()
        entries = page.locator(".dropdown-menu .dropdown-menu-item__text").filter(visible=True)
        await expect(entries).to_have_text(["Find on canvas", "Export image...", "Help"])
        await ana.person.press("Escape")
        await page.locator(".App-toolbar__extra-tools-trigger").click()
        tools = page.locator(".App-toolbar__extra-tools-dropdown .dropdown-menu-item__text")
        await expect(tools.filter(visible=True)).to_have_text(["Frame tool", "Laser pointer", "Mermaid to Excalidraw"])

        # Diagrams are made here, without asking anybody.
        await tools.filter(has_text="Mermaid").click()
        await page.locator(".ttd-dialog-input").fill("flowchart LR\n  A[Küche] --> B[Garten]")
        await expect(page.locator(".ttd-dialog-output-canvas-container canvas").first).to_be_visible()
        await page.get_by_role("button", name="Insert").click()

        async def inserted() -> bool:
            texts = [element.get("text") for element in await ana.elements()]
            return "Küche" in texts and "Garten" in texts

        await until(inserted, "the diagram is on the board")

        await ana.select(box, 0.0, 0.5)
        await page.mouse.click(*await ana.spot(box, 0.0, 0.5), button="right")
        for name in ("addToLibrary", "copyElementLink"):
            await expect(page.locator(f'.context-menu [data-testid="{name}"]')).to_be_hidden()
        await expect(page.locator('.context-menu [data-testid="deleteSelectedElements"]')).to_be_in_viewport()
        await ana.person.press("Escape")
        # Neither of these replaces the board.
        before = len(await ana.elements())
        await ana.person.press("Control+o", "Control+Delete")
        await page.mouse.move(700, 600)
        assert len(await ana.elements()) == before


@pytest.mark.scenario(alone=True)
async def test_a_phone_draws(browser: Browser, alone: Place) -> None:
    async with Scene(browser, alone) as scene:
        document = await scene.create("board", "Küche 😀")
        ana, ben = Board(await scene.invite("Ana", **PHONE)), Board(await scene.invite("Ben"))
        await ana.open(document)
        await ben.open(document)
        touch = await ana.person.context.new_cdp_session(ana.page)

        async def touches(kind: str, *points: tuple[float, float]) -> None:
            places = [{"x": x, "y": y, "id": at} for at, (x, y) in enumerate(points)]
            await touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

        await ana.page.get_by_test_id("toolbar-freedraw").locator("xpath=..").tap()
        await touches("touchStart", (100, 400))
        for step in range(1, 16):
            await touches("touchMove", (100 + step * 10, 400 + step * 5))
        await touches("touchEnd")
        await ben.count(1)
        stroke = (await same(scene, document, ana, ben))[0]
        assert stroke["type"] == "freedraw"
        assert stroke["width"] > 100

        # Two fingers move the board and draw nothing.
        before = await ana.state("scrollX", "scrollY")
        await touches("touchStart", (120, 500))
        await touches("touchStart", (120, 500), (260, 500))
        for step in range(1, 11):
            await touches("touchMove", (120, 500 + step * 10), (260, 500 + step * 10))
        await touches("touchEnd")
        await ana.person.until(f"y => ({EXCALIDRAW})().state.scrollY > y + 50", before["scrollY"])
        assert len(await same(scene, document, ana, ben)) == 1

        # Everything is within reach on the narrowest phone.
        await ana.page.set_viewport_size({"width": 360, "height": 640})
        for name in ("selection", "rectangle", "freedraw", "text", "eraser"):
            await expect(ana.page.get_by_test_id(f"toolbar-{name}").locator("xpath=..")).to_be_in_viewport(ratio=1)
        await expect(ana.page.locator(".bar .share-button")).to_be_in_viewport(ratio=1)
        await expect(ana.page.get_by_role("button", name="More", exact=True)).to_be_in_viewport(ratio=1)
        assert await ana.page.evaluate("() => document.documentElement.scrollWidth") <= 360
