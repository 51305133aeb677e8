"""The share links of documents, stored in their `meta` hashes in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from raffia.errors import ForbiddenError
from raffia.journal.protocol import Links, ShareLinks
from raffia.journal.redis.base import Base
from raffia.types import DocumentId


class RedisShareLinks(ShareLinks):
    """The share links of the documents of one journal."""

    def __init__(self, base: Base) -> None:
        self._base = base

    async def add(self, document: DocumentId, can: Literal["read", "edit"], time_ms: int) -> Links:
        """Record that there is a link."""
        return await self._change(document, can, time_ms)

    async def reset(self, document: DocumentId) -> Links:
        """Start a new generation."""
        return await self._change(document, "reset", 0)

    async def _change(self, document: DocumentId, change: str, time_ms: int) -> Links:
        self._base.check_open()
        word, found = await self._base.ask("links", document, [self._base.keys.meta(document)], [change, time_ms])
        if word == b"missing":
            raise ForbiddenError(f"there is no document {document}")
        return links_of(found)


def links_of(found: Sequence[bytes | None]) -> Links:
    """Read the links in a document's meta."""
    generation, read_ms, edit_ms = found
    return Links(
        int(generation or 0),
        None if read_ms is None else int(read_ms),
        None if edit_ms is None else int(edit_ms),
    )
