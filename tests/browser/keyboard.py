"""What the keyboard is at, for tests without a mouse.

Rules:
    KBD1  The focus is never lost: it is on something that can be seen, and never on the page's body.
    KBD2  A control of our own that has the focus shows it with a ring: an outline or a shadow around it, or around the
        field that it stands in. Editors are not ours, and show a caret.
"""

from __future__ import annotations

from typing import NamedTuple

from playwright.async_api import Page

FOCUS = """() => {
    const one = document.activeElement;
    const box = one.getBoundingClientRect();
    const shown = one.checkVisibility({ opacityProperty: false, visibilityProperty: true });
    const inside = box.width > 0 && box.height > 0
        && box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
    const ringed = (element) => {
        const style = getComputedStyle(element);
        const drawn = (colour) => !/rgba?\\([^)]*[,/] *0\\)|transparent/.test(colour);
        return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 && drawn(style.outlineColor))
            || (style.boxShadow !== "none" && drawn(style.boxShadow));
    };
    const ours = one.matches("a, button, input, select, textarea") && !one.closest(".bn-root, .excalidraw");
    // What is drawn in place of an input that cannot be seen itself.
    const drawn = [one, one.nextElementSibling, one.closest(".segment, .search")].filter(Boolean);
    return {
        name: one.getAttribute("aria-label") ?? one.labels?.[0]?.textContent.trim() ?? one.textContent.trim(),
        role: one.getAttribute("role") ?? one.localName,
        lost: one === document.body || one === document.documentElement,
        visible: shown && inside,
        ours,
        ring: drawn.some(ringed),
        html: one.outerHTML.slice(0, 160),
    };
}"""


class Focus(NamedTuple):
    """What has the focus."""

    name: str
    role: str


async def focus(page: Page) -> Focus:
    """What has the focus now, which keeps KBD1 and K2."""
    now = await page.evaluate(FOCUS)
    assert not now["lost"], "the focus is lost"
    assert now["visible"], f"the focus is on what cannot be seen: {now['html']}"
    assert now["ring"] or not now["ours"], f"no ring: {now['html']}"
    return Focus(now["name"], now["role"])


async def tab_to(page: Page, name: str, *, key: str = "Tab", most: int = 40) -> Focus:
    """Go on until a control has the focus whose name begins so; every one on the way keeps the rules."""
    passed = []
    for _ in range(most):
        await page.keyboard.press(key)
        try:
            now = await focus(page)
        except AssertionError as error:
            raise AssertionError(f"{error}; {key} has passed {passed}") from error
        if now.name.startswith(name):
            return now
        passed.append(now.name)
    raise AssertionError(f"{key} does not lead to {name!r}, but to {passed}")
