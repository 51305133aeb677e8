"""Metadata of a document: title, kind and schema in its root map `meta`, read and written as bytes without a `Doc`.

Building the `Doc` of a long document takes seconds, and metadata is read for every document that is edited.

Rules (tests quote these ids):
    MT1  The values are those that Yjs shows: of the entries of a key, the last one in Yjs's order counts, and if that
         is deleted, the key is missing. Numbers, strings and booleans are read; anything else is None.
         Entries that no editor writes are ignored: text, formats, and those with a right origin.
    MT2  A document without the root is recognised by one search for its name, and is not parsed.
    MT3  Every update that changes one of these keys contains one of `Meta.marks`, unless its author did not know the
         latest changes: the name of the root, or the id of the entry that it replaces. Updates without any of them
         need not be read. Removing a key without a new value leaves no mark.
    MT4  The cost is linear in the bytes, whatever clocks and lengths a client has written into them: one deleted struct
         of 2^31 clocks takes 8 bytes. A document that takes pycrdt or Yjs minutes is renamed in milliseconds.
    MT5  A key is set as Yjs sets it: a new entry that follows on the last one, and deletes it. A key that has the value
         already is left alone.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import secrets
import struct
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from raffia.crdt.anyvalue import read_long
from raffia.crdt.merge import merge
from raffia.crdt.ranges import IdRanges
from raffia.crdt.update import (
    ANY,
    DELETED,
    FORMAT,
    GC,
    HAS_ORIGIN,
    HAS_ORIGINS,
    HAS_PARENT_KEY,
    HAS_RIGHT_ORIGIN,
    KIND,
    SKIP,
    STRING,
    Section,
    read_update,
    write_number,
    write_update,
)
from raffia.types import EMPTY_UPDATE

KEYS: Final = ("title", "kind", "schema")
_NAMED: Final = b"\x01\x04meta"  # a parent by name, as an entry without origins has it
_NO_ENTRY: Final = frozenset((GC, SKIP))
_SEQUENCE: Final = frozenset((STRING, FORMAT))
_MARKS: Final = 8  # for each key: this many changes may be unknown to the author of the next one

Value = str | int | float | bool | None


class Meta(NamedTuple):
    """The metadata of a document.

    Attributes:
        title, kind: None if missing or not a string.
        schema: None if missing or not an integer.
        marks: see MT3.
    """

    title: str | None = None
    kind: str | None = None
    schema: int | None = None
    marks: tuple[bytes, ...] = (_NAMED,)

    def may_change_by(self, update: bytes) -> bool:
        """Whether an update may change the metadata, so that it has to be read again (MT3)."""
        return any(mark in update for mark in self.marks)


NOTHING: Final = Meta()


class _Entry(NamedTuple):
    """A struct that is or may be an entry of the map; it covers one clock, or more if it is deleted."""

    client: int
    start: int
    end: int
    origin: tuple[int, int] | None
    update: bytes
    content: int
    kind: int


def has_meta(parts: Sequence[bytes]) -> bool:
    """Whether there may be metadata to read (MT2)."""
    return any(_NAMED in part for part in parts)


def read_meta(parts: Sequence[bytes]) -> Meta:
    """Read the metadata of a document.

    Args:
        parts: the updates that make up the document; the strict reader has accepted them.
    """
    if not has_meta(parts):
        return NOTHING
    values: dict[str, Value] = {}
    marks: list[bytes] = [_NAMED]
    for key, found in _find(parts, KEYS).items():
        if not found.is_deleted:
            values[key] = found.value
        marks += [_id(client, clock) for client, clock, _ in found.path]
    title, kind, schema = values.get("title"), values.get("kind"), values.get("schema")
    if isinstance(schema, float) and schema.is_integer():
        schema = int(schema)
    return Meta(
        title if isinstance(title, str) else None,
        kind if isinstance(kind, str) else None,
        schema if isinstance(schema, int) and not isinstance(schema, bool) else None,
        tuple(marks),
    )


def set_meta(parts: Sequence[bytes], fields: Mapping[str, str | int], *, client: int | None = None) -> bytes:
    """The update that sets metadata of a document (MT5).

    Args:
        parts: the updates that make up the document; the strict reader has accepted them.
        fields: keys and values for the map; integers must be safe ones.
        client: the new client id to edit with; None for a random one.

    Returns:
        The update; the empty update if every key has its value already.
    """
    entries = _find(parts, fields) if has_meta(parts) else {}
    structs = bytearray()
    count = 0
    deletes = IdRanges()
    for key, value in fields.items():
        found = entries.get(key)
        if found is None:
            structs.append(ANY | HAS_PARENT_KEY)
            structs += _NAMED
            _write_text(structs, key)
        elif found.has(value):
            continue
        else:
            last_client, clock, _ = found.path[-1]
            structs.append(ANY | HAS_ORIGIN)
            write_number(structs, last_client)
            write_number(structs, clock)
            if not found.is_deleted:
                deletes.add(last_client, clock, clock + 1)
        structs.append(1)
        _write_value(structs, value)
        count += 1
    if not count:
        return EMPTY_UPDATE
    return write_update([(secrets.randbits(32) if client is None else client, 0, count, bytes(structs))], deletes)


def _write_text(out: bytearray, text: str) -> None:
    encoded = text.encode()
    write_number(out, len(encoded))
    out += encoded


def _write_value(out: bytearray, value: str | int) -> None:
    """Append a value as lib0 does: text, a 32-bit integer, or a double."""
    if isinstance(value, str):
        out.append(119)
        _write_text(out, value)
    elif abs(value) < 1 << 31:
        rest, sign = abs(value), 64 if value < 0 else 0
        out += bytes((125, (128 if rest > 63 else 0) | sign | rest & 63))
        if rest > 63:
            write_number(out, rest >> 6)
    else:
        out.append(123)
        out += struct.pack(">d", value)


class _Found(NamedTuple):
    """The last entries of a key; the last of them is its value."""

    path: list[tuple[int, int, _Entry]]
    is_deleted: bool

    @property
    def value(self) -> Value:
        """The value of the last entry, whether it is deleted or not."""
        _, _, last = self.path[-1]
        return _value(last.update, last.content) if last.kind == ANY else None

    def has(self, value: str | int) -> bool:
        """Whether the key has this value."""
        known = None if self.is_deleted else self.value
        return known == value and not isinstance(known, bool)


def _find(parts: Sequence[bytes], keys: Iterable[str]) -> dict[str, _Found]:
    """The last entries of those keys that have any."""
    update = parts[0] if len(parts) == 1 else merge(parts)
    facts = read_update(update)
    first: dict[str, list[_Entry]] = {key: [] for key in keys}
    later: list[_Entry] = []
    for section in facts.sections:
        _collect(update, section, first, later)
    deletes = IdRanges()
    deletes.update(facts.deletes)
    followed = _Followed(later)
    found = {}
    for key, entries in first.items():
        path = _path(entries, followed)
        if path:
            client, clock, last = path[-1]
            found[key] = _Found(path, last.kind == DELETED or _is_deleted(deletes, client, clock))
    return found


def _collect(update: bytes, section: Section, first: dict[str, list[_Entry]], later: list[_Entry]) -> None:
    """Sort the structs of one client into those that name the map and a key, and those that may follow them."""
    clocks, count = section.clocks, len(section.clocks)
    for index, offset in enumerate(section.offsets):
        info = update[offset]
        kind = info & KIND
        # Entries have no right origin, and text and formats are in sequences (MT1).
        if kind in _NO_ENTRY or info & HAS_RIGHT_ORIGIN or (kind in _SEQUENCE and info & HAS_ORIGIN):
            continue
        origin = None
        if info & HAS_ORIGIN:
            client, at = _number(update, offset + 1)
            origin = (client, _number(update, at)[0])
        elif info & HAS_ORIGINS or not info & HAS_PARENT_KEY or update[offset + 1 : offset + 7] != _NAMED:
            continue
        end = clocks[index + 1] if index + 1 < count else section.end
        entry = _Entry(section.client, clocks[index], end, origin, update, section.contents[index], kind)
        if origin is not None:
            later.append(entry)
            continue
        size, at = _number(update, offset + 7)
        key = update[at : at + size].decode()
        if key in first:
            first[key].append(entry)


def _path(entries: list[_Entry], followed: _Followed) -> list[tuple[int, int, _Entry]]:
    """The last clocks of a key in Yjs's order, as many as are marked (MT3): each with its client and entry.

    Of those with the same left origin, the one with the highest client id comes last (of one client, its first), and
    after it the entries that follow it.
    """
    path: deque[tuple[int, int, _Entry]] = deque(maxlen=_MARKS)
    while entries:
        entry = max(entries, key=lambda one: (one.client, -one.start))
        # Within a struct of several clocks each follows on the one before it; something may follow on any of them. Only
        # clocks that something follows on are visited: a deleted struct may stand for billions (MT4).
        stop, entries = entry.end, []
        for clock in followed.within(entry):
            entries = followed.by_origin[entry.client, clock]
            if clock + 1 == entry.end or any(other.client > entry.client for other in entries):
                stop = clock + 1
                break
            entries = []
        path.extend((entry.client, clock, entry) for clock in range(max(entry.start, stop - _MARKS), stop))
    return list(path)


class _Followed:
    """The entries that follow others, by the id that they follow."""

    def __init__(self, later: list[_Entry]) -> None:
        self.by_origin: dict[tuple[int, int], list[_Entry]] = {}
        for entry in later:
            if entry.origin is not None:
                self.by_origin.setdefault(entry.origin, []).append(entry)
        self._clocks: dict[int, list[int]] = {}
        for client, clock in sorted(self.by_origin):
            self._clocks.setdefault(client, []).append(clock)

    def within(self, entry: _Entry) -> list[int]:
        """The clocks within an entry that other entries follow, in order."""
        clocks = self._clocks.get(entry.client, [])
        return clocks[bisect_left(clocks, entry.start) : bisect_left(clocks, entry.end)]


def _is_deleted(deletes: IdRanges, client: int, clock: int) -> bool:
    return not deletes.new_parts(client, [(clock, clock + 1)])


def _value(update: bytes, at: int) -> Value:
    """The first value of a ContentAny, if it is a plain one (MT1)."""
    _, at = _number(update, at)
    tag, at = update[at], at + 1
    if tag == 119:
        size, at = _number(update, at)
        return update[at : at + size].decode()
    if tag == 125:
        number, shift = update[at] & 63, 6
        negative, more = update[at] & 64, update[at] & 128
        while more:
            at += 1
            number |= (update[at] & 127) << shift
            shift += 7
            more = update[at] & 128
        return -number if negative else number
    if tag in (124, 123):
        size, form = (4, ">f") if tag == 124 else (8, ">d")
        return float(struct.unpack(form, update[at : at + size])[0])
    if tag in (120, 121):
        return tag == 120
    return None


def _id(client: int, clock: int) -> bytes:
    out = bytearray()
    write_number(out, client)
    write_number(out, clock)
    return bytes(out)


def _number(update: bytes, at: int) -> tuple[int, int]:
    number = update[at]
    return (number, at + 1) if number < 128 else read_long(update, at + 1, number)
