"""Merges and diffs encoded updates that pycrdt does not handle exactly.

pycrdt decodes and re-encodes what it merges or diffs. For subdocuments, this loses options that it does not know
(`meta`) and adds ones that were not there, and it refuses some JSON. Such documents are merged here instead: slower
(every update is read, which takes 15 ms for a base of 331 KB), but bytes that need not be cut are copied.

Rules (tests quote these ids):
    SP1  The result has the ids of all updates; of structs that overlap, the stretch with the lower start is kept whole
        and the later one is cut.
    SP2  Gaps between structs of a client become Skips; after a gap at the beginning, the section just starts later.
    SP3  The result has the union of the delete sets.
    SP4  In a state vector, a client ends where its first gap begins.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from raffia.crdt.ranges import IdRanges
from raffia.crdt.structs import after_cut, struct
from raffia.crdt.update import SKIP, Section, read_state_vector, read_update, write_state_vector, write_update

_Stretch = tuple[int, int, bytes, Section]  # start and end clock, without Skips between; its update and section


def merge_exactly(updates: Sequence[bytes]) -> bytes:
    """Merge updates into one (SP1-SP3).

    Raises:
        UpdateError: the strict reader does not accept one of them.
    """
    stretches: dict[int, list[_Stretch]] = {}
    deletes = IdRanges()
    for update in updates:
        facts = read_update(update)
        deletes.update(facts.deletes)
        for section in facts.sections:
            found = stretches.setdefault(section.client, [])
            start = section.start
            for skip_start, skip_end in section.skips:
                found.append((start, skip_start, update, section))
                start = skip_end
            found.append((start, section.end, update, section))
    sections = []
    for client, found in stretches.items():
        kept = sorted((stretch for stretch in found if stretch[0] < stretch[1]), key=lambda stretch: stretch[0])
        if kept:
            sections.append(_lay_out(client, kept))
    return write_update(sections, deletes)


def _lay_out(client: int, stretches: list[_Stretch]) -> tuple[int, int, int, bytes]:
    """Join the stretches of one client, sorted by start (SP1, SP2)."""
    begin = at = stretches[0][0]
    count = 0
    pieces = []
    for start, end, update, section in stretches:
        if end <= at:
            continue
        if start > at:
            pieces.append(struct(SKIP, bytes((SKIP,)), start - at, b""))
            count += 1
            at = start
        copied, structs = _copy(update, section, at, end)
        count += copied
        pieces.append(structs)
        at = end
    return client, begin, count, b"".join(pieces)


def _copy(update: bytes, section: Section, start: int, end: int) -> tuple[int, bytes]:
    """The number and bytes of the structs from clock `start` (cut there if necessary) to `end`, where one ends."""
    first = bisect_right(section.clocks, start) - 1
    stop = len(section.clocks) if end == section.end else bisect_right(section.clocks, end) - 1
    until = section.stop if end == section.end else section.offsets[stop]
    if section.clocks[first] == start:
        return stop - first, update[section.offsets[first] : until]
    head = after_cut(update, section, first, start)
    rest = section.offsets[first + 1] if first + 1 < len(section.clocks) else section.stop
    return stop - first, head + update[rest:until]


def diff_exactly(update: bytes, state_vector: bytes) -> bytes:
    """The part of `update` after `state_vector`, with its whole delete set.

    Raises:
        UpdateError: the strict reader does not accept one of them.
    """
    facts = read_update(update)
    known = read_state_vector(state_vector)
    sections = []
    for section in facts.sections:
        start = max(section.start, known.get(section.client, 0))
        for skip_start, skip_end in section.skips:
            if skip_start <= start < skip_end:  # a diff does not begin with a Skip
                start = skip_end
        if start < section.end:
            count, structs = _copy(update, section, start, section.end)
            sections.append((section.client, start, count, structs))
    return write_update(sections, facts.deletes)


def state_vector_exactly(update: bytes) -> bytes:
    """The state vector of an update (SP4).

    Raises:
        UpdateError: the strict reader does not accept it.
    """
    return write_state_vector(
        {
            section.client: section.skips[0][0] if section.skips else section.end
            for section in read_update(update).sections
            if section.start == 0
        }
    )
