"""The snippets of docs/embedding.md about documents in Python run as they stand there."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from typing import Any

from raffia.embed import Raffia
from raffia.journal.testing.memory import MemoryJournal
from raffia.settings import Settings
from tests.support.server import ROOT

TEXT = (ROOT / "docs/embedding.md").read_text()
SNIPPETS = dict(re.findall(r"<!-- snippet: ([a-z_ ]+) -->\n```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))


async def run(name: str, names: dict[str, Any]) -> None:
    """Run a snippet, which may await, as a developer would at the asyncio prompt."""
    code = compile(SNIPPETS[name], f"embedding.md: {name}", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        await eval(code, names)
    else:
        exec(code, names)


def test_all_are_run() -> None:
    assert set(SNIPPETS) == {"read and edit", "changes", "who is there", "on_load"}


async def test_read_edit_changes_and_who_is_there() -> None:
    async with Raffia(authorize=None, settings=Settings(), journal=MemoryJournal()) as raffia:
        names: dict[str, Any] = {"raffia": raffia}
        await run("read and edit", names)
        assert names["length"] == len("Built by the bot.\n")
        assert await names["contents"].json() == {"notes": "Built by the bot.\n"}
        changes = asyncio.create_task(run("changes", names))
        while "change" not in names:
            await names["document"].edit(names["add_line"], user="bot")
        await changes
        assert names["change"].author == "bot"
        await run("who is there", names)


async def test_on_load() -> None:
    class Database:
        async def fetch(self, document: str) -> str | None:
            return "from the database" if document == "team/plan" else None

    names: dict[str, Any] = {"database": Database(), "authorize": None}

    def make(**options: Any) -> Raffia:
        return Raffia(settings=Settings(), journal=MemoryJournal(), **options)

    text = SNIPPETS["on_load"]
    assert "\nraffia = Raffia(authorize=authorize, on_load=on_load)\n" in text
    await run("on_load", names)
    async with make(authorize=None, on_load=names["on_load"]) as raffia:
        contents = await raffia.document("team/plan").read()
        assert await contents.text("notes") == "from the database"
        assert await (await raffia.document("team/other").read()).json() == {}
