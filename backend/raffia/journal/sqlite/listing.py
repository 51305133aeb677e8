"""Pages of the listing from the database, read in slices so that listings do not delay acknowledgements for long."""

from __future__ import annotations

from typing import Any

from raffia.errors import QuarantinedError
from raffia.journal.protocol import DocumentInfo, Links, Listing
from raffia.journal.search import CHUNK, Order, Where, cursor_of, read_cursor
from raffia.journal.sqlite.database import Database, Steps
from raffia.journal.sqlite.rows import ROW, DocumentRow, document_row
from raffia.types import DocumentId, Position


class Pages:
    """Pages of one listing (JS1-JS4 of search.py).

    Args:
        prefix: prefix of the names; no character in it is special, since the query uses a range, not LIKE or GLOB.
        deleted: list the deleted documents instead of the others.
        order: by name or by time.
        where: only those that match; None for all.
    """

    def __init__(self, prefix: str, *, deleted: bool, order: Order, where: Where | None) -> None:
        self._where = where
        self._matches = where.filter() if where is not None else None
        self._by_name = order == "name"
        self._time = "deleted_ms" if deleted else "edited_ms"
        self._chosen = f"deleted_ms IS {'NOT ' if deleted else ''}NULL AND NOT purged AND name >= ? AND name < ?"
        self._range = (prefix, prefix + "\U0010ffff")

    def page(self, database: Database, after: str, limit: int) -> Steps[Listing]:
        """Read one page."""
        where, matches = self._where, self._matches
        total = yield from self._count(database)
        found: list[DocumentInfo] = []
        looked = 0
        cursor = end = after
        while True:
            most = limit + 1 if where is None else min(CHUNK, where.most - looked)
            rows = self._rows(database, cursor, most)
            for row in rows:
                info = self._info(database, row)
                if info is None:
                    cursor = self._cursor(row, cursor)
                    continue
                cursor = info.document if self._by_name else cursor_of(row[0], info.document)
                if matches is None or matches((info.document, info.title, info.kind)):
                    if len(found) == limit:
                        return Listing(found, total, end if found else None)
                    found.append(info)
                    end = cursor
            looked += len(rows)
            if len(rows) < most:
                return Listing(found, total, None)
            if where is not None and looked >= where.most:
                return Listing(found, total, end if found else cursor)
            yield

    def _count(self, database: Database) -> Steps[int]:
        where, matches = self._where, self._matches
        if where is None or matches is None:
            row = database.row(f"SELECT count(*) FROM documents WHERE {self._chosen}", self._range)  # noqa: S608 - no values
            yield
            return int(row[0]) if row else 0
        total = looked = 0
        cursor = ""
        while looked < where.most:
            rows = self._rows(database, cursor, min(CHUNK, where.most - looked))
            if not rows:
                break
            for row in rows:
                info = self._info(database, row)
                total += info is not None and matches((info.document, info.title, info.kind))
                cursor = self._cursor(row, cursor)
            looked += len(rows)
            yield
        return total

    @staticmethod
    def _info(database: Database, row: tuple[Any, ...]) -> DocumentInfo | None:
        """Return a row as the listing shows it; None if it is damaged (CS2)."""
        try:
            return info_of(document_row(row[1:]))
        except QuarantinedError as error:
            database.report(f"document {row[3]!r} ({row[2]!r})", error)
            return None

    def _cursor(self, row: tuple[Any, ...], before: str) -> str:
        """Return the cursor of a page that ends with this row, which may be damaged."""
        time_ms, name = row[0], row[3]
        if not isinstance(name, str) or not isinstance(time_ms, int):
            return before
        return name if self._by_name else cursor_of(time_ms, name)

    def _rows(self, database: Database, after: str, count: int) -> list[tuple[Any, ...]]:
        """Read the rows after a cursor: the time, then the columns of `ROW`."""
        select = f"SELECT {self._time}, {ROW} FROM documents WHERE {self._chosen}"  # noqa: S608 - no values
        values: tuple[object, ...] = self._range
        if self._by_name:
            values = (*values, after, count)
            return database.rows(f"{select} AND name > ? ORDER BY name LIMIT ?", values)
        if after:
            values = (*values, *read_cursor(after))
            select += f" AND ({self._time}, name) < (?, ?)"
        return database.rows(f"{select} ORDER BY {self._time} DESC, name DESC LIMIT ?", (*values, count))


def info_of(row: DocumentRow) -> DocumentInfo:
    """Return a document as the listing shows it."""
    return DocumentInfo(
        document=DocumentId(row.name),
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
        deleted_ms=row.deleted_ms,
        purged=bool(row.purged),
        title=row.title,
        kind=row.kind,
        position=Position(row.last),
        snapshot_bytes=row.snapshot_bytes,
        tail_bytes=row.tail_bytes,
        history_bytes=row.history_bytes,
        updated_by=row.updated_by,
        schema=row.schema,
        links=Links(row.links_generation, row.link_read_ms, row.link_edit_ms),
    )
