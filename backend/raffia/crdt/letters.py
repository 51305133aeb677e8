"""Rewrites text and values in unusual places so that pycrdt reads them as Yjs does. For reading only.

Editors do not put text structs into arrays, or several values of one struct under one key of a map. But the strict
reader cannot know where a struct with origins belongs, and pycrdt hangs on half a surrogate pair in an array, and
crashes the process when several values under one key were split by origins.

Rules (tests quote these ids):
    LT1  A text in an array becomes one element per UTF-16 unit, as in Yjs; half a pair becomes U+FFFD.
    LT2  A struct has the parent and key of its left origin or, without one, of its right origin. A struct that cannot
         be traced is left as it is.
    LT3  Several values, or units of a text, under one key become separate structs, as if they had been split.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import Final

from raffia.crdt.anyvalue import read_long
from raffia.crdt.structs import continued_head, payload, right_origin, struct, value_offsets
from raffia.crdt.update import (
    ANY,
    ARRAY_TYPE,
    GC,
    HAS_ORIGINS,
    HAS_PARENT_KEY,
    KIND,
    SKIP,
    STRING,
    TYPE,
    Section,
    read_update,
    write_update,
)

_HALF: Final = "\ufffd".encode()
_VALUE_TEXT: Final = 0x77  # its length takes one byte, as a UTF-16 unit has at most three
_LAST_OF_PLANE: Final = "\uffff"

_Id = tuple[int, int]  # client, and the index of a struct in its section
_Place = tuple[_Id, bool]  # the parent type, and whether under one of its keys
_NOWHERE: Final[_Id] = (-1, 0)


def show_letters(update: bytes) -> bytes:
    """Rewrite such texts and values (LT1-LT3); returns the same object if there are none.

    Raises:
        UpdateError: the strict reader does not accept `update`.
    """
    facts = read_update(update)
    sections = {section.client: section for section in facts.sections}
    if not any(
        (info & KIND == TYPE and update[content] == ARRAY_TYPE) or (info & HAS_PARENT_KEY and not info & HAS_ORIGINS)
        for section in sections.values()
        for info, content in zip(_infos(update, section), section.contents, strict=True)
    ):
        return update
    search = _Search(update, sections)
    shown: list[tuple[int, int, int, bytes]] = []
    changed = False
    for section in sections.values():
        more, structs = _show_section(update, section, search)
        changed |= structs is not None
        if structs is None:
            structs = update[section.offsets[0] : section.stop]
        shown.append((section.client, section.start, len(section.clocks) + more, structs))
    return write_update(shown, facts.deletes) if changed else update


def _show_section(update: bytes, section: Section, search: _Search) -> tuple[int, bytes | None]:
    """How many structs were added, and the bytes of all structs; None if nothing has changed."""
    pieces: list[bytes] = []
    copied = section.offsets[0]
    more = 0
    for index, info in enumerate(_infos(update, section)):
        kind = info & KIND
        if kind not in (STRING, ANY):
            continue
        clock = section.clocks[index]
        is_last = index + 1 == len(section.clocks)
        clocks = (section.end if is_last else section.clocks[index + 1]) - clock
        in_array, keyed = search.place(section.client, index)
        if not (kind == STRING and in_array) and not (keyed and clocks > 1):
            continue
        offset, begin = section.offsets[index], section.contents[index]
        stop = section.stop if is_last else section.offsets[index + 1]
        values = _values(payload(update, kind, begin, stop), kind, clocks)
        head = bytes((info & ~KIND | ANY,)) + update[offset + 1 : begin]
        pieces.append(update[copied:offset])
        copied = stop
        if not keyed:
            pieces.append(struct(ANY, head, clocks, b"".join(values)))
            continue
        right = right_origin(update, offset, begin, info)
        pieces.append(struct(ANY, head, 1, values[0]))
        for number, value in enumerate(values[1:], 1):
            next_head = continued_head(ANY, section.client, clock + number, right, info & HAS_PARENT_KEY)
            pieces.append(struct(ANY, next_head, 1, value))
        more += clocks - 1
    return (more, b"".join((*pieces, update[copied : section.stop]))) if pieces else (0, None)


def _values(content: bytes, kind: int, count: int) -> list[bytes]:
    if kind == STRING:
        return [b"%c%c%b" % (_VALUE_TEXT, len(letter), letter) for letter in _letters(content.decode())]
    return [content[begin:end] for begin, end in pairwise(value_offsets(content, count))]


def _infos(update: bytes, section: Section) -> bytes:
    """The info byte of each struct."""
    return bytes([update[offset] for offset in section.offsets])


def _letters(text: str) -> list[bytes]:
    """One text for each UTF-16 unit (LT1)."""
    return [unit for char in text for unit in ((_HALF, _HALF) if char > _LAST_OF_PLANE else (char.encode(),))]


class _Search:
    """Finds the parent types of structs, and whether they are under a key (LT2). Visits each struct once."""

    __slots__ = ("_places", "_sections", "_update")

    def __init__(self, update: bytes, sections: dict[int, Section]) -> None:
        self._update = update
        self._sections = sections
        self._places: dict[_Id, _Place] = {}

    def place(self, client: int, index: int) -> tuple[bool, bool]:
        """Whether the parent of a struct is an array, and whether the struct is under a key."""
        parent, keyed = self._trace((client, index))
        if parent == _NOWHERE:
            return False, keyed
        section = self._sections[parent[0]]
        is_type = self._update[section.offsets[parent[1]]] & KIND == TYPE
        return is_type and self._update[section.contents[parent[1]]] == ARRAY_TYPE, keyed

    def _trace(self, here: _Id) -> _Place:
        path: list[_Id] = []
        while True:
            known = self._places.get(here)
            if known is not None:
                break
            known = self._places[here] = (_NOWHERE, False)  # ends the walk if there is a cycle
            path.append(here)
            section = self._sections[here[0]]
            offset = section.offsets[here[1]]
            info = self._update[offset]
            if info in (GC, SKIP):
                break
            if not info & HAS_ORIGINS:
                parent = _NOWHERE if self._update[offset + 1] else self._find(offset + 2)
                known = parent, bool(info & HAS_PARENT_KEY)
                break
            above = self._find(offset + 1)
            if above == _NOWHERE:
                break
            here = above
        for one in path:
            self._places[one] = known
        return known

    def _find(self, at: int) -> _Id:
        """The struct that covers the id written at byte `at`."""
        client, at = _number(self._update, at)
        clock, _ = _number(self._update, at)
        section = self._sections.get(client)
        if section is None or not section.start <= clock < section.end:
            return _NOWHERE
        return client, bisect_right(section.clocks, clock) - 1


def _number(update: bytes, at: int) -> tuple[int, int]:
    number = update[at]
    return (number, at + 1) if number < 128 else read_long(update, at + 1, number)
