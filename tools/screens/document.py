"""Pictures of documents."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import httpx
from playwright.async_api import Page, expect
from tests.browser.people import Person, until
from tests.support.tokens import token

from tools.screens.content import PLAN, TABLE, picture
from tools.screens.stage import BEN, RENEE, TOMAS, Stage

TITLE = "Garden café: opening plan"
TASK, GOAL, LAST = "Order the espresso machine", "français and português", "before you change a number."
LATE_MS = 15_000
ASIDE = (1270, 760)  # where a pointer shows nothing


async def take(stage: Stage) -> None:
    zoe = await stage.visitor()
    plan = await written(stage, zoe)
    await together(stage, zoe, plan)
    await dialogs(stage, zoe)
    await tools(stage, zoe)
    await trouble(stage, zoe, plan)
    await templates(stage, zoe)
    await ways_in(stage)


async def written(stage: Stage, zoe: Person) -> str:
    """The plan, with a picture in it; its id."""
    plan = await stage.create("document", TITLE)
    async with httpx.AsyncClient(base_url=stage.open.http) as client:
        stored = await client.post(
            f"/api/documents/{plan}/files", content=picture(), headers={"content-type": "image/png"}
        )
        url = stored.json()["url"]
    ben = await stage.colleague(BEN)
    await ben.open(plan)
    image = f'<p></p><img src="{url}" alt="Hills behind the garden"><p></p>'
    await stage.bring(ben, "Insert a Markdown or HTML file…", "plan.html", (PLAN + image + TABLE).encode())
    await zoe.open(plan)
    await zoe.sees("Write it down here")
    return plan


async def place_cursor(person: Person, text: str, *, select: int = 0) -> None:
    """Place the cursor after a text, and select some letters before it."""
    await person.page.evaluate(
        """([text, select]) => {
            const walker = document.createTreeWalker(document.querySelector(".bn-editor"), NodeFilter.SHOW_TEXT);
            for (let node = walker.nextNode(); node; node = walker.nextNode()) {
                const at = node.data.indexOf(text);
                if (at < 0 || node.parentElement.closest(".peer-cursor")) continue;
                node.parentElement.closest("[contenteditable=true]").focus();
                getSelection().setBaseAndExtent(node, at + text.length - select, node, at + text.length);
                return;
            }
            throw new Error(`no ${text}`);
        }""",
        [text, select],
    )


async def move(person: Person, text: str, *, select: int = 0) -> None:
    """Move to a place via another one: a cursor shows its name for two seconds after it has moved."""
    await place_cursor(person, text[:-1])
    await person.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 60)))")
    await place_cursor(person, text, select=select)


async def named(viewer: Person, moves: dict[str, Callable[[], Awaitable[None]]]) -> None:
    """Move others' cursors until their names are shown."""

    async def shown() -> bool:
        await asyncio.gather(*(move() for move in moves.values()))
        labels = await viewer.page.locator(".peer-cursor[data-active]").all_inner_texts()
        return all(any(name in label for label in labels) for name in moves)

    await until(shown, f"names of {', '.join(moves)}")


async def together(stage: Stage, zoe: Person, plan: str) -> None:
    page = zoe.page
    ben, renee = await stage.colleague(BEN), await stage.colleague(RENEE)
    await renee.open(plan)
    await place_cursor(ben, TASK)
    await place_cursor(renee, GOAL, select=22)
    await expect(page.locator(".peer-cursor")).to_have_count(2)

    async def both() -> None:
        await named(zoe, {BEN: lambda: move(ben, TASK), RENEE: lambda: move(renee, GOAL, select=22)})

    await page.evaluate("scrollTo(0, 0)")
    await stage.shoot(zoe, "document", "A document with several users editing it", before=both)

    tomas = await stage.colleague(TOMAS)
    await tomas.open(plan)
    await place_cursor(tomas, "28 March")
    await expect(page.locator(".peer-cursor")).to_have_count(3)
    await page.evaluate("document.querySelector('.bn-visual-media').scrollIntoView({block: 'start'}); scrollBy(0, -90)")
    await until_images(page)
    await stage.shoot(
        zoe,
        "document-image",
        "An image, a table and code",
        before=lambda: named(zoe, {TOMAS: lambda: move(tomas, "28 March")}),
    )

    await (
        page.get_by_role("button", name="Follow Renée")
        .or_(page.get_by_role("button", name="more people"))
        .first.click()
    )
    if stage.phone:
        await expect(page.get_by_role("menuitem").first).to_be_visible()
        await stage.shoot(zoe, "document-people", "The list of users on a phone")
        await page.get_by_role("menuitem", name="Follow Renée").click()
    await expect(page.locator(".follow-frame")).to_be_visible()
    await renee.page.evaluate("scrollTo(0, 0)")
    await page.wait_for_function("() => scrollY < 40")
    await stage.shoot(zoe, "document-following", "Following a user", before=both)
    await page.locator(".follow-label button").click()
    for person in (tomas, renee):
        await person.page.goto(person.home)
    await expect(page.locator(".peer-cursor")).to_have_count(1)


