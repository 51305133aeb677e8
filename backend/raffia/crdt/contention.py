"""How long editors take to load a document: the work of Yjs on insertions that conflict, counted on the bytes.

Two insertions conflict if they were made at the same place by authors who did not know of each other. To order them,
Yjs walks over everything that was inserted there. Honest conflicts are few and short; crafted bytes can make every
insertion walk over all the others, so that 44 KB take an editor 12 s, each time it opens the document.

Rules (tests quote these ids):
    CN1  `contention` orders the insertions as Yjs does and counts the steps of these walks, for any gap-free update
         that the strict reader accepts. Text that others inserted into is cut beforehand, and Yjs cuts it only then, so
         the steps are at least those of Yjs. It stops at a limit: the work is linear in the bytes, plus that limit.
    CN2  A document may take `MAX_STEPS` steps and `STEPS_PER_STRUCT` for each struct. A step takes Yjs up to 1.5 us. A
         `CHEAP_STEPS`th of a step is counted for each entry of a map's key that is passed on the way to the first one.
    CN3  Types may nest `MAX_NESTING` deep: editors visit them recursively, and their stack is finite.
    CN4  `unproven` counts the structs of an update that may conflict: those that do not continue what their author
         inserted just before. The order has to be found only if there are many of them. This takes microseconds.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from raffia.crdt.anyvalue import read_long
from raffia.crdt.merge import merge
from raffia.crdt.update import (
    GC,
    HAS_ORIGIN,
    HAS_ORIGINS,
    HAS_PARENT_KEY,
    HAS_RIGHT_ORIGIN,
    KIND,
    SKIP,
    Section,
    read_update,
)

MAX_STEPS: Final = 500_000
STEPS_PER_STRUCT: Final = 4
CHEAP_STEPS: Final = 128
MAX_NESTING: Final = 500

_NONE: Final = -1
_Key = tuple[int | str, str | None]  # of a sequence or a map entry: the parent's node or name, and the key


class Contention(NamedTuple):
    """The work that a document takes.

    Attributes:
        steps: steps over conflicting insertions; not all if the limit was reached.
        structs: number of structs, counting those twice that others were inserted into.
        nesting: how deep types nest.
        longest: the length of the longest sequence, in structs.
    """

    steps: int
    structs: int
    nesting: int
    longest: int

    @property
    def is_too_much(self) -> bool:
        """Whether no editor should be given this (CN2, CN3)."""
        return self.steps > MAX_STEPS + STEPS_PER_STRUCT * self.structs or self.nesting > MAX_NESTING


def unproven(sections: Iterable[Section]) -> int:
    """How many structs may conflict (CN4)."""
    return sum(len(section.clocks) - len(section.chained) for section in sections)


def contention(parts: Sequence[bytes]) -> Contention:
    """The work that a document takes (CN1).

    Args:
        parts: the updates that make up the document, gap-free together; the strict reader has accepted them.
    """
    update = parts[0] if len(parts) == 1 else merge(parts)
    nodes = _Nodes(update, read_update(update).sections)
    return _Order(nodes).contention()


class _Nodes:
    """The structs of an update, cut where others refer into them; each is a number, and lists are indexed by it.

    Attributes:
        clients: the client of each node.
        lefts, rights: the nodes of its origins; _NONE for none, and for those that the update lacks.
        parents: the sequence or key that it names itself; None if it belongs where its origins do.
        needs: the node of the parent, which has to be there first; _NONE for none.
        is_gc: whether it is GC or a gap.
        sections: first and last node (exclusive) of each client, clients in descending order.
    """

    def __init__(self, update: bytes, sections: Sequence[Section]) -> None:
        self.clients: list[int] = []
        self.lefts: list[int] = []
        self.rights: list[int] = []
        self.parents: list[_Key | None] = []
        self.needs: list[int] = []
        self.is_gc: list[bool] = []
        self.sections: list[tuple[int, int]] = []
        ordered = sorted(sections, key=lambda section: -section.client)
        places = [_places(update, section) for section in ordered]
        self._cut(ordered, places)
        for section, own in zip(ordered, places, strict=True):
            self._add(section, own)

    def _cut(self, ordered: Sequence[Section], places: Sequence[list[_Place]]) -> None:
        """Decide where nodes begin: where structs do, and where another's left origin ends or right origin begins."""
        cuts: dict[int, set[int]] = {section.client: set(section.clocks) for section in ordered}
        for own in places:
            for place in own:
                if place.left is not None and place.left[0] in cuts:
                    cuts[place.left[0]].add(place.left[1] + 1)
                if place.right is not None and place.right[0] in cuts:
                    cuts[place.right[0]].add(place.right[1])
        self._starts: dict[int, list[int]] = {}
        self._first: dict[int, int] = {}
        at = 0
        for section in ordered:
            starts = sorted(cuts[section.client])
            starts = starts[bisect_left(starts, section.start) : bisect_left(starts, section.end)]
            self._starts[section.client], self._first[section.client] = starts, at
            at += len(starts)

    def _node(self, client: int, clock: int) -> int:
        """The node that has an id."""
        starts = self._starts.get(client)
        index = bisect_right(starts, clock) - 1 if starts else _NONE
        return index if index == _NONE else self._first[client] + index

    def _add(self, section: Section, places: list[_Place]) -> None:
        begin = len(self.clients)
        index = -1
        for start in self._starts[section.client]:
            if index + 1 < len(places) and section.clocks[index + 1] == start:
                index += 1
                place = places[index]
                self.lefts.append(_NONE if place.left is None else self._node(*place.left))
                self.rights.append(_NONE if place.right is None else self._node(*place.right))
                name = place.parent
                node = self._node(*name) if isinstance(name, tuple) else _NONE
                self.needs.append(node)
                self.parents.append(None if name is None else (node if isinstance(name, tuple) else name, place.key))
                self.is_gc.append(place.is_gc)
            else:  # the rest of a struct that was cut: it continues the part before it
                self.lefts.append(len(self.lefts) - 1)
                self.rights.append(self.rights[-1])
                self.needs.append(_NONE)
                self.parents.append(None)
                self.is_gc.append(self.is_gc[-1])
            self.clients.append(section.client)
        self.sections.append((begin, len(self.clients)))


