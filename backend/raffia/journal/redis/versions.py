"""Versions on Redis, by number (J12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from raffia.errors import ForbiddenError, InternalError, JournalUnavailableError, QuarantinedError
from raffia.journal.protocol import Version, VersionInfo, Versions
from raffia.journal.redis.base import KEEP_MS, Base, optional
from raffia.journal.redis.blobs import GoneError, read_blob, write_blob
from raffia.journal.redis.engine import Argument
from raffia.journal.redis.records import read_version, write_version
from raffia.journal.redis.replies import deleted, pairs, parts
from raffia.types import DocumentId


class RedisVersions(Versions):
    """The versions of the documents of one journal."""

    def __init__(self, base: Base) -> None:
        self._base = base

    async def save(
        self, document: DocumentId, state: bytes, *, time_ms: int, authors: Sequence[str] = (), name: str | None = None
    ) -> VersionInfo:
        """Keep a state."""
        await self._check(document)
        keys = self._base.keys
        blob = await write_blob(self._base, document, state)
        line = write_version(time_ms, tuple(authors), blob, len(state))
        names = [keys.meta(document), keys.versions(document), keys.blob(document, blob)]
        word, rest = await self._base.ask("save_version", document, names, [line, optional(name)])
        if word == b"missing":
            raise ForbiddenError(f"there is no document {document}")
        if word != b"ok":
            raise JournalUnavailableError(f"the state of a version of {document} has expired before it was listed")
        number = rest[0]
        if not isinstance(number, int):
            raise InternalError(f"Redis numbers a version {number!r}")
        return VersionInfo(number, time_ms, tuple(authors), name, len(state))

    async def all(self, document: DocumentId) -> list[VersionInfo]:
        """List the versions of a document, newest first."""
        await self._check(document)
        (reply,) = await self._base.run(("HGETALL", self._base.keys.versions(document)))
        found = pairs(reply)
        infos = [
            read_version(int(field), line, found.get(field + b":name"))[0]
            for field, line in found.items()
            if field.isdigit()
        ]
        return sorted(infos, key=lambda info: (info.time_ms, info.id), reverse=True)

    async def get(self, document: DocumentId, version: int) -> Version:
        """Read a version."""
        info, blob = await self._look_up(document, version)
        try:
            (state,) = await read_blob(self._base, document, blob, info.size_bytes)
        except GoneError as error:
            await self._look_up(document, version)  # deleted in the meantime: report that instead
            raise QuarantinedError(f"version {version} of {document} cannot be read: {error}") from error
        return Version(info, state)

    async def rename(self, document: DocumentId, version: int, name: str | None) -> VersionInfo:
        """Set the name of a version."""
        info, blob = await self._look_up(document, version)
        await self._change(document, version, blob, ["name", optional(name)])
        return replace(info, name=name)

    async def delete(self, document: DocumentId, version: int) -> None:
        """Delete a version."""
        _, blob = await self._look_up(document, version)
        await self._change(document, version, blob, ["drop", KEEP_MS])

    async def _change(self, document: DocumentId, number: int, blob: str, args: list[Argument]) -> None:
        keys = self._base.keys
        names = [keys.meta(document), keys.versions(document), keys.blob(document, blob)]
        word, _ = await self._base.ask("change_version", document, names, [number, *args])
        if word != b"ok":
            raise ForbiddenError(f"{document} has no version {number}")

    async def _look_up(self, document: DocumentId, number: int) -> tuple[VersionInfo, str]:
        await self._check(document)
        (reply,) = await self._base.run(("HMGET", self._base.keys.versions(document), number, f"{number}:name"))
        line, name = parts(reply)
        if line is None:
            raise ForbiddenError(f"{document} has no version {number}")
        return read_version(number, line, name)

    async def _check(self, document: DocumentId) -> None:
        """Raise unless the document exists.

        Raises:
            DocumentDeletedError: it has a tombstone.
            ForbiddenError: it never existed.
            JournalUnavailableError: the journal is closed.
        """
        self._base.check_open()
        created_ms, deleted_ms = await self._base.head(document, "created_ms", "deleted_ms")
        if deleted_ms is not None:
            raise deleted(document)
        if created_ms is None:
            raise ForbiddenError(f"there is no document {document}")
