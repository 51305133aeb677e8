"""The share links of a memory journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from raffia.journal.protocol import Links, ShareLinks
from raffia.journal.testing.memory.store import StoreConnection
from raffia.types import DocumentId


class MemoryShareLinks(ShareLinks):
    """The share links of the documents in a store."""

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection

    async def add(self, document: DocumentId, can: Literal["read", "edit"], time_ms: int) -> Links:
        """Record that there is a link."""
        self._connection.check()
        kept = self._connection.there(document)
        if can == "read" and kept.links.read_ms is None:
            kept.links = replace(kept.links, read_ms=time_ms)
        elif can == "edit" and kept.links.edit_ms is None:
            kept.links = replace(kept.links, edit_ms=time_ms)
        return kept.links

    async def reset(self, document: DocumentId) -> Links:
        """Start a new generation."""
        self._connection.check()
        kept = self._connection.there(document)
        kept.links = Links(kept.links.generation + 1)
        return kept.links
