"""The share links of documents, in the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from raffia.journal.protocol import Links, ShareLinks
from raffia.journal.sqlite.database import Database
from raffia.journal.sqlite.thread import DatabaseThread
from raffia.types import DocumentId

_LINKS = "SELECT links_generation, link_read_ms, link_edit_ms FROM documents WHERE key = ?"


class SqliteShareLinks(ShareLinks):
    """The share links of the documents of one journal."""

    def __init__(self, thread: DatabaseThread) -> None:
        self._thread = thread

    async def add(self, document: DocumentId, can: Literal["read", "edit"], time_ms: int) -> Links:
        """Record that there is a link."""
        return await self._thread.call(add_link(document, can, time_ms))

    async def reset(self, document: DocumentId) -> Links:
        """Start a new generation."""
        return await self._thread.call(reset_links(document))


def add_link(document: DocumentId, can: Literal["read", "edit"], time_ms: int) -> Callable[[Database], Links]:
    """Record that there is a link."""
    column = {"read": "link_read_ms", "edit": "link_edit_ms"}[can]
    sql = f"UPDATE documents SET {column} = coalesce({column}, ?) WHERE key = ?"  # noqa: S608 - a column of ours

    def run(database: Database) -> Links:
        key = database.there(document)
        database.execute(sql, (time_ms, key))
        database.seal(key)
        return Links(*database.rows(_LINKS, (key,))[0])

    return run


def reset_links(document: DocumentId) -> Callable[[Database], Links]:
    """Start a new generation of links."""

    def run(database: Database) -> Links:
        key = database.there(document)
        database.execute(
            "UPDATE documents SET links_generation = links_generation + 1, link_read_ms = NULL, link_edit_ms = NULL"
            " WHERE key = ?",
            (key,),
        )
        database.seal(key)
        return Links(*database.rows(_LINKS, (key,))[0])

    return run