async def until_images(page: Page) -> None:
    await page.wait_for_function("() => document.querySelector('.bn-visual-media')?.naturalWidth > 0")


async def dialogs(stage: Stage, zoe: Person) -> None:
    page = zoe.page
    await page.evaluate("scrollTo(0, 0)")
    await page.get_by_role("button", name="More", exact=True).click()
    await expect(page.get_by_role("menuitem").first).to_be_visible()
    await stage.shoot(zoe, "document-menu", "The menu of a document")
    await page.get_by_role("menuitem", name="Keyboard shortcuts").click()
    await expect(page.locator("dialog")).to_be_visible()
    await stage.shoot(zoe, "document-shortcuts", "Keyboard shortcuts for documents")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Share").click()
    await expect(page.get_by_role("button", name="Copy link")).to_be_visible()
    await stage.shoot(zoe, "share-open", "Sharing on a server without tokens")
    await page.keyboard.press("Escape")


async def tools(stage: Stage, zoe: Person) -> None:
    """Blocks, formatting and pictures."""
    page = zoe.page
    await page.mouse.move(*ASIDE)
    await page.evaluate("scrollTo(0, 0)")
    await place_cursor(zoe, "Paint the terrace", select=17)
    await page.keyboard.press("Shift+ArrowLeft")
    await page.keyboard.press("Shift+ArrowRight")
    await expect(page.locator(".bn-formatting-toolbar")).to_be_visible()
    await stage.shoot(zoe, "document-toolbar", "Formatting selected text")
    await page.keyboard.press("ArrowRight")
    await place_cursor(zoe, LAST)
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Enter")
    await page.keyboard.type("/")
    await expect(page.locator(".bn-suggestion-menu")).to_be_visible()
    await page.locator(".bn-suggestion-menu").scroll_into_view_if_needed()
    await stage.shoot(zoe, "document-blocks", "The “/” menu with block types")
    await page.keyboard.type("imag")
    await page.keyboard.press("Enter")
    await expect(page.locator(".bn-panel")).to_be_visible()
    await stage.shoot(zoe, "document-upload", "Adding an image")
    await page.keyboard.press("Escape")
    for _ in range(8):
        await page.keyboard.press("Control+z")
    if not stage.phone:
        await page.evaluate("scrollTo(0, 0)")
        await page.locator(".bn-editor").get_by_text("Sign the lease").hover()
        await expect(page.locator(".bn-side-menu")).to_be_visible()
        await stage.shoot(zoe, "document-block-handle", "The handle of a block under the pointer")
        await page.locator(".bn-side-menu button").last.click()
        await expect(page.locator(".bn-drag-handle-menu, .bn-menu-dropdown").first).to_be_visible()
        await stage.shoot(zoe, "document-block-menu", "The menu of a block")
        await page.keyboard.press("Escape")
        await page.mouse.move(640, 700)
    await zoe.chip("saved")