class _Place(NamedTuple):
    """Where a struct was inserted: its origins, or the name or id of its parent, and its key there."""

    left: tuple[int, int] | None
    right: tuple[int, int] | None
    parent: tuple[int, int] | str | None
    key: str | None
    is_gc: bool


_GONE: Final = _Place(None, None, None, None, True)


def _places(update: bytes, section: Section) -> list[_Place]:
    """Where the structs of one client were inserted."""
    places = []
    for offset in section.offsets:
        info = update[offset]
        if info & KIND in (GC, SKIP):
            places.append(_GONE)
            continue
        left: tuple[int, int] | None = None
        right: tuple[int, int] | None = None
        parent: tuple[int, int] | str | None = None
        key: str | None = None
        at = offset + 1
        if info & HAS_ORIGIN:
            left, at = _id(update, at)
        if info & HAS_RIGHT_ORIGIN:
            right, at = _id(update, at)
        if not info & HAS_ORIGINS:
            named, at = update[at], at + 1
            if named:
                parent, at = _text(update, at)
            else:
                parent, at = _id(update, at)
            if info & HAS_PARENT_KEY:
                key, at = _text(update, at)
        places.append(_Place(left, right, parent, key, False))
    return places


def _number(update: bytes, at: int) -> tuple[int, int]:
    number = update[at]
    return (number, at + 1) if number < 128 else read_long(update, at + 1, number)


def _id(update: bytes, at: int) -> tuple[tuple[int, int], int]:
    client, at = _number(update, at)
    clock, at = _number(update, at)
    return (client, clock), at


def _text(update: bytes, at: int) -> tuple[str, int]:
    size, at = _number(update, at)
    return update[at : at + size].decode(), at + size


class _Sequence:
    """A sequence, or the entries of a key: its first node, how deep it is in other types, and its length."""

    __slots__ = ("depth", "first", "length")

    def __init__(self, depth: int) -> None:
        self.first = _NONE
        self.depth = depth
        self.length = 0


