"""Other programs with the same documents: they read what is stored and write what no page of ours would.

await change(scene.place, document, lambda doc: ...)
assert "<futureblock" in await markup(scene.place, document)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pycrdt

from raffia.crdt.merge import merge
from raffia.crdt.view import View, edit
from tests.browser.scene import Place
from tests.support.client import YClient, fresh_reader

TEXT = "document-store"


async def stored(place: Place, document: str) -> bytes:
    """What a newcomer gets, on the last of the servers."""
    async with await fresh_reader(place.servers[-1].ws, document) as reader:
        return merge(reader.updates)


async def markup(place: Place, document: str) -> str:
    """The stored rich text, with marks as elements."""
    return View(await stored(place, document)).xml(TEXT)


async def change(place: Place, document: str, how: Callable[[pycrdt.Doc[Any]], None]) -> None:
    """Edit a document from the last of the servers; returns when that is durable."""
    async with await YClient().join(place.servers[-1].ws, document) as client:
        client.update(edit(merge(client.updates), how))
        await client.until_stored()


def group_of(doc: pycrdt.Doc[Any]) -> Any:
    """The outermost group of blocks."""
    root: pycrdt.XmlFragment = doc.get(TEXT, type=pycrdt.XmlFragment)
    return next(iter(root.children))