async def trouble(stage: Stage, zoe: Person, plan: str) -> None:
    """The page's messages when something is wrong."""
    page = zoe.page
    await page.mouse.move(*ASIDE)
    await page.evaluate("scrollTo(0, 0)")
    zoe.wire.cut()
    await zoe.chip("reconnecting")
    await stage.shoot(zoe, "document-reconnecting", "Reconnecting, with nothing left to save")
    await place_cursor(zoe, LAST)
    await page.keyboard.type(" (Written in the train.)")
    await zoe.chip("unsaved")
    await page.evaluate("scrollTo(0, 0)")
    await (page.locator(".chip").tap() if stage.phone else page.locator(".chip").hover())
    await expect(page.locator(".tip")).to_be_visible()
    await stage.shoot(zoe, "document-offline", "Offline edits: not saved yet, stored on the device")
    zoe.wire.heal()
    await zoe.chip("saved", "live")
    await page.mouse.move(640, 790)

    await page.route_web_socket("**/sync*", lambda _: None)
    other = await stage.create("document", "Suppliers and prices")
    await page.goto(zoe.address("document", other))
    await expect(page.locator(".body-skeleton")).to_be_visible()
    await stage.shoot(zoe, "document-loading", "A document while it loads")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible(timeout=LATE_MS)
    await stage.shoot(zoe, "document-failed", "A document that fails to load")
    await page.unroute_all()
    await zoe.new_tab()
    page = zoe.page

    await zoe.open(other)
    await page.goto(zoe.address("document", "nothing-was-ever-here"))
    await expect(page.locator(".message")).to_be_visible(timeout=LATE_MS)
    await stage.shoot(zoe, "document-missing", "A document that does not exist")

    await zoe.open(other)
    await stage.shoot(zoe, "document-empty", "A new document")
    async with httpx.AsyncClient(base_url=stage.open.http) as client:
        assert (await client.delete(f"/api/documents/{other}")).status_code == 204
    await expect(page.locator(".message")).to_be_visible()
    await stage.shoot(zoe, "document-deleted", "The document was deleted by another user")


async def templates(stage: Stage, zoe: Person) -> None:
    for template, title, text in (
        ("meeting", "Weekly meeting", "meeting notes"),
        ("plan", "Terrace", "project plan"),
        ("decision", "Which espresso machine?", "decision"),
        ("retrospective", "Test weekend", "retrospective"),
    ):
        async with httpx.AsyncClient(base_url=stage.open.http) as client:
            known = {one["id"] for one in (await client.get("/api/templates")).json() if one["kind"] == "document"}
        if template not in known:
            raise ValueError(f"no template {template}; there are {sorted(known)}")
        await zoe.open(await stage.create("document", title, template=template))
        await stage.shoot(zoe, f"template-{template}", f"From a template: {text}", themes=("light",))


async def ways_in(stage: Stage) -> None:
    """A server with tokens: links, a reader, and a visitor without a token."""
    plan = await stage.create("document", TITLE, stage.closed, template="plan")
    zoe = await stage.visitor(server=stage.closed)
    await zoe.open(plan, fragment=f"#token={token(raffia={'*': 'admin'})}")
    await zoe.page.get_by_role("button", name="Share").click()
    await expect(zoe.page.get_by_role("button", name=re.compile("Create link|Copy link")).first).to_be_visible()
    await zoe.page.get_by_role("button", name=re.compile("^Create link.*edit")).click()
    await expect(zoe.page.get_by_role("button", name=re.compile("^Copy link.*edit"))).to_be_visible()
    await stage.shoot(zoe, "share-links", "Sharing with links for viewing and editing")
    await zoe.page.get_by_role("button", name="Reset links").click()
    await stage.shoot(zoe, "share-reset", "Confirmation before all links are reset")
    await zoe.page.keyboard.press("Escape")

    reader = await stage.visitor(RENEE, stage.closed)
    await reader.open(plan, fragment=await stage.link(plan, "read"))
    await expect(reader.page.locator(".badge")).to_be_visible()
    await stage.shoot(reader, "document-view-only", "A view-only document")

    guest = await stage.visitor(TOMAS, stage.closed)
    await guest.open(plan, fragment=await stage.link(plan, "edit"))
    await guest.page.get_by_role("button", name="Share").click()
    await expect(guest.page.get_by_text("You cannot change who has access.")).to_be_visible()
    await stage.shoot(guest, "share-guest", "Sharing as a guest with a link")

    stranger = await stage.visitor(server=stage.closed)
    await stranger.page.goto(stranger.address("document", plan))
    await expect(stranger.page.locator(".message")).to_be_visible(timeout=LATE_MS)
    await stage.shoot(stranger, "document-no-access", "A document without access")

    await zoe.page.goto(zoe.home)
    await expect(zoe.page.locator(".row-link")).to_have_count(1)
    await stage.shoot(zoe, "home-device", "Home on a server with tokens: documents opened on this device")
