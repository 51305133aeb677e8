"""Finds rows in a damaged database file without using its schema, indexes or inner tree pages.

Rows are recognised by their checksums (ROW1), wherever they are. A page is read through its cell pointers; if any of
these does not lead to a valid cell, the page is also searched for record headers of the form that schema.sql produces.

Rules (tests quote these ids):
    SV1  A row is used only if it matches its checksum, as stored or with one bit flipped.
    SV2  Pages that are free according to both the free list and the pointer map are skipped. A row found by searching
         may be an old copy, so one found through a cell pointer is preferred, then the one folded and edited last.
    SV3  A name in an index is used only if the number derived from it (ROW3) is that of the row.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from raffia.journal.checksum import corrected
from raffia.journal.sqlite.rows import SEALED, entry_is_whole, is_whole, key_of, piece_is_whole
from raffia.journal.sqlite.wal import PAGE_BYTES

TABLES = ("documents", "pieces", "segments", "versions", "entries", "snapshots", "revocations")
_TABLES = {4: "pieces", 9: "segments", 8: "versions"}  # with rowids, by their numbers of columns
_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER = 13, 10, 2
_TABLE_LOCAL = PAGE_BYTES - 35
_INDEX_LOCAL = (PAGE_BYTES - 12) * 64 // 255 - 23
_LEAST_LOCAL = (PAGE_BYTES - 12) * 32 // 255 - 23
_MAPPED = PAGE_BYTES // 5  # pages that one page of the pointer map describes
_FREE = 2
_HEADER_BYTES = 64  # no header is longer
_FLIPPED_BYTES = 1200  # of a cell in which each bit is tried
# The header of a record: its own length, the types of the key, the type of the checksum (a blob of 4 bytes).
_ROWID_HEADER = re.compile(rb"[\x05-\x40]\x00\x14")
_KEYED_HEADER = re.compile(rb"[\x06-\x0b](?:\x06[\x01-\x09]|[\x0d-\x7f](?:[\x0d-\x7f]|[\x80-\xff][\x00-\x7f]))\x14")


Row = dict[str, Any]


@dataclass(slots=True)
class Salvaged:
    """The rows that were found.

    Attributes:
        rows: by table and key; for each, whether a cell pointer led to it, and its columns.
        names: by document number.
        edited_ms, deleted_ms: from the indexes, by document number.
        corrected: how many rows had one changed bit.
    """

    rows: dict[str, dict[Any, tuple[bool, Row]]] = field(default_factory=lambda: {table: {} for table in TABLES})
    names: dict[int, str] = field(default_factory=dict)
    edited_ms: dict[int, int] = field(default_factory=dict)
    deleted_ms: dict[int, int] = field(default_factory=dict)
    corrected: int = 0

    def all(self, table: str) -> list[Row]:
        """Return the rows of a table."""
        return [row for _, row in self.rows[table].values()]

    def add(self, table: str, key: Any, row: Row, *, by_pointer: bool) -> None:
        """Add a row, unless a better one is known (SV2)."""
        known = self.rows[table].get(key)
        if known is None or (by_pointer, _age(row)) > (known[0], _age(known[1])):
            self.rows[table][key] = by_pointer, row


def _age(row: Row) -> tuple[int, int]:
    return row.get("folded", 0), row.get("edited_ms", 0)


class Scan:
    """One scan of a file.

    Args:
        file: the content of the database file.
        overlay: pages of its write-ahead log.
        columns: the names of the columns of each table, in the order in which they are stored.
    """

    def __init__(self, file: memoryview, overlay: dict[int, bytes], columns: dict[str, list[str]]) -> None:
        self._file = file
        self._overlay = overlay
        self._columns = columns
        self._count = max(len(file) // PAGE_BYTES, *overlay, 0)
        self._consumed: set[int] = set()  # overflow pages of the rows found
        self._pages: list[int] = []  # overflow pages of the last payload
        self.found = Salvaged()

    def run(self) -> Salvaged:
        """Scan all pages."""
        free = self._free()
        odd = [n for n in range(1, self._count + 1) if n not in free and not self._by_pointers(n)]
        for number in odd:
            if number not in self._consumed:
                self._search(number)
        return self.found

    def _page(self, number: int) -> bytes:
        page = self._overlay.get(number)
        return bytes(self._file[(number - 1) * PAGE_BYTES : number * PAGE_BYTES]) if page is None else page

    def _free(self) -> set[int]:
        """Return the pages that are certainly free (SV2)."""
        listed: set[int] = set()
        trunk = int.from_bytes(self._page(1)[32:36], "big")
        while 1 < trunk <= self._count and trunk not in listed:
            page = self._page(trunk)
            listed.add(trunk)
            leaves = min(int.from_bytes(page[4:8], "big"), PAGE_BYTES // 4 - 2)
            listed.update(int.from_bytes(page[8 + 4 * at : 12 + 4 * at], "big") for at in range(leaves))
            trunk = int.from_bytes(page[:4], "big")
        return {number for number in listed if 2 < number <= self._count and self._mapped(number) == _FREE}

    def _mapped(self, number: int) -> int:
        """Return a page's type according to the pointer map."""
        place = (number - 2) // (_MAPPED + 1) * (_MAPPED + 1) + 2
        at = 5 * (number - place - 1)
        return self._page(place)[at] if at >= 0 else 0

    # one page

    def _by_pointers(self, number: int) -> bool:
        """Read the cells of a page; return whether all of them are valid."""
        page = self._page(number)
        start = 100 if number == 1 else 0
        kind = page[start] if len(page) == PAGE_BYTES else 0
        if number == 1 or kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INNER):
            return number == 1
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        pointers = start + (12 if kind == _INDEX_INNER else 8)
        in_order = count <= PAGE_BYTES // 4
        for at in range(pointers, min(pointers + 2 * count, PAGE_BYTES - 1), 2):
            cell = int.from_bytes(page[at : at + 2], "big") + (4 if kind == _INDEX_INNER else 0)
            if not self._cell(page, cell, is_table=kind == _TABLE_LEAF):
                in_order = False
                self._corrected_cell(page, cell, is_table=kind == _TABLE_LEAF)
        return in_order

    def _cell(self, page: bytes, at: int, *, is_table: bool) -> bool:
        """Read one cell; return whether it is valid."""
        size, at = _varint(page, at)
        rowid = None
        if is_table:
            rowid, at = _varint(page, at)
            rowid -= rowid >> 63 << 64
        return self._take(self._payload(page, at, size, is_table=is_table), rowid, by_pointer=True)

    def _corrected_cell(self, page: bytes, at: int, *, is_table: bool) -> None:
        """Try to correct a cell by flipping each of its bits in turn, unless it is too large (SV1)."""
        size, _ = _varint(page, at)
        end = min(PAGE_BYTES, at + 24 + min(size, _TABLE_LOCAL if is_table else _INDEX_LOCAL))
        if end - at > _FLIPPED_BYTES:
            return
        changed = bytearray(page)
        before = sum(map(len, self.found.rows.values()))
        for place in range(at, end):
            for bit in range(8):
                changed[place] ^= 1 << bit
                self._cell(bytes(changed), at, is_table=is_table)
                changed[place] ^= 1 << bit
                if sum(map(len, self.found.rows.values())) > before:
                    self.found.corrected += 1
                    return

    def _search(self, number: int) -> None:
        """Search a page for record headers."""
        page = self._page(number)
        for match in _ROWID_HEADER.finditer(page):
            self._found_header(page, match.start(), is_table=True)
        for match in _KEYED_HEADER.finditer(page):
            self._found_header(page, match.start(), is_table=False)

    def _found_header(self, page: bytes, start: int, *, is_table: bool) -> None:
        size = _size(page, start)
        if size is None:
            return
        payload = self._payload(page, start, size, is_table=is_table)
        for rowid in _rowids_before(page, start) if is_table else (None,):
            if self._take(payload, rowid, by_pointer=False):
                return

    def _payload(self, page: bytes, at: int, size: int, *, is_table: bool) -> bytes | None:
        """Read a payload of `size` bytes that begins on this page; None if it cannot be complete."""
        most = _TABLE_LOCAL if is_table else _INDEX_LOCAL
        if size > len(self._file) + PAGE_BYTES * len(self._overlay):
            return None
        self._pages = []
        local = size
        if size > most:
            local = _LEAST_LOCAL + (size - _LEAST_LOCAL) % (PAGE_BYTES - 4)
            local = local if local <= most else _LEAST_LOCAL
        parts = [bytes(page[at : at + local])]
        after = int.from_bytes(page[at + local : at + local + 4], "big")
        rest = size - local
        pages: list[int] = []
        while rest > 0:
            if not 2 < after <= self._count or len(pages) > self._count:
                return None
            pages.append(after)
            content = self._page(after)
            parts.append(content[4 : 4 + min(rest, PAGE_BYTES - 4)])
            rest -= len(parts[-1])
            after = int.from_bytes(content[:4], "big")
        self._pages = pages
        payload = b"".join(parts)
        return payload if len(payload) == size else None

    # one record

    def _take(self, payload: bytes | None, rowid: int | None, *, by_pointer: bool) -> bool:
        """Add the row of a record; return whether the record is valid."""
        values = None if payload is None else _record(payload)
        if values is None:
            return False
        count = len(values)
        if rowid is None and count in (1, 2, 3):
            return self._index_entry(values)
        if rowid is not None and count <= 2:
            return True  # `probe`, `staging`, `sqlite_sequence`
        if rowid is None:
            table = "snapshots" if count == 8 else "entries" if isinstance(values[0], int) else "revocations"
        else:
            values[0] = rowid
            table = _TABLES.get(count, "documents")
        names = self._columns[table]
        if len(names) != count:
            return False
        row = dict(zip(names, values, strict=True))
        key = self._key(table, row)
        if key is None:
            return False
        self.found.add(table, key, row, by_pointer=by_pointer)
        self._consumed.update(self._pages)
        return True

    def _key(self, table: str, row: Row) -> Any:
        """Return the key of a row that matches its checksum; None for any other."""
        sealed = row["checksum"]
        if table == "entries":
            if not entry_is_whole(sealed, row["document"], row["position"], row["time_ms"], row["body"]):
                return None
            return row["document"], row["position"]
        if table == "pieces":
            content = row["bytes"]
            if not piece_is_whole(sealed, row["id"], row["document"], content):
                if not isinstance(content, bytes) or not isinstance(row["document"], int):
                    return None
                mended = corrected(sealed, "pieces", row["id"], row["document"], content=content)
                if mended is None:
                    return None
                row["bytes"] = mended
                self.found.corrected += 1
            return row["id"]
        if not is_whole(table, sealed, *[row[name] for name in SEALED[table].split(", ")]):
            return None
        if table == "documents":
            return row["key"] if row["key"] == key_of(row["name"]) else None
        if table == "snapshots":
            return row["document"], row["upto"]
        return (row["kind"], row["subject"]) if table == "revocations" else row["id"]

    def _index_entry(self, values: list[Any]) -> bool:
        key = values[-1]
        names = [value for value in values[:-1] if isinstance(value, str)]
        if not isinstance(key, int):
            return False
        if names and key_of(names[0]) == key:  # SV3
            self.found.names[key] = names[0]
            if isinstance(values[0], int):
                self.found.edited_ms[key] = values[0]
            return True
        if not names and len(values) == 3 and isinstance(values[0], int) and key >> 62 == 1:
            self.found.deleted_ms.setdefault(key, values[0])
        return not names


