"""How the gate sorts an update: which structs of each client are known, ready or blocked.

Rules (tests quote these ids):
    G1  The longest ready prefix of each client is found, as a fixpoint over all clients of the update.
    G2  The work is linear in the size of the update: a section is examined again only when the clock that blocked it
        has been passed.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

from raffia.crdt.update import Section


def index_at(section: Section, clock: int) -> int | None:
    """Index of the first struct at or above `clock`; None if `clock` is inside a struct other than a Skip."""
    clocks = section.clocks
    low, high = 0, len(clocks)
    while low < high:
        middle = (low + high) // 2
        if clocks[middle] < clock:
            low = middle + 1
        else:
            high = middle
    if low < len(clocks) and clocks[low] == clock:
        return low
    # `clock` is inside struct low - 1, which is harmless if that is a Skip.
    start = clocks[low - 1]
    return low if any(skip == start for skip, _ in section.skips) else None


def slice_structs(update: bytes, section: Section, first: int, stop: int) -> tuple[int, int, int, bytes]:
    """Structs [first, stop) of a section as `write_update` expects them: client, first clock, count, bytes."""
    end = section.offsets[stop] if stop < len(section.offsets) else section.stop
    return section.client, section.clocks[first], stop - first, update[section.offsets[first] : end]


class Progress:
    """How much of one client's section is ready.

    Attributes:
        first: index of the first unknown struct.
        stop: index of the first struct that is not ready.
        clock: the client's next clock after structs [first, stop).
        needs: the (client, clock) that blocks struct `stop`; None at the end.
    """

    __slots__ = ("_limit", "_ref", "_section", "_skip", "clock", "first", "needs", "stop")

    def __init__(self, section: Section, known: int) -> None:
        self._section = section
        self._ref = 0
        self.clock = known
        self.needs: tuple[int, int] | None = None
        if section.end <= known:
            self.first = self.stop = len(section.clocks)
        elif section.start >= known:
            self.first = self.stop = 0
        else:
            at = index_at(section, known)
            assert at is not None  # overlaps inside a struct were cut off before
            self.first = self.stop = at
        # Nothing after a Skip can be ready; Skips below `first` are known.
        self._limit = len(section.clocks)
        self._skip: int | None = None
        for skip, _ in section.skips:
            if skip >= known:
                self._limit = bisect_left(section.clocks, skip)
                self._skip = skip
                break

    def advance(self, clock_of: Mapping[int, int], known: Mapping[int, int]) -> bool:
        """Advance as far as the clocks allow; returns whether there was any progress."""
        section = self._section
        clocks = section.clocks
        before = self.stop
        if before == len(clocks):
            return False
        if clocks[before] > self.clock:
            self.needs = (section.client, self.clock)
            return False
        limit = self._limit
        self.needs = None if self._skip is None else (section.client, self._skip)
        refs = section.refs
        while self._ref < len(refs):
            index, client, clock = refs[self._ref]
            if index >= limit:
                break
            if index >= self.first and clock_of.get(client, known.get(client, 0)) <= clock:
                limit = index
                self.needs = (client, clock)
                break
            self._ref += 1
        self.stop = limit
        self.clock = clocks[limit] if limit < len(clocks) else section.end
        return limit > before


def ready_prefixes(sections: Sequence[Section], known: Mapping[int, int]) -> list[Progress]:
    """Find the ready prefix of every section, as a fixpoint (D3).

    Each section advances until a reference to another client blocks it; when that client advances, it is tried again.
    """
    progress = [Progress(section, known.get(section.client, 0)) for section in sections]
    clock_of = {section.client: state.clock for section, state in zip(sections, progress, strict=True)}
    blocked: dict[int, list[tuple[int, int]]] = {}  # client -> heap of (clock that must be passed, section)
    todo = list(range(len(sections) - 1, -1, -1))
    while todo:
        number = todo.pop()
        state = progress[number]
        advanced = state.advance(clock_of, known)
        client = sections[number].client
        clock_of[client] = state.clock
        if state.needs is not None and state.needs[0] != client and state.needs[0] in clock_of:
            heappush(blocked.setdefault(state.needs[0], []), (state.needs[1], number))
        if advanced:
            heap = blocked.get(client, [])
            while heap and heap[0][0] < state.clock:
                todo.append(heappop(heap)[1])
    return progress
