"""Text that stands directly in a nested array, written as the values that Yjs shows. Only for showing, as `halves`.

No editor puts text there: an array's texts are values. But the strict reader cannot know where a struct with origins
lives, and pycrdt never comes back when it is asked for the second half of a surrogate pair in an array.

Rules (tests quote these ids):
    T1  A text in an array is an element for each UTF-16 unit, as in Yjs; half a pair is shown as U+FFFD.
    T2  A struct lives where its left origin does, else where its right one does. What cannot be traced stays.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from weft.crdt.anyvalue import read_long
from weft.crdt.structs import payload, struct
from weft.crdt.update import ANY, ARRAY_TYPE, GC, HAS_ORIGINS, KIND, SKIP, STRING, TYPE, Section, read_update

_HALF: Final = "\ufffd".encode()
_VALUE_TEXT: Final = 0x77  # its length takes one byte, as a letter has three at most
_LAST_OF_PLANE: Final = "\uffff"

_Id = tuple[int, int]  # client, and the index of a struct in its section
_NOWHERE: Final[_Id] = (-1, 0)


def show_letters(update: bytes) -> bytes:
    """Write texts in arrays as values (T1, T2); the very same object when there are none.

    Raises:
        UpdateError: the strict reader does not accept `update`.
    """
    sections = {section.client: section for section in read_update(update).sections}
    if not any(
        update[offset] & KIND == TYPE and update[content] == ARRAY_TYPE
        for section in sections.values()
        for offset, content in zip(section.offsets, section.contents, strict=True)
    ):
        return update
    search = _Search(update, sections)
    pieces: list[bytes] = []
    copied = 0
    for section in sections.values():
        for index, offset in enumerate(section.offsets):
            info = update[offset]
            if info & KIND == STRING and search.is_in_array(section.client, index):
                begin = section.contents[index]
                stop = section.offsets[index + 1] if index + 1 < len(section.offsets) else section.stop
                letters = _letters(payload(update, STRING, begin, stop).decode())
                head = bytes((info & ~KIND | ANY,)) + update[offset + 1 : begin]
                values = b"".join(b"%c%c%b" % (_VALUE_TEXT, len(letter), letter) for letter in letters)
                pieces += (update[copied:offset], struct(ANY, head, len(letters), values))
                copied = stop
    return b"".join((*pieces, update[copied:])) if pieces else update


def _letters(text: str) -> list[bytes]:
    """One for each UTF-16 unit (T1)."""
    return [unit for char in text for unit in ((_HALF, _HALF) if char > _LAST_OF_PLANE else (char.encode(),))]


class _Search:
    """Finds out in which types structs live (T2). Each struct is visited once."""

    __slots__ = ("_parents", "_sections", "_update")

    def __init__(self, update: bytes, sections: dict[int, Section]) -> None:
        self._update = update
        self._sections = sections
        self._parents: dict[_Id, _Id] = {}

    def is_in_array(self, client: int, index: int) -> bool:
        """Whether a struct lives directly in a type that is an array."""
        client, index = self._parent(client, index)
        if client < 0:
            return False
        section = self._sections[client]
        is_type = self._update[section.offsets[index]] & KIND == TYPE
        return is_type and self._update[section.contents[index]] == ARRAY_TYPE

    def _parent(self, client: int, index: int) -> _Id:
        path: list[_Id] = []
        here = (client, index)
        while True:
            known = self._parents.get(here)
            if known is not None:
                break
            self._parents[here] = _NOWHERE  # ends the walk if it comes back here
            path.append(here)
            section = self._sections[here[0]]
            offset = section.offsets[here[1]]
            info = self._update[offset]
            if info in (GC, SKIP):
                known = _NOWHERE
                break
            if not info & HAS_ORIGINS:
                known = _NOWHERE if self._update[offset + 1] else self._find(offset + 2)
                break
            above = self._find(offset + 1)
            if above == _NOWHERE:
                known = _NOWHERE
                break
            here = above
        for one in path:
            self._parents[one] = known
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