def stored_columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the columns of each table in stored order, read from an undamaged database."""
    return {table: [row[1] for row in connection.execute(f"PRAGMA table_info({table})")] for table in TABLES}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a varint; return it and the offset after it."""
    value = 0
    for index in range(9):
        byte = data[at] if at < len(data) else 0
        at += 1
        if index == 8:
            return value << 8 | byte, at
        value = value << 7 | byte & 127
        if byte < 128:
            break
    return value, at


def _length(kind: int) -> int:
    return kind - 12 >> 1 if kind >= 12 else (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)[kind]


def _kinds(data: bytes, at: int) -> Iterator[int]:
    """Yield the length of a record's header, then the types in it."""
    size, after = _varint(data, at)
    yield size
    while after < at + min(size, _HEADER_BYTES):
        kind, after = _varint(data, after)
        yield kind


def _size(data: bytes, at: int) -> int | None:
    """Return the size of the record whose header begins here."""
    size, *kinds = _kinds(data, at)
    total = size + sum(map(_length, kinds))
    return total if total < 1 << 21 else None


def _record(payload: bytes) -> list[Any] | None:
    """Read the values of a record; None if it is not one."""
    if not payload:
        return None
    size, *kinds = _kinds(payload, 0)
    if size > _HEADER_BYTES or size + sum(map(_length, kinds)) != len(payload):
        return None
    values: list[Any] = []
    at = size
    for kind in kinds:
        content = payload[at : at + _length(kind)]
        at += len(content)
        if kind == 0:
            values.append(None)
        elif kind <= 6:
            values.append(int.from_bytes(content, "big", signed=True))
        elif kind in (8, 9):
            values.append(kind - 8)
        elif kind < 12:
            return None
        else:
            values.append(content.decode(errors="surrogateescape") if kind & 1 else content)
    return values


def _rowids_before(page: bytes, at: int) -> Iterator[int]:
    """Yield the row ids that the bytes before a record may encode."""
    start = at - 1
    while start > 0 and at - start < 8 and page[start - 1] >= 128:
        start -= 1
    if start >= 0:
        yield _varint(page, start)[0]
    if at >= 9:
        yield _varint(page, at - 9)[0]
