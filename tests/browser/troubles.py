"""What tests of cuts and kills share: watching the chip, drawing, and going on typing whatever happens."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Dialog, Page, expect

from tests.browser.people import DEADLINE_S, Person

OFFLINE = "Not saved – offline"
KEPT = "Your changes are kept on this device."
NOT_KEPT = "Keep this page open until they are saved."

# Excalidraw has no handle on the page; the component that it is made of holds the scene.
SCENE = """() => {
    const node = document.querySelector(".excalidraw");
    if (!node) return null;
    let fiber = node[Object.keys(node).find((key) => key.startsWith("__reactFiber"))];
    while (fiber && !fiber.stateNode?.scene) fiber = fiber.return;
    return fiber?.stateNode ?? null;
}"""
ELEMENTS = f"""() => (({SCENE})()?.scene.getNonDeletedElements() ?? []).map((element) => ({{
    id: element.id, type: element.type, x: Math.round(element.x), y: Math.round(element.y),
    points: element.points?.length ?? 0, stroke: element.strokeColor, file: element.fileId ?? null,
}})).sort((a, b) => a.id < b.id ? -1 : 1)"""
AT_END = """() => {
    const selection = getSelection();
    const last = [...document.querySelectorAll(".bn-inline-content")].at(-1);
    const rest = document.createRange();
    rest.setStart(selection.focusNode, selection.focusOffset);
    rest.setEnd(last, last.childNodes.length);
    return last.contains(selection.focusNode) && rest.toString() === "";
}"""
WATCH = """() => {
    window.saidByChip = [];
    const look = () => {
        const status = document.querySelector("[data-status]")?.dataset.status;
        if (status && status !== window.saidByChip.at(-1)) window.saidByChip.push(status);
    };
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
    look();
}"""


async def watch(person: Person) -> None:
    """Note from here on what the chip says."""
    await person.page.evaluate(WATCH)


async def said(person: Person) -> list[str]:
    """What the chip has said since `watch`, in order."""
    return list(await person.page.evaluate("window.saidByChip"))


async def says_offline(person: Person, *, hint: str = KEPT) -> None:
    """The chip is red, in these words, and its tooltip says what becomes of the edits."""
    await person.chip("unsaved")
    await expect(person.page.locator(".chip-label")).to_have_text(OFFLINE)
    await expect(person.page.locator(".chip-wrap [role=tooltip]")).to_contain_text(hint)


async def asks_before_leaving(person: Person) -> bool:
    """Whether the page warns somebody who closes it; it stays open."""
    asked: list[Dialog] = []

    async def answer(dialog: Dialog) -> None:
        asked.append(dialog)
        await dialog.dismiss()

    person.page.on("dialog", answer)
    try:
        async with person.page.expect_event("dialog", timeout=DEADLINE_S * 1000):
            await person.page.close(run_before_unload=True)
    finally:
        person.page.remove_listener("dialog", answer)
    return [dialog.type for dialog in asked] == ["beforeunload"]


async def is_kept_for_offline_use(person: Person) -> None:
    """Wait until the app can be opened without a server."""
    await person.until("() => navigator.serviceWorker.ready.then(() => true)")


async def write_into(person: Person, words: str, text: str) -> None:
    """Type at the end of the paragraph with these words."""
    await person.page.locator(".bn-inline-content", has_text=words).first.click()
    await person.press("End")
    await person.page.keyboard.type(text)


async def write_line(person: Person, text: str) -> None:
    """Type into a new paragraph behind all others."""
    await person.page.locator(".bn-inline-content").last.click()
    # What others write at this moment makes the editor put the caret where it knew it to be.
    while not await person.page.evaluate(AT_END):
        await person.press("Control+End")
    if lines(await person.text())[-1:] == (await person.text()).split("\n")[-1:]:
        await person.press("Enter")
    await person.page.keyboard.type(text)


async def draw(person: Person, tool: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw one thing with a tool's key: `r` rectangle, `p` pen, `o` ellipse."""
    await person.press("Escape", tool)
    await person.drag(start, end)
    await person.press("Escape")


async def elements(person: Person) -> list[dict[str, Any]]:
    """What this person's board shows."""
    return list(await person.page.evaluate(ELEMENTS))


async def shows(person: Person, expected: list[dict[str, Any]]) -> None:
    """Wait until the board shows exactly this."""
    await person.until(f"expected => JSON.stringify(({ELEMENTS})()) === JSON.stringify(expected)", expected)


async def count(person: Person, number: int) -> list[dict[str, Any]]:
    """Wait until the board shows so many things, and give them."""
    await person.until(f"number => ({ELEMENTS})().length === number", number)
    return await elements(person)


def lines(text: str) -> list[str]:
    """The lines of a document that are not empty."""
    return [line for line in text.split("\n") if line]


async def freeze(page: Page, *, frozen: bool) -> None:
    """Put a page to sleep as the browser does with one that nobody has looked at for long, or wake it."""
    session = await page.context.new_cdp_session(page)
    await session.send("Page.setWebLifecycleState", {"state": "frozen" if frozen else "active"})
    await session.detach()