class _Order:
    """The nodes in the order that Yjs gives them."""

    def __init__(self, nodes: _Nodes) -> None:
        self._nodes = nodes
        count = len(nodes.clients)
        self._next = [_NONE] * count
        self._before = [_NONE] * count
        self._of: list[_Sequence | None] = [None] * count  # None for GC, and for what belongs to GC
        self._sequences: dict[_Key, _Sequence] = {}
        self._limit = (MAX_STEPS + STEPS_PER_STRUCT * count) * CHEAP_STEPS
        self._cost = 0  # in `CHEAP_STEPS`ths of a step
        self._nesting = 0

    def contention(self) -> Contention:
        """Insert all nodes, clients in descending order, but first what a node refers to."""
        nodes = self._nodes
        section_of: list[int] = []
        for number, (begin, end) in enumerate(nodes.sections):
            section_of += [number] * (end - begin)
        at = [begin for begin, _ in nodes.sections]
        ends = [end for _, end in nodes.sections]
        is_waiting = [False] * len(at)
        for number in range(len(nodes.sections)):
            todo = [number]
            is_waiting[number] = True
            while todo and self._cost <= self._limit:
                current = todo[-1]
                node = at[current]
                # The bottom of the stack goes on to its end; the others only until what waits for them can go on.
                if node == ends[current]:
                    is_waiting[todo.pop()] = False
                    continue
                missing = _NONE
                for other in (nodes.lefts[node], nodes.rights[node], nodes.needs[node]):
                    if other != _NONE and at[section_of[other]] <= other and section_of[other] != current:
                        missing = section_of[other]
                        break
                if missing != _NONE and not is_waiting[missing]:
                    is_waiting[missing] = True
                    todo.append(missing)
                    continue
                self._insert(node)
                at[current] += 1
                if len(todo) > 1:
                    is_waiting[todo.pop()] = False
        longest = max((sequence.length for sequence in self._sequences.values()), default=0)
        return Contention(self._cost // CHEAP_STEPS, len(nodes.clients), self._nesting, longest)

    def _sequence(self, node: int) -> _Sequence | None:
        """Where a node belongs."""
        nodes = self._nodes
        left, right, name = nodes.lefts[node], nodes.rights[node], nodes.parents[node]
        if nodes.is_gc[node]:
            return None
        if name is None:
            for origin in (left, right):
                if origin != _NONE:
                    return self._of[origin]
            return None
        sequence = self._sequences.get(name)
        if sequence is None:
            depth = 0
            if isinstance(name[0], int):
                parent = self._of[name[0]] if name[0] != _NONE else None
                if parent is None:
                    return None
                depth = parent.depth + 1
                self._nesting = max(self._nesting, depth)
            sequence = self._sequences[name] = _Sequence(depth)
        return sequence

    def _insert(self, node: int) -> None:
        """Insert a node as Yjs does (Item.integrate)."""
        sequence = self._of[node] = self._sequence(node)
        if sequence is None:
            return
        clients, lefts, rights, after = self._nodes.clients, self._nodes.lefts, self._nodes.rights, self._next
        left, right = lefts[node], rights[node]
        is_alone = after[left] == right if left != _NONE else right != _NONE and self._before[right] == _NONE
        if not is_alone:
            steps = 0
            most = self._limit // CHEAP_STEPS + 1
            client, origin = clients[node], left
            name = self._nodes.parents[node]
            if left == _NONE and name is not None and name[1] is not None:
                self._cost += sequence.length  # Yjs begins at the last entry
            other = sequence.first if left == _NONE else after[left]
            passed: set[int] = set()
            conflicting: set[int] = set()
            while other not in (_NONE, right) and steps <= most:
                steps += 1
                passed.add(other)
                conflicting.add(other)
                theirs = lefts[other]
                if theirs == origin:
                    if clients[other] < client:
                        left = other
                        conflicting.clear()
                    elif rights[other] == right:
                        break
                elif theirs != _NONE and theirs in passed:
                    if theirs not in conflicting:
                        left = other
                        conflicting.clear()
                else:
                    break
                other = after[other]
            self._cost += steps * CHEAP_STEPS
        if left == _NONE:
            follower, sequence.first = sequence.first, node
        else:
            follower, after[left] = after[left], node
        self._before[node] = left
        after[node] = follower
        if follower != _NONE:
            self._before[follower] = node
        sequence.length += 1
