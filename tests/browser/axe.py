"""axe-core on the pages: what it finds in Raffia's own markup, and what inside the editors.

Rules:
    AXE1  Nothing serious or critical in our own markup, in any state that is looked at.
    AXE2  What it finds inside BlockNote and Excalidraw is theirs: it stands in the table of docs/accessibility.md. What
        is found and does not stand there fails.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from playwright.async_api import Page

from tests.support.server import ROOT

SOURCE = ROOT / "frontend/node_modules/axe-core/axe.min.js"
EDITORS = {"BlockNote": ".bn-root", "Excalidraw": ".excalidraw"}

SETTLED = """Promise.allSettled(document.getAnimations()
    .filter((one) => one.effect.getTiming().iterations !== Infinity).map((one) => one.finished))"""
RUN = """async (editors) => {
    const found = await axe.run(document, { resultTypes: ["violations"] });
    const own = [], theirs = [];
    for (const { id, impact, help, nodes } of found.violations) {
        for (const node of nodes) {
            const element = document.querySelector(node.target[0]);
            const editor = Object.keys(editors).find((name) => element?.closest(editors[name]));
            if (editor) theirs.push({ editor, id, impact, help });
            else own.push({ id, impact, help, html: node.html, why: node.failureSummary });
        }
    }
    return { own, theirs };
}"""


@cache
def _source() -> str:
    return SOURCE.read_text()


class Axe:
    """Looks at states of pages and gathers what it finds.

    Attributes:
        own: serious and critical findings in our markup, each with the state's name.
        theirs: (editor, rule, impact, help) of what is inside the editors.
        looked: names of the states that were looked at.
    """

    def __init__(self) -> None:
        self.own: list[str] = []
        self.theirs: set[tuple[str, str, str, str]] = set()
        self.looked: list[str] = []

    async def look(self, page: Page, state: str) -> None:
        """Look at a page as it is now."""
        # Colours in the middle of a transition are no colours.
        await page.evaluate(SETTLED)
        if not await page.evaluate("'axe' in window"):
            await page.evaluate(_source())
        found: dict[str, list[dict[str, Any]]] = await page.evaluate(RUN, EDITORS)
        for one in found["own"]:
            if one["impact"] in ("serious", "critical"):
                self.own.append(
                    f"{state}: {one['id']} ({one['impact']}): {one['help']}\n  {one['html'][:200]}\n  {one['why']}"
                )
        for one in found["theirs"]:
            if one["impact"] in ("serious", "critical"):
                self.theirs.add((one["editor"], one["id"], one["impact"], one["help"]))
        self.looked.append(state)
