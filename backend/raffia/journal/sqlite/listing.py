"""Pages of the listing from the database: read in slices, so that no listing delays an acknowledgement."""

from __future__ import annotations

from typing import Any

from raffia.journal.protocol import DocumentInfo, Links, Listing
from raffia.journal.search import CHUNK, Order, Where, cursor_of, read_cursor
from raffia.journal.sqlite.database import Database, Steps

INFO = (
    "name, created_ms, updated_ms, deleted_ms, purged, title, kind, last, snapshot_bytes, tail_bytes, history_bytes, "
    "updated_by, schema, links_generation, link_read_ms, link_edit_ms"
)


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
                info = info_of(row[1:])
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
            rows = self._rows(database, cursor, min(CHUNK, where.most - looked), "name, title, kind")
            if not rows:
                break
            total += sum(matches(row[1:]) for row in rows)
            looked += len(rows)
            cursor = rows[-1][1] if self._by_name else cursor_of(*rows[-1][:2])
            yield
        return total

    def _rows(self, database: Database, after: str, count: int, columns: str = INFO) -> list[tuple[Any, ...]]:
        """Read the rows after a cursor: the time, then the columns."""
        select = f"SELECT {self._time}, {columns} FROM documents WHERE {self._chosen}"  # noqa: S608 - no values
        values: tuple[object, ...] = self._range
        if self._by_name:
            values = (*values, after, count)
            return database.rows(f"{select} AND name > ? ORDER BY name LIMIT ?", values)
        if after:
            values = (*values, *read_cursor(after))
            select += f" AND ({self._time}, name) < (?, ?)"
        return database.rows(f"{select} ORDER BY {self._time} DESC, name DESC LIMIT ?", (*values, count))


def info_of(row: tuple[Any, ...]) -> DocumentInfo:
    """Read a row of `INFO`."""
    name, created_ms, updated_ms, deleted_ms, purged, title, kind, last, *rest = row
    snapshot, tail_, history_, updated_by, schema, *links = rest
    return DocumentInfo(
        document=name,
        created_ms=created_ms,
        updated_ms=updated_ms,
        deleted_ms=deleted_ms,
        purged=bool(purged),
        title=title,
        kind=kind,
        position=last,
        snapshot_bytes=snapshot,
        tail_bytes=tail_,
        history_bytes=history_,
        updated_by=updated_by,
        schema=schema,
        links=Links(*links),
    )
