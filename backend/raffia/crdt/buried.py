"""Finds the structs inside deleted types, which can never be seen again.

When a type (a block, a nested map) is deleted, everything in it is deleted too, including what others insert into it
concurrently. Yjs drops the content of such structs and keeps their ids; `squash` uses this module to do the same.

Rules (tests quote these ids):
    BY1  A struct is buried if its parent is deleted, is not (or no longer) a type, or is itself buried, and if its left
        origin, or without one its right origin, is buried: siblings share their parent, and only the first names it.
    BY2  A struct that cannot be traced, because the update has only part of the document, counts as alive.
    BY3  The walk is iterative and visits each struct once, so that deep nesting and cycles in hostile updates cost
        nothing extra.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from raffia.crdt.anyvalue import read_long
from raffia.crdt.ranges import IdRanges
from raffia.crdt.update import GC, HAS_ORIGINS, KIND, SKIP, TYPE, Section, UpdateFacts

_UNKNOWN, _ALIVE, _BURIED, _VISITING = range(4)
# Info bytes of structs that name their parent: those with neither origin, except GC and Skip.
_NAMES_PARENT: Final = bytes(
    0 if info & HAS_ORIGINS or info & KIND in (GC, SKIP) else 1 for info in range(256)
)  # a table for bytes.translate


def infos(update: bytes, section: Section) -> bytes:
    """The info byte of each struct."""
    return bytes([update[offset] for offset in section.offsets])


def _reference(update: bytes, at: int) -> tuple[int, int]:
    client = update[at]
    at += 1
    if client > 127:
        client, at = read_long(update, at, client)
    clock = update[at]
    if clock > 127:
        clock, at = read_long(update, at + 1, clock)
    return client, clock


class _Search:
    """One search through one update."""

    __slots__ = ("deletes", "sections", "update", "verdicts")

    def __init__(self, update: bytes, facts: UpdateFacts, deletes: IdRanges) -> None:
        self.update = update
        self.deletes = deletes
        self.sections = {section.client: section for section in facts.sections}
        self.verdicts = {section.client: bytearray(len(section.clocks)) for section in facts.sections}

    def find(self, client: int, clock: int) -> tuple[Section, int] | None:
        """The struct that covers an id; None if the update does not contain it (BY2)."""
        section = self.sections.get(client)
        if section is None or not section.start <= clock < section.end:
            return None
        index = bisect_right(section.clocks, clock) - 1
        return None if self.update[section.offsets[index]] & KIND == SKIP else (section, index)

    def parent(self, section: Section, index: int) -> tuple[int, int] | None:
        """The id of the parent that a struct names; None for a root type."""
        at = section.offsets[index] + 1
        return None if self.update[at] else _reference(self.update, at + 1)

    def is_grave(self, client: int, clock: int) -> bool:
        """Whether structs whose parent is this id are buried."""
        found = self.find(client, clock)
        if found is None:
            return False
        section, index = found
        return self.update[section.offsets[index]] & KIND != TYPE or self.deletes.contains(client, clock, clock + 1)

    def needed(self) -> bool:
        """Whether anything can be buried; fast for documents without nested or deleted types."""
        for section in self.sections.values():
            listed = infos(self.update, section)
            if GC in listed:
                return True
            naming = listed.translate(_NAMES_PARENT)
            index = naming.find(1)
            while index >= 0:
                parent = self.parent(section, index)
                if parent is not None and self.is_grave(*parent):
                    return True
                index = naming.find(1, index + 1)
        return False

    def decide(self, section: Section, index: int) -> None:
        """Follow origins and parents up from one struct, and give all structs on the way the same verdict (BY3)."""
        update = self.update
        path: list[tuple[bytearray, int]] = []
        while True:
            verdicts = self.verdicts[section.client]
            verdict = verdicts[index]
            if verdict:
                break
            offset = section.offsets[index]
            info = update[offset]
            if info == GC:
                verdict = verdicts[index] = _BURIED
                break
            if info == SKIP:
                verdict = verdicts[index] = _ALIVE
                break
            verdicts[index] = _VISITING
            path.append((verdicts, index))
            if info & HAS_ORIGINS:
                above: tuple[int, int] | None = _reference(update, offset + 1)
            else:
                above = self.parent(section, index)
                if above is not None and self.is_grave(*above):
                    verdict = _BURIED
                    break
            found = None if above is None else self.find(*above)
            if found is None:
                verdict = _ALIVE
                break
            section, index = found
        if verdict == _VISITING:
            verdict = _ALIVE  # a cycle, which only hostile updates have
        for verdicts, index in path:
            verdicts[index] = verdict

    def run(self) -> dict[int, list[int]]:
        buried: dict[int, list[int]] = {}
        for section in self.sections.values():
            verdicts = self.verdicts[section.client]
            chained = set(section.chained)
            for index in range(len(verdicts)):
                if verdicts[index] == _UNKNOWN:
                    if index in chained and verdicts[index - 1]:
                        verdicts[index] = verdicts[
                            index - 1
                        ]  # continues the struct before it, so it has the same parent
                    else:
                        self.decide(section, index)
        for section in self.sections.values():
            verdicts = self.verdicts[section.client]
            found = [
                index
                for index, verdict in enumerate(verdicts)
                if verdict == _BURIED and self.update[section.offsets[index]] != GC
            ]
            if found:
                buried[section.client] = found
        return buried


def find_buried(update: bytes, facts: UpdateFacts, deletes: IdRanges) -> dict[int, list[int]]:
    """Find the structs inside deleted types.

    Returns:
        Client ids with the indexes of their structs, ascending; structs that are already GC are left out.
    """
    search = _Search(update, facts, deletes)
    return search.run() if search.needed() else {}
