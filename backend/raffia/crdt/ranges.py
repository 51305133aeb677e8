"""Sets of ids as sorted ranges per client, such as the known deletes of a document.

Rules (tests quote these ids):
    RG1  The ranges of a client are sorted, not empty, and neither overlap nor touch: adding joins them.
    RG2  Adding and looking up cost one bisection; a delete next to a known one (as with backspace) inserts nothing.
    RG3  Encoded as the delete set of an update, with clients in descending order, so that equal sets are equal bytes.
    RG4  Many ranges at once are merged in one pass: added one by one, each would move all ranges after it, and an
         update of 400 KB with deletes between known ones took 2 s.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NoReturn

from raffia.crdt.update import read_update, write_deletes

Range = tuple[int, int]

_FEW = 256  # up to this many ranges are added one by one: with a million others, 20 ms, the same as a merge


class IdRanges:
    """Maps client ids to ranges of clocks, end exclusive.

    Each client has two sorted lists, of starts and of ends, so that bisection compares numbers without making objects.
    """

    __slots__ = ("_clients",)

    def __init__(self, ranges: Iterable[tuple[int, Iterable[Range]]] = ()) -> None:
        self._clients: dict[int, tuple[list[int], list[int]]] = {}
        self.update(ranges)

    def add(self, client: int, start: int, end: int) -> None:
        """Add the clocks `start` to `end` (exclusive) of `client`, joined with those already in the set (RG1).

        Raises:
            ValueError: an empty range.
        """
        if start >= end:
            _empty(client, start, end)
        lists = self._clients.get(client)
        if lists is None:
            self._clients[client] = ([start], [end])
            return
        starts, ends = lists
        first = bisect_left(ends, start)  # the first range that ends at or after `start`, which may touch
        if first == len(starts):
            starts.append(start)
            ends.append(end)
            return
        old = starts[first]
        if end < old:
            starts.insert(first, start)
            ends.insert(first, end)
            return
        if end <= ends[first]:
            if start < old:
                starts[first] = start
            return
        # The new range reaches past the end of `first`, and may cover ranges after it.
        stop = bisect_right(starts, end, first + 1)
        starts[first] = min(old, start)
        ends[first] = max(end, ends[stop - 1])
        if stop > first + 1:
            del starts[first + 1 : stop]
            del ends[first + 1 : stop]

    def add_all(self, client: int, ranges: Iterable[Range]) -> None:
        """Add ranges of one client in any order; sorted ones are fastest (RG4).

        Raises:
            ValueError: a range is empty; with more than `_FEW` ranges, none has been added.
        """
        listed = sorted(ranges)
        if len(listed) <= _FEW:
            for start, end in listed:
                self.add(client, start, end)
        else:
            self._clients[client] = self._merged(client, listed)

    def _merged(self, client: int, listed: list[Range]) -> tuple[list[int], list[int]]:
        """The ranges of `client` merged with the sorted `listed`, as new lists; other ranges are copied as slices."""
        old_starts, old_ends = self._clients.get(client, ([], []))
        count = len(old_starts)
        starts: list[int] = []
        ends: list[int] = []
        at = 0  # the first old range not copied yet
        last = -1  # end of the last copied range
        for begin, stop in listed:
            if begin >= stop:
                _empty(client, begin, stop)
            start, end = begin, stop
            if at < count and old_ends[at] < start:
                until = bisect_left(old_ends, start, at)  # the first old range that ends at or after `start`
                starts += old_starts[at:until]
                ends += old_ends[at:until]
                at = until
            elif start <= last:  # touches the last copied range, without an old one between
                if end <= last:
                    continue
                start = starts.pop()
                ends.pop()
            if at < count and old_starts[at] <= end:
                start = min(start, old_starts[at])
                at = bisect_right(old_starts, end, at)
                end = max(end, old_ends[at - 1])
            starts.append(start)
            ends.append(end)
            last = end
        starts += old_starts[at:]
        ends += old_ends[at:]
        return starts, ends

    def update(self, ranges: Iterable[tuple[int, Iterable[Range]]]) -> None:
        """Add all ranges of a delete set: of `UpdateFacts.deletes`, or of another `IdRanges`."""
        for client, listed in ranges:
            self.add_all(client, listed)

    def contains(self, client: int, start: int, end: int) -> bool:
        """Whether the set has every clock from `start` to `end` (exclusive)."""
        lists = self._clients.get(client)
        if lists is None:
            return start >= end
        index = bisect_right(lists[0], start) - 1
        return start >= end or (index >= 0 and end <= lists[1][index])

    def new_parts(self, client: int, ranges: Iterable[Range]) -> list[Range]:
        """The parts of `ranges` that are not in the set, in order."""
        lists = self._clients.get(client)
        if lists is None:
            return [(start, end) for start, end in ranges if start < end]
        starts, ends = lists
        count = len(starts)
        parts: list[Range] = []
        for start, end in ranges:
            at = start
            index = bisect_right(ends, at)  # the first range that ends after `at`
            while at < end and index < count and starts[index] < end:
                if at < starts[index]:
                    parts.append((at, starts[index]))
                at = ends[index]
                index += 1
            if at < end:
                parts.append((at, end))
        return parts

    def overlap(self, client: int, start: int, end: int) -> list[Range]:
        """The parts of `start` to `end` (exclusive) that are in the set, in order."""
        lists = self._clients.get(client)
        if lists is None:
            return []
        starts, ends = lists
        return [
            (max(start, starts[index]), min(end, ends[index]))
            for index in range(bisect_right(ends, start), bisect_left(starts, end))
        ]

    def ranges(self, client: int) -> list[Range]:
        """All ranges of `client`, sorted."""
        starts, ends = self._clients.get(client, ((), ()))
        return list(zip(starts, ends, strict=True))

    @property
    def total(self) -> int:
        """Number of ids in the set."""
        return sum(sum(ends) - sum(starts) for starts, ends in self._clients.values())

    @property
    def clients(self) -> int:
        """Number of clients."""
        return len(self._clients)

    @property
    def count(self) -> int:
        """Number of ranges, which determines the cost."""
        return sum(len(starts) for starts, _ in self._clients.values())

    def encode(self) -> bytes:
        """Encode it as the delete set of an update (RG3)."""
        out = bytearray()
        write_deletes(out, self)
        return bytes(out)

    @classmethod
    def decode(cls, encoded: bytes) -> IdRanges:
        """Read what `encode` wrote, or the delete set of an update.

        Raises:
            UpdateError: not a delete set.
        """
        decoded = cls()
        for client, ranges in read_update(b"\x00" + encoded).deletes:  # an update without structs is its delete set
            last = -1
            starts: list[int] = []
            ends: list[int] = []
            for start, end in ranges:
                if start == last:  # written apart by others; joined here (RG1)
                    ends[-1] = end
                else:
                    starts.append(start)
                    ends.append(end)
                last = end
            if starts:
                decoded._clients[client] = (starts, ends)
        return decoded

    def __iter__(self) -> Iterator[tuple[int, list[Range]]]:
        for client in self._clients:
            yield client, self.ranges(client)

    def __bool__(self) -> bool:
        return bool(self._clients)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdRanges) and self._clients == other._clients

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"IdRanges({dict(self)})"


def _empty(client: int, start: int, end: int) -> NoReturn:
    raise ValueError(f"range {start}..{end} of client {client} is empty")
