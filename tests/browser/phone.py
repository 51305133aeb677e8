"""Whether a page fits its window and its controls fit fingers.

Rules:
    PHN1  Nothing scrolls sideways but what is made for it (templates), and dialogs lie within the window.
    PHN2  Where fingers are used, every control of our own is at least 44 px high and wide, with the area around it that
        takes touches.
"""

from __future__ import annotations

from playwright.async_api import Page

MEASURE = """() => {
    const problems = [];
    const small = ({ width, height }, one) => {
        if (width < 43.5 || height < 43.5) problems.push(`${width} x ${height} px: ${one.outerHTML.slice(0, 120)}`);
    };
    const wide = document.scrollingElement.scrollWidth;
    if (wide > innerWidth) problems.push(`the page is ${wide} px wide, the window ${innerWidth} px`);
    const dialog = document.querySelector("dialog[open]");
    if (dialog) {
        const box = dialog.getBoundingClientRect();
        if (box.left < 0 || box.right > innerWidth || box.top < 0 || box.bottom > innerHeight + 1)
            problems.push(`the dialog is at ${[box.left, box.top, box.right, box.bottom]}`);
        if (dialog.scrollWidth > dialog.clientWidth) problems.push("the dialog scrolls sideways");
        if (innerWidth <= 620 && Math.abs(box.bottom - innerHeight) > 1)
            problems.push(`the dialog ends at ${box.bottom}`);
    }
    if (matchMedia("(pointer: coarse)").matches) {
        const scope = dialog ?? document;
        for (const one of scope.querySelectorAll("a, button, input, [role=menuitem]")) {
            if (one.closest(".bn-root, .excalidraw") || one.disabled || one.type === "radio") continue;
            const box = one.getBoundingClientRect();
            if (box.width === 0 || getComputedStyle(one).visibility === "hidden") continue;
            small(box, one);
        }
        for (const one of scope.querySelectorAll("label:has(input[type=radio])")) {
            if (!one.closest(".excalidraw")) small(one.getBoundingClientRect(), one);
        }
    }
    return problems;
}"""


async def misfits(page: Page) -> list[str]:
    """What breaks PHN1 or PHN2 on a page as it is now."""
    return [str(problem) for problem in await page.evaluate(MEASURE)]
