"""Versions in the database (J12)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from raffia.errors import ForbiddenError, QuarantinedError
from raffia.journal.protocol import Version, VersionInfo, Versions
from raffia.journal.sqlite.database import Database, Putter, Steps
from raffia.journal.sqlite.thread import DatabaseThread
from raffia.journal.sqlite.write import stage
from raffia.types import DocumentId


class SqliteVersions(Versions):
    """The versions of the documents of one journal."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread

    async def save(
        self, document: DocumentId, state: bytes, *, time_ms: int, authors: Sequence[str] = (), name: str | None = None
    ) -> VersionInfo:
        """Keep a state."""
        return await self._thread.job(
            lambda database: save_version(database, document, state, time_ms=time_ms, authors=authors, name=name),
            writes=True,
        )

    async def all(self, document: DocumentId) -> list[VersionInfo]:
        """List the versions of a document, newest first."""
        return await self._thread.job(lambda database: versions(database, document), writes=False)

    async def get(self, document: DocumentId, version: int) -> Version:
        """Read a version."""
        return await self._thread.job(lambda database: read_version(database, document, version), writes=False)

    async def rename(self, document: DocumentId, version: int, name: str | None) -> VersionInfo:
        """Set the name of a version."""
        return await self._thread.call(rename_version(document, version, name))

    async def delete(self, document: DocumentId, version: int) -> None:
        """Delete a version."""
        await self._thread.job(lambda database: delete_version(database, document, version), writes=True)


def save_version(
    database: Database, document: DocumentId, state: bytes, *, time_ms: int, authors: Sequence[str], name: str | None
) -> Steps[VersionInfo]:
    """Keep a state (J12)."""
    database.there(document)
    putter = Putter(database)
    try:
        blob = yield from putter.put(state)
        key = database.there(document)
        putter.keep()
        cursor = database.execute(
            "INSERT INTO versions (document, time_ms, authors, name, blob, bytes) VALUES (?,?,?,?,?,?)",
            (key, time_ms, json.dumps(list(authors)), name, blob, len(state)),
        )
        yield  # the commit: when it fails, the job is closed here
    except BaseException:
        putter.failed()
        raise
    return VersionInfo(cursor.lastrowid or 0, time_ms, tuple(authors), name, len(state))


def read_version(database: Database, document: DocumentId, number: int) -> Steps[Version]:
    """Read a version with its bytes."""
    info, blob = version_row(database, document, number)
    try:
        state = yield from database.read_blob(blob, info.size_bytes)
    except QuarantinedError:
        version_row(database, document, number)  # deleted in the meantime: report that instead
        raise
    return Version(info, state)


def version_row(database: Database, document: DocumentId, number: int) -> tuple[VersionInfo, int]:
    """Look up a version and its blob."""
    rows = database.rows(
        "SELECT id, time_ms, authors, name, bytes, blob FROM versions WHERE document = ? AND id = ?",
        (database.there(document), number),
    )
    if not rows:
        raise ForbiddenError(f"{document} has no version {number}")
    return _version_info(rows[0]), rows[0][5]


def versions(database: Database, document: DocumentId) -> Steps[list[VersionInfo]]:
    """List the versions, newest first."""
    rows = database.rows(
        "SELECT id, time_ms, authors, name, bytes FROM versions WHERE document = ? ORDER BY time_ms DESC, id DESC",
        (database.there(document),),
    )
    yield
    return [_version_info(row) for row in rows]


def _version_info(row: tuple[Any, ...]) -> VersionInfo:
    return VersionInfo(row[0], row[1], tuple(json.loads(row[2])), row[3], row[4])


def rename_version(document: DocumentId, number: int, name: str | None) -> Callable[[Database], VersionInfo]:
    """Set the name of a version, or remove it."""

    def run(database: Database) -> VersionInfo:
        found, _ = version_row(database, document, number)
        database.execute("UPDATE versions SET name = ? WHERE id = ?", (name, number))
        return replace(found, name=name)

    return run


def delete_version(database: Database, document: DocumentId, number: int) -> Steps[None]:
    """Delete a version."""
    _, blob = version_row(database, document, number)
    stage(database, "SELECT blob FROM versions WHERE id = ?", (number,))
    database.execute("DELETE FROM versions WHERE id = ?", (number,))
    yield
    try:
        yield from database.drop_blobs([blob])
    except BaseException:
        database.abandoned.append(blob)
        raise
