"""Finds damage in an open database and corrects single bits in place (CS2), for `raffia check`."""

from __future__ import annotations

from raffia.errors import QuarantinedError
from raffia.journal.checksum import corrected
from raffia.journal.sqlite.database import Database, Steps
from raffia.journal.sqlite.rows import (
    ROW,
    SEALED,
    checked,
    document_row,
    entry_is_whole,
    is_whole,
    key_of,
    piece_is_whole,
    seal_entry,
    seal_piece,
)
from raffia.journal.sqlite.stored import piece_ids
from raffia.types import DocumentId

_BLOBS = (
    "SELECT state FROM snapshots",
    "SELECT aside FROM snapshots",
    "SELECT blob FROM segments",
    "SELECT blob FROM versions",
)


def names(database: Database) -> Steps[list[DocumentId]]:
    """Return the names of the documents that are not deleted; damaged rows are left out (`problems` lists them)."""
    rows = database.rows(f"SELECT {ROW} FROM documents ORDER BY name")  # noqa: S608 - our own columns
    yield
    found = []
    for row in rows:
        try:
            whole = document_row(row)
        except QuarantinedError:
            continue
        if whole.deleted_ms is None:
            found.append(DocumentId(whole.name))
    return found


def problems(database: Database) -> Steps[list[str]]:
    """Return the damage to pages, indexes and rows that only a rebuild of the file can repair, one line each."""
    found = [f"SQLite: {line}" for (line,) in database.rows("PRAGMA integrity_check(20)") if line != "ok"]
    yield
    for row in database.rows(f"SELECT {ROW} FROM documents"):  # noqa: S608 - our own columns
        try:
            document_row(row)
        except QuarantinedError as error:
            found.append(f"document {row[2]!r}: {error}")
    yield
    for table in ("revocations", "snapshots", "segments"):
        for row in database.rows(f"SELECT checksum, {SEALED[table]} FROM {table}"):  # noqa: S608 - our own columns
            try:
                checked(table, f"a row of {table}", row)
            except QuarantinedError as error:
                found.append(str(error))
        yield
    return found


def mend(database: Database, document: DocumentId) -> Steps[list[str]]:
    """Correct single changed bits in a document's entries and blobs; return what was corrected, one line each."""
    row = database.check_row(key_of(document))
    key = row.key
    done = []
    sql = "SELECT position, checksum, time_ms, body FROM entries WHERE document = ? ORDER BY position"
    for position, sealed, time_ms, body in database.rows(sql, (key,)):
        if entry_is_whole(sealed, key, position, time_ms, body) or not isinstance(body, bytes):
            continue
        content = corrected(sealed, "entries", key, position, time_ms, content=body)
        if content is not None:
            database.execute(
                "UPDATE entries SET body = ?, checksum = ? WHERE document = ? AND position = ?",
                (content, seal_entry(key, position, time_ms, content), key, position),
            )
            done.append(f"one bit of entry {position}")
    yield
    for select in _BLOBS:
        for (blob,) in database.rows(f"{select} WHERE document = ?", (key,)):
            for place in piece_ids(database, blob) if isinstance(blob, int) and blob else ():
                done += _mend_piece(database, key, place)
            yield
    return done


def _mend_piece(database: Database, key: int, place: int) -> list[str]:
    ((sealed, piece),) = database.rows("SELECT checksum, bytes FROM pieces WHERE id = ?", (place,))
    if piece_is_whole(sealed, place, key, piece) or not isinstance(piece, bytes):
        return []
    content = corrected(sealed, "pieces", place, key, content=piece)
    if content is None:
        return []
    database.execute(
        "UPDATE pieces SET bytes = ?, checksum = ?, document = ? WHERE id = ?",
        (content, seal_piece(place, key, content), key, place),
    )
    return [f"one bit of a piece of {len(content)} bytes"]


def damaged_versions(database: Database, document: DocumentId) -> Steps[list[tuple[int, str]]]:
    """Return the ids of a document's unreadable versions, each with the reason."""
    row = database.check_row(key_of(document))
    found = []
    sql = f"SELECT id, checksum, {SEALED['versions']} FROM versions WHERE document = ?"  # noqa: S608 - our own columns
    for number, sealed, *values in database.rows(sql, (row.key,)):
        if not is_whole("versions", sealed, *values):
            found.append((number, "its row does not match its checksum"))
            continue
        *_, blob, size = values
        try:
            yield from database.read_blob(row.key, blob, size)
        except QuarantinedError as error:
            found.append((number, f"{size} bytes: {error}"))
    return found


def drop_version(database: Database, number: int) -> None:
    """Delete the row of an unreadable version; its pieces stay until the file is rebuilt."""
    database.execute("DELETE FROM versions WHERE id = ?", (number,))
