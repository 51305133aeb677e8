"""Rebuilds a database file from the rows that a scan of the damaged one finds.

Rules (tests quote these ids):
    RBD1  The damaged file and its WAL are kept in `quarantine/` until an operator removes them.
    RBD2  The new file replaces the old one by a rename. A marker file shows that a rebuild is in progress: while it
          exists, no server opens the folder, and the next repair starts over from the files that were set aside.
    RBD3  The rows found are written to the new file, except those that their document no longer refers to and those of
          a document whose name is unknown. Missing content is left to the repair of the individual documents.
    RBD4  A document whose row is lost but whose name is found in an index gets a new row, without title, kind, schema,
          share links and earlier history.
"""

from __future__ import annotations

import itertools
import mmap
import os
import shutil
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

from raffia.journal.sqlite.database import DATABASE, MARKER, PIECE_BITS, WAL, Database, connect, create_tables
from raffia.journal.sqlite.rows import SEALED, is_whole, seal, seal_entry, seal_piece
from raffia.journal.sqlite.salvage import Row, Salvaged, Scan, stored_columns
from raffia.journal.sqlite.wal import read_wal
from raffia.journal.sqlite.write import count_bytes

QUARANTINE = "quarantine"
_NEW = "raffia-rebuilt"
_SLICE = 1000  # rows in one transaction


def rebuild(folder: Path) -> list[str]:
    """Rebuild the database file of a folder that no server is using (RBD1-RBD4).

    Returns:
        What was done and what was lost, one line each.

    Raises:
        OSError, sqlite3.Error: a file cannot be read or written.
    """
    aside = _set_aside(folder)
    found = _scan(aside)
    new = folder / _NEW
    shutil.rmtree(new, ignore_errors=True)
    writer = _Writer(new, found)
    lines = [f"the damaged file is kept in {aside}", *writer.write()]
    _take_over(folder, new)
    return lines


def _set_aside(folder: Path) -> Path:
    """Copy the damaged files (RBD1), or find the copy made by a repair that was interrupted (RBD2)."""
    marker = folder / MARKER
    if marker.exists():
        return folder / QUARANTINE / marker.read_text().strip()
    for number in itertools.count(1):
        aside = folder / QUARANTINE / f"database-{number}"
        if not aside.exists():
            break
    aside.mkdir(parents=True)
    for name in (DATABASE, WAL):
        if (folder / name).exists():
            shutil.copy2(folder / name, aside / name)
            _sync(aside / name)
    for path in (aside, aside.parent, folder):
        _sync(path)
    marker.write_text(f"{aside.name}\n")
    _sync(marker)
    _sync(folder)
    return aside


def _scan(folder: Path) -> Salvaged:
    with closing(connect(Path(":memory:"))) as connection:
        create_tables(connection)
        columns = stored_columns(connection)
    wal = folder / WAL
    overlay = read_wal(wal.read_bytes()).pages if wal.exists() else {}
    with (folder / DATABASE).open("rb") as file:
        if not (folder / DATABASE).stat().st_size:
            return Scan(memoryview(b""), overlay, columns).run()
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
            return Scan(view, overlay, columns).run()


def _take_over(folder: Path, new: Path) -> None:
    """Replace the old file with the new one (RBD2)."""
    (folder / WAL).unlink(missing_ok=True)
    (folder / f"{DATABASE}-shm").unlink(missing_ok=True)
    (new / DATABASE).replace(folder / DATABASE)
    _sync(folder)
    (folder / MARKER).unlink()
    shutil.rmtree(new)
    _sync(folder)


