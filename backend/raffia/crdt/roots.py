"""The types of a document's roots: text, XML, array or map. Updates do not contain them; the content implies them.

Rules (tests quote these ids):
    RT1  The type of a root follows from the items directly in it, even if its first item, the only one that names the
        root, is deleted: the others are traced to it through their origins.
    RT2  Text, formats and embeds make it a text; XML elements and XML texts make it XML; other values without a key
        make it an array; values with a key and nothing else make it a map. A root without content is not listed.
    RT3  Types that nest deeper than `MAX_NESTING` are refused: pycrdt walks them recursively and crashes the process.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from bisect import bisect_right
from typing import Final, Literal

from raffia.crdt.anyvalue import read_long
from raffia.crdt.structs import BARE
from raffia.crdt.update import (
    EMBED,
    FORMAT,
    GC,
    HAS_ORIGINS,
    HAS_PARENT_KEY,
    KIND,
    SKIP,
    STRING,
    TYPE,
    XML_ELEMENT,
    XML_TEXT,
    Section,
    read_update,
)
from raffia.errors import UpdateError

RootKind = Literal["text", "xml", "array", "map"]
MAX_NESTING: Final = 256
_XML_TYPES: Final = frozenset((XML_ELEMENT, XML_TEXT))

# Where a struct belongs: the root's name, None if unknown; the number of types above it; whether it is under a key.
_Place = tuple[str | None, int, bool]
_NOWHERE: Final[_Place] = (None, 0, False)


def root_kinds(update: bytes) -> dict[str, RootKind]:
    """Maps root names to their types (RT1, RT2).

    Raises:
        UpdateError: the strict reader does not accept `update`, or types nest too deep (RT3).
    """
    sections = {section.client: section for section in read_update(update).sections}
    places: dict[int, list[_Place | None]] = {
        client: [None] * len(section.clocks) for client, section in sections.items()
    }
    kinds: dict[str, RootKind] = {}
    for section in sections.values():
        own = places[section.client]
        for index, offset in enumerate(section.offsets):
            place = own[index] or _find(update, sections, places, section, index)
            name, depth, keyed = place
            if depth > MAX_NESTING:
                raise UpdateError(f"types nest deeper than {MAX_NESTING} (byte {offset})")
            kind = update[offset] & KIND
            if name is None or depth or kind in BARE:
                continue
            if keyed:
                kinds.setdefault(name, "map")
            elif kind in (STRING, FORMAT, EMBED):
                kinds[name] = "text"
            elif kinds.get(name) in (None, "map"):
                is_xml = kind == TYPE and update[section.contents[index]] in _XML_TYPES
                kinds[name] = "xml" if is_xml else "array"
    return kinds


def _find(
    update: bytes, sections: dict[int, Section], places: dict[int, list[_Place | None]], section: Section, index: int
) -> _Place:
    """Follow origins and parents of a struct up to a known place, and record the places of all structs on the way."""
    path: list[tuple[int, int, bool, bool]] = []  # client, index, one level down?, with a key?
    while True:
        place = places[section.client][index]
        if place is not None:
            break
        places[section.client][index] = _NOWHERE  # ends the walk if there is a cycle
        offset = section.offsets[index]
        info = update[offset]
        if info in (GC, SKIP):
            place = _NOWHERE
            break
        at = offset + 1
        down = not info & HAS_ORIGINS
        keyed = bool(info & HAS_PARENT_KEY)
        if down and update[at]:
            size, at = _number(update, at + 1)
            place = (update[at : at + size].decode(), 0, keyed)
            path.append((section.client, index, False, keyed))
            break
        path.append((section.client, index, down, keyed))
        client, at = _number(update, at + 1 if down else at)
        clock, at = _number(update, at)
        above = sections.get(client)
        if above is None or not above.start <= clock < above.end:
            place = _NOWHERE
            break
        section, index = above, bisect_right(above.clocks, clock) - 1
    for client, at, down, keyed in reversed(path):
        if down:
            place = (place[0], place[1] + 1, keyed)
        places[client][at] = place
    return place


def _number(update: bytes, at: int) -> tuple[int, int]:
    number = update[at]
    return (number, at + 1) if number < 128 else read_long(update, at + 1, number)
