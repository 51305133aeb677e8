"""Share links, where tokens decide: who gets in, who may edit, and how a link is taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.browser import guarded
from tests.browser.guarded import Watch, link_in
from tests.browser.home import WAIT_MS, Home, mark
from tests.browser.people import Person
from tests.browser.scene import Place, Scene
from tests.support.cluster import Cluster
from tests.support.server import RaffiaServer

RESET_S = 5.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def alone_guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("guarded")
    with RaffiaServer(folder / "data", env=guarded.env_of(folder)) as server:
        yield Place("alone", [server])
    guarded.check_logs([server])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def replicas_guarded(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("guarded-replicas")
    env = {**guarded.env_of(folder), "RAFFIA_FILES": (folder / "files").as_uri()}
    async with Cluster(folder, env=env) as cluster:
        servers = [replica.server for replica in cluster.replicas]
        yield Place("replicas", servers, cluster)
    guarded.check_logs(servers)


@pytest.fixture(params=["alone_guarded", "replicas_guarded"], ids=["alone", "replicas"])
def place(request: pytest.FixtureRequest) -> Place:
    chosen: Place = request.getfixturevalue(request.param)
    return chosen


@pytest_asyncio.fixture(loop_scope="session")
async def scene(browser: Browser, place: Place) -> AsyncIterator[Scene]:
    async with Scene(browser, place) as running:
        yield running


async def _share(person: Person, label: str) -> str:
    """Make a link in the share dialog, copy it, close the dialog; what is on the clipboard."""
    await person.page.get_by_role("button", name="Share", exact=True).click()
    dialog = person.page.get_by_role("dialog")
    await dialog.get_by_role("button", name=f"Create link: {label}").click()
    copy = dialog.get_by_role("button", name=f"Copy link: {label}")
    await copy.click()
    await expect(copy).to_contain_text("Copied")
    copied = str(await person.page.evaluate("navigator.clipboard.readText()"))
    await dialog.get_by_role("button", name="Close").click()
    await expect(dialog).to_have_count(0)
    return copied


VIEW, EDIT = "Anyone with this link can view", "Anyone with this link can edit"


@pytest.mark.scenario
async def test_a_document_is_shared_and_taken_back(scene: Scene) -> None:
    """The life of two links: made, copied, opened, read along, written with, kept in other tabs, taken back."""
    document = await guarded.create(scene.place, "document", "Plan é 😀")
    ana = await scene.invite("Ana", permissions=["clipboard-read", "clipboard-write"])
    ben, cem = await scene.invite("Ben"), await scene.invite("Cem")
    watches = [Watch(person) for person in (ana, ben, cem)]
    await ana.open(document, fragment=f"#token={guarded.owner()}")
    await ana.write("Grüße 😀")
    view, edit = link_in(await _share(ana, VIEW)), link_in(await _share(ana, EDIT))
    assert view != edit

    # Ben sees what Ana writes as she writes it, and can do nothing to it.
    await ben.open(document, fragment=view)
    await ben.sees("Grüße 😀")
    await expect(ben.page.get_by_text("View only")).to_be_visible()
    await expect(ben.editor).to_have_attribute("contenteditable", "false")
    await expect(ben.page.get_by_role("textbox", name="Title")).to_have_count(0)
    await ben.editor.click()
    await ben.page.keyboard.type("not mine")
    await ana.write(" aus dem Garten")
    await ben.sees("aus dem Garten")
    assert "not mine" not in await ben.text() + await ana.text()
    await ben.page.get_by_role("button", name="More").click()
    await expect(ben.page.get_by_role("menuitem", name="Delete")).to_have_count(0)
    await expect(ben.page.get_by_role("menuitem", name="Duplicate")).to_have_count(0)
    await ben.press("Escape")
    await ben.page.get_by_role("button", name="Share", exact=True).click()
    await expect(ben.page.get_by_role("dialog")).to_contain_text("You cannot change who has access")
    await ben.press("Escape")

    # Cem writes; he may not delete what is not his, nor share it on.
    await cem.open(document, fragment=edit)
    await cem.write("und vom Balkon")
    for person in (ana, ben):
        await person.sees("und vom Balkon")
    await cem.chip("saved")
    await cem.page.get_by_role("button", name="More").click()
    await expect(cem.page.get_by_role("menuitem", name="Your name and colour")).to_be_visible()
    await expect(cem.page.get_by_role("menuitem", name="Delete")).to_have_count(0)
    await cem.press("Escape")

    # A reload and another tab need no link; the server lists nothing for him but what he has opened.
    await cem.page.reload()
    await cem.sees("und vom Balkon")
    await cem.close_tab()
    await cem.new_tab()
    await cem.open(document)
    await cem.write("im Regen")
    await ana.sees("im Regen")
    await cem.page.get_by_role("link", name="Back to all documents").click()
    await expect(cem.page.get_by_role("heading", name="Opened on this device")).to_be_visible(timeout=WAIT_MS)
    await expect(cem.page.get_by_role("button", name="New document")).to_have_count(0)
    await cem.page.get_by_role("link", name="Plan é 😀").click()
    await cem.sees("im Regen")
    await cem.chip("saved")

    # Ana takes both links back: whoever came by one is out within five seconds, on every replica.
    await ana.page.get_by_role("button", name="Share", exact=True).click()
    dialog = ana.page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Reset links").click()
    await dialog.get_by_role("button", name="Reset all links?").click()
    await asyncio.gather(
        *(
            expect(person.page.get_by_role("alert")).to_contain_text(
                "Your link is no longer valid", timeout=RESET_S * 1000
            )
            for person in (ben, cem)
        )
    )
    await expect(dialog.get_by_role("button", name=f"Create link: {VIEW}")).to_be_visible()
    for person in (ben, cem):
        await expect(person.editor).to_have_count(0)
        await person.page.reload()
        await expect(person.page.get_by_role("alert")).to_contain_text("Your link is no longer valid", timeout=WAIT_MS)
        await expect(person.page.get_by_text("Grüße")).to_have_count(0)
    await dialog.get_by_role("button", name="Close").click()
    await ana.write("!")
    await ana.chip("saved")

    # A new link lets him in again, at the place where he stands.
    again = link_in(await _share(ana, EDIT))
    assert again not in (view, edit)
    await cem.page.goto(cem.address("document", document) + again)
    await cem.sees("Grüße 😀")
    await cem.write("wieder da")
    await ana.sees("wieder da")
    for watch in watches:
        watch.check()


async def test_a_board_is_shared(scene: Scene) -> None:
    """Viewers of a board see it, say so, and cannot draw; a link for editing makes the same page editable."""
    board = await guarded.create(scene.place, "board", "Skizze")
    ana = await scene.invite("Ana", permissions=["clipboard-read", "clipboard-write"])
    ben = await scene.invite("Ben")
    await ana.open(board, "board", fragment=f"#token={guarded.owner()}")
    view, edit = link_in(await _share(ana, VIEW)), link_in(await _share(ana, EDIT))

    async def draw(person: Person, at: tuple[float, float]) -> None:
        await person.press("r")
        await person.drag(at, (at[0] + 120, at[1] + 80))
        await person.press("Escape")

    count = """async ([path, token]) => {
        const answer = await fetch(`/api/documents/${path}`, { headers: { authorization: `Bearer ${token}` } });
        return (await answer.json()).size_bytes;
    }"""
    where = [board.replace("/", "%2F"), guarded.owner()]
    await ben.open(board, "board", fragment=view)
    await expect(ben.page.get_by_text("View only")).to_be_visible()
    before = await ana.page.evaluate(count, where)
    await draw(ben, (400, 300))
    await expect(ben.page.locator(".excalidraw .App-toolbar")).to_have_count(0)
    await draw(ana, (500, 300))
    await ana.chip("saved")
    assert await ana.page.evaluate(count, where) > before

    # Promotion: the same tab, a link for editing; then the link for viewing again, which takes nothing away.
    for fragment in (edit, view):
        await ben.page.goto(ben.address("board", board) + fragment)
        await expect(ben.canvas).to_be_visible(timeout=WAIT_MS)
        await expect(ben.page.get_by_text("View only")).to_have_count(0, timeout=WAIT_MS)
        await ben.chip("saved")
        assert "token" not in ben.page.url
        await draw(ben, (300, 500))
        await ben.chip("saved")
    await expect(ben.page.locator(".excalidraw .App-toolbar")).to_be_visible()


async def test_a_link_to_what_was_deleted(scene: Scene) -> None:
    """It says so; the one who may bring it back can, and others come in by the same link."""
    document = await guarded.create(scene.place, "document", "Weg 😀")
    ana = await scene.invite("Ana", permissions=["clipboard-read", "clipboard-write"])
    await ana.open(document, fragment=f"#token={guarded.owner()}")
    await ana.write("noch da")
    await ana.chip("saved")
    view = link_in(await _share(ana, VIEW))
    async with httpx.AsyncClient(
        base_url=scene.place.http, headers={"authorization": f"Bearer {guarded.owner()}"}
    ) as rest:
        answer = await rest.delete(f"/api/documents/{document.replace('/', '%2F')}")
        assert answer.status_code == 204, answer.text
    ben = await scene.invite("Ben")
    await ben.page.goto(ben.address("document", document) + view)
    for person in (ana, ben):
        await expect(person.page.get_by_role("alert")).to_contain_text("This document was deleted", timeout=WAIT_MS)
    await expect(ben.page.get_by_role("button", name="Restore")).to_have_count(0)
    await ana.page.get_by_role("button", name="Restore").click()
    await ana.sees("noch da")
    await ben.page.get_by_role("button", name="Try again").click()
    await ben.sees("noch da")


async def test_an_owner_at_home(scene: Scene) -> None:
    """A token at the home page opens the list; whoever has none is told what to do, and is shown nothing."""
    word = mark()
    document = await guarded.create(scene.place, "document", f"Étude {word}")
    stranger = await scene.invite("Stranger")
    await stranger.page.goto(stranger.home)
    await expect(stranger.page.locator(".list .hint")).to_contain_text("Open one with a link", timeout=WAIT_MS)
    await expect(stranger.page.get_by_role("button", name="New document")).to_have_count(0)
    await stranger.page.goto(stranger.address("document", document))
    await expect(stranger.page.get_by_role("alert")).to_contain_text("Open it with a link", timeout=WAIT_MS)

    ana = await scene.invite("Ana")
    watch = Watch(ana)
    home = await Home.of(ana, fragment=f"#token={guarded.owner()}")
    assert ana.page.url == ana.home
    await home.search(word)
    await home.shows(f"Étude {word}")
    await home.search("")
    await home.make("New board")
    await expect(ana.canvas).to_be_visible(timeout=WAIT_MS)
    await ana.page.go_back()
    await home.search(word)
    await home.rename(f"Étude {word}", f"Léa {word}")
    await home.act(f"Léa {word}", "Delete")
    await home.toast("was deleted").get_by_role("button", name="Undo").click()
    await home.row(f"Léa {word}").get_by_role("link").click()
    await ana.chip("saved")
    watch.check()
