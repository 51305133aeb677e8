"""A document as it was when the host read it.

Rules (tests quote these ids):
    VC1  `update` holds the document's bytes as they are, never encoded again by a `Doc` (VW3 of crdt/view.py).
    VC2  A large document is read in a worker, so its size does not hold up the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from raffia.crdt.quick import QUICK_DOC_BYTES
from raffia.crdt.view import read_json, read_text, read_xml
from raffia.runtime.jobs import Job
from raffia.runtime.workers import Workers
from raffia.types import DocumentId, Position

T = TypeVar("T")


class Contents:
    """What `HostDocument.read` returns: a document at one moment. It does not change.

    Attributes:
        update: the whole document as one Yjs update (encoding v1); store it, or send it to a Yjs client.
        position: pass it to `HostDocument.changes` to get everything that came after; a change that is in `update`
            already may come once more.
    """

    __slots__ = ("_document", "_workers", "position", "update")

    def __init__(self, document: DocumentId, update: bytes, position: Position, workers: Workers) -> None:
        self.update = update
        self.position = position
        self._document = document
        self._workers = workers

    async def json(self) -> dict[str, Any]:
        """Every root by name: texts as strings, maps as dicts, arrays as lists, XML as markup, bytes in base64.

        Raises:
            CrdtError: pycrdt cannot read the document.
            TooCostlyError: reading it took too long.
        """
        return await self._read(read_json)

    async def text(self, root: str) -> str:
        """The characters of a text root (`Y.Text`), without formats and embeds; empty if there is no such root.

        Raises:
            As `json`.
        """
        return await self._read(read_text, root)

    async def xml(self, root: str) -> str:
        """The markup of an XML root (`Y.XmlFragment`); empty if there is no such root.

        Raises:
            As `json`.
        """
        return await self._read(read_xml, root)

    async def _read(self, read: Callable[..., T], *args: str) -> T:
        if len(self.update) <= QUICK_DOC_BYTES:
            return read(self.update, *args)
        return await self._workers.run_job(Job(len(self.update), self._document), read, self.update, *args)
