"""The versions of a memory journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from raffia.errors import ForbiddenError
from raffia.journal.protocol import Version, VersionInfo, Versions
from raffia.journal.testing.memory.store import StoreConnection
from raffia.types import DocumentId


class MemoryVersions(Versions):
    """The versions of the documents in a store."""

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection
        self._store = connection.store

    async def save(
        self, document: DocumentId, state: bytes, *, time_ms: int, authors: Sequence[str] = (), name: str | None = None
    ) -> VersionInfo:
        """Keep a state."""
        self._connection.check()
        kept = self._connection.there(document)
        info = VersionInfo(self._store.next_id(), time_ms, tuple(authors), name, len(state))
        kept.versions[info.id] = Version(info, state)
        return info

    async def all(self, document: DocumentId) -> list[VersionInfo]:
        """List the versions of a document, newest first."""
        self._connection.check_open()
        infos = [version.info for version in self._connection.there(document).versions.values()]
        return sorted(infos, key=lambda info: (info.time_ms, info.id), reverse=True)

    async def get(self, document: DocumentId, version: int) -> Version:
        """Read a version."""
        self._connection.check_open()
        kept = self._connection.there(document)
        if version not in kept.versions:
            raise ForbiddenError(f"{document} has no version {version}")
        return kept.versions[version]

    async def rename(self, document: DocumentId, version: int, name: str | None) -> VersionInfo:
        """Set the name of a version."""
        self._connection.check()
        found = await self.get(document, version)
        info = replace(found.info, name=name)
        self._connection.there(document).versions[version] = Version(info, found.state)
        return info

    async def delete(self, document: DocumentId, version: int) -> None:
        """Delete a version."""
        self._connection.check()
        await self.get(document, version)
        del self._connection.there(document).versions[version]