class _Writer:
    """Writes the rows that were found into a new file."""

    def __init__(self, folder: Path, found: Salvaged) -> None:
        self._database = Database(folder)
        self._found = found
        self._lines: list[str] = []
        self._pending = 0

    def write(self) -> list[str]:
        """Write everything; return the lines to report."""
        found = self._found
        by_document: dict[int, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for table in ("entries", "snapshots", "segments", "versions"):
            for row in found.all(table):
                by_document[row["document"]][table].append(row)
        documents = {row["key"]: row for row in found.all("documents")}
        counts = ", ".join(f"{len(found.rows[table])} {table}" for table in found.rows)
        self._lines.append(f"found {counts}; {found.corrected} rows had one changed bit, which was corrected")
        database = self._database
        database.open()
        try:
            database.begin()
            for key in documents.keys() | by_document.keys() | found.names.keys():
                self._document(key, documents.get(key), by_document[key])
            for row in found.all("revocations"):
                self._insert("revocations", row, ("kind", "subject", "checksum", "before_ms", "until_ms"))
            versions = found.all("versions")
            if versions:
                database.execute("DELETE FROM sqlite_sequence WHERE name = 'versions'")
                last = max(row["id"] for row in versions)
                database.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('versions', ?)", (last,))
            database.commit()
        finally:
            database.close()
        return self._lines

    def _document(self, key: int, row: Row | None, parts: dict[str, list[Row]]) -> None:
        """Write one document and its rows in the other tables."""
        if row is None:
            row = self._lost(key, parts)
            if row is None:
                return
        elif not is_whole("edits", row["edited_checksum"], key, row["edited_ms"], row["updated_by"]):
            row["edited_ms"], row["updated_by"] = max(row["folded_ms"], row["created_ms"]), None
            self._lines.append(f"{row['name']}: who edited it last is lost")
        if row["purged"]:
            parts = {}
        entries = [one for one in parts.get("entries", ()) if one["position"] > row["folded"]]
        last = max([row["folded"], *(one["position"] for one in entries)])
        known = row["last"] if isinstance(row["last"], int) and row["last"] == ~row["last_inverted"] else last
        for one in sorted(entries, key=lambda one: int(one["position"])):
            self._insert("entries", one, ("document", "position", "checksum", "time_ms", "body"))
        snapshots = [one for one in parts.get("snapshots", ()) if one["upto"] <= row["folded"]]
        for one in snapshots:
            self._insert("snapshots", one, ("checksum", *SEALED["snapshots"].split(", ")))
            self._blob(key, one["state"])
            self._blob(key, one["aside"])
        for one in _latest(parts.get("segments", [])):
            self._insert("segments", one, ("id", "checksum", *SEALED["segments"].split(", ")))
            self._blob(key, one["blob"])
        for one in parts.get("versions", ()):
            self._insert("versions", one, ("checksum", *SEALED["versions"].split(", ")))
            self._blob(key, one["blob"])
        time_ms = max([row["edited_ms"], *(one["time_ms"] for one in entries)])
        row |= {"last": max(known, last), "last_inverted": ~max(known, last), "updated_ms": time_ms}
        row["edited_ms"] = time_ms
        row["edited_checksum"] = seal("edits", key, time_ms, row["updated_by"])
        row["checksum"] = seal("documents", *[row[name] for name in SEALED["documents"].split(", ")])
        sizes = ("snapshot_bytes", "tail_bytes", "history_bytes")
        self._insert("documents", row | dict.fromkeys(sizes, 0), tuple(row))
        count_bytes(self._database, key)

    def _lost(self, key: int, parts: dict[str, list[Row]]) -> Row | None:
        """Make a new row for a document whose row is lost (RBD4); None if its name is unknown."""
        name = self._found.names.get(key)
        entries, snapshots = parts.get("entries", []), parts.get("snapshots", [])
        if name is None:
            size = sum(len(one["body"]) for one in entries)
            self._lines.append(
                f"a document whose name is lost (number {key}): dropped {len(entries)} entries of {size} bytes, "
                f"{len(snapshots)} snapshots, {len(parts.get('segments', []))} parts of the history and "
                f"{len(parts.get('versions', []))} versions"
            )
            return None
        newest = max(snapshots, key=lambda one: int(one["upto"]), default=None)
        folded, folded_ms = (0, 0) if newest is None else (newest["upto"], newest["time_ms"])
        times = [one["time_ms"] for one in (*entries, *snapshots)] or [self._found.edited_ms.get(key, 0)]
        deleted_ms = self._found.deleted_ms.get(key)
        self._lines.append(
            f"{name}: its row is lost and was made again without title, kind, schema and share links"
            + (" (it stays deleted)" if deleted_ms is not None else "")
        )
        parts["segments"] = []
        parts["snapshots"] = [] if newest is None else [newest]
        row: dict[str, Any] = dict.fromkeys(
            ("title", "kind", "schema", "updated_by", "link_read_ms", "link_edit_ms", "history_ms")
        )
        # A generation higher than any before, so that revoked links do not work again.
        generation = int(time.time())
        row |= {"key": key, "name": name, "created_ms": min(times), "updated_ms": max(times), "edited_ms": max(times)}
        row |= {"deleted_ms": deleted_ms, "purged": int(deleted_ms is not None and not entries and not snapshots)}
        row |= {"folded": folded, "folded_ms": folded_ms, "complete_from": folded, "last": folded}
        row |= {"last_inverted": ~folded, "segments": 0, "links_generation": generation, "cleared": 0}
        return row | {"checksum": b"", "edited_checksum": b""}

    def _blob(self, key: int, blob: object) -> None:
        """Write the pieces of a blob that were found."""
        if not isinstance(blob, int) or not blob:
            return
        for place in itertools.count(blob << PIECE_BITS):
            found = self._found.rows["pieces"].get(place)
            if found is None or found[1]["document"] != key:
                return
            row = found[1]
            row["checksum"] = seal_piece(place, key, row["bytes"])
            self._insert("pieces", row, ("id", "checksum", "document", "bytes"))

    def _insert(self, table: str, row: Row, names: tuple[str, ...]) -> None:
        if table == "entries":
            row["checksum"] = seal_entry(row["document"], row["position"], row["time_ms"], row["body"])
        marks = ",".join("?" * len(names))
        sql = f"INSERT OR REPLACE INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608 - our own columns
        self._database.execute(sql, [row[name] for name in names])
        self._pending += 1
        if self._pending >= _SLICE:
            self._pending = 0
            self._database.commit()
            self._database.begin()


def _latest(segments: list[Row]) -> list[Row]:
    """Drop old copies of segments that were joined into newer ones (H2)."""
    kept: list[Row] = []
    for one in sorted(segments, key=lambda one: (int(one["last"]), -int(one["first"])), reverse=True):
        place = one["window_ms"], one["author"]
        if not any(place == (of["window_ms"], of["author"]) and of["first"] <= one["first"] for of in kept):
            kept.append(one)
    return kept


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
