"""The network goes and comes back: nothing that was written or drawn is lost, and the chip says what is true.

The rules are those of frontend/src/connection: UT1 to UT3 (what the chip says), DV2 to DV6 (the copy on the device),
UN5, UN6, and UO1 to UO3 of frontend/src/offline.
"""

from __future__ import annotations

import base64
import signal
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect

from tests.browser.people import until
from tests.browser.scene import Place, Scene
from tests.browser.troubles import (
    ELEMENTS,
    NOT_KEPT,
    asks_before_leaving,
    count,
    draw,
    freeze,
    is_kept_for_offline_use,
    lines,
    said,
    says_offline,
    shows,
    watch,
    write_into,
    write_line,
)
from tests.support.server import RaffiaServer
from tests.support.tokens import SECRET, token

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PASTE = """([selector, bytes]) => {
    const data = new DataTransfer();
    const raw = Uint8Array.from(atob(bytes), (char) => char.charCodeAt(0));
    data.items.add(new File([raw], "punkt.png", { type: "image/png" }));
    document.querySelector(selector).dispatchEvent(
        new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


@pytest.mark.scenario
async def test_a_document_that_both_go_on_writing_while_one_is_cut_off(scene: Scene) -> None:
    document = await scene.create("document", "Getrennt")
    ana, ben = await scene.invite("Ana", service_workers="allow"), await scene.invite("Ben")
    await ana.open(document)
    await ben.open(document)
    await ana.write("Gemeinsam é😀")
    await ben.sees("Gemeinsam é😀")
    await ana.chip("saved")
    await is_kept_for_offline_use(ana)

    ana.wire.cut()
    await ana.chip("reconnecting")
    await write_into(ana, "Gemeinsam", " von Ana")
    await ana.write("Zeile von Ana")
    await says_offline(ana)
    assert await asks_before_leaving(ana)
    await write_into(ben, "Gemeinsam", " von Ben")
    await ben.write("Zeile von Ben")
    await ben.chip("saved")

    # The tab is closed and opened again, still without a network: the app and the edits are there (DV1, UO1).
    await ana.close_tab()
    await ana.new_tab()
    await ana.page.goto(ana.address("document", document))
    await ana.sees("Zeile von Ana")
    await says_offline(ana)
    await write_line(ana, "Nachtrag")
    await says_offline(ana)

    ana.wire.heal()
    for person in (ana, ben):
        for text in ("Zeile von Ana", "Zeile von Ben", "Nachtrag", " von Ana", " von Ben"):
            await person.sees(text)
        await person.chip("saved")
    carla = await scene.invite("Carla")
    await carla.open(document)
    text = await carla.text()
    assert text == await ana.text() == await ben.text()
    assert sorted(lines(text)[1:]) == ["Nachtrag", "Zeile von Ana", "Zeile von Ben"]
    assert lines(text)[0] in ("Gemeinsam é😀 von Ana von Ben", "Gemeinsam é😀 von Ben von Ana")


@pytest.mark.scenario
async def test_a_board_that_both_go_on_drawing_while_one_is_cut_off(scene: Scene) -> None:
    document = await scene.create("board", "Getrennt")
    ana, ben = await scene.invite("Ana", service_workers="allow"), await scene.invite("Ben")
    await ana.open(document, "board")
    await ben.open(document, "board")
    await draw(ana, "r", (400, 250), (500, 330))
    (first,) = await count(ben, 1)
    await ana.chip("saved")
    await is_kept_for_offline_use(ana)

    ana.wire.cut()
    await ana.chip("reconnecting")
    # Ana colours what Ben moves, and both draw.
    await ana.drag((400, 290), (401, 290), steps=1)
    await ana.page.locator('[data-testid="color-top-pick-#e03131"]').first.click()
    await ana.press("Escape")
    await draw(ana, "p", (600, 300), (760, 420))
    await says_offline(ana)
    assert await asks_before_leaving(ana)
    await ben.drag((400, 290), (500, 490))
    await ben.press("Escape")
    await draw(ben, "o", (800, 300), (900, 380))
    await ben.chip("saved")

    await ana.close_tab()
    await ana.new_tab()
    await ana.page.goto(ana.address("board", document))
    assert {element["type"] for element in await count(ana, 2)} == {"rectangle", "freedraw"}
    await says_offline(ana)

    ana.wire.heal()
    both = await count(ana, 3)
    await shows(ben, both)
    await ana.chip("saved")
    await ben.chip("saved")
    carla = await scene.invite("Carla")
    await carla.open(document, "board")
    await shows(carla, both)
    box = next(element for element in both if element["id"] == first["id"])
    assert box["stroke"] == "#e03131"
    assert (box["x"] - first["x"], box["y"] - first["y"]) != (0, 0)


async def test_two_tabs_of_one_browser_without_a_network(scene: Scene) -> None:
    document = await scene.create("document", "Zwei Fenster")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    first = ana.page
    await ana.new_tab()
    await ana.open(document)
    await ana.write("Anfang")
    ana.page, second = first, ana.page
    await ana.sees("Anfang")

    ana.wire.cut()
    await ana.write("aus dem ersten")
    await says_offline(ana)
    await ana.close_tab()
    ana.page = second
    await ana.write("aus dem zweiten")
    await says_offline(ana)
    ana.wire.heal()
    # The first one is closed: what it left on the device is sent by the second (DV6).
    await ben.open(document)
    for person in (ana, ben):
        await person.sees("aus dem ersten")
        await person.sees("aus dem zweiten")
        await person.chip("saved")
    assert await ben.text() == await ana.text()
    assert sorted(lines(await ben.text())) == ["Anfang", "aus dem ersten", "aus dem zweiten"]


async def test_leaving_a_document_with_edits_that_are_not_saved(scene: Scene) -> None:
    """Within the app nobody is warned, so the edits must get through by themselves (UN5)."""
    document = await scene.create("document", "Verlassen")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    # No copy on the device either: only the page itself holds them.
    await ana.context.add_init_script("indexedDB.open = () => { throw new DOMException('no', 'SecurityError'); }")
    await ana.open(document)
    ana.wire.cut()
    await ana.write("kurz vor dem Gehen")
    await says_offline(ana, hint=NOT_KEPT)
    await ana.page.get_by_label("Back to all documents").click()
    await expect(ana.page.locator(".home")).to_be_visible()
    assert await asks_before_leaving(ana)
    await ana.page.go_back()
    await ana.sees("kurz vor dem Gehen")
    await says_offline(ana, hint=NOT_KEPT)
    await ana.page.go_forward()
    await expect(ana.page.locator(".home")).to_be_visible()
    ana.wire.heal()
    await ben.open(document)
    await ben.sees("kurz vor dem Gehen")
    await ana.page.go_back()
    await ana.chip("saved")


async def test_a_document_that_is_deleted_while_somebody_writes_offline(scene: Scene) -> None:
    document = await scene.create("document", "Gelöscht")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await ana.write("vorher")
    await ana.chip("saved")
    ana.wire.cut()
    await ana.write("nachher")
    await says_offline(ana)
    async with httpx.AsyncClient(base_url=scene.place.http) as client:
        assert (await client.delete(f"/api/documents/{document}")).status_code == 204
    ana.wire.heal()
    banner = ana.page.locator(".banner")
    await expect(banner).to_contain_text("This document was deleted.", timeout=20_000)
    await ana.chip("unsaved")
    await ana.sees("nachher")
    await expect(ana.editor).to_have_attribute("contenteditable", "false")
    await banner.get_by_role("button", name="Restore").click()
    await ana.chip("saved")
    await expect(banner).to_have_count(0)
    await ben.open(document)
    await ben.sees("vorher\nnachher")
    await write_line(ana, "weiter")
    await ben.sees("weiter")


async def test_a_link_that_expires_while_somebody_writes_offline(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    admin = token(raffia={"*": "admin"}, sub="chef")
    settings = {"RAFFIA_AUTH_KEY_FILE": str(tmp_path / "secret"), "RAFFIA_AUTH_LEEWAY_S": "0"}
    with RaffiaServer(tmp_path / "data", env=settings) as server:
        async with Scene(browser, Place("alone", [server])) as scene:
            document = await scene.create("document", "Schlüssel", token=admin)

            def link(can: str, life_s: int) -> str:
                return f"#token={token(raffia={document: can}, sub=can, lifetime_s=life_s)}"

            ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
            await ben.open(document, fragment=link("read", 600))
            await ana.open(document, fragment=link("edit", 6))
            await ana.write("mit altem Schlüssel")
            await ben.sees("mit altem Schlüssel")
            await expect(ben.editor).to_have_attribute("contenteditable", "false")
            ana.wire.cut()
            ben.wire.cut()
            await ana.write("ohne Netz")
            await says_offline(ana)
            await ben.chip("reconnecting")
            # It expires at the server, whose clock this asks.
            async with httpx.AsyncClient(base_url=server.http) as client:

                async def expired() -> bool:
                    old = (await ana.page.evaluate("id => localStorage.getItem(`raffia.token:${id}`)", document)) or ""
                    answer = await client.get(f"/api/documents/{document}", headers={"authorization": f"Bearer {old}"})
                    return answer.status_code == 401

                await until(expired, "the token has expired")
            ana.wire.heal()
            ben.wire.heal()
            await expect(ana.page.locator(".banner")).to_contain_text("Your link is no longer valid", timeout=20_000)
            await ana.chip("unsaved")
            await ana.sees("ohne Netz")
            await ben.chip("live")
            # A new link is opened in another tab; this one goes on with it (UN6).
            old = ana.page
            await ana.new_tab()
            await ana.open(document, fragment=link("edit", 600))
            await ana.sees("ohne Netz")
            ana.page = old
            await ana.chip("saved")
            await ben.sees("mit altem Schlüssel\nohne Netz")


async def test_without_a_database_the_chip_does_not_promise_one(scene: Scene) -> None:
    document = await scene.create("document", "Privates Fenster")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.context.add_init_script("indexedDB.open = () => { throw new DOMException('no', 'SecurityError'); }")
    await ana.open(document)
    await ana.write("eins")
    await ana.chip("saved")
    ana.wire.cut()
    await ana.write("zwei")
    await says_offline(ana, hint=NOT_KEPT)
    ana.wire.heal()
    await ben.open(document)
    await ben.sees("eins\nzwei")
    await ana.chip("saved")


async def test_a_page_that_was_asleep_overwrites_nobody(scene: Scene) -> None:
    document = await scene.create("document", "Schlaf")
    ana, ben = await scene.invite("Ana"), await scene.invite("Ben")
    await ana.open(document)
    await ben.open(document)
    await ana.write("Anfang")
    await ben.sees("Anfang")
    await ana.chip("saved")
    await freeze(ana.page, frozen=True)
    ana.wire.cut()
    await write_into(ben, "Anfang", " von Ben")
    await ben.write("währenddessen")
    await ben.chip("saved")
    ana.wire.heal()
    await freeze(ana.page, frozen=False)
    await ana.sees("Anfang von Ben\nwährenddessen")
    await write_line(ana, "wach")
    await ben.sees("wach")
    await ana.chip("saved")
    assert await ana.text() == await ben.text()
    assert lines(await ben.text()) == ["Anfang von Ben", "währenddessen", "wach"]


async def test_images_that_are_pasted_without_a_network(scene: Scene) -> None:
    document, board = await scene.create("document", "Bild"), await scene.create("board", "Bild")
    ana, ben = await scene.invite("Ana", service_workers="allow"), await scene.invite("Ben")
    image = [".bn-editor", base64.b64encode(PIXEL).decode()]
    await ana.open(document)
    await ana.write("Bild:")
    await ana.chip("saved")
    ana.wire.cut()
    await ana.page.evaluate(PASTE, image)
    await expect(ana.page.locator(".toast")).to_contain_text("The image will be uploaded as soon as")
    await says_offline(ana, hint=NOT_KEPT)
    assert await asks_before_leaving(ana)
    ana.wire.heal()
    await ana.chip("saved")
    await ben.open(document)
    await ben.until("() => [...document.querySelectorAll('.bn-editor img')].some((image) => image.naturalWidth === 1)")

    await ana.open(board, "board")
    await is_kept_for_offline_use(ana)
    ana.wire.cut()
    await ana.chip("reconnecting")
    await ana.page.mouse.move(600, 400)
    await ana.page.evaluate(PASTE, [".excalidraw", image[1]])
    await ana.until(f"() => ({ELEMENTS})()[0]?.file")
    (picture,) = await count(ana, 1)
    await says_offline(ana, hint=NOT_KEPT)
    # The page is closed and opened again when there is a network: the image was kept (UF1).
    await ana.close_tab()
    await ana.new_tab()
    ana.wire.heal()
    await ana.open(board, "board")
    await ben.open(board, "board")
    await shows(ben, [picture])
    await ben.until(
        "async () => { const { url } = performance.getEntriesByType('resource').map(({ name }) => ({ url: name }))"
        ".find(({ url }) => url.includes('/api/files/')) ?? {}; return Boolean(url); }"
    )
    await ana.chip("saved")


async def test_a_server_that_answers_nothing_has_saved_nothing(scene: Scene) -> None:
    document = await scene.create("document", "Stille")
    ana = await scene.invite("Ana")
    await ana.open(document)
    await ana.write("vorher")
    await ana.chip("saved")
    server = scene.place.servers[0]
    server.signal(signal.SIGSTOP)
    try:
        await watch(ana)
        await ana.write("in die Stille hinein", delay_ms=80)
        await ana.chip("saving")
        assert await said(ana) == ["saved", "saving"]
        assert await asks_before_leaving(ana)
    finally:
        server.signal(signal.SIGCONT)
    await ana.chip("saved")
    assert await said(ana) == ["saved", "saving", "saved"]
    ben = await scene.invite("Ben")
    await ben.open(document)
    await ben.sees("vorher\nin die Stille hinein")


async def test_the_page_comes_from_the_server_when_there_is_one(scene: Scene) -> None:
    """An app that is out of date is never shown while the server is there (UO1); data is never kept (UO3)."""
    document = await scene.create("document", "Frisch")
    ana = await scene.invite("Ana", service_workers="allow")
    await ana.open(document)
    await is_kept_for_offline_use(ana)
    (name,) = await ana.page.evaluate("caches.keys()")
    await ana.page.evaluate(
        """async (name) => {
            const page = new Response("<title>Kopie</title>", { headers: { "content-type": "text/html" } });
            await (await caches.open(name)).put("/", page);
        }""",
        name,
    )
    await ana.open(document)
    kept = await ana.page.evaluate(
        "async (name) => (await (await caches.open(name)).keys()).map(({ url }) => new URL(url).pathname)", name
    )
    assert not [path for path in kept if path != "/" and not path.startswith("/static/app/")]
    assert len(kept) > 5
    ana.wire.cut()
    await ana.page.goto(ana.home)
    await expect(ana.page).to_have_title("Kopie")
